"""Restricted maximum likelihood of nested designs, for thousands of bootstrap replicates at once.

The model is ``y = X b + u_cell + v_cell:width + e`` with a fixed matrix ``X`` and independent effects. Where every cell
has the same widths and every width the same number of seeds, the covariance of a cell's rows has at most three
eigenspaces (*strata*), whatever the variances are (Searle, Casella and McCulloch, Variance Components, 1992, chapters
4 and 6): the mean of the cell, the widths' means around it, and the seeds around their width's mean. Their eigenvalues

    first = Var(e) + seeds Var(v) + widths seeds Var(u),   second = Var(e) + seeds Var(v),   third = Var(e)

are all that the likelihood needs to know of the variances, and the cross-products of ``[X, y]`` within each stratum,
summed over cells, all that it needs to know of the data. A replicate of the bootstrap over cells is a sum with other
weights, so that its price does not depend on the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, product

import numpy as np
import numpy.typing as npt

__all__ = ["Fit", "Strata", "fit_reml", "strata_of"]

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-10
"""Relative change of every eigenvalue below which a fit has converged."""
MOST_STEPS = 500


@dataclass(frozen=True, eq=False)
class Strata:
    """What the likelihood of a balanced nested design needs to know of its cells.

    Attributes:
        moments: ``(cells, strata, q, q)`` cross-products of the ``q`` columns ``[1, predictors, y]`` within each
            stratum of each cell, the coarsest stratum first.
        dimensions: ``(strata,)`` dimension of each stratum in one cell; they sum to the rows of a cell.
        rows: ``(strata,)`` rows that share one effect of the stratum's level: of a cell, of a width, 1.
    """

    moments: Floats
    dimensions: Floats
    rows: Floats

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self.moments)

    def components(self, eigenvalues: Floats) -> Floats:
        """``(..., strata)`` variances of the levels' effects, the coarsest first, of ``(..., strata)`` eigenvalues."""
        finer = np.concatenate([eigenvalues[..., 1:], np.zeros_like(eigenvalues[..., :1])], axis=-1)
        found: Floats = (eigenvalues - finer) / self.rows
        return found


@dataclass(frozen=True, eq=False)
class Fit:
    """Fits of one model to several replicates.

    Attributes:
        coefficients: ``(replicates, p)`` generalised least squares estimates, the intercept first.
        covariance: ``(replicates, p, p)`` their covariance if the eigenvalues were known.
        eigenvalues: ``(replicates, strata)`` variance in each stratum, in squared units of y.
        freedom: ``(replicates, strata)`` rows of each stratum less what the coefficients took of it.
        log_likelihood: ``(replicates,)`` restricted, up to a constant.
    """

    coefficients: Floats
    covariance: Floats
    eigenvalues: Floats
    freedom: Floats
    log_likelihood: Floats


def strata_of(values: Floats) -> Strata:
    """The strata of ``(cells, widths, seeds, q)`` values, whose last axis is ``[predictors, y]`` without the one.

    A stratum that has no dimension (one width, or one seed) is left out.
    """
    _, widths, seeds, _ = values.shape
    table = np.concatenate([np.ones((*values.shape[:3], 1)), values], axis=3)
    of_width = table.mean(axis=2, keepdims=True)
    of_cell = of_width.mean(axis=1, keepdims=True)
    parts = [np.broadcast_to(part, table.shape) for part in (of_cell, of_width - of_cell, table - of_width)]
    dimensions = np.array([1, widths - 1, widths * (seeds - 1)], dtype=np.float64)
    rows = np.array([widths * seeds, seeds, 1], dtype=np.float64)
    there = dimensions > 0
    moments = np.stack([np.einsum("cwsa,cwsb->cab", part, part) for part in parts], axis=1)
    # Rounding leaves the ones a trace in the finer strata, where there is none of them.
    moments[:, 1:, 0] = moments[:, 1:, :, 0] = 0.0
    return Strata(moments[:, there], dimensions[there], rows[there])


def fit_reml(strata: Strata, weights: Floats, *, bounded: bool) -> Fit:
    """Fits the model to each row of ``(replicates, cells)`` weights, how often a replicate has drawn each cell.

    Args:
        strata: of the data.
        weights: each row sums to the number of cells.
        bounded: no variance is negative, which is what maximum likelihood asks for. Else the eigenvalues are free,
            variances may come out negative, and all estimates are smooth functions of the data.
    """
    moments = np.tensordot(weights, strata.moments, axes=1)
    dimensions = strata.dimensions * weights.sum(axis=1)[:, None]
    number = len(strata.dimensions)
    best = _fit_groups(moments, dimensions, np.arange(number))
    if not bounded or number == 1:
        return best
    falling = (np.diff(best.eigenvalues, axis=1) <= 0).all(axis=1)
    (left,) = np.nonzero(~falling)
    if not len(left):
        return best
    # Where the free optimum is not allowed, the best that is has some neighbouring strata equal: all ways are tried.
    best.log_likelihood[left] = -np.inf
    for groups in _partitions(number):
        other = _fit_groups(moments[left], dimensions[left], groups)
        allowed = (np.diff(other.eigenvalues, axis=1) <= 0).all(axis=1)
        better = allowed & (other.log_likelihood > best.log_likelihood[left])
        for name in Fit.__dataclass_fields__:
            getattr(best, name)[left[better]] = getattr(other, name)[better]
    return best


def _partitions(number: int) -> Iterator[npt.NDArray[np.intp]]:
    """All ways to pool neighbours of ``number`` strata, but that without pooling: group of each stratum."""
    for breaks in product((0, 1), repeat=number - 1):
        if not all(breaks):
            yield np.array(list(accumulate(breaks, initial=0)))


def _fit_groups(moments: Floats, dimensions: Floats, groups: npt.NDArray[np.intp]) -> Fit:
    """The fit with one eigenvalue a group of strata: the fixed point of ``(residual square) / (freedom)``.

    This is where the restricted likelihood's derivatives vanish (Searle et al., 1992, section 6.6); strata share
    nothing but the few coefficients, so that a handful of steps is enough.
    """
    member = (groups == np.arange(groups.max() + 1)[:, None]).astype(np.float64)
    pooled = np.einsum("gk,rkab->rgab", member, moments)
    size = dimensions @ member.T
    eigenvalues = pooled[..., -1, -1] / size
    state = _step(pooled, size, eigenvalues)
    going = np.arange(len(pooled))
    for _ in range(MOST_STEPS):
        change = np.abs(state[0][going] / eigenvalues[going] - 1).max(axis=1)
        eigenvalues[going] = state[0][going]
        going = going[change > TOLERANCE]
        if not len(going):
            break
        for whole, part in zip(state, _step(pooled[going], size[going], eigenvalues[going]), strict=True):
            whole[going] = part
    _, coefficients, covariance, freedom, likelihood = state
    return Fit(coefficients, covariance, eigenvalues[:, groups], freedom[:, groups], likelihood)


def _step(pooled: Floats, size: Floats, eigenvalues: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Next eigenvalues; coefficients, covariance, freedom and restricted log likelihood at the present ones."""
    weighted = pooled / eigenvalues[..., None, None]
    information = weighted.sum(axis=1)
    covariance = np.linalg.inv(information[:, :-1, :-1])
    coefficients = np.einsum("rab,rb->ra", covariance, information[:, :-1, -1])
    contrast = np.concatenate([-coefficients, np.ones((len(pooled), 1))], axis=1)
    square = np.einsum("ra,rgab,rb->rg", contrast, pooled, contrast, optimize=True)
    freedom = size - np.einsum("rab,rgba->rg", covariance, weighted[:, :, :-1, :-1])
    likelihood = -0.5 * (
        (size * np.log(eigenvalues)).sum(axis=1) - np.linalg.slogdet(covariance)[1] + (square / eigenvalues).sum(axis=1)
    )
    return square / freedom, coefficients, covariance, freedom, likelihood
