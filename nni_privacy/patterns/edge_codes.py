"""Edges of one cell type as numbers, so that sums over the edges of many architectures are array operations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES, CellType, Edge
from nni_privacy.genotype_codes import GenotypeCodes

__all__ = ["EdgeMeans", "edge_count", "edge_from_id", "edge_id", "edge_ids", "edge_means", "edge_table"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EdgeMeans:
    """Means over the architectures that contain an edge, for all E edges that a cell type may have.

    Attributes:
        support: (E,) number of architectures that contain the edge.
        mean: (E,) mean of the values on that edge; nan where the support is 0.
    """

    support: Floats
    mean: Floats


def edge_count(nodes: int) -> int:
    """The number E of edge numbers of a cell with ``nodes`` intermediate nodes; some stand for no legal edge."""
    return nodes * (nodes + INPUT_NODES - 1) * len(DARTS_OPERATIONS)


def edge_ids(codes: GenotypeCodes, cell: CellType) -> npt.NDArray[np.intp]:
    """The number of every edge of every architecture's cell of type ``cell``: (n, M, 2)."""
    kind = CELL_TYPES.index(cell)
    sources, operations = (array[:, kind].astype(np.intp) for array in (codes.sources, codes.operations))
    targets = np.arange(codes.nodes)[:, None]
    return (targets * (codes.nodes + INPUT_NODES - 1) + sources) * len(DARTS_OPERATIONS) + operations


def edge_id(edge: Edge, nodes: int) -> int:
    """The number of ``edge`` in a cell with ``nodes`` intermediate nodes, to which it must fit."""
    place = (edge.target - INPUT_NODES) * (nodes + INPUT_NODES - 1) + edge.source
    return place * len(DARTS_OPERATIONS) + DARTS_OPERATIONS.index(edge.op)


def edge_from_id(number: int, nodes: int) -> Edge:
    """The edge that :func:`edge_id` gives ``number``."""
    place, operation = divmod(number, len(DARTS_OPERATIONS))
    target, source = divmod(place, nodes + INPUT_NODES - 1)
    return Edge(int(source), int(target) + INPUT_NODES, DARTS_OPERATIONS[operation])


def edge_means(ids: npt.NDArray[np.intp], values: Floats, *, nodes: int, weights: Floats | None = None) -> EdgeMeans:
    """Mean of the values on each edge over the architectures that contain it.

    Args:
        ids: (n, M, 2) of :func:`edge_ids`.
        values: (n, M, 2), one an edge.
        nodes: the number M of intermediate nodes.
        weights: (n,) how often each architecture counts; by default once.
    """
    counts = np.ones(len(ids)) if weights is None else weights
    spread = np.broadcast_to(counts[:, None, None], ids.shape).ravel()
    support = np.bincount(ids.ravel(), weights=spread, minlength=edge_count(nodes)).astype(np.float64)
    total = np.bincount(ids.ravel(), weights=spread * values.ravel(), minlength=edge_count(nodes))
    return EdgeMeans(support, np.divide(total, support, out=np.full(len(total), np.nan), where=support > 0))


def edge_table(codes: GenotypeCodes) -> npt.NDArray[np.float32]:
    """(n, 2 E) which edges the architectures contain, the normal cell's first."""
    table = np.zeros((len(codes), len(CELL_TYPES), edge_count(codes.nodes)), dtype=np.float32)
    for kind, cell in enumerate(CELL_TYPES):
        np.put_along_axis(table[:, kind], edge_ids(codes, cell).reshape(len(codes), -1), 1.0, axis=1)
    return table.reshape(len(codes), -1)
