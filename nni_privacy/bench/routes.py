"""Routes to more privacy, and the leak that each has at any accuracy.

From the reference (the original cell, widest, at its last epoch) a route leads to less leakage and less accuracy: a
*narrower* network, one that was *stopped early*, a *demotion* of edges, or the original with as few weights as the
demotion has (*size-matched*). The first two have several points; in the order of width or of epoch these make a line.

At an accuracy ``a``, a route's leak is the lowest of any point of that line whose accuracy is at least ``a``. So it
never falls with ``a``, a point that another one of the line dominates does not count, and an accuracy that falls over
epochs does no harm. Between two points the line is straight. Neighbours are neighbours in width or epoch, not in
accuracy: no line joins an early epoch with a late one that happens to be as accurate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from nni_privacy.analysis.rows import ORIGINAL
from nni_privacy.bench.points import Grid, Measure, Setting
from nni_privacy.errors import DataError

__all__ = ["LEAST_POINTS", "LINES", "CellRoutes", "Line", "RoutePoint", "cell_routes", "demotions_of", "lower_envelope"]
__all__ += ["route_settings", "size_matched"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

Line = Literal["narrower", "early-stopped"]
"""A route with several points."""
LEAST_POINTS = 2
"""Of fewer points, the reference among them, there is no line."""
SAME = 1e-12
"""Accuracies that differ by rounding are equal."""
CONTROLS = ("-size-matched", "-placebo")
"""How the names of a demotion's controls end."""


def _narrower(grid: Grid) -> tuple[Setting, ...]:
    return tuple(one for one in grid.settings if one.variant == ORIGINAL and one.epoch == grid.epochs)


def _early_stopped(grid: Grid) -> tuple[Setting, ...]:
    return tuple(one for one in grid.settings if one.variant == ORIGINAL and one.width == grid.widest)


LINES: Mapping[Line, Callable[[Grid], tuple[Setting, ...]]] = {
    "narrower": _narrower,
    "early-stopped": _early_stopped,
}
"""Each line to its settings: by rising width or epoch, the reference last."""


@dataclass(frozen=True)
class RoutePoint:
    """A point of a route, of one cell.

    Attributes:
        setting: variant, width and epoch.
        accuracy: mean over seeds.
        value: the measure of the mean over seeds.
        seeds: how many.
    """

    setting: Setting
    accuracy: float
    value: float
    seeds: int


@dataclass(frozen=True)
class CellRoutes:
    """All routes of one cell.

    Attributes:
        dataset: label of the data set.
        space: label of the search space.
        cell: label of the cell.
        measure: what is read as leakage.
        routes: name of each route to its points, a line's in the order of width or epoch with the reference last;
            a route without points is left out. A demotion and its control have their variant's name.
    """

    dataset: str
    space: str
    cell: str
    measure: Measure
    routes: Mapping[str, tuple[RoutePoint, ...]]


def demotions_of(grid: Grid) -> tuple[str, ...]:
    """The demotions among a place's variants, their controls left out."""
    return tuple(one for one in grid.variants if one.startswith("demotion") and not one.endswith(CONTROLS))


def size_matched(demotion: str) -> str:
    """The variant that is the original with as many weights as a demotion has."""
    return f"{demotion}-size-matched"


def route_settings(grid: Grid) -> dict[str, tuple[Setting, ...]]:
    """Name of each route of a place to its settings; demotions and controls at the largest width, at the last epoch."""
    names = [name for demotion in demotions_of(grid) for name in (demotion, size_matched(demotion))]
    lines: dict[str, tuple[Setting, ...]] = {name: settings(grid) for name, settings in LINES.items()}
    return {**lines, **{name: (grid.final(name),) for name in names}}


def cell_routes(grid: Grid) -> tuple[CellRoutes, ...]:
    """The points of every route, for each cell of a place."""
    every = route_settings(grid)
    found = []
    for cell in grid.cells:
        routes = {name: _points(grid, cell, settings) for name, settings in every.items()}
        there = {name: points for name, points in routes.items() if points}
        found.append(CellRoutes(grid.dataset, grid.space, cell, grid.measure, there))
    return tuple(found)


def _points(grid: Grid, cell: str, settings: tuple[Setting, ...]) -> tuple[RoutePoint, ...]:
    sample = grid.sample(cell, settings)
    if sample is None:
        return ()
    columns = zip(sample.settings, *(array.tolist() for array in sample.means()), strict=True)
    return tuple(RoutePoint(setting, accuracy, value, sample.seeds) for setting, accuracy, value in columns)


def lower_envelope(accuracy: npt.ArrayLike, value: npt.ArrayLike, at: npt.ArrayLike) -> Floats:
    """The lowest leak of any point of a line that is at least so accurate.

    Beyond the line's most accurate point it is that point's leak (the lowest, of several that are as accurate), below
    its least accurate one the lowest of all.

    Args:
        accuracy: ``(n,)`` of the line's points, in the order in which the line joins them; finite.
        value: ``(n,)`` their leaks, in any unit; finite.
        at: ``(m,)`` accuracies.

    Returns:
        ``(m,)`` leaks, never falling with the accuracy, each between the lowest and the highest of ``value``.

    Raises:
        DataError: if the two are not equally long vectors of finite numbers, or empty.

    >>> lower_envelope([0.7, 0.8], [0.5, 0.6], [0.6, 0.7, 0.75, 0.8, 0.9]).round(3).tolist()
    [0.5, 0.5, 0.55, 0.6, 0.6]
    """
    x, y = np.asarray(accuracy, dtype=np.float64), np.asarray(value, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise DataError(f"line: accuracies of shape {x.shape}, leaks of {y.shape}; expected equally long vectors")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError("line: an accuracy or a leak is not a finite number")
    wanted = np.minimum(np.asarray(at, dtype=np.float64), x.max())[:, None]
    corners = np.where(x >= wanted - SAME, y, np.inf)
    # A straight piece that crosses the accuracy is lowest where it does, or at its more accurate end, a corner.
    crosses = (x[:-1] - wanted) * (x[1:] - wanted) < 0
    steps = np.where(x[1:] == x[:-1], 1.0, np.diff(x))
    share = np.where(crosses, (wanted - x[:-1]) / steps, 0.0)
    pieces = np.where(crosses, (1 - share) * y[:-1] + share * y[1:], np.inf)
    return np.asarray(np.minimum(corners.min(axis=1), pieces.min(axis=1, initial=np.inf)))
