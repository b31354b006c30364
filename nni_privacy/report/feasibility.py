"""Trials of a search with constraints: which are feasible, the best of them, or the one that came nearest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nni_privacy.analysis.constraints import Constraints, shown
from nni_privacy.errors import ConfigError, DataError
from nni_privacy.files import read_yaml
from nni_privacy.runs.records import CONSTRAINTS, RunInfo, TrialRecord

__all__ = ["FeasibilityInfo", "feasibility_info", "violation_of"]


@dataclass(frozen=True)
class FeasibilityInfo:
    """What the constraints of a search leave.

    Attributes:
        constraints: of the configuration.
        feasible: the succeeded trials that keep all of them.
        best: the feasible trial of highest accuracy (then lowest AUC); None if there is none.
        nearest: of the succeeded trials the one with the least violation (then highest accuracy).
        trials: number of succeeded trials.
        skipped: architectures that were not trained, as they break a constraint for sure; None while a search goes on.
        ended: why the search ended early, if it did.
        untrained: architecture and costs of the skipped one that came nearest, where it is known.
    """

    constraints: Constraints
    feasible: tuple[TrialRecord, ...]
    best: TrialRecord | None
    nearest: TrialRecord | None
    trials: int
    skipped: int | None = None
    ended: str | None = None
    untrained: tuple[str, Mapping[str, Any]] | None = None

    @property
    def sentence(self) -> str:
        """The best feasible trial, or that there is none and which came nearest."""
        if self.best is not None:
            numbers = ", ".join(_numbers(self.best, self.constraints))
            return f"best of {len(self.feasible)} feasible trials: #{self.best.sequence} ({self.best.trial}), {numbers}"
        if self.nearest is not None:
            broken = ", ".join(self.constraints.broken(self.nearest.metrics))
            return (
                f"no trial keeps {self.constraints}; nearest: #{self.nearest.sequence} ({self.nearest.trial}), {broken}"
            )
        if self.untrained is not None:
            architecture, costs = self.untrained
            broken = ", ".join(self.constraints.known.broken(costs))
            return f"no feasible trial: {self.ended or 'none was trained'}; nearest: {broken}, {architecture}"
        return f"no feasible trial: {self.ended or 'none was trained'}"


def feasibility_info(run: RunInfo) -> FeasibilityInfo | None:
    """What the constraints of a run leave; None if it has none that can be read."""
    try:
        constraints = Constraints.of(run.config.get("constraints"))
    except ConfigError:
        return None
    if not constraints:
        return None
    trials = [(trial, violation_of(trial, constraints)) for trial in run.succeeded]
    feasible = tuple(trial for trial, off in trials if not off)
    nearest = min(trials, key=lambda one: (one[1], *_order(one[0])), default=None)
    told = _told(run)
    untrained = told.get("nearest")
    return FeasibilityInfo(
        constraints=constraints,
        feasible=feasible,
        best=min(feasible, key=_order, default=None),
        nearest=None if nearest is None else nearest[0],
        trials=len(trials),
        skipped=told.get("skipped"),
        ended=told.get("ended"),
        untrained=(str(untrained.get("architecture")), untrained.get("metrics") or {})
        if isinstance(untrained, Mapping)
        else None,
    )


def violation_of(trial: TrialRecord, constraints: Constraints) -> float:
    """The violation; where a trial does not tell its costs (they were known before), that of what was measured."""
    known = constraints.known
    told = constraints if all(name in trial.metrics for name in known.metrics) else constraints.measured
    return told.violation(trial.metrics)


def _order(trial: TrialRecord) -> tuple[float, float]:
    metrics = trial.metrics
    auc = metrics.get("mia_auc", metrics.get("predicted_mia_auc", 1.0))
    return -metrics.get("accuracy", metrics.get("default", 0.0)), auc


def _numbers(trial: TrialRecord, constraints: Constraints) -> list[str]:
    names = dict.fromkeys(("accuracy", "mia_auc", *constraints.metrics))
    return [f"{name} {shown(trial.metrics[name])}" for name in names if name in trial.metrics]


def _told(run: RunInfo) -> Mapping[str, Any]:
    """What the search said at its end."""
    path = run.directory / "search" / CONSTRAINTS
    try:
        told = read_yaml(path, error=DataError) if path.is_file() else None  # JSON is YAML
    except DataError:
        return {}
    return told if isinstance(told, Mapping) else {}
