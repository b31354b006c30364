"""Repeated two-fold cross-fitting: surrogates fitted to one fold of the architectures predict the other.

The data are cut into two folds at random, again and again. Each fold fits a surrogate, which then predicts the
architectures of the other fold only: nothing is ever predicted by a model that saw it. And as the estimates from two
folds differ about as much as two estimates from new data of full size would differ from the truth (the delete-half
jackknife: Shao and Wu, 1989), their spread is the standard error of the whole: of the surrogate's training as of the
choice of architectures. Predicted effects say how the AUC changes when the first m edges of a pattern are fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import CellType, Edge
from nni_privacy.patterns.apply import apply_edges
from nni_privacy.patterns.importance import Floats, ImportanceTable, Predict, Rows, operation_importance

__all__ = ["EdgesInCell", "Effect", "Fit", "FoldFit", "effects_by_fold", "fit_folds", "held_out_importance"]
__all__ += ["Progress", "held_out_predictions"]

Progress = Callable[[str], None]
Fit = Callable[[GenotypeCodes, Floats, int], Predict]
"""``fit(codes, auc, seed)`` gives what predicts the AUC of other genotypes."""

EdgesInCell = tuple[CellType, tuple[Edge, ...]]

TWO_SIDED_95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, eq=False)
class FoldFit:
    """A surrogate of one fold.

    Attributes:
        predict: predicted AUC of genotypes.
        held_out: (n,) which architectures it did not see.
        partner: index of the surrogate that was fitted on those.
    """

    predict: Predict
    held_out: npt.NDArray[np.bool_]
    partner: int


def fit_folds(
    codes: GenotypeCodes, auc: Floats, fit: Fit, *, repeats: int, seed: int, progress: Progress
) -> list[FoldFit]:
    """Fits ``2 * repeats`` surrogates, two for each random cut of the data.

    Args:
        codes: n different architectures.
        auc: (n,) their measured AUCs.
        fit: makes a surrogate.
        repeats: number of cuts.
        seed: of cuts and surrogates.
        progress: is told of each cut.
    """
    generator = np.random.default_rng(seed)
    folds: list[FoldFit] = []
    for repeat in range(repeats):
        progress(f"fitting surrogates: cut {repeat + 1} of {repeats}")
        first = np.zeros(len(codes), dtype=bool)
        first[generator.permutation(len(codes))[: len(codes) // 2]] = True
        for held_out in (~first, first):
            predict = fit(codes[~held_out], auc[~held_out], int(generator.integers(2**31)))
            folds.append(FoldFit(predict, held_out, partner=len(folds) ^ 1))
    return folds


def held_out_predictions(folds: Sequence[FoldFit], codes: GenotypeCodes) -> Floats:
    """(n,) the mean of the predictions by the surrogates that did not see the architecture."""
    total, count = np.zeros(len(codes)), np.zeros(len(codes))
    for fold in folds:
        total[fold.held_out] += fold.predict(codes[fold.held_out])
        count += fold.held_out
    return total / count


def held_out_importance(
    folds: Sequence[FoldFit], codes: GenotypeCodes, rows: Rows, progress: Progress
) -> list[ImportanceTable]:
    """For each surrogate the Operation Importance of the architectures ``rows``; nan in the rows that it saw.

    Args:
        folds: h surrogates.
        codes: all n architectures.
        rows: (r,) indices of those that count.
        progress: is told of each cut.
    """
    tables = []
    for number, fold in enumerate(folds):
        if number % 2 == 0:
            progress(f"operation importance: cut {number // 2 + 1} of {len(folds) // 2}")
        unseen = fold.held_out[rows]
        table = operation_importance(codes[rows[unseen]], fold.predict)
        full = ImportanceTable(*(np.full((len(rows), *codes.sources.shape[1:]), np.nan) for _ in range(2)))
        full.importance[unseen], full.median_contrast[unseen] = table.importance, table.median_contrast
        tables.append(full)
    return tables


@dataclass(frozen=True)
class Effect:
    """A predicted change of the AUC with its 95% interval; negative lowers the attack's success."""

    change: float
    low: float
    high: float

    @classmethod
    def of(cls, changes: Floats) -> Effect:
        """The effect from one estimate per fold's surrogate; their standard deviation is the standard error."""
        change, error = float(changes.mean()), TWO_SIDED_95 * float(changes.std(ddof=1))
        return cls(change, change - error, change + error)

    def serves(self, sign: int) -> bool:
        """Whether the whole interval lies on the side that lowers the AUC (``sign`` 1) or raises it (-1)."""
        return self.high < 0 if sign > 0 else self.low > 0


def effects_by_fold(fold: FoldFit, codes: GenotypeCodes, rows: Rows, patterns: Sequence[EdgesInCell]) -> list[Floats]:
    """The mean predicted change of the AUC over those architectures of ``rows`` that the surrogate did not see.

    Args:
        fold: the surrogate.
        codes: all n architectures.
        rows: indices of the sample.
        patterns: ordered edges, each for a type of cell.

    Returns:
        For each pattern an array of its length: the change with its first 1, 2, ... edges fixed.
    """
    base = codes[rows[fold.held_out[rows]]]
    changed = [apply_edges(base, cell, edges[:m]) for cell, edges in patterns for m in range(1, len(edges) + 1)]
    distinct, place = GenotypeCodes.concatenate([base, *changed]).unique()
    predicted = fold.predict(distinct)[place].reshape(1 + len(changed), len(base))
    changes = (predicted[1:] - predicted[0]).mean(axis=1)
    return np.split(changes, np.cumsum([len(edges) for _, edges in patterns])[:-1])
