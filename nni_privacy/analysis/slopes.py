"""Slopes of a metric on a number (cells N, nodes M, budget m, properties of genotypes), with their intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import linregress

from nni_privacy.analysis.bootstrap import MIN_PAIRS, Estimate, clustered_estimate, t_estimate
from nni_privacy.analysis.rows import NO_DEFENCE, MeasuredRow
from nni_privacy.analysis.statistics import grouped
from nni_privacy.cells.darts import CELL_TYPES, INPUT_NODES, Cell, CellType, Genotype
from nni_privacy.cells.operations import OPERATION_KINDS
from nni_privacy.errors import DataError

__all__ = ["PROPERTIES", "SIZES", "Point", "Slope", "ablation_slopes", "between_slope", "guideline_slopes"]
__all__ += ["within_slope"]

SIZES = ("network_cells", "nodes")
ABLATION_METRICS = ("mia_auc", "accuracy")
GUIDELINES_FROM = 5
"""Through fewer architectures, a line would say nothing."""
_SHARED = ("dataset", "defence", "seed", "control")
_WITHIN = {
    "network_cells": (*_SHARED, "variant", "nodes", "channels"),
    "nodes": (*_SHARED, "variant", "network_cells", "channels"),
    "budget": (*_SHARED, "pattern", "cells", "size"),
}
"""Predictor to what the measurements of one architecture share that a line is laid through."""


def convolutions(cell: Cell) -> float:
    """Number of edges that carry a convolution, separable or dilated."""
    return float(sum(OPERATION_KINDS[edge.op] == "convolution" for edge in cell))


def input_convolutions(cell: Cell) -> float:
    """Number of convolutions on edges from one of the cell's two inputs."""
    return float(sum(OPERATION_KINDS[edge.op] == "convolution" and edge.source < INPUT_NODES for edge in cell))


def depth(cell: Cell) -> float:
    """Number of edges on the longest path from an input to an intermediate node, from 1 to the number of nodes.

    Shu et al. (Understanding Architectures Learnt by Cell-based Neural Architecture Search, ICLR 2020) count the way
    on to the output too, which is one more in every cell.
    """
    ranks: dict[int, int] = dict.fromkeys(range(INPUT_NODES), 0)
    for target in range(INPUT_NODES, INPUT_NODES + cell.nodes):
        ranks[target] = 1 + max(ranks[edge.source] for edge in cell.into(target))
    return float(max(ranks.values()))


def width(cell: Cell) -> float:
    """Sum over intermediate nodes of the share of their in-edges that comes from an input (Shu et al., ICLR 2020).

    In units of one node's channels: from 1 (a chain) to the number of nodes (all nodes read the inputs only).
    """
    return sum(edge.source < INPUT_NODES for edge in cell) / 2


PROPERTIES: Mapping[str, Callable[[Cell], float]] = {
    "convolutions": convolutions,
    "convolutions on the inputs": input_convolutions,
    "depth": depth,
    "width": width,
}
"""What the paper's guidelines (section 5.6) speak of: name to the function that measures it in a cell."""


@dataclass(frozen=True)
class Point:
    """A predictor's value and the metric there, of one architecture (the mean over its seeds)."""

    architecture: str
    x: float
    y: float


@dataclass(frozen=True)
class Slope:
    """Change of a metric per unit of a predictor.

    Attributes:
        predictor: a factor (``network_cells``, ``nodes``, ``budget``) or a property of cells.
        metric: name of the metric.
        dataset: label of the data set.
        pattern: of ``budget``, family of the pattern; else None.
        cells: of ``budget`` where the pattern is, of a property whose it is; else None.
        points: one an architecture and value of the predictor.
        estimate: the slope with its interval; None where the data are too few.
        reason: why there is no interval; else empty.
    """

    predictor: str
    metric: str
    dataset: str
    pattern: str | None
    cells: str | None
    points: tuple[Point, ...]
    estimate: Estimate | None
    reason: str


def within_slope(rows: Sequence[MeasuredRow], predictor: str, metric: str, *, seed: int = 0) -> Estimate:
    """The mean slope of lines through the measurements of one architecture and seed, so that both cancel.

    Args:
        rows: any; those without the metric or a predictor are left out.
        predictor: ``network_cells``, ``nodes`` or ``budget``.
        metric: name of the metric.
        seed: of the interval.

    Raises:
        DataError: with fewer than 3 such lines, or lines of one architecture only.
    """
    slopes, architectures = [], []
    for line in _lines(rows, predictor, metric):
        x = np.array([float(getattr(row, predictor)) for row in line])
        slopes.append(float(linregress(x, [row.metrics[metric] for row in line]).slope))
        architectures.append(line[0].architecture)
    return clustered_estimate(slopes, architectures, seed=seed)


def between_slope(points: Sequence[Point]) -> Estimate:
    """Least squares over architectures, with Student's interval.

    Args:
        points: one an architecture, as an architecture's seeds share its predictor and are no further evidence of it.

    Raises:
        DataError: with fewer than 3 points, or if the predictor is the same everywhere.
    """
    count = len(points)
    if count < MIN_PAIRS:
        raise DataError(f"{count} architectures; an interval of a slope needs at least {MIN_PAIRS}")
    x, y = np.array([point.x for point in points]), np.array([point.y for point in points])
    if np.ptp(x) == 0:
        raise DataError("the predictor has one value only")
    line, dof = linregress(x, y), count - 2
    # Of the residuals: linregress takes its own from 1 - r**2, which rounding leaves nothing of where the line fits.
    variance = ((y - line.intercept - line.slope * x) ** 2).sum() / dof
    standard_error = float(np.sqrt(variance / ((x - x.mean()) ** 2).sum()))
    return t_estimate(float(line.slope), standard_error, dof, count, count, "least squares, Student's t")


def ablation_slopes(rows: Sequence[MeasuredRow], *, seed: int = 0) -> tuple[Slope, ...]:
    """Slopes of AUC and accuracy on cells N, nodes M (of originals) and budget m (of each pattern), undefended.

    Of the DARTS space, as in the paper; only predictors of which the rows have at least two values.
    """
    found = []
    plain = [row for row in rows if row.defence == NO_DEFENCE and row.control is None and row.space == "darts"]
    for dataset in dict.fromkeys(row.dataset for row in plain):
        here = [row for row in plain if row.dataset == dataset]
        originals = [row for row in here if row.original]
        kinds = dict.fromkeys((row.pattern, row.cells) for row in here if not row.original)
        chosen = [(predictor, None, None, originals) for predictor in SIZES]
        budgets = [("budget", *kind, [row for row in here if (row.pattern, row.cells) == kind]) for kind in kinds]
        for predictor, pattern, cells, group in [*chosen, *budgets]:
            for metric in ABLATION_METRICS:
                points, estimate, reason = _slope(group, predictor, metric, seed)
                if len({point.x for point in points}) > 1:
                    found.append(Slope(predictor, metric, dataset, pattern, cells, points, estimate, reason))
    return tuple(found)


def guideline_slopes(rows: Sequence[MeasuredRow]) -> tuple[Slope, ...]:
    """Slopes of the AUC on each property of each cell, over undefended originals of the DARTS space.

    Of several sizes of network the most frequent one counts, as a property means another thing in each; of fewer than
    five architectures there is none.
    """
    found = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        here = [row for row in rows if row.dataset == dataset and row.original and row.defence == NO_DEFENCE]
        here = [row for row in here if row.space == "darts" and "mia_auc" in row.metrics]
        sizes = Counter(row.size for row in here)
        here = [row for row in here if row.size == sizes.most_common(1)[0][0]]
        if len({row.architecture for row in here}) < GUIDELINES_FROM:
            continue
        for cells in CELL_TYPES:
            for name in PROPERTIES:
                points = _property_points(here, name, cells)
                if len({point.x for point in points}) > 1:
                    estimate = between_slope(points)
                    found.append(Slope(name, "mia_auc", dataset, None, cells, points, estimate, ""))
    return tuple(found)


def _lines(rows: Sequence[MeasuredRow], predictor: str, metric: str) -> list[list[MeasuredRow]]:
    """Measurements that differ in the predictor only, those with at least two values of it."""
    shared = ("architecture", *_WITHIN[predictor])
    known = [row for row in rows if getattr(row, predictor) is not None and metric in row.metrics]
    groups = grouped((tuple(getattr(row, name) for name in shared), row) for row in known)
    return [group for group in groups.values() if len({getattr(row, predictor) for row in group}) > 1]


def _slope(
    rows: Sequence[MeasuredRow], predictor: str, metric: str, seed: int
) -> tuple[tuple[Point, ...], Estimate | None, str]:
    """Points, slope or why there is none: within architectures that have several values, else between architectures."""
    lines = _lines(rows, predictor, metric)
    points = _points([row for line in lines for row in line] or rows, predictor, metric)
    try:
        estimate = within_slope(rows, predictor, metric, seed=seed) if lines else between_slope(points)
    except DataError as error:
        return points, None, str(error)
    return points, estimate, ""


def _points(rows: Sequence[MeasuredRow], predictor: str, metric: str) -> tuple[Point, ...]:
    """Means over seeds, by architecture and value of the predictor."""
    known = [row for row in rows if getattr(row, predictor) is not None and metric in row.metrics]
    groups = grouped(((row.architecture, float(getattr(row, predictor))), row.metrics[metric]) for row in known)
    return tuple(Point(*key, float(np.mean(values))) for key, values in sorted(groups.items()))


def _property_points(rows: Sequence[MeasuredRow], name: str, cells: CellType) -> tuple[Point, ...]:
    groups = grouped(
        (row.architecture, (PROPERTIES[name](row.genotype.cell(cells)), row.metrics["mia_auc"]))
        for row in rows
        if isinstance(row.genotype, Genotype)
    )
    return tuple(Point(label, *np.mean(values, axis=0).tolist()) for label, values in groups.items())
