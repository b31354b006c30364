"""The tables of a study's effects and verdicts, as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from nni_privacy.cells import CELL_TYPES
from nni_privacy.effects.ablations import Slope
from nni_privacy.effects.bootstrap import Estimate
from nni_privacy.effects.contrasts import Effect
from nni_privacy.effects.rows import NO_DEFENCE
from nni_privacy.effects.rules import FAILS, HOLDS, UNDECIDED
from nni_privacy.effects.verdicts import VerdictRow, Verdicts
from nni_privacy.report.effects_infos import EffectsInfo, LevelRow
from nni_privacy.report.html_table import ends_html, number_cell, p_html, signed, table_frame, text_cell, wrapped_cell
from nni_privacy.report.text import NOTHING, escape_text, fraction

__all__ = ["effects_table", "levels_table", "slope_names", "slopes_table", "verdicts_table"]

MARKS = {HOLDS: ("holds", "✓"), FAILS: ("fails", "✕"), UNDECIDED: ("open", "–")}
PREDICTORS = {"network_cells": "cells N", "nodes": "nodes M", "budget": "fixed edges m"}


def effects_table(info: EffectsInfo) -> str:
    """Every paired comparison with its interval, or why it has none."""
    heads = ["Variant", "Against", "Data set", "Defence", "Metric", "Change [95% interval]", "Pairs", "Architectures"]
    heads += ["Unpaired", "Interval"]
    rows = [_effect(info, effect) for effect in info.effects]
    return table_frame(heads, rows, numbers=(5, 6, 7, 8))


def _effect(info: EffectsInfo, effect: Effect) -> list[str]:
    metric = "weights" if effect.metric == "parameters" else info.metric(effect.metric)
    change = f"{effect.mean:+,.0f}" if effect.metric == "parameters" else signed(effect.mean)
    ends = "" if effect.metric == "parameters" else _ends(effect.estimate)
    how = effect.reason if effect.estimate is None else effect.estimate.method
    texts = [effect.variant, effect.against, effect.dataset, info.defence(effect.dataset, effect.defence), metric]
    counts = (len(effect.pairing.pairs), len(effect.by_architecture), len(effect.pairing.unpaired))
    return [
        *map(text_cell, texts),
        number_cell(f"{change} {ends}"),
        *(number_cell(str(count)) for count in counts),
        wrapped_cell(how),
    ]


def levels_table(rows: Sequence[LevelRow]) -> str:
    """Accuracy and AUC under each defence, its epsilon beside it."""
    heads = ["Data set", "Space", "Defence", "Variant", "Architectures", "Accuracy", "Attack AUC"]
    body = [
        [
            *map(text_cell, (row.dataset, row.space, row.defence, row.variant)),
            *map(number_cell, (str(row.architectures), fraction(row.accuracy), fraction(row.mia_auc))),
        ]
        for row in rows
    ]
    return table_frame(heads, body, numbers=(4, 5, 6))


def slope_names(slope: Slope) -> str:
    """What a slope is on, in words."""
    where = f"{slope.cells} cell" if slope.cells in CELL_TYPES else slope.cells
    parts = (PREDICTORS.get(slope.predictor, slope.predictor), slope.pattern, where)
    return ", ".join(part for part in parts if part)


def slopes_table(info: EffectsInfo, slopes: Sequence[Slope]) -> str:
    """Each slope with its interval, or why it has none."""
    heads = ["Per", "Data set", "Metric", "Slope [95% interval]", "Lines or measurements", "Architectures", "Interval"]
    body = []
    for slope in slopes:
        found = slope.estimate
        cells = [*map(text_cell, (slope_names(slope), slope.dataset, info.metric(slope.metric)))]
        if found is None:
            body.append(
                [*cells, number_cell(NOTHING), number_cell(NOTHING), number_cell(NOTHING), wrapped_cell(slope.reason)]
            )
        else:
            numbers = (f"{found.value:+.4f} {_ends(found, 4)}", str(found.pairs), str(found.architectures))
            body.append([*cells, *map(number_cell, numbers), wrapped_cell(found.method)])
    return table_frame(heads, body, numbers=(3, 4, 5))


def verdicts_table(info: EffectsInfo, verdicts: Verdicts) -> str:
    """One row a claim."""
    heads = ["Claim", "Data set", "Defence", "Paper", "Ours [95% interval]", "Holds if", "Verdict"]
    heads += ["Pairs (archi- tectures)", "p", "p (Holm)", "Interval", "Command"]
    rows = [_verdict(info, row) for row in verdicts.rows]
    if all(row.defence == NO_DEFENCE for row in verdicts.rows):
        heads.pop(2)
        rows = [cells[:2] + cells[3:] for cells in rows]
    shift = len(heads) - 12
    return table_frame(heads, rows, numbers=[place + shift for place in (3, 4, 7, 8, 9)], css="verdicts")


def _verdict(info: EffectsInfo, row: VerdictRow) -> list[str]:
    found, claim = row.estimate, row.claim
    css, mark = MARKS[row.verdict]
    defence = "–" if row.defence == NO_DEFENCE else info.defence(row.dataset, row.defence)
    verdict = f'<td class="text wrap"><span class="verdict-{css}">{mark} {row.verdict}</span></td>'
    if found is None:
        ours = [number_cell(NOTHING), number_cell(NOTHING), text_cell("all parts hold"), verdict, number_cell(NOTHING)]
    else:
        paper = NOTHING if row.paper is None else signed(row.paper, 4)
        number = f"{signed(found.value, 4)} {_ends(found, 4)}"
        pairs = f'{found.pairs} <span class="small">({found.architectures})</span>'
        ours = [number_cell(paper), number_cell(number), text_cell(str(claim.rule)), verdict, number_cell(pairs)]
    method = "–" if found is None else found.method
    command = f'<td class="text wrap"><code>{escape_text(row.command)}</code></td>'
    end = [number_cell(p_html(row.p)), number_cell(p_html(row.p_holm)), wrapped_cell(method), command]
    return [_claim(row), text_cell(row.dataset), wrapped_cell(defence), *ours, *end]


def _claim(row: VerdictRow) -> str:
    """What is claimed, where, and of a conjunction the verdicts on its parts."""
    prefix = row.claim.id.removesuffix("protects")
    parts = [f"{name.removeprefix(prefix)}: {verdict}" for name, verdict in row.parts]
    small = escape_text("; ".join([row.claim.source, *parts]))
    return f'<td class="text claim">{escape_text(row.claim.text)}<br><span class="small">{small}</span></td>'


def _ends(estimate: Estimate | None, digits: int = 3) -> str:
    return "" if estimate is None else ends_html(estimate.low, estimate.high, sign=True, digits=digits)
