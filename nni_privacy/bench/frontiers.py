"""Leaks at equal test error: a demotion against narrower and early-stopped networks, and wide ones against narrow ones.

A network and a line (:mod:`nni_privacy.bench.routes`) of the same cell are compared at the network's accuracy; one
difference a cell, the mean over cells with an interval that takes the cells for the sample.

What is read off a line of noisy points is biased: the lowest of several is too low, and where noise lifts the network's
accuracy above the line's best, the line's leak is too low, too. So each cell's difference is corrected by leaving out
one seed at a time (:func:`nni_privacy.bench.points.jackknifed`). Simulated with 40 cells of two seeds, trainings that
scatter by 0.014 in both numbers, and networks without a difference that are at most 0.01 less accurate than the line's
best point, the 95% intervals hold the truth in 92% to 96% of the tables, without the correction in 77% to 84%. In the
middle of a line there is little to correct. Where a line bends sharply at its top, 90% is all that was reached.

"Larger protects": wider networks leak more at the end of training (J. Tan, B. Mason, H. Javadi, R. Baraniuk,
"Parameters or Privacy", NeurIPS 2022, arXiv 2202.01243), but stopped early they are said to leak less at equal test
error (J. Tan, D. LeJeune, B. Mason, H. Javadi, R. Baraniuk, "Benign Overparameterization in Membership Inference with
Early Stopping", arXiv 2205.14055).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nni_privacy.analysis.bootstrap import Estimate
from nni_privacy.analysis.rules import LOWERS
from nni_privacy.bench.decisions import Decision, adjusted, decide, estimated
from nni_privacy.bench.points import Grid, Measure, Sample, Setting, grids, jackknifed
from nni_privacy.bench.routes import LEAST_POINTS, LINES, SAME, Line, demotions_of, lower_envelope

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EqualAccuracy", "PooledFrontier", "PooledPoint", "demotions_at_equal_accuracy", "pooled_frontiers"]
__all__ += ["widths_at_equal_accuracy"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EqualAccuracy:
    """A network against a line of the same cells, at the network's accuracy.

    Attributes:
        dataset: label of the data set.
        space: label of the search space.
        measure: what is read as leakage; of a logarithm, differences are logarithms of ratios.
        claim: what the verdict is on.
        target: the network.
        line: the route whose points are read at the network's accuracy.
        by_cell: label of each cell to its difference, the claimed lower side less the other, corrected for the bias
            that noise gives it.
        decision: the mean of ``by_cell`` with its interval, and whether it is below 0.
        plain: the mean difference of the means over seeds, not corrected.
        target_value: mean measure of the networks.
        line_value: mean measure of the lines at the networks' accuracy, not corrected.
        accuracy: mean accuracy of the networks.
        beyond: cells whose network is more accurate than the whole line, which is then read at its most accurate point.
        shortfall: mean over all cells of the accuracy that these points lack.
        below: cells whose network is less accurate than the whole line, whose lowest leak then counts.
        uncorrected: cells with one seed only.
        left_out: cells without the network, or with less than two points of the line.
    """

    dataset: str
    space: str
    measure: Measure
    claim: str
    target: Setting
    line: Line
    by_cell: Mapping[str, float]
    decision: Decision
    plain: Estimate | None
    target_value: float
    line_value: float
    accuracy: float
    beyond: int
    shortfall: float
    below: int
    uncorrected: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class PooledPoint:
    """A setting's mean over the cells of a place.

    Attributes:
        setting: variant, width and epoch.
        accuracy: mean over cells.
        accuracy_estimate: the same with its interval; None where the cells are too few.
        value: mean measure over cells.
        value_estimate: likewise.
    """

    setting: Setting
    accuracy: float
    accuracy_estimate: Estimate | None
    value: float
    value_estimate: Estimate | None


@dataclass(frozen=True)
class PooledFrontier:
    """The points of a figure of one place: means over the same cells at every width and epoch, and of the variants.

    Attributes:
        dataset: label of the data set.
        space: label of the search space.
        measure: what is read as leakage.
        points: by variant, width and epoch.
        cells: labels of the cells that all points are means over.
        left_out: cells that lack one of the points.
        rare: settings that less than half of the cells have; they are no points.
    """

    dataset: str
    space: str
    measure: Measure
    points: tuple[PooledPoint, ...]
    cells: tuple[str, ...]
    left_out: tuple[str, ...]
    rare: tuple[Setting, ...]


def demotions_at_equal_accuracy(
    table: pd.DataFrame, measures: Sequence[Measure], *, seed: int = 0
) -> tuple[EqualAccuracy, ...]:
    """Every demotion, widest and at its last epoch, against narrower and against early-stopped originals.

    Differences are the demotion less the line: the claim is that the demotion leaks less. Comparisons of which no cell
    has both sides are left out.

    Args:
        table: see :func:`nni_privacy.bench.points.grids`.
        measures: see :func:`nni_privacy.bench.points.measures_of`; p-values are adjusted for all comparisons returned.
        seed: of the bootstrap.

    Raises:
        DataError: if the table is not valid.
    """
    found = [
        _compared(grid, grid.final(demotion), line, f"{demotion} leaks less than {line} originals", 1, seed)
        for grid in _every(table, measures)
        for demotion in demotions_of(grid)
        for line in LINES
    ]
    return _together(found)


def widths_at_equal_accuracy(
    table: pd.DataFrame, measures: Sequence[Measure], *, seed: int = 0
) -> tuple[EqualAccuracy, ...]:
    """The widest original, stopped where it is as accurate as a narrower one is in the end, against that one.

    Differences are the widest, stopped, less the narrower one: the claim is that larger protects.

    Args:
        table: see :func:`nni_privacy.bench.points.grids`.
        measures: see :func:`nni_privacy.bench.points.measures_of`; p-values are adjusted for all comparisons returned.
        seed: of the bootstrap.

    Raises:
        DataError: if the table is not valid.
    """
    found = [
        _compared(
            grid, target, "early-stopped", f"width {grid.widest}, stopped, leaks less than {target.width}", -1, seed
        )
        for grid in _every(table, measures)
        for target in LINES["narrower"](grid)
        if target.width < grid.widest
    ]
    return _together(found)


def pooled_frontiers(table: pd.DataFrame, measures: Sequence[Measure], *, seed: int = 0) -> tuple[PooledFrontier, ...]:
    """Means over cells at every width and epoch, for a figure; one of each place and measure.

    All points are means over the same cells, or a line through them would tell of cells and not of epochs.

    Args:
        table: see :func:`nni_privacy.bench.points.grids`.
        measures: what is read as leakage.
        seed: of the bootstrap.

    Raises:
        DataError: if the table is not valid.
    """
    return tuple(_pooled(grid, seed) for grid in _every(table, measures))


def _every(table: pd.DataFrame, measures: Sequence[Measure]) -> list[Grid]:
    return [grid for measure in measures for grid in grids(table, measure)]


def _together(found: Sequence[EqualAccuracy | None]) -> tuple[EqualAccuracy, ...]:
    """Those that there are, their p-values adjusted for their number."""
    there = [one for one in found if one is not None]
    decisions = adjusted([one.decision for one in there])
    return tuple(replace(one, decision=decision) for one, decision in zip(there, decisions, strict=True))


def _compared(grid: Grid, target: Setting, line: Line, claim: str, sign: int, seed: int) -> EqualAccuracy | None:
    """``sign`` times (target less line) at the target's accuracy; None if no cell has both."""
    settings = LINES[line](grid)
    samples, left_out = _comparable(grid, target, settings)
    if not samples:
        return None
    values = {one.cell: jackknifed(one, _difference(one, target, settings, sign)) for one in samples}
    corrected = {cell: value for cell, (_, value) in values.items()}
    plain = {cell: value for cell, (value, _) in values.items()}
    accuracy, target_value, least, most = np.array([_reach(one, target, settings) for one in samples]).T
    lacking = np.maximum(accuracy - most, 0.0)
    return EqualAccuracy(
        dataset=grid.dataset,
        space=grid.space,
        measure=grid.measure,
        claim=f"{claim} at equal accuracy ({grid.measure})",
        target=target,
        line=line,
        by_cell=corrected,
        decision=decide(corrected, LOWERS, seed=seed),
        plain=estimated(plain, seed=seed)[0],
        target_value=float(target_value.mean()),
        line_value=float(target_value.mean() - sign * np.mean(list(plain.values()))),
        accuracy=float(accuracy.mean()),
        beyond=int((lacking > SAME).sum()),
        shortfall=float(lacking.mean()),
        below=int((least - accuracy > SAME).sum()),
        uncorrected=sum(one.seeds == 1 for one in samples),
        left_out=tuple(left_out),
    )


def _comparable(grid: Grid, target: Setting, line: Sequence[Setting]) -> tuple[list[Sample], list[str]]:
    """The cells that have the target and enough points of the line, and the labels of the others."""
    samples, left_out = grid.samples((*(one for one in line if one != target), target), needed=[target])
    enough = [one for one in samples if len(set(one.settings) & set(line)) >= LEAST_POINTS]
    return enough, sorted([*left_out, *({one.cell for one in samples} - {one.cell for one in enough})])


def _on_line(sample: Sample, line: Sequence[Setting]) -> list[int]:
    return [place for place, setting in enumerate(sample.settings) if setting in line]


def _difference(
    sample: Sample, target: Setting, line: Sequence[Setting], sign: int
) -> Callable[[Floats, Floats], float]:
    """The statistic of a cell: of mean accuracies and measures, the difference at the target's accuracy."""
    network, points = sample.at(target), _on_line(sample, line)

    def difference(accuracy: Floats, value: Floats) -> float:
        read = lower_envelope(accuracy[points], value[points], accuracy[[network]])
        return float(sign * (value[network] - read[0]))

    return difference


def _reach(sample: Sample, target: Setting, line: Sequence[Setting]) -> tuple[float, float, float, float]:
    """Accuracy and measure of the target, and the line's least and most accuracy."""
    accuracy, value = sample.means()
    along = accuracy[_on_line(sample, line)]
    return accuracy[sample.at(target)], value[sample.at(target)], along.min(), along.max()


def _pooled(grid: Grid, seed: int) -> PooledFrontier:
    counts = np.isfinite(grid.accuracy).any(axis=2).sum(axis=0)
    common = [one for one, count in zip(grid.settings, counts, strict=True) if 2 * count >= len(grid.cells)]
    samples, left_out = grid.samples(common, needed=common)
    points = []
    if samples:
        cells = [one.cell for one in samples]
        means = np.array([one.means() for one in samples])  # (cells, 2, settings)
        points = [_pooled_point(setting, cells, means[:, :, place], seed) for place, setting in enumerate(common)]
    rare = tuple(one for one in grid.settings if one not in common)
    whole = tuple(one.cell for one in samples)
    return PooledFrontier(grid.dataset, grid.space, grid.measure, tuple(points), whole, tuple(left_out), rare)


def _pooled_point(setting: Setting, cells: Sequence[str], means: Floats, seed: int) -> PooledPoint:
    (accuracy, value), columns = means.mean(axis=0).tolist(), means.T.tolist()
    ends = [estimated(dict(zip(cells, column, strict=True)), seed=seed)[0] for column in columns]
    return PooledPoint(setting, accuracy, ends[0], value, ends[1])
