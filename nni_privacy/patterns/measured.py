"""The importance of an edge from the measurements alone, without a surrogate: least squares on the edges.

A surrogate lends strength from one edge to others that look alike to it (all average poolings, say), so it may find an
edge important which the data say nothing about. This is the check: the same contrast as Operation Importance, with
an honest standard error, of a linear model that knows every edge by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import CELL_TYPES, DARTS_OPERATIONS, CellType
from nni_privacy.genotype_codes import GenotypeCodes
from nni_privacy.patterns.dominant import beside_dominant, edge_design
from nni_privacy.patterns.edge_codes import edge_count, edge_from_id

__all__ = ["MeasuredImportance", "measure_importance"]

Floats = npt.NDArray[np.float64]

RANK_TOLERANCE = 1e-8
"""Relative size below which an eigenvalue counts as 0: the design is rank-deficient, as every node has two in-edges."""


@dataclass(frozen=True, eq=False)
class MeasuredImportance:
    """Least-squares importance of the E edges of one cell type.

    Attributes:
        importance: (E,) mean change of the AUC when the edge gives way to a neighbour, in units of AUC; positive
            mitigates the attack; nan where there is no such legal edge.
        error: (E,) its standard error.
        beside: (E,) how many standard errors the edge lowers the AUC by in a model that holds, besides the edge, only
            those that the measurements single out; see :func:`~nni_privacy.patterns.dominant.beside_dominant`.
    """

    importance: Floats
    error: Floats
    beside: Floats

    def z(self, number: int, sign: int) -> float:
        """How many standard errors the edge lies on the side ``sign`` (1 or -1) of 0; 0 where it is not known."""
        value, error = sign * self.importance[number], self.error[number]
        return float(value / error) if np.isfinite(value) and error > 0 else 0.0


def measure_importance(codes: GenotypeCodes, auc: Floats) -> dict[CellType, MeasuredImportance]:
    """Least squares of the measured AUC on the presence of every edge of both cells; then contrasts of coefficients.

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
    freedom = max(len(codes) - 1 - round(float(np.trace(inverse @ gram))), 1)
    covariance = inverse * (residual @ residual) / freedom
    beside, found = beside_dominant(codes, auc), {}
    for kind, cell in enumerate(CELL_TYPES):
        contrasts = np.zeros((size, len(CELL_TYPES), size))
        contrasts[:, kind] = _contrasts(codes.nodes, seen.reshape(len(CELL_TYPES), size)[kind])
        rows = contrasts.reshape(size, -1)
        variance = np.einsum("ij,jk,ik->i", rows, covariance, rows, optimize=True)
        found[cell] = MeasuredImportance(rows @ coefficients, np.sqrt(np.maximum(variance, 0.0)), beside[cell])
        found[cell].importance[~contrasts.any(axis=(1, 2))] = np.nan
    return found


def _contrasts(nodes: int, seen: npt.NDArray[np.bool_]) -> Floats:
    """Row e: the mean of edge e's neighbours less e itself, as weights of the coefficients, (E, E).

    A neighbour from source q is legal unless the node's other edge comes from q, which it does in one of j - 1 cases.
    Neighbours that no architecture has are left out: nothing is known about them.
    """
    size, contrasts = edge_count(nodes), np.zeros((edge_count(nodes), edge_count(nodes)))
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
