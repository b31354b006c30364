"""Statistics of architectures that were trained anew with the same seeds: means, differences, shrunken estimates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from nni_privacy.analysis.bootstrap import t_estimate
from nni_privacy.analysis.constraints import Constraints
from nni_privacy.analysis.rows import MeasuredRow
from nni_privacy.analysis.rules import holm
from nni_privacy.analysis.selection import distinct_trials, sizes_of
from nni_privacy.analysis.shrinkage import MIN_VALUES, expected_minimum, shrink, within_variance
from nni_privacy.runs.confirmed import (
    Confirmed,
    ConfirmedArchitecture,
    ConfirmedMean,
    Difference,
    Shrunken,
    ShrunkenTrial,
    label_of,
    means_of,
)
from nni_privacy.runs.records import RunInfo, TrialRecord

__all__ = ["confirm_architectures", "confirmed_mean", "paired_differences", "shrunken_estimates"]

Floats = npt.NDArray[np.float64]

LEVEL = 0.05
SHRUNKEN = ("mia_auc", "accuracy")
"""Metrics whose best value a search picks."""
_NO_MEASURE = ("default", "seconds")
"""What a trial reports that is no property of its architecture, or stands there twice."""
_Z = NormalDist().inv_cdf(0.975)


def confirm_architectures(
    run: RunInfo,
    chosen: Sequence[TrialRecord],
    trained: Sequence[tuple[TrialRecord, MeasuredRow]],
    *,
    seeds: Sequence[int],
    attacks: Sequence[str],
) -> Confirmed | None:
    """All that the new trainings say of a search; None if none of them has an accuracy and an AUC.

    Args:
        run: the search.
        chosen: its trials whose architectures were trained anew.
        trained: the trainings, failed ones among them, with their rows.
        seeds: of the trainings.
        attacks: names, the primary one first.
    """
    constraints = Constraints.of(run.config.get("constraints"))
    every = [_architecture(run, trial, trained, seeds, constraints) for trial in chosen]
    found = [one for one in every if {"accuracy", "mia_auc"} <= one.metrics.keys()]
    if not found:
        return None
    best = min(found, key=lambda one: _preference(one, constraints))
    tables = {name: _table(found, name) for name in _names(found)}
    return Confirmed(
        attacks=list(attacks),
        seeds=list(seeds),
        constraints=[str(one) for one in constraints.conditions],
        architectures=found,
        differences=[
            difference
            for name in _compared(tables)
            for difference in paired_differences(tables[name], [one.sequence for one in found], metric=name)
        ],
        shrunken=_present({name: shrunken_estimates(run, tables[name], name) for name in SHRUNKEN}),
        best=best.trial if best.feasible else None,
        nearest=best.trial,
    )


def _present(found: Mapping[str, Shrunken | None]) -> dict[str, Shrunken]:
    return {name: value for name, value in found.items() if value is not None}


def _preference(one: ConfirmedArchitecture, constraints: Constraints) -> tuple[float, float, float]:
    """Sorts feasible ones by falling accuracy, others by how far their means are off."""
    means = one.means
    return constraints.violation(means), -means["accuracy"], means["mia_auc"]


def _architecture(
    run: RunInfo,
    trial: TrialRecord,
    trained: Sequence[tuple[TrialRecord, MeasuredRow]],
    seeds: Sequence[int],
    constraints: Constraints,
) -> ConfirmedArchitecture:
    own = {row.seed: record for record, row in trained if row.architecture == label_of(trial.sequence)}
    good = {seed: own[seed].metrics for seed in seeds if seed in own and own[seed].succeeded}
    metrics = {
        name: confirmed_mean(name, [good.get(seed, {}).get(name) for seed in seeds])
        for name in _measured(good.values())
    }
    means = means_of(metrics)
    ends = [{**means, **{name: means.get(f"{name}_{side}") for name in metrics}} for side in ("low", "high")]
    return ConfirmedArchitecture(
        trial=trial.trial,
        sequence=trial.sequence,
        architecture=trial.architecture,
        space=sizes_of(trial, run.config),
        searched=dict(trial.metrics),
        trials=[own[seed].trial for seed in seeds if seed in own],
        failed=[seed for seed in seeds if seed in own and not own[seed].succeeded],
        metrics=metrics,
        feasible=not constraints.violation(means),
        certain=not any(constraints.violation(side) for side in ends),
    )


def _measured(rows: Iterable[Mapping[str, float]]) -> list[str]:
    """Names of the metrics that have a mean: the ends of intervals over one training's records are none of them."""
    names = dict.fromkeys(name for metrics in rows for name in metrics if name not in _NO_MEASURE)
    return [name for name in names if not (name.endswith(("_low", "_high")) and name.rpartition("_")[0] in names)]


def confirmed_mean(name: str, by_seed: Sequence[float | None]) -> ConfirmedMean:
    """The mean of a metric over seeds with Student's 95% interval, which stays within [0, 1] for fractions.

    Args:
        name: of the metric.
        by_seed: its values, None where a training has none; at least one is there.
    """
    values = np.array([value for value in by_seed if value is not None])
    mean, count = float(values.mean()), len(values)
    low = high = sd = None
    if count > 1:
        sd = float(values.std(ddof=1))
        estimate = t_estimate(mean, sd / count**0.5, count - 1, count, 1, "Student's t")
        fraction = name.endswith("accuracy") or "mia_" in name
        low, high = (max(estimate.low, 0.0), min(estimate.high, 1.0)) if fraction else (estimate.low, estimate.high)
    return ConfirmedMean(mean=mean, low=low, high=high, sd=sd, count=count, by_seed=list(by_seed))


def _names(found: Sequence[ConfirmedArchitecture]) -> list[str]:
    return list(dict.fromkeys(name for one in found for name in one.metrics))


def _table(found: Sequence[ConfirmedArchitecture], name: str) -> Floats:
    """``(architectures, seeds)`` values of a metric, NaN where there is none."""
    rows = [one.metrics[name].by_seed if name in one.metrics else [] for one in found]
    width = max(map(len, rows))
    return np.array([[np.nan if value is None else value for value in row] or [np.nan] * width for row in rows])


def _compared(names: Iterable[str]) -> list[str]:
    """Metrics whose differences are of interest: accuracy, AUCs and rates at 1% FPR, the primary attack's first."""
    first, known = ("accuracy", "mia_auc", "mia_tpr_at_1pct_fpr"), sorted(names)
    others = [name for name in known if name.endswith(("_mia_auc", "_mia_tpr_at_1pct_fpr"))]
    return [*(name for name in first if name in known), *others]


def paired_differences(table: Floats, sequences: Sequence[int], *, metric: str) -> list[Difference]:
    """The differences of all pairs of architectures over the seeds that both have, with p-values adjusted by Holm.

    Args:
        table: ``(architectures, seeds)`` values, NaN where there is none.
        sequences: number of each architecture.
        metric: its name.

    Returns:
        In the order of the pairs; one with fewer than two seeds in common has no test and is left out.
    """
    estimates = []
    for first, second in combinations(range(len(table)), 2):
        found = table[first] - table[second]
        found = found[np.isfinite(found)]
        count = len(found)
        if count > 1:
            error = float(found.std(ddof=1)) / count**0.5
            estimate = t_estimate(float(found.mean()), error, count - 1, count, 2, "paired Student's t")
            estimates.append((sequences[first], sequences[second], estimate))
    adjusted = holm([estimate.p_value() for _, _, estimate in estimates])
    return [
        Difference(
            metric=metric,
            first=first,
            second=second,
            difference=estimate.value,
            low=estimate.low,
            high=estimate.high,
            count=estimate.pairs,
            p_value=estimate.p_value(),
            adjusted=p_value,
            differ=p_value <= LEVEL,
        )
        for (first, second, estimate), p_value in zip(estimates, adjusted, strict=True)
    ]


def shrunken_estimates(run: RunInfo, table: Floats, metric: str) -> Shrunken | None:
    """The shrunken estimates of all measured trials of a search; None where there are too few numbers for them.

    Args:
        run: the search.
        table: ``(architectures, seeds)`` values of the metric, of architectures that were trained anew.
        metric: its name.
    """
    variance, dof = within_variance(table)
    distinct = distinct_trials(run)
    if not dof or len(distinct) < MIN_VALUES:
        return None
    shrunken = shrink([trial.metrics[metric] for trial in distinct], variance, dof=dof)
    searched = [trial.metrics[metric] for trial in run.measured]
    estimates, margins = shrunken.estimates(searched), _Z * shrunken.standard_errors(searched)
    trials = [
        ShrunkenTrial(
            trial=trial.trial,
            sequence=trial.sequence,
            searched=trial.metrics[metric],
            estimate=float(estimate),
            low=max(float(estimate - margin), 0.0),
            high=min(float(estimate + margin), 1.0),
        )
        for trial, estimate, margin in zip(run.measured, estimates, margins, strict=True)
    ]
    return Shrunken(
        count=len(distinct),
        mean=shrunken.mean,
        within_sd=variance**0.5,
        within_dof=dof,
        between_sd=shrunken.between**0.5,
        weight=shrunken.weight,
        expected_extreme=abs(expected_minimum(len(distinct))) * variance**0.5,
        trials=trials,
    )
