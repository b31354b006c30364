"""How many cells a table needs: for an interval of a given width, or to detect a difference of a given size.

Both start from variances that a pilot has told, such as the components of a
:class:`~nni_privacy.bench.variance.VarianceSplit`.
"""

from __future__ import annotations

from math import ceil, sqrt

from scipy import stats

from nni_privacy.bench.variance import VarianceSplit
from nni_privacy.errors import DataError

__all__ = ["cells_for_difference", "cells_for_share", "power_of_difference"]

LEVEL = 0.95
_UPPER = (1 + LEVEL) / 2
_FEWEST, _MOST = 3, 10**7


def cells_for_share(
    split: VarianceSplit, *, half_width: float, widths: int | None = None, seeds: int | None = None
) -> int:
    """Cells that a table needs for a 95% interval of the remaining architecture's share no wider than given.

    The share is ``s = R / T``, ``R`` the sum of the variances of cells and of widths within them. Its standard error
    over n cells is, to first order and with normal effects (a mean square of variance l and f degrees of freedom has
    the variance ``2 l**2 / f``),

        n T**2 se**2 = 2 ((1 - s) / (widths seeds))**2 (l1**2 + (widths - 1) l2**2)
                       + 2 ((1 - s) / seeds + s)**2 l3**2 / (widths (seeds - 1)) + s**2 F,

    with the mean squares ``l1 = noise + seeds width + widths seeds cell``, ``l2 = noise + seeds width``, ``l3 = noise``
    of the components, and F the pilot's squared standard error of the predictors' part times its cells. The number
    of cells is the least at which Student's quantile times ``se`` is at most ``half_width``. Intervals of tables of
    fewer than about 100 cells are some 5% wider than that, because their ends allow for tails that few cells hide.

    Args:
        split: of a pilot with seeds.
        half_width: in (0, 0.5).
        widths: of every cell of the table to come; None: as many as in the pilot.
        seeds: of every width; likewise.

    Raises:
        DataError: the pilot has no seeds; more widths than one where it has one; fewer than two seeds.
    """
    widths, seeds = split.widths if widths is None else widths, split.seeds if seeds is None else seeds
    if not 0 < half_width < 0.5:
        raise DataError(f"half_width: {half_width:g}; it must lie between 0 and 0.5")
    if "noise" not in split.components:
        raise DataError("the split has one row a cell; how exact a table with seeds will be, it cannot tell")
    if widths < 1 or seeds < 2:
        raise DataError(f"widths {widths}, seeds {seeds}; a split needs at least 1 and 2")
    if widths > 1 and "width" not in split.components:
        raise DataError(f"widths: {widths}; how much widths of a cell differ, a split of one width cannot tell")
    variance = _variance_of_share(split, widths, seeds)
    return _fewest_cells(variance / half_width**2)


def _variance_of_share(split: VarianceSplit, widths: int, seeds: int) -> float:
    """Squared standard error of the remaining share, times the cells."""
    cell, width, noise = (split.components.get(name, 0.0) for name in ("cell", "width", "noise"))
    share = (cell + width) / split.total
    of_widths = noise + seeds * width
    of_cells = of_widths + widths * seeds * cell
    between = 2 * ((1 - share) / (widths * seeds)) ** 2 * (of_cells**2 + (widths - 1) * of_widths**2)
    within = 2 * ((1 - share) / seeds + share) ** 2 * noise**2 / (widths * (seeds - 1))
    return (between + within + share**2 * split.fixed_error**2 * split.cells) / split.total**2


def _fewest_cells(ratio: float) -> int:
    """The least n with ``t(n - 1)**2 ratio <= n``."""
    cells = max(_FEWEST, ceil(float(stats.norm.ppf(_UPPER)) ** 2 * ratio))
    while float(stats.t.ppf(_UPPER, cells - 1)) ** 2 * ratio > cells:
        cells += 1
    return cells


def power_of_difference(
    cells: int, *, difference: float, between: float, within: float, widths: int, seeds: int
) -> float:
    """Probability that a paired difference is told from 0 at the 5% level, by a two-sided t test over cells.

    Every cell's difference (of a variant to its original, or of two attacks) is the mean over widths and seeds; it has
    the variance ``between + within / (widths seeds)``, and the test's power follows from the noncentral t.

    Args:
        cells: at least 2.
        difference: true mean of the paired differences.
        between: variance of the true differences from cell to cell.
        within: variance of one pair's difference around its cell's; of independent trainings twice the ``noise`` of
            the components of a :class:`~nni_privacy.bench.variance.VarianceSplit`.
        widths: of every cell.
        seeds: of every width.
    """
    if cells < 2:
        raise DataError(f"cells {cells}; a t test needs at least 2")
    shift = abs(difference) * sqrt(cells / _variance_of_cell(between, within, widths, seeds))
    limit = float(stats.t.ppf(_UPPER, cells - 1))
    right, wrong = (float(stats.nct.sf(limit, cells - 1, side * shift)) for side in (1, -1))
    return right + wrong


def _variance_of_cell(between: float, within: float, widths: int, seeds: int) -> float:
    """Variance of one cell's difference."""
    if min(between, within) < 0 or between + within <= 0:
        raise DataError(f"between {between:g}, within {within:g}; variances are not negative, and one is above 0")
    if min(widths, seeds) < 1:
        raise DataError(f"widths {widths}, seeds {seeds}; they must be at least 1")
    return between + within / (widths * seeds)


def cells_for_difference(
    *, difference: float, between: float, within: float, widths: int, seeds: int, power: float = 0.8
) -> int:
    """The fewest cells with which a paired difference is found with the given power; see power_of_difference.

    Near ``((z(.975) + z(power)) / difference)**2 (between + within / (widths seeds))``, which is where the exact
    search begins.

    Raises:
        DataError: the difference is 0, the power not in [0.5, 1), or more than ten million cells are needed.
    """
    if difference == 0 or not 0.5 <= power < 1:
        raise DataError(f"difference {difference:g}, power {power:g}; expected one that is not 0, and one in [0.5, 1)")
    variance = _variance_of_cell(between, within, widths, seeds)
    wanted = (float(stats.norm.ppf(_UPPER)) + float(stats.norm.ppf(power))) ** 2 * variance / difference**2
    if wanted > _MOST:
        raise DataError(f"a difference of {difference:g} needs {wanted:.2g} cells; at most {_MOST} are searched")
    cells = max(2, ceil(wanted) - 1)
    sizes = {"difference": difference, "between": between, "within": within}
    while power_of_difference(cells, widths=widths, seeds=seeds, **sizes) < power:
        cells += 1
    return cells
