"""Points (accuracy, leak) of networks, as they stand in the bench's table: one array a place, with an axis for seeds.

A *place* is a search space on a data set; nothing is pooled over places. A *setting* is what a network of a cell is
trained as and when it is looked at: variant, width and epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nni_privacy.analysis.rows import ORIGINAL
from nni_privacy.bench.columns import attacks_of
from nni_privacy.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Grid", "Measure", "Sample", "Setting", "grids", "jackknifed", "measured_attacks", "measures_of"]

Floats = npt.NDArray[np.float64]

PLACE = ("dataset", "space")
KEY = (*PLACE, "cell", "variant", "width", "seed", "epoch")
NEEDED = (*KEY, "epochs", "accuracy", "members")


@dataclass(frozen=True, order=True)
class Setting:
    """What a network of a cell is trained as, and the epoch after which it is looked at.

    Attributes:
        variant: ``original``, ``demotion-reduction-4``, ``demotion-reduction-4-size-matched``.
        width: channels asked for.
        epoch: from 1.
    """

    variant: str
    width: int
    epoch: int

    def __str__(self) -> str:
        return f"{self.variant}, width {self.width}, epoch {self.epoch}"


@dataclass(frozen=True)
class Measure:
    """What is read as leakage.

    Attributes:
        column: of the table, a fraction: ``rmia_auc``, ``rmia_tpr``.
        log: whether its natural logarithm is meant, so that differences are logarithms of ratios. It is
            ``log((found + 1/2) / (members + 1))``, which a TPR of 0 has, too.
    """

    column: str
    log: bool = False

    def __str__(self) -> str:
        return f"log {self.column}" if self.log else self.column

    def of(self, leak: Floats, members: Floats) -> Floats:
        """The measure of a mean fraction.

        Args:
            leak: ``(n,)`` means over seeds.
            members: ``(n,)`` attacked members of all those seeds together.
        """
        return np.log((leak * members + 0.5) / (members + 1)) if self.log else leak


@dataclass(frozen=True, eq=False)
class Sample:
    """The points of one cell at some settings, all of the same seeds.

    Attributes:
        cell: its label.
        settings: those that it has, in the order that was asked for.
        accuracy: ``(settings, seeds)`` test accuracies.
        leak: ``(settings, seeds)`` the measure's column.
        members: ``(settings, seeds)`` attacked members.
        measure: what is read as leakage.
    """

    cell: str
    settings: tuple[Setting, ...]
    accuracy: Floats
    leak: Floats
    members: Floats
    measure: Measure

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return int(self.accuracy.shape[1])

    def means(self, *, without: int | None = None) -> tuple[Floats, Floats]:
        """``(settings,)`` accuracies and measures, means over all seeds, or over all but the one at a place."""
        kept = [place for place in range(self.seeds) if place != without]
        leak, members = self.leak[:, kept].mean(axis=1), self.members[:, kept].sum(axis=1)
        return self.accuracy[:, kept].mean(axis=1), self.measure.of(leak, members)

    def at(self, setting: Setting) -> int:
        """The place of a setting that it has."""
        return self.settings.index(setting)


@dataclass(frozen=True, eq=False)
class Grid:
    """Everything that one place says of accuracy and one measure.

    Attributes:
        dataset: label of the data set.
        space: label of the search space.
        measure: what is read as leakage.
        cells: labels, sorted.
        settings: that some cell has with both numbers, sorted.
        widest: the largest width of an original in the table.
        epochs: length of a training; the last snapshot is of this epoch.
        accuracy: ``(cells, settings, seeds)``; NaN where one of the two numbers was not measured.
        leak: likewise, the measure's column.
        members: likewise, attacked members.
    """

    dataset: str
    space: str
    measure: Measure
    cells: tuple[str, ...]
    settings: tuple[Setting, ...]
    widest: int
    epochs: int
    accuracy: Floats
    leak: Floats
    members: Floats

    @property
    def reference(self) -> Setting:
        """The original, widest, at its last epoch."""
        return self.final(ORIGINAL)

    @property
    def variants(self) -> tuple[str, ...]:
        """All that some cell has."""
        return tuple(dict.fromkeys(setting.variant for setting in self.settings))

    def final(self, variant: str, width: int | None = None) -> Setting:
        """A variant at its last epoch, by default at the largest width."""
        return Setting(variant, self.widest if width is None else width, self.epochs)

    def sample(self, cell: str, settings: Sequence[Setting]) -> Sample | None:
        """The points of a cell, of those seeds only that have each point that any of its seeds has.

        So no point is a mean over other seeds than its neighbour. None if there is no point or no such seed.
        """
        row, places = self.cells.index(cell), {setting: place for place, setting in enumerate(self.settings)}
        wanted = [places[setting] for setting in settings if setting in places]
        measured = np.isfinite(self.accuracy[row, wanted])
        present = np.flatnonzero(measured.any(axis=1))
        whole = np.flatnonzero(measured[present].all(axis=0))
        if not len(present) or not len(whole):
            return None
        rows = [wanted[place] for place in present]
        accuracy, leak, members = (array[row, rows][:, whole] for array in (self.accuracy, self.leak, self.members))
        found = tuple(self.settings[place] for place in rows)
        return Sample(cell, found, accuracy, leak, members, self.measure)

    def samples(self, settings: Sequence[Setting], *, needed: Sequence[Setting]) -> tuple[list[Sample], list[str]]:
        """Samples of the cells that have all of ``needed``, and the labels of the cells that have not."""
        found = {cell: self.sample(cell, settings) for cell in self.cells}
        kept = [one for one in found.values() if one is not None and set(needed) <= set(one.settings)]
        whole = {one.cell for one in kept}
        return kept, [cell for cell in found if cell not in whole]


def grids(table: pd.DataFrame, measure: Measure) -> tuple[Grid, ...]:
    """The points of every place of the table that has any with this measure, by data set and space.

    Args:
        table: one row a (dataset, space, cell, variant, width, seed, epoch).
        measure: what is read as leakage; rows without it, or without an accuracy, are no points.

    Raises:
        DataError: if a column is missing, a row stands there twice, a number is no fraction, the trainings of a place
            are not equally long, or a place has no original.
    """
    _check_columns(table, measure)
    if len(twice := table[table.duplicated(list(KEY))]):
        raise DataError(f"table: {dict(twice.iloc[0][list(KEY)])} stands there twice; expected one row of each")
    places = [_grid(str(dataset), str(space), rows, measure) for (dataset, space), rows in table.groupby(list(PLACE))]
    return tuple(grid for grid in places if grid.cells)


def measured_attacks(table: pd.DataFrame) -> tuple[str, ...]:
    """Names of the attacks whose AUC the table has in some row, in the order of its columns."""
    return tuple(name for name in attacks_of(map(str, table.columns)) if table[f"{name}_auc"].notna().any())


def measures_of(table: pd.DataFrame) -> tuple[Measure, ...]:
    """AUC, and logarithm of the TPR at 1% FPR where the table has it, of each of :func:`measured_attacks`."""
    pairs = [(Measure(f"{name}_auc"), Measure(f"{name}_tpr", log=True)) for name in measured_attacks(table)]
    return tuple(one for pair in pairs for one in pair if one.column in table.columns)


def jackknifed(sample: Sample, statistic: Callable[[Floats, Floats], float]) -> tuple[float, float]:
    """A statistic of mean points, and the same less the bias that the noise of the means gives it.

    What takes the lowest or the nearest of noisy points is biased, the more the noisier they are. Left out one at a
    time, the seeds tell by how much: ``S T - (S - 1) mean(T without s)`` (Quenouille, "Notes on bias in estimation",
    Biometrika 43, 1956), whose bias is of the order of 1 / S². With one seed there is nothing to tell it by, and both
    are the same.

    Args:
        sample: the points of a cell.
        statistic: of ``(settings,)`` accuracies and measures.
    """
    plain, count = statistic(*sample.means()), sample.seeds
    if count < 2:
        return plain, plain
    others = [statistic(*sample.means(without=place)) for place in range(count)]
    return plain, float(count * plain - (count - 1) * np.mean(others))


def _check_columns(table: pd.DataFrame, measure: Measure) -> None:
    columns = [str(column) for column in table.columns]
    for name in (*NEEDED, measure.column):
        if name not in columns:
            raise DataError(f"table: no column {name!r}; {nearest(name, columns)}")
    for name in ("accuracy", measure.column):
        wrong = table[name][(table[name] < 0) | (table[name] > 1)]
        if len(wrong):
            raise DataError(f"table: {name} {wrong.iloc[0]:g} in row {wrong.index[0]}; expected a fraction, 0 to 1")
    few = table["members"][table[measure.column].notna() & ~(table["members"] >= 1)]
    if measure.log and len(few):
        raise DataError(f"table: members {few.iloc[0]:g} in row {few.index[0]}; expected at least 1 for {measure}")


def _grid(dataset: str, space: str, rows: pd.DataFrame, measure: Measure) -> Grid:
    """The points of one place."""
    lengths = sorted(set(rows["epochs"]))
    if len(lengths) > 1:
        raise DataError(f"table: epochs {lengths} in {dataset}, {space}; expected trainings of one length")
    originals = rows[rows["variant"] == ORIGINAL]
    if not len(originals):
        raise DataError(
            f"table: no row of variant {ORIGINAL!r} in {dataset}, {space}; it is what others are compared with"
        )
    known = rows[rows["accuracy"].notna() & rows[measure.column].notna()]
    keys = zip(known["variant"], known["width"], known["epoch"], strict=True)
    settings = [Setting(str(variant), int(width), int(epoch)) for variant, width, epoch in keys]
    axes: list[Sequence[object]] = [list(known["cell"]), settings, list(known["seed"])]
    names = [sorted(set(axis)) for axis in axes]  # type: ignore[type-var]
    places = tuple(
        np.array([order.index(one) for one in axis], dtype=np.intp) for axis, order in zip(axes, names, strict=True)
    )
    arrays = [np.full(tuple(len(order) for order in names), np.nan) for _ in range(3)]
    for array, column in zip(arrays, ("accuracy", measure.column, "members"), strict=True):
        array[places] = known[column].to_numpy(dtype=np.float64)
    cells, found = tuple(str(cell) for cell in names[0]), tuple(sorted(set(settings)))
    return Grid(dataset, space, measure, cells, found, int(originals["width"].max()), lengths[0], *arrays)
