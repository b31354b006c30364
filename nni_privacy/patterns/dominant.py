"""Which edges the measurements single out, and what is left of the others beside them: a sparse linear model.

Where one edge matters much, every alternative to it differs from the mean of its neighbours, and a surrogate that
hardly tells one place from another sees it in edges that look alike. Beside the edges that the measurements single
out, such an echo says nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import CELL_TYPES, CellType
from nni_privacy.genotype_codes import GenotypeCodes
from nni_privacy.patterns.edge_codes import edge_table

__all__ = ["DOMINANT", "beside_dominant", "edge_design"]

Floats = npt.NDArray[np.float64]

DOMINANT = 4.0
"""Standard errors at which an edge is singled out: by chance one of 200 candidates in 80 data sets."""

_INDEPENDENT = 1e-6
"""Share of a column's variance that must be left beside the others for it to be told apart from them."""


def edge_design(codes: GenotypeCodes) -> Floats:
    """(n, 2 E) presence of every edge of the normal, then of the reduction cell, less its mean."""
    table = edge_table(codes).astype(np.float64)
    return table - table.mean(axis=0)


def beside_dominant(codes: GenotypeCodes, auc: Floats) -> dict[CellType, Floats]:
    """How clearly each edge lowers the measured AUC beside the edges that the measurements single out.

    Args:
        codes: n architectures.
        auc: (n,) measured AUCs.

    Returns:
        By cell type (E,) standard errors; positive: the edge lowers the AUC. 0 for an edge that no architecture has or
        that cannot be told apart from the others.
    """
    design, response = edge_design(codes), auc - auc.mean()
    chosen = _singled_out(design, response)
    z = _z_beside(design, response, chosen)
    for one in chosen:
        z[one] = _z_beside(design, response, [other for other in chosen if other != one])[one]
    return dict(zip(CELL_TYPES, -z.reshape(len(CELL_TYPES), -1), strict=True))


def _singled_out(design: Floats, response: Floats) -> list[int]:
    """Forward selection (Efroymson 1960): the column with the most standard errors joins, if it has more than four."""
    chosen: list[int] = []
    z = _z_beside(design, response, chosen)
    while np.abs(z).max() > DOMINANT:
        chosen.append(int(np.abs(z).argmax()))
        z = _z_beside(design, response, chosen)
    return chosen


def _z_beside(design: Floats, response: Floats, chosen: Sequence[int]) -> Floats:
    """(P,) t statistics of every column's coefficient in least squares with the chosen columns."""
    basis = np.linalg.qr(design[:, list(chosen)])[0]
    columns = design - basis @ (basis.T @ design)
    rest = response - basis @ (basis.T @ response)
    size = (columns**2).sum(axis=0)
    told_apart = size > _INDEPENDENT * np.maximum((design**2).sum(axis=0), 1e-12)
    size = np.where(told_apart, size, 1.0)
    coefficient = columns.T @ rest / size
    freedom = max(len(response) - len(chosen) - 2, 1)
    variance = np.maximum(rest @ rest - coefficient**2 * size, 0.0) / freedom
    z = coefficient * np.sqrt(size / np.maximum(variance, 1e-300))
    return np.where(told_apart, z, 0.0)
