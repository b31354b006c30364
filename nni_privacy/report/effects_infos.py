"""Numbers of a study's variants, defences and sizes, and of its forest plots, as plain values and as CSV files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nni_privacy.analysis.bootstrap import Estimate
from nni_privacy.analysis.contrasts import CONTROLS, Effect, auc_metrics, effect_metrics, paired_effects
from nni_privacy.analysis.rows import NO_DEFENCE, MeasuredRow, measured_row
from nni_privacy.analysis.slopes import Slope, ablation_slopes, guideline_slopes
from nni_privacy.analysis.verdicts import VerdictRow, Verdicts, verdict_rows
from nni_privacy.errors import DataError
from nni_privacy.files import to_csv
from nni_privacy.runs.records import RunInfo

__all__ = [
    "DEFENCE",
    "HEADLINE",
    "PATTERN",
    "SPACES",
    "BudgetInfo",
    "EffectsInfo",
    "ForestInfo",
    "ForestRow",
    "LevelRow",
    "attack_forests",
    "budget_infos",
    "control_forests",
    "dataset_forests",
    "defence_forests",
    "effects_info",
    "effects_tables",
    "level_rows",
    "place_of",
    "size_forests",
    "space_forests",
    "undefended",
    "variant_forests",
]

COMMAND = "nni-privacy measure config.yaml"
HEADLINE = ("mia_auc", "accuracy", "overfitting")
SPACES = {"darts": "DARTS space", "nasbench201": "NAS-Bench-201", None: "human-designed"}

PATTERN, DEFENCE = "pattern", "defence"
"""Kinds of rows; the others are the names of controls."""
_CELLS = ("normal", "reduction", "dual")
_CONTROLS = (None, *CONTROLS)


@dataclass(frozen=True)
class EffectsInfo:
    """All that a study says of its variants.

    Attributes:
        rows: the measurements that succeeded.
        effects: all paired comparisons.
        by_size: the same by size of the network, where pairs of several sizes are in one of them; else empty.
        ablations: slopes on cells N, nodes M and budget m.
        guidelines: slopes on properties of cells.
        verdicts: on the paper's claims.
        primary: name of the primary attack, in words.
        epsilons: (data set, defence) to the epsilon of its trials, as text such as ``ε = 3.2``.
        unpaired: measurements without a partner, in words.
    """

    rows: tuple[MeasuredRow, ...]
    effects: tuple[Effect, ...]
    by_size: Mapping[str, tuple[Effect, ...]]
    ablations: tuple[Slope, ...]
    guidelines: tuple[Slope, ...]
    verdicts: Verdicts
    primary: str
    epsilons: Mapping[tuple[str, str], str]
    unpaired: tuple[str, ...]

    def defence(self, dataset: str, defence: str) -> str:
        """What a defence is called, with its epsilon if it has one."""
        epsilon = self.epsilons.get((dataset, defence))
        return f"{defence} ({epsilon})" if epsilon else defence

    def attack(self, metric: str) -> str:
        """The attack whose AUC a metric is, in words."""
        return self.primary if metric == "mia_auc" else _words(metric.removesuffix("_mia_auc"))

    def metric(self, name: str) -> str:
        """What a metric is called."""
        return f"AUC, {self.attack(name)}" if name.endswith("mia_auc") else _words(name)


@dataclass(frozen=True)
class BudgetInfo:
    """Change of the AUC by the number m of fixed edges.

    Attributes:
        title: pattern, cells and data set.
        budgets: numbers m, rising.
        effects: one a budget.
    """

    title: str
    budgets: tuple[int, ...]
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class LevelRow:
    """Means over architectures (each the mean of its seeds) of one variant under one defence."""

    dataset: str
    space: str
    defence: str
    variant: str
    architectures: int
    accuracy: float | None
    mia_auc: float | None


def effects_info(run: RunInfo) -> EffectsInfo | None:
    """All comparisons that a run allows; None if there is nothing to compare."""
    rows = _rows(run)
    effects = paired_effects(rows, effect_metrics(rows))
    ablations, guidelines = ablation_slopes(rows), guideline_slopes(rows)
    if not (effects or ablations or guidelines):
        return None
    return EffectsInfo(
        rows=rows,
        effects=effects,
        by_size=_by_size(rows, effects),
        ablations=ablations,
        guidelines=guidelines,
        verdicts=verdict_rows(effects, (*ablations, *guidelines), command=COMMAND),
        primary=_words(run.attacks[0]) if run.attacks else "primary attack",
        epsilons=_epsilons(rows),
        unpaired=_unpaired(effects),
    )


def budget_infos(info: EffectsInfo) -> tuple[BudgetInfo, ...]:
    """By pattern, cells and data set, where there are two budgets or more."""
    groups: dict[str, dict[int, Effect]] = {}
    for effect in undefended(info, "original"):
        treatment = effect.treatment
        if treatment.control is None and treatment.budget is not None and effect.metric == "mia_auc":
            title = f"{treatment.pattern}, {treatment.cells}, {place_of(effect)}"
            groups.setdefault(title, {})[treatment.budget] = effect
    return tuple(
        BudgetInfo(title, tuple(sorted(found)), tuple(found[budget] for budget in sorted(found)))
        for title, found in groups.items()
        if len(found) > 1
    )


def level_rows(info: EffectsInfo) -> tuple[LevelRow, ...]:
    """Accuracy and AUC by defence and variant, where there is a defence; controls left out."""
    if all(row.defence == NO_DEFENCE for row in info.rows):
        return ()
    groups: dict[tuple[str, str | None, str, str], list[MeasuredRow]] = {}
    order = list(dict.fromkeys((row.dataset, row.space) for row in info.rows))
    for row in sorted(info.rows, key=lambda row: order.index((row.dataset, row.space))):
        if row.control is None:
            groups.setdefault((row.dataset, row.space, row.defence, row.variant), []).append(row)
    return tuple(
        LevelRow(
            dataset=dataset,
            space=SPACES[space],
            defence=info.defence(dataset, defence),
            variant=variant,
            architectures=len({row.architecture for row in rows}),
            accuracy=_mean(rows, "accuracy"),
            mia_auc=_mean(rows, "mia_auc"),
        )
        for (dataset, space, defence, variant), rows in groups.items()
    )


def _rows(run: RunInfo) -> tuple[MeasuredRow, ...]:
    """The succeeded trials with factors, of several attempts the last; those that other tools wrote are left out."""
    found: dict[tuple[object, ...], MeasuredRow] = {}
    for trial in run.succeeded:
        try:
            row = measured_row(trial)
        except DataError:
            continue
        found[row.architecture, row.variant, row.size, row.dataset, row.defence, row.seed] = row
    return tuple(found.values())


def _by_size(rows: Sequence[MeasuredRow], effects: Sequence[Effect]) -> dict[str, tuple[Effect, ...]]:
    mixed = {effect.variant for effect in effects if len({pair.after.size for pair in effect.pairing.pairs}) > 1}
    chosen = [row for row in rows if row.size is not None and (row.original or row.variant in mixed)]
    sizes = dict.fromkeys(row.size for row in chosen if row.variant in mixed and row.size is not None)
    return {size: paired_effects([row for row in chosen if row.size == size], HEADLINE) for size in sizes}


def _words(name: str) -> str:
    return name.replace("_", " ")


def _epsilons(rows: Sequence[MeasuredRow]) -> dict[tuple[str, str], str]:
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if "epsilon" in row.metrics:
            values.setdefault((row.dataset, row.defence), []).append(row.metrics["epsilon"])
    texts = {place: (f"{min(found):.3g}", f"{max(found):.3g}") for place, found in values.items()}
    return {place: f"ε = {low}" if low == high else f"ε = {low} to {high}" for place, (low, high) in texts.items()}


def _unpaired(effects: Iterable[Effect]) -> tuple[str, ...]:
    """Each measurement without a partner once, with what it misses; of the AUC, which all measurements have."""
    found: dict[str, None] = {}
    for effect in effects:
        if effect.metric == "mia_auc":
            for row in effect.pairing.unpaired:
                other = effect.against if row.variant == effect.variant else effect.variant
                found[f"{row}: no {other}"] = None
    return tuple(found)


def undefended(info: EffectsInfo, against: str) -> list[Effect]:
    """The effects without a defence, against the original or one of the controls."""
    return [effect for effect in info.effects if effect.against == against and effect.defence == NO_DEFENCE]


def place_of(effect: Effect) -> str:
    """Data set and space of an effect, in words."""
    return f"{effect.dataset}, {SPACES[effect.space]}"


def _mean(rows: Sequence[MeasuredRow], metric: str) -> float | None:
    groups: dict[str, list[float]] = {}
    for row in rows:
        if metric in row.metrics:
            groups.setdefault(row.architecture, []).append(row.metrics[metric])
    return float(np.mean([np.mean(values) for values in groups.values()])) if groups else None


@dataclass(frozen=True)
class ForestRow:
    """One row of a forest plot.

    Attributes:
        label: what it is of.
        group: rows of one group stand together, and lines join what belongs to one architecture.
        kind: ``pattern``, ``defence``, or the name of the control that it is of.
        effects: one a metric; None where there is none.
    """

    label: str
    group: str
    kind: str
    effects: tuple[Effect | None, ...]


@dataclass(frozen=True)
class ForestInfo:
    """Mean differences with their intervals, a row each, a column a metric.

    Attributes:
        title: what all rows have in common, such as the data set.
        metrics: names of the metrics.
        rows: at least one.
    """

    title: str
    metrics: tuple[str, ...]
    rows: tuple[ForestRow, ...]


def variant_forests(info: EffectsInfo) -> tuple[ForestInfo, ...]:
    """Every variant and control against its original, a forest a data set and space (Figures 9-11 of the paper)."""
    plain = undefended(info, "original")
    return _forests(plain, _name, lambda effect: effect.treatment.control or PATTERN)


def control_forests(info: EffectsInfo) -> tuple[ForestInfo, ...]:
    """Every pattern against its controls."""
    found = [effect for control in CONTROLS for effect in undefended(info, control)]
    return _forests(found, lambda effect: f"{effect.variant} less {effect.against}", lambda e: e.against)


def attack_forests(info: EffectsInfo) -> tuple[ForestInfo, ...]:
    """The AUC of each attack, where there are two or more (Figure 13)."""
    metrics = auc_metrics(info.rows)
    chosen = [effect for effect in undefended(info, "original") if effect.treatment.control is None]
    found = []
    for place in dict.fromkeys(map(place_of, chosen)):
        here = [effect for effect in chosen if place_of(effect) == place and effect.metric in metrics]
        if len({effect.metric for effect in here}) > 1:
            rows = [ForestRow(f"{e.variant}, {info.attack(e.metric)}", e.variant, PATTERN, (e,)) for e in _sorted(here)]
            found.append(ForestInfo(place, ("attack AUC",), tuple(rows)))
    return tuple(found)


def dataset_forests(info: EffectsInfo) -> tuple[ForestInfo, ...]:
    """Data sets side by side, where a pattern was measured on two or more (Figures 14, 15, 25)."""
    return _side_by_side(info, lambda effect: effect.dataset, lambda effect: SPACES[effect.space])


def space_forests(info: EffectsInfo) -> tuple[ForestInfo, ...]:
    """Spaces side by side, where a pattern was measured in two (Figure 26)."""
    chosen = _uncontrolled(info)
    found = []
    for dataset in dict.fromkeys(effect.dataset for effect in chosen):
        here = [effect for effect in chosen if effect.dataset == dataset]
        if len({effect.space for effect in here}) > 1:
            rows = _rows_of(here, lambda e: f"{e.variant}, {SPACES[e.space]}", _pattern_group, _is_pattern)
            found.append(ForestInfo(dataset, _metrics(here), rows))
    return tuple(found)


def defence_forests(info: EffectsInfo) -> tuple[ForestInfo, ...]:
    """Each defence alone, and what a pattern adds to it (Figures 16, 28)."""
    chosen = [effect for effect in info.effects if effect.metric in HEADLINE and _adds_to_defence(effect)]

    def label(effect: Effect) -> str:
        added = "alone" if effect.against == "no defence" else f"+ {effect.variant}"
        return f"{info.defence(effect.dataset, effect.defence)} {added}"

    found = []
    for place in dict.fromkeys(map(place_of, chosen)):
        here = [effect for effect in chosen if place_of(effect) == place]
        rows = _rows_of(here, label, lambda e: e.defence, lambda e: DEFENCE if e.against == "no defence" else PATTERN)
        found.append(ForestInfo(place, _metrics(here), rows))
    return tuple(found)


def size_forests(info: EffectsInfo) -> tuple[ForestInfo, ...]:
    """Sizes of the network side by side, where a pattern was measured at two or more (Figures 21-23)."""
    sizes = {id(effect): size for size, effects in info.by_size.items() for effect in effects}
    chosen = [
        effect
        for effects in info.by_size.values()
        for effect in effects
        if (effect.against, effect.defence, effect.treatment.control) == ("original", NO_DEFENCE, None)
    ]
    found = []
    for place in dict.fromkeys(map(place_of, chosen)):
        here = [effect for effect in chosen if place_of(effect) == place]
        rows = _rows_of(here, lambda e: f"{e.variant}, {sizes[id(e)]}", _name, _is_pattern)
        found.append(ForestInfo(place, _metrics(here), rows))
    return tuple(found)


def _name(effect: Effect) -> str:
    return effect.variant


def _pattern_group(effect: Effect) -> str:
    return str(effect.treatment.pattern)


def _adds_to_defence(effect: Effect) -> bool:
    """Whether it is a defence alone, or what a pattern adds to one."""
    alone = effect.against == "no defence" and effect.treatment.pattern is None
    added = effect.against == "original" and effect.defence != NO_DEFENCE and effect.treatment.control is None
    return alone or added


def _is_pattern(effect: Effect) -> str:
    return PATTERN


def _uncontrolled(info: EffectsInfo) -> list[Effect]:
    """Patterns, not their controls, against the original."""
    found = undefended(info, "original")
    return [effect for effect in found if effect.treatment.control is None and effect.metric in HEADLINE]


def _forests(
    effects: Sequence[Effect], label: Callable[[Effect], str], kind: Callable[[Effect], str]
) -> tuple[ForestInfo, ...]:
    """A forest a data set and space, its rows grouped by pattern, cells and budget."""
    found = []
    for place in dict.fromkeys(place_of(effect) for effect in effects):
        here = [e for e in effects if place_of(e) == place and e.metric in HEADLINE]
        rows = _rows_of(here, label, _treated, kind)
        if rows:
            found.append(ForestInfo(place, _metrics(here), rows))
    return tuple(found)


def _side_by_side(
    info: EffectsInfo, label: Callable[[Effect], str], title: Callable[[Effect], str]
) -> tuple[ForestInfo, ...]:
    """A forest a title, its rows grouped by variant; variants with one row only are left out."""
    chosen = _uncontrolled(info)
    found = []
    for name in dict.fromkeys(map(title, chosen)):
        here = [effect for effect in chosen if title(effect) == name]
        labels = {variant: {label(e) for e in here if e.variant == variant} for variant in {e.variant for e in here}}
        here = [effect for effect in here if len(labels[effect.variant]) > 1]
        if here:
            rows = _rows_of(here, lambda e: f"{e.variant}, {label(e)}", _name, _is_pattern)
            found.append(ForestInfo(name, _metrics(here), rows))
    return tuple(found)


def _metrics(effects: Sequence[Effect]) -> tuple[str, ...]:
    names = {effect.metric for effect in effects}
    return tuple(name for name in HEADLINE if name in names)


def _treated(effect: Effect) -> str:
    treatment = effect.treatment
    return f"{treatment.pattern}-{treatment.cells}-{treatment.budget}"


def _rows_of(
    effects: Sequence[Effect],
    label: Callable[[Effect], str],
    group: Callable[[Effect], str],
    kind: Callable[[Effect], str],
) -> tuple[ForestRow, ...]:
    """One row a label, its effects by metric."""
    found: dict[tuple[str, str, str], dict[str, Effect]] = {}
    for effect in _sorted(effects):
        if effect.metric in HEADLINE:
            found.setdefault((label(effect), group(effect), kind(effect)), {})[effect.metric] = effect
    metrics, order = _metrics(effects), list(dict.fromkeys(key[1] for key in found))
    rows = [ForestRow(*key, tuple(map(by_metric.get, metrics))) for key, by_metric in found.items()]
    return tuple(sorted(rows, key=lambda row: order.index(row.group)))


def _sorted(effects: Sequence[Effect]) -> list[Effect]:
    """By pattern, cells, budget and control; else in the study's order."""

    def key(effect: Effect) -> tuple[str, int, int, int]:
        treatment = effect.treatment
        cells = _CELLS.index(treatment.cells) if treatment.cells in _CELLS else len(_CELLS)
        control = _CONTROLS.index(treatment.control) if treatment.control in _CONTROLS else len(_CONTROLS)
        return str(treatment.pattern), cells, treatment.budget or 0, control

    return sorted(effects, key=key)


def effects_tables(run: RunInfo) -> dict[str, str]:
    """``effects.csv`` (every paired comparison) and ``verdicts.csv``, name to text; none if nothing can be compared.

    Numbers are fractions, written in full; what is not known is empty.
    """
    info = effects_info(run)
    if info is None:
        return {}
    rows = [_effect(info, effect, None) for effect in info.effects]
    rows += [_effect(info, effect, size) for size, effects in info.by_size.items() for effect in effects]
    tables = {"effects.csv": to_csv(rows, ("data set", "defence"))}
    verdicts = to_csv([_verdict(info, row) for row in info.verdicts.rows], ("claim", "text"))
    return {**tables, "verdicts.csv": verdicts}


def _effect(info: EffectsInfo, effect: Effect, size: str | None) -> Mapping[str, Any]:
    treatment = effect.treatment
    return {
        "data set": effect.dataset,
        "defence": effect.defence,
        "epsilon": info.epsilons.get((effect.dataset, effect.defence)),
        "space": effect.space,
        "size": size or "all",
        "variant": effect.variant,
        "against": effect.against,
        **{name: getattr(treatment, name) for name in ("pattern", "cells", "budget", "control")},
        "metric": effect.metric,
        "difference": effect.mean,
        **_estimate(effect.estimate),
        "pairs": len(effect.pairing.pairs),
        "architectures": len(effect.by_architecture),
        "unpaired": len(effect.pairing.unpaired),
        "reason": effect.reason,
    }


def _verdict(info: EffectsInfo, row: VerdictRow) -> Mapping[str, Any]:
    estimate = row.estimate
    return {
        "claim": row.claim.id,
        "text": row.claim.text,
        "source": row.claim.source,
        "data set": row.dataset,
        "defence": row.defence,
        "epsilon": info.epsilons.get((row.dataset, row.defence)),
        "variant": row.detail,
        "paper": row.paper,
        "ours": None if estimate is None else estimate.value,
        **_estimate(estimate),
        "pairs": None if estimate is None else estimate.pairs,
        "architectures": None if estimate is None else estimate.architectures,
        "holds if": None if row.claim.rule is None else str(row.claim.rule),
        "verdict": row.verdict,
        "parts": "; ".join(f"{name}: {verdict}" for name, verdict in row.parts),
        "p": row.p,
        "p_holm": row.p_holm,
        "command": row.command,
    }


def _estimate(estimate: Estimate | None) -> Mapping[str, Any]:
    names = {"low": "low", "high": "high", "error": "standard_error", "method": "method"}
    return {column: getattr(estimate, name, None) for column, name in names.items()}
