"""The part of a study's page on variants: what patterns, defences and sizes do, and what becomes of the claims.

Its figures and tables; the numbers are those of :mod:`nni_privacy.report.effects_infos`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nni_privacy.analysis.bootstrap import Estimate
from nni_privacy.analysis.contrasts import Effect
from nni_privacy.analysis.rows import NO_DEFENCE
from nni_privacy.analysis.rules import FAILS, HOLDS, UNDECIDED
from nni_privacy.analysis.slopes import SIZES, Slope
from nni_privacy.analysis.verdicts import VerdictRow, Verdicts
from nni_privacy.cells.darts import CELL_TYPES
from nni_privacy.report.effects_infos import (
    DEFENCE,
    PATTERN,
    BudgetInfo,
    EffectsInfo,
    ForestInfo,
    LevelRow,
    attack_forests,
    budget_infos,
    control_forests,
    dataset_forests,
    defence_forests,
    effects_info,
    level_rows,
    size_forests,
    space_forests,
    variant_forests,
)
from nni_privacy.report.html import (
    NOTHING,
    ends_html,
    escape_text,
    fraction,
    number_cell,
    p_html,
    signed,
    table_frame,
    text_cell,
    wrapped_cell,
)
from nni_privacy.report.style import GUESSING, drawing_style, plain_label, to_svg
from nni_privacy.runs.records import RunInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "draw_budgets",
    "draw_forest",
    "draw_slope",
    "effects_html",
    "effects_table",
    "levels_table",
    "slope_names",
    "slopes_table",
    "verdicts_table",
]

_Forests = Callable[[EffectsInfo], Sequence[ForestInfo]]

LISTED = 40
"""So many measurements without a partner are named; of more, the number is given."""

_PLURAL = {HOLDS: "hold", FAILS: "do not hold", UNDECIDED: "are undecided at this size"}
_PAIRED = (
    "Each variant less its original, paired by architecture, seed and size: both were trained from the same seed on "
    "the same batches. A diamond is the mean over architectures (each the mean of its seeds), the bar its 95% interval "
    "over architectures and seeds; a hollow diamond has too few pairs for one. Left of 0 the attack finds less. The "
    "placebo writes other operations on the same edges; size-matched is the original cell with as many weights as the "
    "pattern leaves."
)
_CONTROLS = (
    "The pattern's change less its control's: how much is due to just these operations (placebo), and how much to more "
    "than a smaller network (size-matched). A pattern protects if it lowers the AUC and beats both."
)
_DEFENCES = (
    "Alone: originals trained with the defence less the same without. +: what a pattern changes where both networks "
    "are trained with the defence. ε: of differential privacy, for one training record."
)
_SIZES = "The pattern less its original at each size; elsewhere on this page, pairs of all sizes are taken together."
_FORESTS: tuple[tuple[str, str, _Forests, str], ...] = (
    ("effects", "What the patterns do (Figures 9-11)", variant_forests, _PAIRED),
    ("controls", "Patterns against their controls", control_forests, _CONTROLS),
    ("by-attack", "By attack (Figure 13)", attack_forests, "The pattern less its original, attack by attack."),
    ("by-data", "By data set (Figures 14, 15, 25)", dataset_forests, "The pattern less its original on each data set."),
    ("by-space", "By search space (Figure 26)", space_forests, "The pattern less its original in each space."),
)
"""Name, title, forests and note of the sections."""

COLOURS: Mapping[str, str] = {PATTERN: "#c2410c", "placebo": "#0072b2", "size-matched": "#15803d", DEFENCE: "#7c3aed"}
OTHER, THIN = "#334155", "#94a3b8"
COLUMN, ROW, CHARACTER = 2.7, 0.27, 0.075
"""Width of a column, height of a row, width of a character of a row's label, in inches."""
LONGEST = 64
TICKS = 9
"""Up to so many values of a predictor each have a tick."""
FEW, STRONGEST, FAINTEST = 12, 0.55, 0.2
"""Up to so many architectures a line is that strong; the more there are, the fainter, so that the interval is seen."""
GROUP_GAP = 0.55
"""Free rows between two groups."""

MARKS = {HOLDS: ("holds", "✓"), FAILS: ("fails", "✕"), UNDECIDED: ("open", "–")}
PREDICTORS = {"network_cells": "cells N", "nodes": "nodes M", "budget": "fixed edges m"}


def effects_html(run: RunInfo) -> str:
    """The sections, only those that have something to show; empty if the study has nothing to compare."""
    info = effects_info(run)
    if info is None:
        return ""
    with drawing_style():
        sections = [
            _verdicts(info),
            *(_forests(info, *row) for row in _FORESTS[:2]),
            _budgets(info),
            *(_forests(info, *row) for row in _FORESTS[2:]),
            _defences(info),
            _forests(info, "by-size", "Patterns by size of the network (Figures 21-23)", size_forests, _SIZES),
            _ablations(info),
            _guidelines(info),
            _all_effects(info),
        ]
    return "".join(sections)


def _section(name: str, title: str, *parts: str) -> str:
    """The section; nothing if it has no content."""
    content = "".join(parts)
    return f'<section id="{name}">\n<h2>{escape_text(title)}</h2>\n{content}\n</section>\n' if content else ""


def _forests(info: EffectsInfo, name: str, title: str, forests: _Forests, note: str, *more: str) -> str:
    """A section with a figure a forest; ``more`` stands below them."""
    found = forests(info)
    parts = []
    for place, forest in enumerate(found):
        label = f"Changes with 95% intervals, {forest.title}"
        svg = to_svg(draw_forest(forest, info.metric), prefix=f"{name}{place}", label=label)
        heading = f"<h3>{escape_text(forest.title)}</h3>"
        parts.append(f'{heading}<figure class="whole"><div class="scroll">{svg}</div></figure>')
    return _section(name, title, f"<p>{note}</p>" if parts and note else "", *parts, *more)


def _verdicts(info: EffectsInfo) -> str:
    verdicts = info.verdicts
    if not verdicts.rows:
        return ""
    counts = Counter(row.verdict for row in verdicts.rows)
    numbers = ", ".join(f"{counts[verdict]} {words}" for verdict, words in _PLURAL.items() if counts[verdict])
    left = ""
    if verdicts.too_few:
        names = ", ".join(claim.id for claim in verdicts.too_few)
        left = f'<p class="notice">Left out for want of pairs (an interval needs 3): {escape_text(names)}.</p>'
    note = (
        f"<p><b>Of {len(verdicts.rows)} claims: {numbers}.</b> A claim holds if its 95% interval lies wholly on the "
        "claimed side of the border, and does not hold if it lies wholly on the other; else it is undecided at this "
        "size, which is no evidence against it. Intervals are of each claim by itself; with many claims, some are "
        "decided by chance, and p (Holm) is adjusted for all rows of this table. Pairs: number of pairs (or of lines, "
        "of a slope) of how many architectures. Paper: its change on CIFAR-10, where it gives one. What the data do "
        "not speak to is left out. Intervals over architectures and seeds: <i>clustered bootstrap-t</i> draws "
        "architectures, then seeds within each, and studentises; <i>clustered Student's t</i>, of fewer than eight "
        "architectures, is over their means. The command takes this run's config.yaml.</p>"
    )
    return _section("verdicts", "Do the paper's claims hold?", note, left, verdicts_table(info, verdicts))


def _budgets(info: EffectsInfo) -> str:
    found = budget_infos(info)
    if not found:
        return ""
    figures = [
        to_svg(draw_budgets(one), prefix=f"budget{place}", label=f"Change of the AUC by m, {one.title}")
        for place, one in enumerate(found)
    ]
    note = "<p>Change of the primary attack's AUC by the number m of fixed edges. Thin: one architecture each.</p>"
    return _section("by-budget", "By number of fixed edges (Figure 24)", note, _panels(figures))


def _defences(info: EffectsInfo) -> str:
    levels = level_rows(info)
    title, table = "With defences (Figures 16, 28)", levels_table(levels) if levels else ""
    return _forests(info, "by-defence", title, defence_forests, _DEFENCES, table)


def _ablations(info: EffectsInfo) -> str:
    if not info.ablations:
        return ""
    drawn = [slope for slope in info.ablations if slope.predictor in SIZES]
    note = (
        "<p>Originals without a defence (of m: the patterns). Slopes are the means of lines through the measurements "
        "of one architecture and seed, where it was measured at several values; else of least squares over "
        "architectures. Thin: one architecture each; thick: their mean.</p>"
    )
    figures = _slopes(info, drawn, "ablation")
    return _section(
        "ablations", "Size of the network (Figures 21-24)", note, figures, slopes_table(info, info.ablations)
    )


def _guidelines(info: EffectsInfo) -> str:
    if not info.guidelines:
        return ""
    note = (
        "<p>Architectures as they are, without pattern or defence; a point is one architecture, the mean over its "
        "seeds. Each line is fitted by itself: properties of cells go along with each other, and none of these slopes "
        "says what would happen if that property alone were changed. Depth: edges on the longest path from an "
        "input; width: the sum over nodes of the share of their edges that comes from an input.</p>"
    )
    figures = _slopes(info, info.guidelines, "guideline")
    table = slopes_table(info, info.guidelines)
    return _section("guidelines", "Guidelines as regressions (section 5.6)", note, figures, table)


def _slopes(info: EffectsInfo, slopes: Sequence[Slope], name: str) -> str:
    several = len({slope.dataset for slope in slopes}) > 1
    figures = []
    for place, slope in enumerate(slopes):
        x = ", ".join([slope_names(slope), *([slope.dataset] if several else [])])
        label = f"{info.metric(slope.metric)} against {x}"
        drawing = draw_slope(slope, x=x.replace(", ", "\n", 1), y=info.metric(slope.metric))
        figures.append(to_svg(drawing, prefix=f"{name}{place}", label=label))
    return _panels(figures) if figures else ""


def _panels(figures: Sequence[str]) -> str:
    return f'<div class="panels">{"".join(f"<figure>{svg}</figure>" for svg in figures)}</div>'


def _all_effects(info: EffectsInfo) -> str:
    if not info.effects:
        return ""
    parts = [
        f"<details><summary>All {len(info.effects)} comparisons as a table</summary>{effects_table(info)}</details>"
    ]
    if info.unpaired:
        listed = "".join(f"<li>{escape_text(text)}</li>" for text in info.unpaired[:LISTED])
        more = len(info.unpaired) - LISTED
        rest = f"<li>and {more} more</li>" if more > 0 else ""
        title = f"{len(info.unpaired)} times, a measurement has no partner and is left out of a comparison"
        parts.append(f"<details><summary>{title}</summary><ul>{listed}{rest}</ul></details>")
    return _section("comparisons", "All comparisons", *parts)


def draw_forest(info: ForestInfo, title: Callable[[str], str]) -> Figure:
    """Mean differences with 95% intervals; a thin line through the means of one architecture, in each group of rows.

    Args:
        info: what to draw.
        title: name of a metric to what it is called.
    """
    from matplotlib.figure import Figure

    names = [plain_label(row.label, LONGEST) for row in info.rows]
    places = _places([row.group for row in info.rows])
    width = 0.5 + CHARACTER * max(map(len, names)) + COLUMN * len(info.metrics)
    figure = Figure(figsize=(max(width, 5.5), 1.15 + ROW * (places[-1] + 1)), layout="constrained")
    panels = figure.subplots(1, len(info.metrics), sharey=True, squeeze=False)[0]
    for column, (axes, metric) in enumerate(zip(panels, info.metrics, strict=True)):
        effects = [row.effects[column] for row in info.rows]
        _architectures(axes, effects, places, [row.group for row in info.rows])
        for row, effect, place in zip(info.rows, effects, places, strict=True):
            _dot(axes, effect, place, COLOURS.get(row.kind, OTHER))
        axes.axvline(0, color=GUESSING, lw=1.1, ls=(0, (4, 3)), zorder=1)
        axes.set_title(f"change of {title(metric)}", fontsize=9, loc="left", parse_math=False)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=6)
    panels[0].set_yticks(places, names, parse_math=False, fontsize=8.5)
    panels[0].set_ylim(places[-1] + 0.7, -0.7)
    _legend(figure, [row.kind for row in info.rows])
    return figure


def draw_budgets(info: BudgetInfo) -> Figure:
    """Change of the AUC by the number m of fixed edges."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.5, 2.3), layout="constrained")
    axes = figure.subplots()
    labels = dict.fromkeys(label for effect in info.effects for label in effect.by_architecture)
    for label in labels:
        line = [effect.by_architecture.get(label, np.nan) for effect in info.effects]
        axes.plot(info.budgets, line, color=THIN, lw=0.7, alpha=0.6)
    for budget, effect in zip(info.budgets, info.effects, strict=True):
        if effect.estimate is not None:
            ends = [effect.estimate.low, effect.estimate.high]
            axes.plot([budget, budget], ends, color=COLOURS[PATTERN], lw=2.2, alpha=0.6, solid_capstyle="butt")
    means = [effect.mean for effect in info.effects]
    axes.plot(info.budgets, means, "D-", color=COLOURS[PATTERN], ms=5, lw=1.2)
    axes.axhline(0, color=GUESSING, lw=1.1, ls=(0, (4, 3)), zorder=1)
    axes.set_xticks(info.budgets)
    axes.set_xlim(info.budgets[0] - 0.4, info.budgets[-1] + 0.4)
    axes.set_xlabel("number m of fixed edges")
    axes.set_ylabel("change of the AUC")
    axes.set_title(plain_label(info.title, 48), fontsize=8.5, loc="left", parse_math=False)
    return figure


def draw_slope(slope: Slope, *, x: str, y: str) -> Figure:
    """A metric against a number: a thin line an architecture where it has several values, and the mean or the line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.5, 2.3), layout="constrained")
    axes = figure.subplots()
    lines: dict[str, list[tuple[float, float]]] = {}
    for point in slope.points:
        lines.setdefault(point.architecture, []).append((point.x, point.y))
    for line in lines.values():
        axes.plot(*zip(*line, strict=True), "o-", color=THIN, ms=3.2, lw=0.7, alpha=0.7)
    values = np.unique([point.x for point in slope.points])
    if max(map(len, lines.values())) > 1:
        means = [np.mean([point.y for point in slope.points if point.x == value]) for value in values]
        axes.plot(values, means, "D-", color=COLOURS[PATTERN], ms=5, lw=1.4)
    elif slope.estimate is not None:
        centre = [np.mean([getattr(point, name) for point in slope.points]) for name in ("x", "y")]
        ends = values[[0, -1]]
        axes.plot(ends, centre[1] + slope.estimate.value * (ends - centre[0]), color=COLOURS[PATTERN], lw=1.4)
    if len(values) <= TICKS:
        axes.set_xticks(values)
    axes.set_xlabel(x, parse_math=False)
    axes.set_ylabel(plain_label(y), parse_math=False)
    return figure


def _places(groups: Sequence[str]) -> list[float]:
    """Where each row goes, with a gap between groups."""
    places, place = [], 0.0
    for index, group in enumerate(groups):
        place += (1 + GROUP_GAP * (group != groups[index - 1])) if index else 0
        places.append(place)
    return places


def _architectures(axes: Any, effects: Sequence[Effect | None], places: Sequence[float], groups: Sequence[str]) -> None:
    for group in dict.fromkeys(groups):
        lines: dict[str, list[tuple[float, float]]] = {}
        for effect, place, other in zip(effects, places, groups, strict=True):
            if effect is not None and other == group:
                for label, mean in effect.by_architecture.items():
                    lines.setdefault(label, []).append((mean, place))
        alpha = min(STRONGEST, max(FAINTEST, STRONGEST * FEW / max(len(lines), 1)))
        for line in lines.values():
            axes.plot(*zip(*line, strict=True), "o-", color=THIN, ms=2.6, lw=0.6, alpha=alpha, zorder=2)


def _dot(axes: Any, effect: Effect | None, place: float, colour: str) -> None:
    if effect is None:
        return
    if effect.estimate is not None:
        ends = [effect.estimate.low, effect.estimate.high]
        axes.plot(ends, [place, place], color=colour, lw=3.2, alpha=0.75, solid_capstyle="butt", zorder=3)
    filled = {"mfc": colour} if effect.estimate is not None else {"mfc": "white"}
    axes.plot([effect.mean], [place], "D", color=colour, ms=5.2, zorder=4, **filled)


def _legend(figure: Figure, kinds: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS.get(kind, OTHER), marker="D", ms=5, lw=2.4, label=_plain(kind))
        for kind in dict.fromkeys(kinds)
    ]
    handles.append(Line2D([], [], color=THIN, marker="o", ms=3, lw=0.8, label="one architecture"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), fontsize=8.5)


def _plain(text: str) -> str:
    """A name as it can stand in a legend, whose texts Matplotlib would read as formulas."""
    return plain_label(text).replace("$", r"\$")


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
