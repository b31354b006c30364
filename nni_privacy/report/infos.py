"""What the figures of a report show, as plain values: computed here, drawn in :mod:`nni_privacy.report.figures`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nni_privacy.attacks import RocCurve, roc_curve
from nni_privacy.report.hypervolume import REFERENCE, hypervolume_growth
from nni_privacy.report.pareto import pareto_front
from nni_privacy.report.run import RunInfo, TrialInfo
from nni_privacy.report.scores import read_scores, roc_band

__all__ = [
    "HypervolumeInfo",
    "ProgressInfo",
    "RocInfo",
    "TradeoffInfo",
    "hypervolume_info",
    "progress_info",
    "roc_info",
    "select_best",
    "tradeoff_info",
]

GRID_POINTS = 160


@dataclass(frozen=True)
class TradeoffInfo:
    """Accuracy against AUC.

    Attributes:
        trials: the trials with both numbers.
        front: the Pareto front among them, highest accuracy first.
    """

    trials: tuple[TrialInfo, ...]
    front: tuple[TrialInfo, ...]

    @property
    def dominated(self) -> tuple[TrialInfo, ...]:
        """The trials that are not on the front."""
        front = {trial.trial for trial in self.front}
        return tuple(trial for trial in self.trials if trial.trial not in front)


@dataclass(frozen=True)
class ProgressInfo:
    """Accuracy and AUC in the order of the search, NaN where a trial has none.

    Attributes:
        sequence: numbers of the trials.
        accuracy: of each trial.
        mia_auc: of each trial.
        low: lower end of the interval of ``mia_auc``.
        high: upper end.
        best_accuracy: the highest so far.
        lowest_auc: the lowest so far.
        failed: numbers of the trials that failed.
    """

    sequence: tuple[int, ...]
    accuracy: tuple[float, ...]
    mia_auc: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    best_accuracy: tuple[float, ...]
    lowest_auc: tuple[float, ...]
    failed: tuple[int, ...]


@dataclass(frozen=True)
class HypervolumeInfo:
    """The area that the trials so far dominate.

    Attributes:
        sequence: numbers of the measured trials.
        hypervolume: after each of them, never falling.
        reference: accuracy and AUC of the reference point.
    """

    sequence: tuple[int, ...]
    hypervolume: tuple[float, ...]
    reference: tuple[float, float] = REFERENCE


@dataclass(frozen=True, eq=False)
class RocInfo:
    """ROC curves of one trial.

    Attributes:
        trial: the trial.
        attacks: names, the primary (or else the first) one first.
        curves: one a name.
        members: number of members that the first attack was asked about.
        non_members: number of non-members, likewise.
        grid: ``(g,)``-dim false-positive rates of the band, from ``1 / non_members`` to 1.
        band_low: ``(g,)``-dim lower end of the first attack's 95% band.
        band_high: ``(g,)``-dim upper end.
    """

    trial: TrialInfo
    attacks: tuple[str, ...]
    curves: tuple[RocCurve, ...]
    members: int
    non_members: int
    grid: NDArray[np.float64]
    band_low: NDArray[np.float64]
    band_high: NDArray[np.float64]


def tradeoff_info(run: RunInfo) -> TradeoffInfo:
    """The trials with an accuracy and an AUC, and their Pareto front."""
    trials = run.measured
    front = pareto_front(_values(trials, "accuracy"), _values(trials, "mia_auc"))
    return TradeoffInfo(trials, tuple(trials[index] for index in front))


def hypervolume_info(run: RunInfo) -> HypervolumeInfo:
    """Hypervolume of accuracy and AUC by trial, over the trials with both."""
    trials = run.measured
    growth = hypervolume_growth(_values(trials, "accuracy"), _values(trials, "mia_auc"))
    return HypervolumeInfo(tuple(trial.sequence for trial in trials), _tuple(growth))


def select_best(front: Sequence[TrialInfo], limit: int = 4) -> tuple[TrialInfo, ...]:
    """At most ``limit`` architectures of a Pareto front: its two ends first, then what lies evenly between them.

    Args:
        front: trials, highest accuracy first. Those without a genotype are passed over, and so are repeated genotypes.
        limit: how many.

    Returns:
        The trial of highest accuracy, that of lowest AUC, and the others by falling accuracy.
    """
    distinct = {str(trial.genotype): trial for trial in reversed(front) if trial.genotype is not None}
    trials = list(reversed(distinct.values()))
    if limit <= 0 or not trials:
        return ()
    count = min(limit, len(trials))
    spread = [round(index) for index in np.linspace(0, len(trials) - 1, count)]
    order = [spread[0], *spread[-1:], *spread[1:-1]] if count > 1 else spread
    return tuple(trials[index] for index in order)


def progress_info(run: RunInfo) -> ProgressInfo:
    """Accuracy and AUC by trial, with the best so far."""
    accuracy, auc = _values(run.trials, "accuracy"), _values(run.trials, "mia_auc")
    return ProgressInfo(
        sequence=tuple(trial.sequence for trial in run.trials),
        accuracy=_tuple(accuracy),
        mia_auc=_tuple(auc),
        low=_tuple(_values(run.trials, "mia_auc_low")),
        high=_tuple(_values(run.trials, "mia_auc_high")),
        best_accuracy=_tuple(np.fmax.accumulate(accuracy)),
        lowest_auc=_tuple(np.fmin.accumulate(auc)),
        failed=tuple(trial.sequence for trial in run.trials if trial.status == "failed"),
    )


def roc_info(run: RunInfo) -> RocInfo | None:
    """ROC curves of the trial of highest accuracy (then lowest AUC) among those whose scores can be read.

    That is the model which a search for accuracy would hand over, so its leak is the one that counts.
    """
    ranked = sorted(run.measured, key=lambda trial: (-(trial.accuracy or 0), trial.mia_auc or 0, trial.sequence))
    for trial in ranked:
        scores = read_scores(run.directory, trial.trial, run.attacks)
        if scores:
            first = scores[0]
            grid = np.geomspace(1 / first.non_members, 1, GRID_POINTS) if first.non_members > 1 else np.ones(1)
            low, high = roc_band(first, grid)
            return RocInfo(
                trial=trial,
                attacks=tuple(attack.attack for attack in scores),
                curves=tuple(roc_curve(attack.scores, attack.is_member) for attack in scores),
                members=first.members,
                non_members=first.non_members,
                grid=grid,
                band_low=low,
                band_high=high,
            )
    return None


def _values(trials: Sequence[TrialInfo], metric: str) -> NDArray[np.float64]:
    """One metric of the trials that succeeded, NaN where there is none."""
    return np.array([trial.metrics.get(metric, np.nan) if trial.succeeded else np.nan for trial in trials], dtype=float)


def _tuple(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
