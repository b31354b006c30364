"""Numbers of a study's variants, defences and sizes, and of its forest plots, as plain values and as CSV files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from nni_privacy.analysis.bootstrap import Estimate
from nni_privacy.analysis.contrasts import CONTROLS, HEADLINE, Effect, auc_metrics, effect_metrics, paired_effects
from nni_privacy.analysis.rows import NO_DEFENCE, MeasuredRow, measured_row
from nni_privacy.analysis.slopes import Slope, ablation_slopes, guideline_slopes
from nni_privacy.analysis.statistics import grouped
from nni_privacy.analysis.verdicts import VerdictRow, Verdicts, verdict_rows
from nni_privacy.cells.spaces import space_title
from nni_privacy.errors import DataError
from nni_privacy.files import Row, to_csv
from nni_privacy.runs.records import RunInfo

__all__ = ["DEFENCE", "FORESTS", "PATTERN", "EffectsInfo", "ForestInfo", "ForestRow", "LevelRow"]
__all__ += ["budget_effects", "effects_info", "effects_tables", "level_rows"]

COMMAND = "nni-privacy measure config.yaml"

PATTERN, DEFENCE = "pattern", "defence"
"""Kinds of rows; the others are the names of controls."""
_CELLS = ("normal", "reduction", "dual")
_CONTROLS = (None, *CONTROLS)
_VARIANT = attrgetter("variant")
_Text = Callable[[Effect], str]


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
        return self.primary if metric == "mia_auc" else metric.removesuffix("_mia_auc").replace("_", " ")

    def metric(self, name: str) -> str:
        """What a metric is called."""
        return f"AUC, {self.attack(name)}" if name.endswith("mia_auc") else name.replace("_", " ")


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
        primary=run.attacks[0].replace("_", " ") if run.attacks else "primary attack",
        epsilons=_epsilons(rows),
        unpaired=_unpaired(effects),
    )


def budget_effects(info: EffectsInfo) -> dict[str, dict[int, Effect]]:
    """Changes of the AUC by pattern, cells and data set, each by two or more numbers m of fixed edges, rising."""
    groups: dict[str, dict[int, Effect]] = {}
    for effect in _uncontrolled(info):
        treatment = effect.treatment
        if treatment.budget is not None and effect.metric == "mia_auc":
            title = f"{treatment.pattern}, {treatment.cells}, {place_of(effect)}"
            groups.setdefault(title, {})[treatment.budget] = effect
    return {title: dict(sorted(found.items())) for title, found in groups.items() if len(found) > 1}


def level_rows(info: EffectsInfo) -> tuple[LevelRow, ...]:
    """Accuracy and AUC by defence and variant, where there is a defence; controls left out."""
    if all(row.defence == NO_DEFENCE for row in info.rows):
        return ()
    order = list(dict.fromkeys((row.dataset, row.space) for row in info.rows))
    rows = sorted(info.rows, key=lambda row: order.index((row.dataset, row.space)))
    groups = grouped(((row.dataset, row.space, row.defence, row.variant), row) for row in rows if row.control is None)
    levels = []
    for (dataset, space, defence, variant), group in groups.items():
        names = dataset, space_title(space), info.defence(dataset, defence), variant
        architectures = len({row.architecture for row in group})
        levels.append(LevelRow(*names, architectures, _mean(group, "accuracy"), _mean(group, "mia_auc")))
    return tuple(levels)


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


def _epsilons(rows: Sequence[MeasuredRow]) -> dict[tuple[str, str], str]:
    private = [row for row in rows if "epsilon" in row.metrics]
    values = grouped(((row.dataset, row.defence), row.metrics["epsilon"]) for row in private)
    texts = {place: (f"{min(found):.3g}", f"{max(found):.3g}") for place, found in values.items()}
    return {place: f"ε = {low}" if low == high else f"ε = {low} to {high}" for place, (low, high) in texts.items()}


def _unpaired(effects: Iterable[Effect]) -> tuple[str, ...]:
    """Each measurement without a partner once, with what it misses; of the AUC, which all measurements have."""
    found = [(row, effect) for effect in effects if effect.metric == "mia_auc" for row in effect.pairing.unpaired]
    missed = ((row, one.against if row.variant == one.variant else one.variant) for row, one in found)
    return tuple(dict.fromkeys(f"{row}: no {other}" for row, other in missed))


def undefended(info: EffectsInfo, against: str) -> list[Effect]:
    """The effects without a defence, against the original or one of the controls."""
    return [effect for effect in info.effects if effect.against == against and effect.defence == NO_DEFENCE]


def place_of(effect: Effect) -> str:
    """Data set and space of an effect, in words."""
    return f"{effect.dataset}, {space_title(effect.space)}"


def _mean(rows: Sequence[MeasuredRow], metric: str) -> float | None:
    groups = grouped((row.architecture, row.metrics[metric]) for row in rows if metric in row.metrics)
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
    return _forests(plain, _VARIANT, group=_treated, kind=lambda effect: effect.treatment.control or PATTERN)


def control_forests(info: EffectsInfo) -> tuple[ForestInfo, ...]:
    """Every pattern against its controls."""
    found = [effect for control in CONTROLS for effect in undefended(info, control)]
    return _forests(found, lambda e: f"{e.variant} less {e.against}", group=_treated, kind=lambda e: e.against)


def attack_forests(info: EffectsInfo) -> tuple[ForestInfo, ...]:
    """The AUC of each attack, where there are two or more (Figure 13)."""
    metrics = auc_metrics(info.rows)
    chosen = _uncontrolled(info)
    found = []
    for place in dict.fromkeys(map(place_of, chosen)):
        here = [effect for effect in chosen if place_of(effect) == place and effect.metric in metrics]
        if len({effect.metric for effect in here}) > 1:
            rows = [ForestRow(f"{e.variant}, {info.attack(e.metric)}", e.variant, PATTERN, (e,)) for e in _sorted(here)]
            found.append(ForestInfo(place, ("attack AUC",), tuple(rows)))
    return tuple(found)


def dataset_forests(info: EffectsInfo) -> tuple[ForestInfo, ...]:
    """Data sets side by side, where a pattern was measured on two or more (Figures 14, 15, 25)."""
    chosen, datasets = _uncontrolled(info), defaultdict(set)
    for effect in chosen:
        datasets[effect.space, effect.variant].add(effect.dataset)
    return _forests(
        chosen,
        lambda e: f"{e.variant}, {e.dataset}",
        title=lambda e: space_title(e.space),
        shown=lambda e: len(datasets[e.space, e.variant]) > 1,
    )


def space_forests(info: EffectsInfo) -> tuple[ForestInfo, ...]:
    """Spaces side by side, where a pattern was measured in two (Figure 26)."""
    chosen, spaces = _uncontrolled(info), defaultdict(set)
    for effect in chosen:
        spaces[effect.dataset].add(effect.space)
    return _forests(
        chosen,
        lambda e: f"{e.variant}, {space_title(e.space)}",
        title=lambda e: e.dataset,
        group=lambda e: str(e.treatment.pattern),
        shown=lambda e: len(spaces[e.dataset]) > 1,
    )


def defence_forests(info: EffectsInfo) -> tuple[ForestInfo, ...]:
    """Each defence alone, and what a pattern adds to it (Figures 16, 28)."""

    def label(effect: Effect) -> str:
        what = "alone" if effect.against == "no defence" else f"+ {effect.variant}"
        return f"{info.defence(effect.dataset, effect.defence)} {what}"

    chosen = [
        effect
        for effect in info.effects
        if (effect.against == "no defence" and effect.treatment.pattern is None)
        or (effect.against == "original" and effect.defence != NO_DEFENCE and effect.treatment.control is None)
    ]
    kinds = {"no defence": DEFENCE, "original": PATTERN}
    return _forests(chosen, label, group=lambda e: e.defence, kind=lambda e: kinds[e.against])


def size_forests(info: EffectsInfo) -> tuple[ForestInfo, ...]:
    """Sizes of the network side by side, where a pattern was measured at two or more (Figures 21-23)."""
    found = {id(effect): (effect, size) for size, effects in info.by_size.items() for effect in effects}
    chosen = [
        effect
        for effect, _ in found.values()
        if (effect.against, effect.defence, effect.treatment.control) == ("original", NO_DEFENCE, None)
    ]
    return _forests(chosen, lambda e: f"{e.variant}, {found[id(e)][1]}")


def _uncontrolled(info: EffectsInfo) -> list[Effect]:
    """Patterns, not their controls, against the original."""
    return [effect for effect in undefended(info, "original") if effect.treatment.control is None]


def _treated(effect: Effect) -> str:
    treatment = effect.treatment
    return f"{treatment.pattern}-{treatment.cells}-{treatment.budget}"


def _forests(
    effects: Sequence[Effect],
    label: _Text,
    *,
    title: _Text = place_of,
    group: _Text = _VARIANT,
    kind: _Text = lambda effect: PATTERN,
    shown: Callable[[Effect], bool] = lambda effect: True,
) -> tuple[ForestInfo, ...]:
    """A forest a title, a row a label; rows of one group stand together."""
    found = []
    for name in dict.fromkeys(map(title, effects)):
        here = [e for e in effects if title(e) == name and e.metric in HEADLINE and shown(e)]
        metrics = tuple(metric for metric in HEADLINE if any(effect.metric == metric for effect in here))
        by_row: dict[tuple[str, str, str], dict[str, Effect]] = {}
        for effect in _sorted(here):
            by_row.setdefault((label(effect), group(effect), kind(effect)), {})[effect.metric] = effect
        rows = [ForestRow(*key, tuple(map(by_metric.get, metrics))) for key, by_metric in by_row.items()]
        order = list(dict.fromkeys(row.group for row in rows))
        if rows:
            found.append(ForestInfo(name, metrics, tuple(sorted(rows, key=lambda row: order.index(row.group)))))
    return tuple(found)


def _sorted(effects: Sequence[Effect]) -> list[Effect]:
    """By pattern, cells, budget and control; else in the study's order."""

    def key(effect: Effect) -> tuple[str, int, int, int]:
        treatment = effect.treatment
        cells = _CELLS.index(treatment.cells) if treatment.cells in _CELLS else len(_CELLS)
        control = _CONTROLS.index(treatment.control) if treatment.control in _CONTROLS else len(_CONTROLS)
        return str(treatment.pattern), cells, treatment.budget or 0, control

    return sorted(effects, key=key)


FORESTS: Mapping[str, Callable[[EffectsInfo], tuple[ForestInfo, ...]]] = {
    "effects": variant_forests,
    "controls": control_forests,
    "by-attack": attack_forests,
    "by-data": dataset_forests,
    "by-space": space_forests,
    "by-defence": defence_forests,
    "by-size": size_forests,
}
"""What a section's figures are of, by its anchor."""


def effects_tables(run: RunInfo) -> dict[str, str]:
    """``effects.csv`` (every paired comparison) and ``verdicts.csv``, name to text; none if nothing can be compared.

    Numbers are fractions, written in full; what is not known is empty.
    """
    info = effects_info(run)
    if info is None:
        return {}
    by_size = {"all": info.effects, **info.by_size}
    rows = [_effect(info, effect, size) for size, effects in by_size.items() for effect in effects]
    verdicts = [_verdict(info, row) for row in info.verdicts.rows]
    return {"effects.csv": to_csv(rows, ("data set", "defence")), "verdicts.csv": to_csv(verdicts, ("claim", "text"))}


def _effect(info: EffectsInfo, effect: Effect, size: str) -> Row:
    treatment = effect.treatment
    return {
        "data set": effect.dataset,
        "defence": effect.defence,
        "epsilon": info.epsilons.get((effect.dataset, effect.defence)),
        "space": effect.space,
        "size": size,
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


def _verdict(info: EffectsInfo, row: VerdictRow) -> Row:
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
        "ours": getattr(estimate, "value", None),
        **_estimate(estimate),
        "pairs": getattr(estimate, "pairs", None),
        "architectures": getattr(estimate, "architectures", None),
        "holds if": None if row.claim.rule is None else str(row.claim.rule),
        "verdict": row.verdict,
        "parts": "; ".join(f"{name}: {verdict}" for name, verdict in row.parts),
        "p": row.p,
        "p_holm": row.p_holm,
        "command": row.command,
    }


def _estimate(estimate: Estimate | None) -> Row:
    names = {"low": "low", "high": "high", "error": "standard_error", "method": "method"}
    return {column: getattr(estimate, name, None) for column, name in names.items()}
