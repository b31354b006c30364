"""Empirical-Bayes estimates of what a search measured once: shrunken towards their mean, by how noisy one training is.

The lowest of many noisy numbers is too low (winner's curse). With ``y_i = theta_i + e_i``, noise ``e_i ~ N(0, within)``
and true values ``theta_i ~ N(mu, between)``, the posterior of ``theta_i`` does not depend on which of them was picked:
its mean is right for the lowest one, too. ``mu`` has a flat prior, and the weight that a value keeps is estimated from
the scatter of the ``y_i`` (C. Morris, "Parametric empirical Bayes inference", JASA 78, 1983).

A weight cut off at 0 would keep a part of the curse where all architectures are equal: 15% of it with forty
architectures and five seeds of five of them. So it may be negative, down to -1: the estimate of the lowest is then as
often too high as too low, at the price of a larger error where there is nothing to tell apart (root mean square .42 of
the noise instead of .30; 1 for the measured values themselves). The standard errors contain the weight's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, stats

from nni_privacy.errors import DataError

__all__ = ["MIN_VALUES", "Shrinkage", "expected_minimum", "posterior", "shrink", "within_variance"]

Floats = NDArray[np.float64]

MIN_VALUES = 3
"""Of fewer values the scatter says too little."""


@dataclass(frozen=True)
class Shrinkage:
    """What is known of true values from measured ones.

    Attributes:
        mean: of the values, which they are shrunken towards.
        within: variance of one training's value around the truth.
        between: variance of the true values, at least 0.
        weight: share of its distance from the mean that a value keeps, in [-1, 1].
        weight_error: its standard error.
        error: standard error of an estimate if the weight were known.
    """

    mean: float
    within: float
    between: float
    weight: float
    weight_error: float
    error: float

    def estimates(self, values: ArrayLike) -> Floats:
        """The estimates of true values, ``(n,)``, of measured ones, ``(n,)``."""
        return self.mean + self.weight * (np.asarray(values, dtype=np.float64) - self.mean)

    def standard_errors(self, values: ArrayLike) -> Floats:
        """Their standard errors, ``(n,)``: the farther from the mean, the more the weight's own counts."""
        return np.hypot(self.error, self.weight_error * (np.asarray(values, dtype=np.float64) - self.mean))


def within_variance(table: ArrayLike) -> tuple[float, int]:
    """Variance of one training's metric, of architectures that were trained with the same seeds.

    What a seed does to all architectures alike is left out, as a search measures all of its trials with one seed: the
    residuals of the additive model ``architecture + seed``, or of one architecture those of its mean.

    Args:
        table: ``(architectures, seeds)``, NaN where there is no value.

    Returns:
        The variance (0 where there are no degrees of freedom) and its degrees of freedom.
    """
    values = np.atleast_2d(np.asarray(table, dtype=np.float64))
    rows, columns = np.nonzero(np.isfinite(values))
    if not len(rows):
        return 0.0, 0
    factors = [rows, columns] if len(np.unique(rows)) > 1 else [rows]
    design = np.hstack([np.equal.outer(factor, np.unique(factor)) for factor in factors]).astype(float)
    found = values[rows, columns]
    solution, _, rank, _ = np.linalg.lstsq(design, found, rcond=None)
    dof = len(found) - int(rank)
    return (float(((found - design @ solution) ** 2).sum() / dof), dof) if dof else (0.0, 0)


def shrink(values: ArrayLike, within: float, *, dof: float = math.inf) -> Shrinkage:
    """The shrinkage of measured values, each of which was measured once.

    Args:
        values: ``(n,)`` finite numbers, at least 3, of different architectures.
        within: variance of one measurement, as :func:`within_variance` finds it.
        dof: degrees of freedom of that variance; infinite where it is known.

    Raises:
        DataError: with fewer values, or if one is not finite.

    >>> values = [0.60, 0.65, 0.70]
    >>> shrink(values, 0.005).estimates(values).round(3).tolist()
    [0.65, 0.65, 0.65]
    >>> shrink(values, 0.0025).estimates(values).round(3).tolist()
    [0.625, 0.65, 0.675]
    """
    measured = np.asarray(values, dtype=np.float64)
    if measured.ndim != 1 or len(measured) < MIN_VALUES or not np.isfinite(measured).all():
        raise DataError(f"{measured.size} values; expected at least {MIN_VALUES} finite numbers")
    scatter, spread = float(measured.var(ddof=1)), len(measured) - 1
    known = posterior(measured, within, max(0.0, scatter - within))
    # Where all are equal, the lowest's distance from the mean is sd * z, z independent of sd: the mean of
    # (1 - c * within / sd**2) * sd is 0 for c = (spread - 1) / spread, as that of a chi is for its inverse.
    ratio = min((spread - 1) / spread * within / scatter, 2.0) if scatter else 0.0
    doubt = ratio * math.sqrt(2 / spread + 2 / dof)  # the delta method, of both variances
    return replace(known, weight=1 - ratio, weight_error=doubt)


def posterior(values: Floats, within: float, between: float) -> Shrinkage:
    """The posterior of true values with known variances and a flat prior of their mean, in closed form.

    Args:
        values: ``(n,)`` measured values.
        within: variance of a measured value around the true one.
        between: variance of the true values around their mean.
    """
    total = within + between
    weight = between / total if total else 1.0
    variance = weight * within + (1 - weight) ** 2 * total / len(values)
    return Shrinkage(float(values.mean()), within, between, weight, 0.0, math.sqrt(variance))


def expected_minimum(count: int) -> float:
    """The expected lowest of ``count`` independent standard normal numbers: 0 of one, -2.16 of forty."""
    if count < 1:
        raise DataError(f"{count} numbers; expected at least 1")

    def density(x: float) -> float:
        return float(x * count * stats.norm.pdf(x) * stats.norm.sf(x) ** (count - 1))

    return float(integrate.quad(density, -10, 10)[0])
