"""The trials of a search that are worth another look: the feasible front first, then what is nearest to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from nni_privacy.analysis.constraints import Constraints
from nni_privacy.analysis.pareto import environmental_selection, non_dominated_ranks
from nni_privacy.errors import ConfigError
from nni_privacy.runs.records import RunInfo, TrialRecord

__all__ = ["choose_trials", "distinct_trials", "sizes_of"]


_FACTORS = {"cells": "network_cells"}
"""A size of a space to what it is called among a trial's factors, where that is another word."""


def sizes_of(trial: TrialRecord, config: Mapping[str, Any]) -> dict[str, Any]:
    """Name and sizes of the space that a trial's network is of.

    A size that the search chose itself is the trial's own; any other is the configuration's.

    Raises:
        ConfigError: if the configuration lists a size, and the trial does not tell which it had.
    """
    section = config.get("search_space")
    sizes = dict(section) if isinstance(section, Mapping) else {"name": section}
    for name, value in sizes.items():
        if isinstance(value, list):
            chosen = trial.factors.get(_FACTORS.get(name, name))
            if chosen is None:
                raise ConfigError(f"search_space.{name}: {value}; trial {trial.sequence} does not tell which it had")
            sizes[name] = int(chosen)
    return sizes


def distinct_trials(run: RunInfo) -> list[TrialRecord]:
    """The first measured trial of each architecture and size: with the run's one seed, others are the same again."""
    found: dict[str, TrialRecord] = {}
    for trial in run.measured:
        found.setdefault(json.dumps([trial.architecture, sizes_of(trial, run.config)], sort_keys=True), trial)
    return list(found.values())


def choose_trials(run: RunInfo, top: int) -> list[TrialRecord]:
    """The trials of a search that are to be confirmed, at most ``top`` of them, all of different architectures.

    Those that keep the constraints come first, Pareto front by Pareto front of accuracy and AUC: whole fronts, and of
    one that does not fit those that leave the least gap, its two ends before all others. If there are too few of them,
    those follow that are the least far from the constraints. Within a front the most accurate comes first.

    Args:
        run: the search, read.
        top: how many, at least 1.
    """
    constraints = Constraints.of(run.config.get("constraints"))
    trials = sorted(distinct_trials(run), key=_costs)
    feasible = [trial for trial in trials if not constraints.violation(trial.metrics)]
    others = sorted(
        (trial for trial in trials if constraints.violation(trial.metrics)),
        key=lambda trial: constraints.violation(trial.metrics),
    )
    if not feasible:
        return others[:top]
    costs = np.array([_costs(trial) for trial in feasible])
    ranks = non_dominated_ranks(costs)
    kept = sorted(environmental_selection(costs, top), key=lambda index: ranks[index])
    return [*(feasible[index] for index in kept), *others][:top]


def _costs(trial: TrialRecord) -> tuple[float, float]:
    """Of a measured trial, both to be low."""
    return -trial.metrics["accuracy"], trial.metrics["mia_auc"]
