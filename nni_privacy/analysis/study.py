"""A measurement study as plain values: its measurements, and what stands in its facts, bars and tables.

Figures compare architectures as they are: where a study has variants or defences, they take the variant
``"original"`` and the defence ``"none"`` if there are such measurements, and all of them if not. Beyond one
architecture: Table 1 of the paper, and overfitting against AUC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from nni_privacy.analysis.statistics import Correlation, Spread, grouped, rank_correlation, spread_of
from nni_privacy.runs.records import RunInfo, TrialRecord, name_of

__all__ = ["ACCURACY", "HUMAN", "NAS", "Architecture", "Bar", "BarsInfo", "OverfittingInfo", "OverfittingPoint"]
__all__ += ["StudyInfo", "StudyTrial", "Table1Row", "bars_info", "overfitting_info", "study_info", "table1_rows"]

HUMAN, NAS = "human-designed", "NAS"
ACCURACY = "accuracy"
UNNAMED_ATTACK = "primary attack"
SUFFIX = "_mia_auc"


@dataclass(frozen=True)
class Architecture:
    """An architecture of a study: its label, and whether people or a search designed it.

    Where the figures show it in several sizes, variants or defences, these are parts of the label.
    """

    label: str
    kind: str


@dataclass(frozen=True)
class StudyTrial:
    """A trial of a study with the labels of what it was set to; see :attr:`TrialRecord.factors`."""

    trial: TrialRecord
    architecture: Architecture
    variant: str
    dataset: str
    defence: str
    seed: str
    size: str

    @property
    def setting(self) -> tuple[str, ...]:
        """The factors that identify this measurement; a second attempt has the same."""
        return self.architecture.label, self.variant, self.size, self.dataset, self.defence, self.seed

    def metric(self, name: str) -> float | None:
        """A metric, if the trial succeeded and has it."""
        return self.trial.metrics.get(name) if self.trial.succeeded else None


@dataclass(frozen=True)
class StudyInfo:
    """A measurement study.

    Attributes:
        attacks: those with an AUC in some measurement, the primary one first, to the names of their metrics.
        datasets: labels, in the order of the configuration and then of the measurements.
        architectures: human-designed ones first, else in the order of the measurements.
        seeds: as text.
        measurements: that the figures show; of several attempts the last that succeeded, or else the last.
        further: measurements of other variants or defences, which the figures leave out.
        variants: of the measurements shown.
        defences: likewise.
        missing: (architecture, data set, seed) of the grid that has neither succeeded nor failed.
    """

    attacks: Mapping[str, str]
    datasets: tuple[str, ...]
    architectures: tuple[Architecture, ...]
    seeds: tuple[str, ...]
    measurements: tuple[StudyTrial, ...]
    further: tuple[StudyTrial, ...]
    variants: tuple[str, ...]
    defences: tuple[str, ...]
    missing: tuple[tuple[str, str, str], ...]

    @property
    def succeeded(self) -> tuple[StudyTrial, ...]:
        """The measurements shown that ended well."""
        return tuple(one for one in self.measurements if one.trial.succeeded)

    @property
    def failed(self) -> tuple[StudyTrial, ...]:
        """Those that did not."""
        return tuple(one for one in self.measurements if not one.trial.succeeded)

    @property
    def ended(self) -> tuple[int, int]:
        """How many of all measurements succeeded and failed, those of other variants and defences among them."""
        every = (*self.measurements, *self.further)
        succeeded = sum(one.trial.succeeded for one in every)
        return succeeded, len(every) - succeeded

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the architectures, in their order."""
        return tuple(dict.fromkeys(one.kind for one in self.architectures))

    @property
    def measured_datasets(self) -> tuple[str, ...]:
        """The data sets with a measurement, failed ones included."""
        present = {one.dataset for one in self.measurements}
        return tuple(name for name in self.datasets if name in present)

    def of(self, dataset: str, architecture: str | None = None) -> tuple[StudyTrial, ...]:
        """The measurements on a data set, of one architecture or of all."""
        here = (one for one in self.measurements if one.dataset == dataset)
        return tuple(one for one in here if architecture in (None, one.architecture.label))


@dataclass(frozen=True)
class Bar:
    """One architecture in a bar chart.

    Attributes:
        architecture: which.
        spread: mean over the seeds with its interval; None where no measurement has the number.
        failed: measurements that failed.
    """

    architecture: Architecture
    spread: Spread | None
    failed: int


@dataclass(frozen=True)
class BarsInfo:
    """A bar for every architecture of the study, on one data set.

    Attributes:
        dataset: its label.
        quantity: ``"accuracy"``, or the name of the attack whose AUC it is.
        bars: in the order of the study's architectures, so that kinds stand together.
    """

    dataset: str
    quantity: str
    bars: tuple[Bar, ...]

    @property
    def empty(self) -> bool:
        """Whether no bar has a height."""
        return not any(bar.spread for bar in self.bars)


def study_info(run: RunInfo) -> StudyInfo:
    """The study that a run directory holds; a run without factors is one without measurements."""
    every = _last_attempts(_measurement(trial) for trial in run.trials if trial.factors)
    chosen = tuple(one for one in every if one.variant == "original") or every
    chosen = tuple(one for one in chosen if one.defence == "none") or chosen
    shown = _with_whole_labels(chosen)
    distinct = {one.architecture.label: one.architecture for one in shown}
    kinds = _distinct([HUMAN, NAS, *(one.kind for one in distinct.values())])
    architectures = tuple(sorted(distinct.values(), key=lambda one: kinds.index(one.kind)))
    datasets = _distinct([*_labels(run.config.get("datasets")), *(one.dataset for one in shown)])
    seeds = _distinct([*_labels(run.config.get("seeds")), *(one.seed for one in shown)])
    present = {(one.architecture.label, one.dataset, one.seed) for one in shown}
    grid = product((one.label for one in architectures), datasets, seeds)
    return StudyInfo(
        attacks=_attacks(run, shown),
        datasets=datasets,
        architectures=architectures,
        seeds=seeds,
        measurements=shown,
        further=tuple(one for one in every if one not in chosen),
        variants=_distinct(one.variant for one in shown),
        defences=_distinct(one.defence for one in shown),
        missing=tuple(setting for setting in grid if setting not in present),
    )


def bars_info(study: StudyInfo, dataset: str, quantity: str) -> BarsInfo:
    """Accuracy or an attack's AUC of every architecture.

    Args:
        study: the study.
        dataset: label of a data set.
        quantity: ``"accuracy"`` or one of ``study.attacks``.
    """
    metric = study.attacks.get(quantity, quantity)
    bars = []
    for architecture in study.architectures:
        measurements = study.of(dataset, architecture.label)
        rows = [one for one in measurements if one.metric(metric) is not None]
        values = [one.metric(metric) or 0.0 for one in rows]
        ends = (rows[0].metric(f"{metric}_low"), rows[0].metric(f"{metric}_high")) if len(rows) == 1 else (None, None)
        failed = sum(not one.trial.succeeded for one in measurements)
        bars.append(Bar(architecture, spread_of(values, records=ends) if values else None, failed))
    return BarsInfo(dataset, quantity, tuple(bars))


def _measurement(trial: TrialRecord) -> StudyTrial:
    factors = {key: str(value) for key, value in trial.factors.items() if value is not None}
    return StudyTrial(
        trial=trial,
        architecture=Architecture(factors.get("architecture", "unnamed"), factors.get("kind", "unknown")),
        variant=factors.get("variant", "original"),
        dataset=factors.get("dataset", "unnamed"),
        defence=factors.get("defence", "none"),
        seed=factors.get("seed", "unknown"),
        size=factors.get("size", ""),
    )


def _last_attempts(measurements: Iterable[StudyTrial]) -> tuple[StudyTrial, ...]:
    """One measurement a setting: a later attempt replaces an earlier one unless it failed where that succeeded."""
    kept: dict[tuple[str, ...], StudyTrial] = {}
    for one in measurements:
        before = kept.get(one.setting)
        if before is None or one.trial.succeeded or not before.trial.succeeded:
            kept[one.setting] = one
    return tuple(kept.values())


def _with_whole_labels(measurements: tuple[StudyTrial, ...]) -> tuple[StudyTrial, ...]:
    """The same, with what else tells two measurements of an architecture apart as a part of its label."""
    sizes = grouped((one.architecture.label, one.size) for one in measurements)
    differ = [name for name in ("variant", "defence") if len({getattr(one, name) for one in measurements}) > 1]
    whole = []
    for one in measurements:
        label = one.architecture.label
        parts = [one.size] if len(set(sizes[label])) > 1 else []
        label = " · ".join([label, *parts, *(getattr(one, name) for name in differ)])
        whole.append(replace(one, architecture=Architecture(label, one.architecture.kind)))
    return tuple(whole)


def _attacks(run: RunInfo, measurements: Sequence[StudyTrial]) -> dict[str, str]:
    found = _distinct(name for one in measurements if one.trial.succeeded for name in one.trial.metrics)
    primary = run.attacks[0] if run.attacks else UNNAMED_ATTACK
    others = [name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX)]
    named = {primary: "mia_auc", **{name: f"{name}{SUFFIX}" for name in _distinct([*run.attacks[1:], *others])}}
    return {name: metric for name, metric in named.items() if metric in found}


def _labels(value: Any) -> list[str]:
    """The labels in a list of the configuration: plain values, or mappings with a label or a name."""
    items = value if isinstance(value, list) else []
    return [str(item.get("label") or name_of(item)) if isinstance(item, Mapping) else str(item) for item in items]


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


@dataclass(frozen=True)
class Table1Row:
    """AUCs of one kind of architectures, on one data set under one attack.

    Attributes:
        dataset: its label.
        attack: its name.
        kind: ``"NAS"`` or ``"human-designed"``.
        spread: over architectures, each with its mean over the seeds; of a single one its own.
        architectures: their number.
        measurements: architectures x seeds behind it.
        highest: the highest mean of an architecture.
        whose: its label.
    """

    dataset: str
    attack: str
    kind: str
    spread: Spread
    architectures: int
    measurements: int
    highest: float
    whose: str


@dataclass(frozen=True)
class OverfittingPoint:
    """One measurement: train accuracy less test accuracy, and an attack's AUC."""

    architecture: str
    kind: str
    overfitting: float
    auc: float


@dataclass(frozen=True)
class OverfittingInfo:
    """Overfitting against the AUC of an attack on one data set.

    Attributes:
        dataset: its label.
        attack: its name.
        points: one a measurement that has both numbers.
        correlation: over architectures, each with its means over the seeds; None if they are too few or all alike.
    """

    dataset: str
    attack: str
    points: tuple[OverfittingPoint, ...]
    correlation: Correlation | None


def table1_rows(study: StudyInfo) -> tuple[Table1Row, ...]:
    """A row for every data set, attack and kind that has an AUC."""
    rows = []
    for dataset, attack in product(study.measured_datasets, study.attacks):
        bars = bars_info(study, dataset, attack).bars
        by_kind = grouped((bar.architecture.kind, (bar.architecture.label, bar.spread)) for bar in bars if bar.spread)
        for kind, found in by_kind.items():
            whose, highest = max(found, key=lambda one: one[1].mean)
            spreads = [spread for _, spread in found]
            spread = highest if len(found) == 1 else spread_of([one.mean for one in spreads])
            measurements = sum(one.count for one in spreads)
            rows.append(Table1Row(dataset, attack, kind, spread, len(found), measurements, highest.mean, whose))
    return tuple(rows)


def overfitting_info(study: StudyInfo, dataset: str, attack: str) -> OverfittingInfo:
    """Overfitting against AUC, and how their ranks go together."""
    metric, points = study.attacks[attack], []
    for one in study.of(dataset):
        overfitting, auc = one.metric("overfitting"), one.metric(metric)
        if overfitting is not None and auc is not None:
            points.append(OverfittingPoint(one.architecture.label, one.architecture.kind, overfitting, auc))
    by_architecture = grouped((point.architecture, (point.overfitting, point.auc)) for point in points)
    means = np.array([np.mean(pairs, axis=0) for pairs in by_architecture.values()]).reshape(-1, 2)
    return OverfittingInfo(dataset, attack, tuple(points), rank_correlation(means[:, 0].tolist(), means[:, 1].tolist()))
