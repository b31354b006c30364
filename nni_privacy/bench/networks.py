"""The networks of a bench's table: cells at widths, with the means over seeds of what was measured of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nni_privacy.analysis.rows import ORIGINAL
from nni_privacy.analysis.statistics import grouped
from nni_privacy.bench.rank_bootstrap import Floats
from nni_privacy.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    import pandas

__all__ = ["LEAST_CELLS", "Networks", "networks_of"]

LEAST_CELLS = 5
"""Of fewer cells a rank correlation says nothing."""
_NETWORK = ["space", "cell", "width"]
_NEEDED = ["dataset", *_NETWORK, "variant", "seed", "epoch", "epochs"]
LOSS_GAP = "loss_gap"


@dataclass(frozen=True, eq=False)
class Networks:
    """Networks of one data set, each a cell at a width.

    Attributes:
        dataset: its name.
        cells: ``(n,)`` space and label of each network's cell.
        widths: ``(n,)`` space and width.
        outcome: ``(n,)`` mean over seeds.
        by_seed: ``(n, s)`` the outcome of each seed; NaN where it was not measured.
        predictors: name to ``(n,)`` means over seeds, NaN where a number is missing; each has some.
    """

    dataset: str
    cells: Sequence[tuple[str, str]]
    widths: Sequence[tuple[str, int]]
    outcome: Floats
    by_seed: Floats
    predictors: Mapping[str, Floats]

    def strata(self) -> list[np.ndarray]:
        """Places of the networks of each width of a space that enough cells have."""
        places = grouped(zip(self.widths, range(len(self.widths)), strict=True))
        return [np.array(found) for _, found in sorted(places.items()) if len(found) >= LEAST_CELLS]


def networks_of(table: pandas.DataFrame, outcome: str, predictors: Sequence[str], *, log: bool = False) -> Networks:
    """The networks of the original cells at their last epochs that have an outcome.

    Args:
        table: of one data set.
        outcome: its column.
        predictors: columns; those that are missing, or have no number, are left out.
        log: takes log10 of the outcome, of which less than half a record (``0.5 / members``) counts as that.

    Raises:
        ConfigError: if a column that is needed is missing.
        DataError: if rows are of several data sets, a setting is there twice, a number is none, or fewer than
            ``LEAST_CELLS`` cells have the outcome.
    """
    for column in [*_NEEDED, outcome, *(["members"] if log else [])]:
        if column not in table:
            raise ConfigError(f"the table has no column {column!r}; {nearest(column, map(str, table.columns))}")
    rows = table[(table["variant"] == ORIGINAL) & (table["epoch"] == table["epochs"])]
    values = {outcome: _numbers(rows, outcome), **_predictors(rows, predictors)}
    if log:
        values[outcome] = np.log10(np.maximum(values[outcome], 0.5 / _numbers(rows, "members")))
    kept = np.isfinite(values[outcome])
    rows = rows[kept]
    _check(rows, outcome)
    places = grouped(zip(zip(*(rows[name] for name in _NETWORK), strict=True), range(len(rows)), strict=True))
    order = sorted(places)
    means = {name: _means(column[kept], [places[one] for one in order]) for name, column in values.items()}
    return Networks(
        dataset=str(rows["dataset"].iloc[0]),
        cells=[(space, cell) for space, cell, _ in order],
        widths=[(space, width) for space, _, width in order],
        outcome=means[outcome],
        by_seed=_by_seed(values[outcome][kept], rows["seed"].tolist(), [places[one] for one in order]),
        predictors={name: means[name] for name in values if name != outcome and np.isfinite(means[name]).any()},
    )


def _predictors(rows: Any, names: Sequence[str]) -> dict[str, Floats]:
    found = {name: _numbers(rows, name) for name in names if name in rows}
    if LOSS_GAP in names and LOSS_GAP not in rows and {"loss", "train_loss"} <= set(rows.columns):
        found[LOSS_GAP] = _numbers(rows, "loss") - _numbers(rows, "train_loss")
    return found


def _numbers(rows: Any, name: str) -> Floats:
    try:
        return np.asarray(rows[name].astype(float), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"column {name!r}: {error}; expected numbers") from None


def _check(rows: Any, outcome: str) -> None:
    datasets = sorted(map(str, rows["dataset"].unique()))
    if len(datasets) > 1:
        raise DataError(f"rows of {len(datasets)} data sets ({', '.join(datasets)}); expected those of one")
    cells = len(rows[["space", "cell"]].drop_duplicates())
    if cells < LEAST_CELLS:
        raise DataError(
            f"{cells} original cells have a {outcome} at the last epoch; rank correlations need {LEAST_CELLS}"
        )
    setting = [*_NETWORK, "seed"]
    twice = rows[rows[setting].duplicated()]
    if len(twice):
        shown = ", ".join(f"{name} {twice[name].iloc[0]}" for name in setting)
        raise DataError(f"{shown}: there twice; expected one row a setting")


def _means(values: Floats, places: Sequence[Sequence[int]]) -> Floats:
    """Means of what is known, to twelve digits: sums in another order are no other values, and tie as they should."""
    known = [[float(values[place]) for place in one if np.isfinite(values[place])] for one in places]
    return np.array([float(f"{np.mean(one):.12g}") if one else np.nan for one in known])


def _by_seed(values: Floats, seeds: Sequence[int], places: Sequence[Sequence[int]]) -> Floats:
    columns = {seed: column for column, seed in enumerate(sorted(set(seeds)))}
    table = np.full((len(places), len(columns)), np.nan)
    for row, one in enumerate(places):
        for place in one:
            table[row, columns[seeds[place]]] = values[place]
    return table
