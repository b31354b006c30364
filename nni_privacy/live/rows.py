"""Rows of the live page: finished trials, the attacks of an audit, and trials under way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nni_privacy.analysis.constraints import Constraints
from nni_privacy.live.inside import is_inside
from nni_privacy.report.feasibility import violation_of
from nni_privacy.runs.epochs import EPOCHS_FILE, longer, read_epochs
from nni_privacy.runs.progress import Progress, RunningTrial
from nni_privacy.runs.records import Curves, FixedEdges, RunInfo, TrialRecord, finite_number, name_of

__all__ = ["PHASES", "Row", "RowContext", "RunningRow", "judged", "pattern_of", "row_of", "running_rows"]
__all__ += ["supernet_rows"]

PHASES = ("initial population", "evolution")
"""Of a strategy with a population, which draws as many trials as it holds before it breeds."""

_LARGEST = 1 << 24
"""Bytes; no log of a search has more."""


@dataclass(frozen=True)
class Row:
    """A finished trial, or an attack of an audit.

    Attributes:
        trial: its id.
        sequence: its number, from 0.
        status: how it ended.
        metrics: name to finite number.
        seconds: wall time.
        feasible: whether it keeps all constraints; None where there are none, or it failed.
        violation: how far it is off them; None where that is unknown.
        phase: of the strategy; None where it has none.
        pattern: whether it has all fixed edges; None where there are none, or it has no genotype.
        factors: of a study's measurement, or its size; plain values.
        notices: why its numbers may be no result.
        error: why it failed.
        stopped: why it was stopped early.
        architecture: as text.
        has_weights: whether its weights are kept.
        nni: address of its row in NNI's own pages; None where there is none.
    """

    trial: str
    sequence: int
    status: str
    metrics: Mapping[str, float]
    seconds: float | None = None
    feasible: bool | None = None
    violation: float | None = None
    phase: str | None = None
    pattern: bool | None = None
    factors: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    error: str | None = None
    stopped: str | None = None
    architecture: str = ""
    has_weights: bool = False
    nni: str | None = None


@dataclass(frozen=True)
class RunningRow:
    """A trial under way.

    Attributes:
        sequence: its number, from 0.
        epoch: the last epoch that it has told of.
        epochs: how many there will be; None where nobody knows.
        curves: what it told after each.
        since: seconds since it was handed out.
        title: what it is called; None: by its number.
    """

    sequence: int
    epoch: int
    epochs: int | None
    curves: Mapping[str, tuple[float | None, ...]]
    since: float
    title: str | None = None


@dataclass(frozen=True)
class RowContext:
    """What of a run the rows of its trials depend on."""

    constraints: Constraints
    fixed: FixedEdges
    population: int | None

    @classmethod
    def of(cls, run: RunInfo, constraints: Constraints) -> RowContext:
        """The context of a run; a population is one that a strategy of ours or NNI's is configured with."""
        strategy = run.config.get("strategy")
        size = strategy.get("population_size") if isinstance(strategy, Mapping) else None
        fixed = {name: edges for name, edges in run.fixed_edges.items() if edges}
        return cls(constraints, fixed, size if type(size) is int else None)


def row_of(trial: TrialRecord, context: RowContext, *, has_weights: bool = False, nni: str | None = None) -> Row:
    """The row of a finished trial, which :func:`judged` completes."""
    off = violation_of(trial, context.constraints) if context.constraints and trial.succeeded else None
    phase = None if context.population is None else PHASES[trial.sequence >= context.population]
    return Row(
        trial=trial.trial,
        sequence=trial.sequence,
        status=trial.status,
        metrics=trial.metrics,
        seconds=trial.seconds,
        feasible=None if off is None else off == 0,
        violation=off if off is not None and math.isfinite(off) else None,
        phase=phase,
        factors={key: value for key, value in trial.factors.items() if not _is_no_number(value)},
        notices=trial.notices,
        error=trial.error,
        stopped=trial.stopped,
        architecture=trial.architecture,
        has_weights=has_weights,
        nni=nni,
    )


def judged(row: Row, trial: TrialRecord, context: RowContext) -> Row:
    """The row with whether the trial has all fixed edges."""
    return row if trial.genotype is None else replace(row, pattern=not trial.missing(context.fixed))


def _is_no_number(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def running_rows(progress: Progress | None, finished: Iterable[TrialRecord], now: float) -> tuple[RunningRow, ...]:
    """The trials under way that have not finished meanwhile."""
    trials: tuple[RunningTrial, ...] = () if progress is None else progress.trials
    ended = {record.sequence for record in finished} if trials else set()
    return tuple(
        RunningRow(one.sequence, one.epoch, one.epochs, one.curves, max(now - one.began, 0.0))
        for one in trials
        if one.sequence not in ended
    )


def supernet_rows(folder: Path) -> tuple[RunningRow, ...]:
    """The supernet of a one-shot search, trained before there is any trial; nothing when that is done.

    Args:
        folder: ``search/`` of the run directory.
    """
    try:
        path = folder / EPOCHS_FILE
        epochs = read_epochs(folder) if is_inside(folder.parent, path, _LARGEST) else []
    except (OSError, ValueError, TypeError, RecursionError):  # a torn line is whole at the next look
        return ()
    if not epochs or not all(type(one.epoch) is type(one.epochs) is int for one in epochs):
        return ()
    last = epochs[-1]
    if last.epoch >= last.epochs:
        return ()
    curves: Curves = {}
    for one in epochs:
        told = one.metrics if isinstance(one.metrics, Mapping) else {}
        numbers = {str(name): finite_number(value) for name, value in {**told, "entropy": one.entropy}.items()}
        curves = longer(curves, {name: value for name, value in numbers.items() if value is not None})
    since = sum(finite_number(one.seconds) or 0.0 for one in epochs)
    return (RunningRow(0, last.epoch, last.epochs, curves, since, "Supernet"),)


def pattern_of(run: RunInfo) -> dict[str, Any] | None:
    """The configured pattern; None if there is none."""
    pattern = run.config.get("pattern")
    if not pattern:
        return None
    given = pattern if isinstance(pattern, Mapping) else {}
    cells, budget = given.get("cells"), given.get("budget")
    return {
        "name": name_of(pattern),
        "cells": None if cells is None else str(cells),
        "budget": budget if type(budget) is int else None,
    }
