"""What a study's page says of variants, defences and sizes, as plain values: computed here, drawn elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nni_privacy.effects.ablations import Slope, ablation_slopes, guideline_slopes
from nni_privacy.effects.contrasts import Effect, effect_metrics, paired_effects
from nni_privacy.effects.rows import NO_DEFENCE, MeasuredRow, measured_row
from nni_privacy.effects.verdicts import Verdicts, verdict_rows
from nni_privacy.errors import DataError
from nni_privacy.report.run import RunInfo

__all__ = ["HEADLINE", "SPACES", "BudgetInfo", "EffectsInfo", "LevelRow", "budget_infos", "effects_info", "level_rows"]
__all__ += ["place_of", "undefended"]

COMMAND = "nni-privacy measure config.yaml"
HEADLINE = ("mia_auc", "accuracy", "overfitting")
SPACES = {"darts": "DARTS space", "nasbench201": "NAS-Bench-201", None: "human-designed"}


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
            row = measured_row(trial.factors, trial.metrics, trial.architecture)
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
