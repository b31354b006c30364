"""Predicted effects: how the AUC changes when the first m edges of a pattern are fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import CellType, Edge
from nni_privacy.genotype_codes import GenotypeCodes
from nni_privacy.patterns.coded_modification import apply_edges
from nni_privacy.patterns.half_samples import HalfFit

__all__ = ["EdgesInCell", "Effect", "effect_of", "effects_by_half"]

Floats = npt.NDArray[np.float64]
EdgesInCell = tuple[CellType, tuple[Edge, ...]]

TWO_SIDED_95 = NormalDist().inv_cdf(0.975)


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
