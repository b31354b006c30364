"""Spearman's rank correlation in thousands of cluster resamples at once, with ties as they should be.

Resampling clusters with replacement is the same as counting each of their points so many times. The mid-rank of a point
among points that count several times is the number of points below it, plus half of those equal to it: a product of the
counts with a matrix of comparisons, for all resamples together.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["cluster_counts", "rank_correlations"]

Floats = npt.NDArray[np.float64]


def cluster_counts(clusters: Sequence[Hashable], *, rounds: int, seed: int) -> Floats:
    """How many times each point counts, in the data as they are and in resamples of whole clusters.

    Args:
        clusters: ``(n,)`` the cluster of each point.
        rounds: number of resamples, each of as many clusters as there are.
        seed: of the draws; the order of the points does not matter to them, that of the clusters' first ones does.

    Returns:
        ``(1 + rounds, n)`` whole numbers; the first row, of the data as they are, is ones.
    """
    places = {cluster: place for place, cluster in enumerate(dict.fromkeys(clusters))}
    number = len(places)
    drawn = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=rounds)
    counts = np.vstack([np.ones(number), drawn])
    return counts[:, [places[cluster] for cluster in clusters]]


def rank_correlations(x: Floats, y: Floats, counts: Floats) -> Floats:
    """Spearman's correlation of the points that have both numbers, each counted so many times.

    Args:
        x: ``(n,)``; NaN where unknown.
        y: ``(n,)``, likewise.
        counts: ``(r, n)``, 0 or more.

    Returns:
        ``(r,)``, from -1 to 1; NaN where all points that count have one value of x, or of y, or there is none.
    """
    known = np.isfinite(x) & np.isfinite(y)
    weights = counts[:, known]
    first, second = (_centred_ranks(values[known], weights) for values in (x, y))
    # Ranks are halves of whole numbers, so that a sum of squares is 0 just where they are all the same.
    scale = np.sqrt(_sums(weights, first, first) * _sums(weights, second, second))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.clip(_sums(weights, first, second) / scale, -1, 1))


def _centred_ranks(values: Floats, weights: Floats) -> Floats:
    """``(r, n)`` mid-ranks less their weighted mean, which is half of the total whatever the values."""
    below = (values < values[:, None]) + 0.5 * (values == values[:, None])
    return np.asarray(weights @ below.T - weights.sum(axis=1, keepdims=True) / 2)


def _sums(weights: Floats, first: Floats, second: Floats) -> Floats:
    return np.einsum("rn,rn,rn->r", weights, first, second)
