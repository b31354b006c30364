"""A surrogate that also knows every edge by itself: what it leaves unexplained is regressed on the single edges.

The best predictors of the AUC describe an architecture by features of its topology, in which the same operation at two
places is nearly the same. Operation Importance asks about places. The correction lets the data say where they differ,
and vanishes where they do not: its strength is chosen by generalised cross-validation (Golub, Heath and Wahba, 1979).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nni_privacy.genotype_codes import GenotypeCodes
from nni_privacy.patterns.dominant import edge_design
from nni_privacy.patterns.edge_codes import edge_table
from nni_privacy.patterns.half_samples import Fit
from nni_privacy.patterns.importance import Predict

__all__ = ["with_edge_correction"]

Floats = npt.NDArray[np.float64]

PENALTIES = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1e9)
"""In architectures: an edge that so many contain keeps half of its effect; the last one leaves no correction."""


def with_edge_correction(fit: Fit) -> Fit:
    """What fits the surrogate and then the correction, both to the same architectures."""

    def corrected(codes: GenotypeCodes, auc: Floats, seed: int) -> Predict:
        predict = fit(codes, auc, seed)
        weights = _ridge(edge_design(codes), auc - predict(codes))
        if not weights.any():
            return predict
        base, coarse = float(edge_table(codes).mean(axis=0) @ weights), weights.astype(np.float32)

        def predict_both(others: GenotypeCodes) -> Floats:
            return predict(others) + (edge_table(others) @ coarse).astype(np.float64) - base

        return predict_both

    return corrected


def _ridge(centred: Floats, residual: Floats) -> Floats:
    """Ridge weights with the penalty of least generalised cross-validation error."""
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    target = residual - residual.mean()
    projected = left.T @ target
    best, least = np.zeros(centred.shape[1]), np.inf
    for penalty in PENALTIES:
        shrink = sizes**2 / (sizes**2 + penalty)
        error = float(((target - left @ (shrink * projected)) ** 2).sum())
        criterion = error / (len(target) - 1 - shrink.sum()) ** 2
        if criterion < least:
            least = criterion
            best = right.T @ (shrink / np.maximum(sizes, 1e-12) * projected) if penalty < PENALTIES[-1] else best * 0.0
    return best
