"""Numbers of a study that go beyond one architecture: Table 1 of the paper, and overfitting against AUC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nni_privacy.report.study_infos import StudyInfo, bars_info
from nni_privacy.report.study_statistics import Correlation, Spread, rank_correlation, spread_of

__all__ = ["OverfittingInfo", "OverfittingPoint", "Table1Row", "overfitting_info", "table1_rows"]


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
    seed: str
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
    for dataset in study.measured_datasets:
        for attack in study.attacks:
            bars = bars_info(study, dataset, attack).bars
            for kind in study.kinds:
                found = [(bar.architecture, bar.spread) for bar in bars if bar.spread and bar.architecture.kind == kind]
                if found:
                    whose, highest = max(found, key=lambda one: one[1].mean)
                    rows.append(
                        Table1Row(
                            dataset=dataset,
                            attack=attack,
                            kind=kind,
                            spread=highest if len(found) == 1 else spread_of([one.mean for _, one in found]),
                            architectures=len(found),
                            measurements=sum(one.count for _, one in found),
                            highest=highest.mean,
                            whose=whose.label,
                        )
                    )
    return tuple(rows)


def overfitting_info(study: StudyInfo, dataset: str, attack: str) -> OverfittingInfo:
    """Overfitting against AUC, and how their ranks go together."""
    metric, points = study.attacks[attack], []
    for one in study.of(dataset):
        overfitting, auc = one.metric("overfitting"), one.metric(metric)
        if overfitting is not None and auc is not None:
            points.append(OverfittingPoint(one.architecture.label, one.architecture.kind, one.seed, overfitting, auc))
    by_architecture: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        by_architecture.setdefault(point.architecture, []).append((point.overfitting, point.auc))
    means = np.array([np.mean(pairs, axis=0) for pairs in by_architecture.values()]).reshape(-1, 2)
    return OverfittingInfo(dataset, attack, tuple(points), rank_correlation(means[:, 0].tolist(), means[:, 1].tolist()))
