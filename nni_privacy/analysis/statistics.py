"""Statistics for few architectures: means with intervals, rank correlation, and permutations. Needs numpy and scipy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import factorial
from statistics import NormalDist
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Basis", "Correlation", "Spread", "grouped", "orders", "rank_correlation", "spread_of"]

K = TypeVar("K")
V = TypeVar("V")

Basis = Literal["t", "range", "records", "none"]
"""Source of an interval's ends: Student's 95% interval of the mean (three values or more), lowest and
highest (two), the 95% interval over the attacked records (one value that has it), or nowhere."""

DRAWS = 4999
EXACT = 7
"""Up to this many values, all orders are gone through; of more, ``DRAWS`` are drawn."""


@dataclass(frozen=True)
class Spread:
    """A mean and how sure it is.

    Attributes:
        mean: a fraction.
        low: lower end, within [0, 1]; None where ``basis`` is ``"none"``.
        high: upper end.
        basis: what the ends are.
        count: number of values.
    """

    mean: float
    low: float | None
    high: float | None
    basis: Basis
    count: int


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation.

    Attributes:
        rho: in [-1, 1].
        low: lower end of the 95% interval (Bonett and Wright, 2000); None below five pairs, or where all ranks agree.
        high: upper end.
        p_value: of a two-sided permutation test.
        count: number of pairs.
    """

    rho: float
    low: float | None
    high: float | None
    p_value: float
    count: int


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """The values by key, in the order of the keys' first appearance.

    >>> grouped([("a", 1), ("b", 2), ("a", 3)])
    {'a': [1, 3], 'b': [2]}
    """
    groups: dict[K, list[V]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def spread_of(values: Sequence[float], *, records: tuple[float | None, float | None] = (None, None)) -> Spread:
    """The mean of fractions with the best interval that so many of them allow; see :data:`Basis`.

    Args:
        values: at least one.
        records: interval of a single value over the attacked records, if it has one.
    """
    from scipy.stats import t as student

    count, mean = len(values), float(np.mean(values))
    if count == 1:
        if None in records:
            return Spread(mean, None, None, "none", 1)
        return Spread(mean, *records, "records", 1)
    if count == 2:
        return Spread(mean, min(values), max(values), "range", 2)
    half = float(student.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
    return Spread(mean, max(mean - half, 0.0), min(mean + half, 1.0), "t", count)


def rank_correlation(x: Sequence[float], y: Sequence[float], *, seed: int = 0) -> Correlation | None:
    """Spearman's correlation of independent pairs; None below three pairs, or where one side is constant.

    Args:
        x: one value per pair.
        y: likewise.
        seed: of the permutations.
    """
    from scipy.stats import rankdata

    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    a, b = (rank - rank.mean() for rank in (rankdata(x), rankdata(y)))
    scale = float(np.sqrt((a @ a) * (b @ b)))
    rho = float(np.clip(a @ b / scale, -1, 1))
    permuted = b[orders(len(b), seed=seed)] @ a / scale
    p_value = float(np.mean(np.abs(permuted) >= abs(rho) - 1e-9))
    low = high = None
    if len(x) >= 5 and abs(rho) < 1 - 1e-9:
        half = NormalDist().inv_cdf(0.975) * np.sqrt((1 + rho**2 / 2) / (len(x) - 3))
        low, high = (float(np.tanh(np.arctanh(rho) + side * half)) for side in (-1, 1))
    return Correlation(rho, low, high, p_value, len(x))


def orders(count: int, *, seed: int = 0, draws: int = DRAWS) -> NDArray[np.intp]:
    """``(m, count)`` orders of ``count`` things, the given one first: all of them if few, or else ``draws`` drawn more.

    Counting the given order makes a p-value from drawn orders valid (Phipson and Smyth, 2010).
    """
    if count <= EXACT:
        every = np.fromiter((place for order in permutations(range(count)) for place in order), dtype=np.intp)
        return every.reshape(factorial(count), count)
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.tile(np.arange(count), (draws, 1)), axis=1)
    return np.vstack([np.arange(count), drawn])
