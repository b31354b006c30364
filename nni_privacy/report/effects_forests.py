"""Mean differences with intervals, in rows that can be drawn as a forest plot: plain values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nni_privacy.effects.contrasts import CONTROLS, Effect, auc_metrics
from nni_privacy.effects.rows import NO_DEFENCE
from nni_privacy.report.effects_infos import HEADLINE, SPACES, EffectsInfo, place_of, undefended

__all__ = ["DEFENCE", "PATTERN", "ForestInfo", "ForestRow", "attack_forests", "control_forests", "dataset_forests"]
__all__ += ["defence_forests", "size_forests", "space_forests", "variant_forests"]

PATTERN, DEFENCE = "pattern", "defence"
"""Kinds of rows; the others are the names of controls."""
_CELLS = ("normal", "reduction", "dual")
_CONTROLS = (None, *CONTROLS)


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
