"""The mean of paired differences with a 95% interval over architectures and seeds.

The architectures are the sample: what is claimed of a pattern is claimed of architectures that nobody has measured yet.
Seeds of one architecture only make its mean more exact, so pairs are *clustered* by architecture, and the estimate is
the mean of the architectures' means, however many seeds each has.

Few architectures make the ordinary percentile bootstrap too narrow (about 90% instead of 95% at ten of them). So:

- from :data:`BOOTSTRAP_FROM` architectures on, a two-level *studentised* bootstrap (bootstrap-t; Efron and Tibshirani,
  An Introduction to the Bootstrap, 1993, section 12.5): architectures are drawn with replacement, then seeds
  within each, and the quantiles of ``(mean* - mean) / standard_error*`` replace those of Student's t;
- with fewer, or many equal ones, where resampling has too little to draw from, Student's t on the architectures' means.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import stats

from nni_privacy.analysis.statistics import grouped
from nni_privacy.errors import DataError

__all__ = ["BOOTSTRAP_FROM", "MIN_PAIRS", "Estimate", "clustered_estimate", "t_estimate"]

Floats = npt.NDArray[np.float64]

MIN_PAIRS = 3
"""Fewer pairs have no interval."""
MIN_ARCHITECTURES = 2
BOOTSTRAP_FROM = 8
"""From so many architectures (of different means) on, the bootstrap covers as it promises; see docs/verdicts.md."""
RESAMPLES = 4999
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Estimate:
    """An estimate with its 95% interval.

    Attributes:
        value: the estimate, in units of the metric (or of the metric per unit of the predictor, of a slope).
        low: lower end of the interval.
        high: upper end.
        standard_error: of the estimate.
        pairs: number of paired differences (or measurements, of a slope) behind it.
        architectures: number of architectures that they belong to.
        method: how the interval was made, in words.
        t_statistics: of the bootstrap, the sorted ``(mean* - mean) / standard_error*`` of the resamples; else None.
        dof: degrees of freedom of Student's t; 0 of the bootstrap.
    """

    value: float
    low: float
    high: float
    standard_error: float
    pairs: int
    architectures: int
    method: str
    t_statistics: Floats | None = field(default=None, repr=False)
    dof: int = 0

    def p_value(self, reference: float = 0.0) -> float:
        """Two-sided p of the hypothesis that the truth is ``reference``: up to .05 just where the interval excludes it.

        Of the bootstrap it is at least ``2 / (resamples + 1)``.
        """
        if self.standard_error == 0:
            return float(self.value == reference)
        statistic = (self.value - reference) / self.standard_error
        if self.t_statistics is None:
            return float(2 * stats.t.sf(abs(statistic), self.dof))
        above = len(self.t_statistics) - np.searchsorted(self.t_statistics, statistic, side="left")
        below = np.searchsorted(self.t_statistics, statistic, side="right")
        return float(min(1.0, 2 * (min(above, below) + 1) / (len(self.t_statistics) + 1)))


def clustered_estimate(
    differences: Sequence[float] | Floats, architectures: Sequence[Hashable], *, seed: int = 0
) -> Estimate:
    """The mean paired difference with its 95% interval over architectures and seeds.

    Args:
        differences: ``(n,)`` paired differences.
        architectures: ``(n,)`` the architecture of each.
        seed: of the bootstrap; the same input and seed give the same interval.

    Raises:
        DataError: with fewer than 3 pairs, pairs of one architecture only, or a difference that is not finite.
    """
    values, clusters = _checked(differences, architectures)
    counts = np.array([len(cluster) for cluster in clusters])
    means = np.array([cluster.mean() for cluster in clusters])
    value, standard_error = float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means)))
    if len(np.unique(means)) < BOOTSTRAP_FROM:  # of ties, resamples have hardly anything to differ in
        return t_estimate(value, standard_error, len(means) - 1, len(values), len(means), "clustered Student's t")
    padded = np.zeros((len(clusters), counts.max()))
    for row, cluster in zip(padded, clusters, strict=True):
        row[: len(cluster)] = cluster
    t_statistics = _resampled_t_statistics(padded, counts, np.random.default_rng(seed))
    # The order statistics just beyond which p_value is at most 5%.
    place = int((1 - LEVEL) / 2 * (len(t_statistics) + 1))
    return Estimate(
        value=value,
        low=value - standard_error * float(t_statistics[-place]),
        high=value - standard_error * float(t_statistics[place - 1]),
        standard_error=standard_error,
        pairs=len(values),
        architectures=len(clusters),
        method="clustered bootstrap-t",
        t_statistics=t_statistics,
    )


def t_estimate(value: float, standard_error: float, dof: int, pairs: int, architectures: int, method: str) -> Estimate:
    """An estimate whose interval is Student's, with ``dof`` degrees of freedom."""
    margin = float(stats.t.ppf((1 + LEVEL) / 2, dof)) * standard_error
    return Estimate(value, value - margin, value + margin, standard_error, pairs, architectures, method, dof=dof)


def _checked(differences: Sequence[float] | Floats, architectures: Sequence[Hashable]) -> tuple[Floats, list[Floats]]:
    """The differences, and those of each architecture."""
    values = np.asarray(differences, dtype=np.float64)
    if values.shape != (len(architectures),):
        raise DataError(f"{values.size} differences of {len(architectures)} architectures; expected one per pair")
    if len(values) < MIN_PAIRS:
        raise DataError(f"{len(values)} pairs; an interval needs at least {MIN_PAIRS}")
    if not np.isfinite(values).all():
        raise DataError("a difference is not a finite number")
    groups = grouped(zip(architectures, values, strict=True))
    if len(groups) < MIN_ARCHITECTURES:
        raise DataError(f"pairs of one architecture; an interval over architectures needs {MIN_ARCHITECTURES}")
    return values, [np.array(group) for group in groups.values()]


def _resampled_t_statistics(values: Floats, counts: npt.NDArray[np.int_], rng: np.random.Generator) -> Floats:
    """Sorted studentised means of resamples of ``(architectures, most pairs)`` values, 0 beyond each one's count."""
    number, width = values.shape
    picked = rng.integers(number, size=(RESAMPLES, number))
    have = counts[picked][..., None]
    places = (rng.random((RESAMPLES, number, width)) * have).astype(np.intp)
    drawn = values[picked[..., None], places] * (np.arange(width) < have)
    means = drawn.sum(axis=2) / have[..., 0]
    errors = means.std(axis=1, ddof=1) / np.sqrt(number)
    centre = (values.sum(axis=1) / counts).mean()
    possible = errors > 0  # one architecture drawn throughout has no spread; of eight that is no event
    return np.sort((means.mean(axis=1)[possible] - centre) / errors[possible])
