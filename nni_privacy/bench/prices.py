"""Privacy bought for accuracy lost, of every route; and what a pattern does beyond the size that it takes away.

Both are differences from the reference, the original cell, widest, at its last epoch. Their ratio, the price, is a
ratio of means over cells, whose interval is Fieller's (E. C. Fieller, "Some problems in interval estimation", Journal
of the Royal Statistical Society B 16(2), 1954, with Student's t over cells). It is given where accuracy is lost for
certain: else any ratio, of either sign, fits the data. Routes that lose differently much are not to be ranked by it:
a line that bends has another ratio at each of its points. At equal accuracy
:mod:`nni_privacy.bench.frontiers` compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import stats

from nni_privacy.analysis.bootstrap import LEVEL, MIN_PAIRS, Estimate
from nni_privacy.analysis.rules import LOWERS
from nni_privacy.bench.decisions import Decision, adjusted, decide, estimated
from nni_privacy.bench.points import Grid, Measure, Setting, grids
from nni_privacy.bench.routes import demotions_of, route_settings, size_matched
from nni_privacy.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BeyondSize", "Price", "Ratio", "beyond_size", "prices", "ratio_of_means"]


@dataclass(frozen=True)
class Ratio:
    """A ratio of two means with its 95% interval.

    Attributes:
        value: the ratio.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Price:
    """What a route's point buys, and for what.

    Attributes:
        dataset: label of the data set.
        space: label of the search space.
        measure: what is read as leakage; of a logarithm, what is bought is the logarithm of a ratio.
        route: its name.
        setting: the point.
        bought: mean leak of the reference less the point's, with its interval: above 0, privacy is bought. None where
            the cells are too few.
        lost: mean accuracy of the reference less the point's, likewise.
        ratio: ``bought`` by ``lost``, in the measure's units for all accuracy (1% of it buys a hundredth); None where
            it means nothing.
        reason: why there is no ratio; else empty.
        cells: how many have both points.
        left_out: cells that have not.
    """

    dataset: str
    space: str
    measure: Measure
    route: str
    setting: Setting
    bought: Estimate | None
    lost: Estimate | None
    ratio: Ratio | None
    reason: str
    cells: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class BeyondSize:
    """A demotion against the original with as few weights, both widest (as asked for) and at the last epoch.

    Attributes:
        dataset: label of the data set.
        space: label of the search space.
        measure: what is read as leakage.
        demotion: the variant.
        by_cell: label of each cell to the demotion's leak less that of its control.
        decision: the mean of these with its interval, and whether it is below 0.
        accuracy: mean accuracy of the demotion less that of its control; None where the cells are too few.
        left_out: cells without one of the two.
    """

    dataset: str
    space: str
    measure: Measure
    demotion: str
    by_cell: Mapping[str, float]
    decision: Decision
    accuracy: Estimate | None
    left_out: tuple[str, ...]


def prices(table: pd.DataFrame, measures: Sequence[Measure], *, seed: int = 0) -> tuple[Price, ...]:
    """What every point of every route buys; points that no cell has beside its reference are left out.

    Args:
        table: see :func:`nni_privacy.bench.points.grids`.
        measures: see :func:`nni_privacy.bench.points.measures_of`.
        seed: of the bootstrap.

    Raises:
        DataError: if the table is not valid.
    """
    found = [
        _price(grid, route, setting, seed)
        for measure in measures
        for grid in grids(table, measure)
        for route, settings in route_settings(grid).items()
        for setting in settings
        if setting != grid.reference
    ]
    return tuple(one for one in found if one.cells)


def beyond_size(table: pd.DataFrame, measures: Sequence[Measure], *, seed: int = 0) -> tuple[BeyondSize, ...]:
    """Every demotion against its size-matched control; p-values are adjusted for all comparisons returned.

    Args:
        table: see :func:`nni_privacy.bench.points.grids`.
        measures: see :func:`nni_privacy.bench.points.measures_of`.
        seed: of the bootstrap.

    Raises:
        DataError: if the table is not valid.
    """
    found = [
        _beyond(grid, demotion, seed)
        for measure in measures
        for grid in grids(table, measure)
        for demotion in demotions_of(grid)
    ]
    there = [one for one in found if one.by_cell]
    decisions = adjusted([one.decision for one in there])
    return tuple(replace(one, decision=decision) for one, decision in zip(there, decisions, strict=True))


def ratio_of_means(numerators: npt.ArrayLike, denominators: npt.ArrayLike) -> Ratio | None:
    """The ratio of two means of paired numbers with Fieller's 95% interval.

    The interval holds each ``r`` for which Student's test does not reject that ``numerators - r denominators`` has the
    mean 0. It is bounded just where that test rejects that the denominators have.

    Args:
        numerators: ``(n,)``, one a cell.
        denominators: ``(n,)``.

    Returns:
        The ratio; None where the mean of the denominators is not distinguishable from 0.

    Raises:
        DataError: if the two are not equally long vectors, or shorter than 3.
    """
    y, x = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if y.ndim != 1 or y.shape != x.shape or len(y) < MIN_PAIRS:
        raise DataError(f"ratio: shapes {y.shape} and {x.shape}; expected two vectors of at least {MIN_PAIRS} numbers")
    spread = np.cov(y, x) / len(y) * stats.t.ppf((1 + LEVEL) / 2, len(y) - 1) ** 2
    # y - r x has a mean within t standard errors of 0 where a r^2 - 2 b r + c <= 0.
    a, b, c = x.mean() ** 2 - spread[1, 1], x.mean() * y.mean() - spread[0, 1], y.mean() ** 2 - spread[0, 0]
    if a <= 0:
        return None
    half = np.sqrt(max(b * b - a * c, 0.0))
    return Ratio(float(y.mean() / x.mean()), float((b - half) / a), float((b + half) / a))


def _price(grid: Grid, route: str, setting: Setting, seed: int) -> Price:
    bought, lost, left_out = _differences(grid, grid.reference, setting)
    (gain, reason), (loss, _) = estimated(bought, seed=seed), estimated(lost, seed=seed)
    ratio = None
    if gain is not None and loss is not None:
        found = ratio_of_means(list(bought.values()), list(lost.values()))
        ratio, reason = _meaningful(found, loss)
    return Price(
        *(grid.dataset, grid.space, grid.measure, route, setting, gain, loss, ratio, reason), len(lost), tuple(left_out)
    )


def _meaningful(ratio: Ratio | None, lost: Estimate) -> tuple[Ratio | None, str]:
    """The ratio where both intervals say that accuracy is lost, or why it says nothing."""
    if lost.high < 0:
        return None, "accuracy is gained, not lost"
    if ratio is None or lost.low <= 0:
        return None, "the accuracy lost is not distinguishable from 0"
    return ratio, ""


def _beyond(grid: Grid, demotion: str, seed: int) -> BeyondSize:
    leaks, accuracies, left_out = _differences(grid, grid.final(demotion), grid.final(size_matched(demotion)))
    return BeyondSize(
        dataset=grid.dataset,
        space=grid.space,
        measure=grid.measure,
        demotion=demotion,
        by_cell=leaks,
        decision=decide(leaks, LOWERS, seed=seed),
        accuracy=estimated(accuracies, seed=seed)[0],
        left_out=tuple(left_out),
    )


def _differences(grid: Grid, first: Setting, second: Setting) -> tuple[dict[str, float], dict[str, float], list[str]]:
    """Measure and accuracy of the first less those of the second, by cell; and the cells without one of them."""
    samples, left_out = grid.samples([first, second], needed=[first, second])
    pairs = {one.cell: [array[0] - array[1] for array in one.means()] for one in samples}
    leaks = {cell: float(value) for cell, (_, value) in pairs.items()}
    return leaks, {cell: float(accuracy) for cell, (accuracy, _) in pairs.items()}, left_out
