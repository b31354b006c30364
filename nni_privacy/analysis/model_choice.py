"""Selection of a run's trials: its Pareto front, its best, and those whose weights are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any, Literal, get_args

from nni_privacy.analysis.conditions import Condition
from nni_privacy.analysis.pareto import pareto_front
from nni_privacy.runs.records import TrialRecord

__all__ = ["KEEPS", "Keep", "best_trial", "front_trials", "kept_trials"]

Keep = Literal["front", "all", "none"]
KEEPS: tuple[Keep, ...] = get_args(Keep)

_COMPARED_WITHIN = ("dataset", "defence")
"""Factors of a study: trials that differ in one of them are not compared."""


def front_trials(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The trials on the Pareto front of accuracy and AUC, from the highest accuracy to the lowest.

    Of a study there is a front for each data set and defence.
    """
    found: list[TrialRecord] = []
    for group in _groups(trial for trial in trials if {"accuracy", "mia_auc"} <= set(trial.metrics)):
        accuracies, aucs = ([trial.metrics[name] for trial in group] for name in ("accuracy", "mia_auc"))
        front = pareto_front(accuracies, aucs)
        found += [group[index] for index in front]
    return found


def best_trial(trials: Iterable[TrialRecord], conditions: Sequence[Condition] = ()) -> TrialRecord | None:
    """The most accurate trial for whose metrics all conditions hold; of equal ones that with the lower AUC.

    Without an accuracy, what strategies maximise (``default``) stands for it. None if there is none.
    """
    feasible = [trial for trial in trials if _is_feasible(trial, conditions)]
    rated = [(rating, trial) for trial in feasible if (rating := _rating(trial)) is not None]
    return min(rated, key=lambda pair: (-pair[0], pair[1].mia_auc or 0.0, pair[1].sequence), default=(0.0, None))[1]


def kept_trials(trials: Sequence[TrialRecord], keep: Keep, conditions: Sequence[Condition] = ()) -> set[str]:
    """The trials whose weights are kept.

    Args:
        trials: finished so far.
        keep: ``all`` that succeeded, ``none``, or those of the ``front``: on it, or the most accurate; where there are
            conditions, also among those that meet them.
        conditions: of the search.

    Returns:
        Their ids.
    """
    return _KEPT[keep]([trial for trial in trials if trial.succeeded], conditions)


def _front(trials: Sequence[TrialRecord], conditions: Sequence[Condition]) -> set[str]:
    found: set[str] = set()
    for some in (trials, [trial for trial in trials if _is_feasible(trial, conditions)]):
        found.update(trial.trial for trial in front_trials(some))
        for group in _groups(some):
            best = best_trial(group)
            found.update([best.trial] if best is not None else [])
    return found


_KEPT = MappingProxyType(
    {
        "front": _front,
        "all": lambda trials, conditions: {trial.trial for trial in trials},
        "none": lambda trials, conditions: set(),
    }
)


def _is_feasible(trial: TrialRecord, conditions: Sequence[Condition]) -> bool:
    return trial.succeeded and all(condition.holds(trial.metrics) for condition in conditions)


def _rating(trial: TrialRecord) -> float | None:
    return trial.metrics.get("default") if trial.accuracy is None else trial.accuracy


def _groups(trials: Iterable[TrialRecord]) -> list[list[TrialRecord]]:
    """Trials that are compared with each other."""
    groups: dict[tuple[Any, ...], list[TrialRecord]] = {}
    for trial in trials:
        groups.setdefault(tuple(trial.factors.get(name) for name in _COMPARED_WITHIN), []).append(trial)
    return list(groups.values())
