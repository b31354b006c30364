"""How much of a leakage's variance is size, accuracy, overfitting, the rest of the architecture, seed and records.

Over the rows of one data set, epoch and variant,

    y = b0 + b1 size + b2 accuracy + b3 gap + u_cell + v_cell:width + e,

fitted by restricted maximum likelihood (:mod:`~nni_privacy.bench.mixed_model`). The fixed effects' share is split in
the order written (:mod:`~nni_privacy.bench.parts`): what size explains, what accuracy adds to it, what the gap adds to
both. *Remaining architecture* is ``Var(u) + Var(v)``; *records* the mean squared standard error of the rows over
attacked records; *seed* what ``Var(e)`` has beyond it, at least 0. The total is the sum of the six.

Intervals are over cells, by a studentised bootstrap (:mod:`~nni_privacy.bench.shares`), and cover what a table of ever
more cells of the same widths would show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from nni_privacy.analysis.statistics import grouped
from nni_privacy.bench.mixed_model import Floats, strata_of
from nni_privacy.bench.parts import influences_of, parts_of
from nni_privacy.bench.shares import Sample, bootstrap_shares
from nni_privacy.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FLAT_REST",
    "MIN_CELLS",
    "PREDICTORS",
    "REST",
    "Coefficient",
    "Share",
    "VarianceSplit",
    "split_between_cells",
]
__all__ += ["split_variance"]

PREDICTORS: Mapping[str, str] = MappingProxyType({"size": "parameters", "accuracy": "accuracy", "gap": "gap"})
"""Part to the column it is read from, in the order of the split. Of parameters the decimal logarithm is taken."""
REST = ("remaining", "seed", "records")
"""The parts beyond the predictors."""
FLAT_REST = ("remaining, seed and records",)
"""The one part beyond the predictors where a cell has one row."""
MIN_CELLS = 10
"""Fewer cells have no split: the bootstrap would draw the same few again and again."""
_SAME = ("dataset", "epoch", "variant")
_LOGARITHMS = frozenset({"size"})


@dataclass(frozen=True)
class Share:
    """A share of the variance with its 95% interval over cells.

    Attributes:
        value: in [0, 1].
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Coefficient:
    """A fixed effect.

    Attributes:
        value: in units of the outcome (of its natural logarithm, of a split of logarithms) per unit of the predictor.
        standard_error: robust, over cells.
    """

    value: float
    standard_error: float


@dataclass(frozen=True)
class VarianceSplit:
    """The variance of an outcome, split.

    Attributes:
        outcome: its column.
        log: whether the natural logarithm of the outcome was split.
        parts: share of each part, in the order of the split; their values sum to 1.
        total: the variance that they are shares of: sum of all parts, in squared units of the outcome.
        coefficients: ``intercept`` and one a predictor.
        components: variances of the effects of the model, ``cell``, ``width`` (within a cell) and ``noise`` (seed and
            records), as far as the design has them.
        fixed_error: standard error over cells of the sum of the predictors' parts, in squared units of the outcome.
        cells: cells that the split is of.
        widths: of every cell.
        seeds: of every width.
        rows: of all of them.
        left_out: labels of cells that were not complete.
    """

    outcome: str
    log: bool
    parts: Mapping[str, Share]
    total: float
    coefficients: Mapping[str, Coefficient]
    components: Mapping[str, float]
    fixed_error: float
    cells: int
    widths: int
    seeds: int
    rows: int
    left_out: tuple[str, ...]


def split_variance(
    table: pd.DataFrame,
    outcome: str,
    *,
    standard_error: str,
    log: bool = False,
    rounds: int = 2000,
    seed: int = 0,
) -> VarianceSplit:
    """Splits the variance of a measured leakage over cells x widths x seeds.

    A cell is complete if it has finite values in all rows of the design that most cells have (of equally many, the
    larger); others are left out.

    Args:
        table: rows of one data set, epoch and variant, with columns ``cell``, ``width``, ``seed``, those of
            :data:`PREDICTORS`, and the two below.
        outcome: column of the leakage.
        standard_error: column of its standard error over attacked records.
        log: split the variance of the outcome's natural logarithm; its standard error is ``standard_error / outcome``.
        rounds: replicates of the bootstrap.
        seed: of the bootstrap.

    Raises:
        DataError: a column is missing; rows of several data sets, epochs or variants; twice the same row; fewer than
            10 complete cells, or than two seeds; a logarithm of what is not positive; a predictor that is constant or
            a combination of the others.
    """
    _check_columns(table, ("cell", "width", "seed", *PREDICTORS.values(), outcome, standard_error))
    for column in (one for one in _SAME if one in table):
        if table[column].nunique() > 1:
            found = ", ".join(sorted(map(str, table[column].unique()))[:4])
            raise DataError(f"the variance is split over rows of one {column}, but they have several: {found}")
    predictors, values = _values(table, PREDICTORS, outcome, log=log)
    errors = table[standard_error].to_numpy(np.float64)
    everything = np.column_stack([predictors, values, errors / table[outcome].to_numpy(np.float64) if log else errors])
    array, left_out = _balanced(table, everything)
    if array.shape[2] < 2:
        raise DataError("the rows of a cell and width have one seed; telling seeds from architectures needs 2")
    known = (array[..., -1] ** 2).mean(axis=(1, 2))
    return _split(array[..., :-1], known, _Question(outcome, log, tuple(PREDICTORS), REST, rounds, seed), left_out)


def split_between_cells(
    table: pd.DataFrame,
    outcome: str,
    *,
    predictors: Sequence[str] = ("size", "accuracy"),
    log: bool = False,
    rounds: int = 2000,
    seed: int = 0,
) -> VarianceSplit:
    """Splits the variance of a table that has one row a cell, by ordinary least squares.

    What the predictors leave is one part, ``remaining, seed and records``: without repetitions nobody can tell them
    apart. Its share is an upper bound for that of the remaining architecture.

    Args:
        table: one row a cell, with the columns of the predictors and the outcome; rows without one are left out.
        outcome: column of the leakage.
        predictors: of :data:`PREDICTORS`, in the order of the split.
        log: split the variance of the outcome's natural logarithm.
        rounds: replicates of the bootstrap.
        seed: of the bootstrap.

    Raises:
        DataError: as :func:`split_variance`; or an unknown predictor.
    """
    for name in predictors:
        if name not in PREDICTORS:
            raise DataError(f"predictors: {name!r}: {nearest(name, PREDICTORS)}")
    chosen = {name: PREDICTORS[name] for name in predictors}
    _check_columns(table, (*chosen.values(), outcome))
    columns, values = _values(table, chosen, outcome, log=log)
    everything = np.column_stack([columns, values])
    there = np.all(np.isfinite(everything), axis=1)
    labels = table.get("cell", table.index)
    left_out = tuple(str(label) for label, complete in zip(labels, there, strict=True) if not complete)
    array = everything[there][:, None, None]
    return _split(array, None, _Question(outcome, log, tuple(predictors), FLAT_REST, rounds, seed), left_out)


def _check_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raises DataError for the first column that the table does not have."""
    for column in columns:
        if column not in table:
            raise DataError(f"the table has no column {column!r}: {nearest(column, map(str, table.columns))}")


def _values(table: pd.DataFrame, predictors: Mapping[str, str], outcome: str, *, log: bool) -> tuple[Floats, Floats]:
    """``(rows, k)`` predictors and ``(rows,)`` outcome as they enter the model."""
    columns = []
    for name, column in predictors.items():
        values = table[column].to_numpy(np.float64)
        columns.append(np.log10(_positive(values, column)) if name in _LOGARITHMS else values)
    values = table[outcome].to_numpy(np.float64)
    return np.column_stack(columns), np.log(_positive(values, outcome)) if log else values


def _positive(values: Floats, column: str) -> Floats:
    """The values, none of which is 0 or below; they may be missing."""
    if (values <= 0).any():
        raise DataError(f"{column}: {values[values <= 0][0]:g} has no logarithm; all values must be above 0")
    return values


def _balanced(table: pd.DataFrame, values: Floats) -> tuple[Floats, tuple[str, ...]]:
    """``(cells, widths, seeds, columns)`` values of the complete cells, and the labels of the others."""
    keys = list(zip(*(table[column].tolist() for column in ("cell", "width", "seed")), strict=True))
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise DataError("the table has several rows of cell {}, width {}, seed {}; expected one".format(*twice[0]))
    there = [(key[0], (key[1:], row)) for key, row in zip(keys, values, strict=True) if np.isfinite(row).all()]
    of_cells = {cell: dict(rows) for cell, rows in grouped(there).items()}
    designs = Counter(design for design in map(frozenset, of_cells.values()) if _is_rectangle(design))
    design = max(designs, key=lambda one: (designs[one], len(one)), default=frozenset())
    complete = {cell: rows for cell, rows in of_cells.items() if design and design <= rows.keys()}
    left_out = tuple(str(cell) for cell in dict.fromkeys(key[0] for key in keys) if cell not in complete)
    _check_cells(len(complete))
    # In the order of their labels, so that the bootstrap draws the same however the rows are sorted.
    ordered = [complete[cell] for cell in sorted(complete, key=str)]
    array = np.array([[rows[place] for place in sorted(design)] for rows in ordered], dtype=np.float64)
    widths = len({width for width, _ in design})
    return array.reshape(len(complete), widths, len(design) // widths, values.shape[1]), left_out


def _is_rectangle(design: frozenset[tuple[int, int]]) -> bool:
    """Whether every width has equally many seeds."""
    return len(set(Counter(width for width, _ in design).values())) == 1


def _check_cells(cells: int) -> None:
    """Raises DataError for fewer cells than a split needs."""
    if cells < MIN_CELLS:
        raise DataError(f"{cells} complete cells; splitting the variance needs at least {MIN_CELLS}")


@dataclass(frozen=True)
class _Question:
    """What is to be split, and how."""

    outcome: str
    log: bool
    predictors: tuple[str, ...]
    rest: tuple[str, ...]
    rounds: int
    seed: int


def _split(values: Floats, known: Floats | None, question: _Question, left_out: tuple[str, ...]) -> VarianceSplit:
    """The split of ``(cells, widths, seeds, k + 1)`` predictors and outcome."""
    cells, widths, seeds, _ = values.shape
    _check_cells(cells)
    centre, scale = values.mean(axis=(0, 1, 2)), values.std(axis=(0, 1, 2))
    _check_columns_differ(values, scale, question)
    unit = float(scale[-1] ** 2)
    sample = Sample(strata_of((values - centre) / scale), None if known is None else known / unit)
    everything = np.ones((1, cells))
    parts = parts_of(sample.strata, everything, bounded=True)
    rest = np.maximum(sample.rest(parts, everything)[0], 0.0)
    variances = np.concatenate([parts.signed[0] ** 2, rest])
    low, high = bootstrap_shares(sample, rounds=question.rounds, seed=question.seed).interval()
    names = (*question.predictors, *question.rest)
    shares = zip(names, variances / variances.sum(), low, high, strict=True)
    levels = [name for name, there in (("cell", True), ("width", widths > 1), ("noise", seeds > 1)) if there]
    effects, fixed_error = _coefficients(sample, centre, scale, question.predictors)
    return VarianceSplit(
        outcome=question.outcome,
        log=question.log,
        # At the edge of what is allowed, the estimate may lie outside of an interval that knows no edge.
        parts={
            name: Share(*map(float, (share, min(left, share), max(right, share))))
            for name, share, left, right in shares
        },
        total=float(variances.sum()) * unit,
        coefficients=effects,
        components={name: float(value) * unit for name, value in zip(levels, parts.components[0], strict=True)},
        fixed_error=fixed_error * unit,
        cells=cells,
        widths=widths,
        seeds=seeds,
        rows=cells * widths * seeds,
        left_out=left_out,
    )


def _check_columns_differ(values: Floats, scale: Floats, question: _Question) -> None:
    """Raises DataError where the model cannot be fitted."""
    for name, spread, column in zip(
        (*question.predictors, question.outcome), scale, np.moveaxis(values, -1, 0), strict=True
    ):
        if spread <= 1e-12 * np.abs(column).max():
            raise DataError(f"{name}: all rows have the same value; a variance to split needs rows that differ")
    table = (values - values.mean(axis=(0, 1, 2))) / scale
    if np.linalg.cond(table[..., :-1].reshape(-1, len(scale) - 1)) > 1e6:
        raise DataError(f"{', '.join(question.predictors)}: one of them is a combination of the others; leave it out")
    if values.shape[2] > 1 and np.ptp(table[..., -1], axis=2).max() < 1e-9:
        raise DataError(
            f"{question.outcome}: the seeds of a cell and width do not differ; telling them apart needs that"
        )


def _coefficients(
    sample: Sample, centre: Floats, scale: Floats, predictors: Sequence[str]
) -> tuple[Mapping[str, Coefficient], float]:
    """The fixed effects in the units of the table; standard error of their part of the (standardised) variance."""
    everything = np.ones((1, sample.strata.cells))
    values = parts_of(sample.strata, everything, bounded=True).fit.coefficients[0]
    free = parts_of(sample.strata, everything, bounded=False)
    moved = influences_of(sample.strata, everything, free)
    back = np.diag(scale[-1] / np.concatenate([[1.0], scale[:-1]]))
    back[0, 1:] = -scale[-1] * centre[:-1] / scale[:-1]
    errors = np.sqrt(((back @ moved.coefficients[0]) ** 2).sum(axis=1))
    values = back @ values + np.eye(len(values))[0] * centre[-1]
    pairs = zip(("intercept", *predictors), values, errors, strict=True)
    of_fixed = 2 * free.signed[0] @ moved.signed[0]
    return {name: Coefficient(float(value), float(error)) for name, value, error in pairs}, float(
        np.linalg.norm(of_fixed)
    )
