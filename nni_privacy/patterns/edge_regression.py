"""Linear models of the single edges: OLS contrasts of the measurements alone, and a correction of surrogates.

A surrogate lends strength from one edge to others that look alike to it (all average poolings, say), so it may find an
edge important which the data say nothing about. Ordinary least squares (OLS) on the edges is the check: the same
contrast as Operation Importance, with an honest standard error, of a linear model that knows every edge by itself.

Where one edge matters much, every alternative to it differs from the mean of its neighbours, and a surrogate that
hardly tells one place from another sees it in edges that look alike. The t-statistic of such an echo, conditional on
the edges that forward selection takes, is small.

The best predictors of the AUC describe an architecture by features of its topology, in which the same operation at two
places is nearly the same. The correction regresses what a surrogate leaves unexplained on the single edges, and
vanishes where they do not differ: its strength is chosen by generalised cross-validation (Golub, Heath and Wahba,
1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, CellType
from nni_privacy.patterns.cross_fitting import Fit
from nni_privacy.patterns.importance import Floats, Predict, edge_count, edge_from_id, edge_table

__all__ = ["SELECTION_T", "OLSContrasts", "conditional_t_statistics", "edge_design", "ols_contrasts"]
__all__ += ["with_edge_correction"]

SELECTION_T = 4.0
"""t-statistic at which forward selection takes an edge: by chance one of 200 candidates in 80 data sets."""

_INDEPENDENT = 1e-6
"""Share of a column's variance that the others must leave for it not to be collinear with them."""

RANK_TOLERANCE = 1e-8
"""Relative size below which an eigenvalue counts as 0: the design is rank-deficient, as every node has two in-edges."""

PENALTIES = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1e9)
"""In architectures: an edge that so many contain keeps half of its effect; the last one leaves no correction."""


def edge_design(codes: GenotypeCodes) -> Floats:
    """(n, 2 E) presence of every edge of the normal, then of the reduction cell, less its mean."""
    table = edge_table(codes).astype(np.float64)
    return table - table.mean(axis=0)


def conditional_t_statistics(codes: GenotypeCodes, auc: Floats) -> dict[CellType, Floats]:
    """Conditional t-statistics: of each edge in a regression on it and the forward-selected edges.

    Forward selection (Efroymson 1960): the edge with the most standard errors joins, if it has more than four.

    Args:
        codes: n architectures.
        auc: (n,) measured AUCs.

    Returns:
        By cell type (E,) t-statistics; positive: the edge lowers the AUC. 0 for an edge that no architecture has or
        that is collinear with the others.
    """
    design, response = edge_design(codes), auc - auc.mean()
    chosen: list[int] = []
    t = _conditional_t(design, response, chosen)
    while np.abs(t).max() > SELECTION_T:
        chosen.append(int(np.abs(t).argmax()))
        t = _conditional_t(design, response, chosen)
    for one in chosen:
        t[one] = _conditional_t(design, response, [other for other in chosen if other != one])[one]
    return dict(zip(CELL_TYPES, -t.reshape(len(CELL_TYPES), -1), strict=True))


def _conditional_t(design: Floats, response: Floats, chosen: Sequence[int]) -> Floats:
    """(P,) t-statistics of every column's coefficient, conditional on the chosen columns."""
    basis = np.linalg.qr(design[:, list(chosen)])[0]
    columns = design - basis @ (basis.T @ design)
    rest = response - basis @ (basis.T @ response)
    size = (columns**2).sum(axis=0)
    told_apart = size > _INDEPENDENT * np.maximum((design**2).sum(axis=0), 1e-12)
    size = np.where(told_apart, size, 1.0)
    coefficient = columns.T @ rest / size
    dof = max(len(response) - len(chosen) - 2, 1)
    variance = np.maximum(rest @ rest - coefficient**2 * size, 0.0) / dof
    z = coefficient * np.sqrt(size / np.maximum(variance, 1e-300))
    return np.where(told_apart, z, 0.0)


@dataclass(frozen=True, eq=False)
class OLSContrasts:
    """OLS contrasts of the E edges of one cell type.

    Attributes:
        contrast: (E,) mean change of the AUC when the edge gives way to a neighbour, in units of AUC; positive
            mitigates the attack; nan where there is no such legal edge.
        standard_error: (E,) of ``contrast``.
        conditional_t: (E,) see :func:`conditional_t_statistics`.
    """

    contrast: Floats
    standard_error: Floats
    conditional_t: Floats


def ols_contrasts(codes: GenotypeCodes, auc: Floats) -> dict[CellType, OLSContrasts]:
    """OLS of the measured AUC on the presence of every edge of both cells; then contrasts of the coefficients.

    Args:
        codes: n architectures.
        auc: (n,) measured AUCs.
    """
    size = edge_count(codes.nodes)
    centred = edge_design(codes)
    # An edge that all or no architectures have is a column of zeros: nothing is known about it.
    seen = centred.any(axis=0)
    gram = centred.T @ centred
    inverse = np.linalg.pinv(gram, rcond=RANK_TOLERANCE, hermitian=True)
    coefficients = inverse @ (centred.T @ (auc - auc.mean()))
    residual = auc - auc.mean() - centred @ coefficients
    dof = max(len(codes) - 1 - round(float(np.trace(inverse @ gram))), 1)
    covariance = inverse * (residual @ residual) / dof
    conditional, found = conditional_t_statistics(codes, auc), {}
    for kind, cell in enumerate(CELL_TYPES):
        contrasts = np.zeros((size, len(CELL_TYPES), size))
        contrasts[:, kind] = _contrasts(codes.nodes, seen.reshape(len(CELL_TYPES), size)[kind])
        rows = contrasts.reshape(size, -1)
        variance = np.einsum("ij,jk,ik->i", rows, covariance, rows, optimize=True)
        found[cell] = OLSContrasts(rows @ coefficients, np.sqrt(np.maximum(variance, 0.0)), conditional[cell])
        found[cell].contrast[~contrasts.any(axis=(1, 2))] = np.nan
    return found


def _contrasts(nodes: int, seen: npt.NDArray[np.bool_]) -> Floats:
    """Row e: the mean of edge e's neighbours less e itself, as weights of the coefficients, (E, E).

    A neighbour from source q is legal unless the node's other edge comes from q, which it does in one of j - 1 cases.
    Neighbours that no architecture has are left out: nothing is known about them.
    """
    size = edge_count(nodes)
    contrasts = np.zeros((size, size))
    numbers = np.arange(size).reshape(nodes, -1, len(DARTS_OPERATIONS))
    for number in np.flatnonzero(seen):
        edge = edge_from_id(int(number), nodes)
        node, operation = edge.target - 2, DARTS_OPERATIONS.index(edge.op)
        weights = np.zeros(size)
        weights[numbers[node, edge.source]] = 1.0
        weights[numbers[node, : edge.target, operation]] = (edge.target - 2) / (edge.target - 1)
        weights[number] = 0.0
        weights[~seen] = 0.0
        if weights.any():
            contrasts[number] = weights / weights.sum()
            contrasts[number, number] = -1.0
    return contrasts


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
