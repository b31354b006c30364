"""Cross-fitting by halves: surrogates that saw one half of the architectures, and what they predict of the other.

The data are cut in two at random, again and again. Each half fits a surrogate, which then predicts the architectures of
the other half only: nothing is ever predicted by a model that saw it. And as the estimates from two halves differ about
as much as two estimates from new data of full size would differ from the truth (the delete-half jackknife: Shao and Wu,
1989), their spread is the standard error of the whole: of the surrogate's training as of the choice of architectures.
Predicted effects say how the AUC changes when the first m edges of a pattern are fixed.
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
from nni_privacy.patterns.importance import ImportanceTable, Predict, operation_importance

__all__ = [
    "EdgesInCell",
    "Effect",
    "Fit",
    "HalfFit",
    "effect_of",
    "effects_by_half",
    "fit_halves",
    "held_out_importance",
    "held_out_predictions",
]

Floats = npt.NDArray[np.float64]
Fit = Callable[[GenotypeCodes, Floats, int], Predict]
"""``fit(codes, auc, seed)`` gives what predicts the AUC of other genotypes."""

EdgesInCell = tuple[CellType, tuple[Edge, ...]]

TWO_SIDED_95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, eq=False)
class HalfFit:
    """A surrogate of one half.

    Attributes:
        predict: predicted AUC of genotypes.
        held_out: (n,) which architectures it did not see.
        partner: index of the surrogate that was fitted on those.
    """

    predict: Predict
    held_out: npt.NDArray[np.bool_]
    partner: int


def fit_halves(
    codes: GenotypeCodes,
    auc: Floats,
    fit: Fit,
    *,
    repeats: int,
    seed: int,
    progress: Callable[[str], None] = lambda _: None,
) -> list[HalfFit]:
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
    halves: list[HalfFit] = []
    for repeat in range(repeats):
        progress(f"fitting surrogates: cut {repeat + 1} of {repeats}")
        first = np.zeros(len(codes), dtype=bool)
        first[generator.permutation(len(codes))[: len(codes) // 2]] = True
        for held_out in (~first, first):
            predict = fit(codes[~held_out], auc[~held_out], int(generator.integers(2**31)))
            halves.append(HalfFit(predict, held_out, partner=len(halves) ^ 1))
    return halves


def held_out_predictions(halves: Sequence[HalfFit], codes: GenotypeCodes) -> Floats:
    """(n,) the mean of the predictions by the surrogates that did not see the architecture."""
    total, count = np.zeros(len(codes)), np.zeros(len(codes))
    for half in halves:
        total[half.held_out] += half.predict(codes[half.held_out])
        count += half.held_out
    return total / count


def held_out_importance(
    halves: Sequence[HalfFit],
    codes: GenotypeCodes,
    rows: npt.NDArray[np.intp],
    progress: Callable[[str], None] = lambda _: None,
) -> list[ImportanceTable]:
    """For each surrogate the Operation Importance of the architectures ``rows``; nan in the rows that it saw.

    Args:
        halves: h surrogates.
        codes: all n architectures.
        rows: (r,) indices of those that count.
        progress: is told of each cut.
    """
    tables = []
    for number, half in enumerate(halves):
        if number % 2 == 0:
            progress(f"operation importance: cut {number // 2 + 1} of {len(halves) // 2}")
        unseen = half.held_out[rows]
        table = operation_importance(codes[rows[unseen]], half.predict)
        full = ImportanceTable(*(np.full((len(rows), *codes.sources.shape[1:]), np.nan) for _ in range(2)))
        full.importance[unseen], full.typical[unseen] = table.importance, table.typical
        tables.append(full)
    return tables


@dataclass(frozen=True)
class Effect:
    """A predicted change of the AUC with its 95% interval; negative lowers the attack's success."""

    change: float
    low: float
    high: float

    def serves(self, sign: int) -> bool:
        """Whether the whole interval lies on the side that lowers the AUC (``sign`` 1) or raises it (-1)."""
        return self.high < 0 if sign > 0 else self.low > 0


def effect_of(changes: Floats) -> Effect:
    """The effect from one estimate a half-sample surrogate; their standard deviation is the standard error."""
    change, error = float(changes.mean()), float(changes.std(ddof=1))
    return Effect(change, change - TWO_SIDED_95 * error, change + TWO_SIDED_95 * error)


def effects_by_half(
    half: HalfFit, codes: GenotypeCodes, rows: npt.NDArray[np.intp], patterns: Sequence[EdgesInCell]
) -> list[Floats]:
    """The mean predicted change of the AUC over those architectures of ``rows`` that the surrogate did not see.

    Args:
        half: the surrogate.
        codes: all n architectures.
        rows: indices of the sample.
        patterns: ordered edges, each for a type of cell.

    Returns:
        For each pattern an array of its length: the change with its first 1, 2, ... edges fixed.
    """
    base = codes[rows[half.held_out[rows]]]
    changed = [
        apply_edges(base, cell, edges[:budget]) for cell, edges in patterns for budget in range(1, len(edges) + 1)
    ]
    distinct, place = GenotypeCodes.concatenate([base, *changed]).unique()
    predicted = half.predict(distinct)[place].reshape(1 + len(changed), len(base))
    changes = (predicted[1:] - predicted[0]).mean(axis=1)
    return np.split(changes, np.cumsum([len(edges) for _, edges in patterns])[:-1])
