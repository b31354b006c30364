"""Operation Importance and Algorithm 1: what an edge adds to the attack's success, and the patterns made of that.

Equation 1 and Algorithm 1 of Huang et al., "On the Privacy Risks of Cell-Based NAS Architectures", CCS 2022, sections
4.2 and 4.3. Edges of one cell type are numbers here, so that sums over the edges of many architectures are array
operations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES, CellType, Edge
from nni_privacy.patterns.pattern import Objective

__all__ = ["MIN_SUPPORT", "SIGN", "EdgeMeans", "Floats", "ImportanceTable", "Predict", "Rows", "assemble_pattern"]
__all__ += ["edge_count", "edge_from_id", "edge_ids", "edge_means", "edge_table", "grow_pattern", "neighbours"]
__all__ += ["operation_importance", "order_edges"]

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

Predict = Callable[[GenotypeCodes], Floats]
"""Predicted AUC of n genotypes: what a surrogate's ``predict`` does."""

SLOTS = 2
"""Every node has two in-edges."""

MAX_EDGES = 8
"""L of the paper: a cell with four intermediate nodes has eight edges."""

MIN_SUPPORT = 15
"""An edge is a candidate if *more than 14* architectures of the group contain it."""

SIGN: Mapping[Objective, int] = {"demotion": 1, "promotion": -1}
"""The sign of the importance that serves an objective: an edge of positive importance mitigates the attack."""


@dataclass(frozen=True, eq=False)
class EdgeMeans:
    """Means over the architectures that contain an edge, for all E edges that a cell type may have.

    Attributes:
        support: (E,) number of architectures that contain the edge.
        mean: (E,) mean of the values on that edge; nan where the support is 0.
    """

    support: Floats
    mean: Floats

    def candidates(self, nodes: int) -> dict[Edge, float]:
        """The means of the edges with enough support, by edge; ``nodes`` is the cells' number M."""
        numbers = np.flatnonzero(self.support >= MIN_SUPPORT)
        return {edge_from_id(int(number), nodes): float(self.mean[number]) for number in numbers}


def edge_count(nodes: int) -> int:
    """The number E of edge numbers of a cell with ``nodes`` intermediate nodes; some stand for no legal edge."""
    return nodes * (nodes + INPUT_NODES - 1) * len(DARTS_OPERATIONS)


def edge_ids(codes: GenotypeCodes, cell: CellType) -> Rows:
    """The number of every edge of every architecture's cell of type ``cell``: (n, M, 2)."""
    kind = CELL_TYPES.index(cell)
    sources, operations = (array[:, kind].astype(np.intp) for array in (codes.sources, codes.operations))
    targets = np.arange(codes.nodes)[:, None]
    return (targets * (codes.nodes + INPUT_NODES - 1) + sources) * len(DARTS_OPERATIONS) + operations


def edge_from_id(number: int, nodes: int) -> Edge:
    """The edge that has ``number`` in a cell with ``nodes`` intermediate nodes; see :func:`edge_ids`."""
    place, operation = divmod(number, len(DARTS_OPERATIONS))
    target, source = divmod(place, nodes + INPUT_NODES - 1)
    return Edge(int(source), int(target) + INPUT_NODES, DARTS_OPERATIONS[operation])


def edge_means(ids: Rows, values: Floats, *, nodes: int, weights: Floats | None = None) -> EdgeMeans:
    """Mean of the values on each edge over the architectures that contain it.

    Args:
        ids: (n, M, 2) of :func:`edge_ids`.
        values: (n, M, 2), one per edge.
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


@dataclass(frozen=True, eq=False)
class ImportanceTable:
    """Operation Importance of every edge of n architectures, in units of AUC; positive: the edge mitigates the attack.

    The axes are those of :class:`~nni_privacy.cells.GenotypeCodes`: architecture, cell type, node, in-edge.

    Attributes:
        importance: (n, 2, M, 2), equation 1: the mean predicted AUC of the edge's neighbours, less the architecture's.
        median_contrast: (n, 2, M, 2), the same with the *median* neighbour: near 0 for an edge whose importance is
            owed to a single alternative, which is itself the important edge.
    """

    importance: Floats
    median_contrast: Floats

    def __len__(self) -> int:
        return len(self.importance)

    def __getitem__(self, rows: npt.NDArray[np.bool_] | Rows) -> ImportanceTable:
        """The rows of a mask or an index array."""
        return ImportanceTable(self.importance[rows], self.median_contrast[rows])


def operation_importance(codes: GenotypeCodes, predict: Predict) -> ImportanceTable:
    """Operation Importance of every edge of every architecture; every different neighbour is predicted once.

    Args:
        codes: n architectures with M intermediate nodes.
        predict: predicted AUC of genotypes; called once.
    """
    blocks = dict(neighbours(codes))
    distinct, place = GenotypeCodes.concatenate([codes, *blocks.values()]).unique()
    predicted = np.asarray(predict(distinct), dtype=np.float64)[place]
    own, rest = predicted[: len(codes)], predicted[len(codes) :]
    mean, median = (np.empty(codes.sources.shape, dtype=np.float64) for _ in range(2))
    start = 0
    for where, block in blocks.items():
        changes = rest[start : start + len(block)].reshape(len(codes), -1) - own[:, None]
        edge = (slice(None), *where)
        mean[edge], median[edge] = changes.mean(axis=1), np.median(changes, axis=1)
        start += len(block)
    return ImportanceTable(mean, median)


def neighbours(codes: GenotypeCodes) -> Iterator[tuple[tuple[int, int, int], GenotypeCodes]]:
    """The neighbours of all architectures that change one edge slot, slot by slot.

    An edge into node j has one neighbour for each of the 6 other operations and for each of the j - 2 sources that
    neither of the node's edges has: 120 in all for M = 4.

    Yields:
        (cell type, node, in-edge), and n * k genotypes in canonical order: the k neighbours of the first architecture
        (other operations first, then other sources), those of the second, and so on.
    """
    others = len(DARTS_OPERATIONS) - 1
    for kind, node, slot in product(range(len(CELL_TYPES)), range(codes.nodes), range(SLOTS)):
        # node + 2 earlier nodes, less the two that the node's edges come from
        arrays = (np.repeat(array[:, None], others + node, axis=1) for array in (codes.sources, codes.operations))
        sources, operations = arrays
        shifted = codes.operations[:, kind, node, slot, None] + np.arange(1, others + 1)
        operations[:, :others, kind, node, slot] = shifted % len(DARTS_OPERATIONS)
        if node:
            earlier = np.arange(node + INPUT_NODES, dtype=np.int8)
            free = (earlier[:, None] != codes.sources[:, kind, node, None]).all(axis=-1)
            sources[:, others:, kind, node, slot] = np.broadcast_to(earlier, free.shape)[free].reshape(-1, node)
        block = GenotypeCodes(*(array.reshape(-1, *array.shape[2:]) for array in (sources, operations)))
        yield (kind, node, slot), block.canonical()


def grow_pattern(importance: Mapping[Edge, float], objective: Objective) -> tuple[Edge, ...]:
    """Algorithm 1: the pattern of the candidates in the order of their mean importance."""
    return assemble_pattern(order_edges(importance, objective))


def order_edges(importance: Mapping[Edge, float], objective: Objective) -> list[Edge]:
    """The edges that serve ``objective``, the most important first; equal ones in the order of the edges.

    Args:
        importance: mean Operation Importance of each candidate, in units of AUC.
        objective: ``demotion`` takes those above 0, descending; ``promotion`` those below 0, ascending.
    """
    sign = SIGN[objective]
    serving = [edge for edge, value in importance.items() if sign * value > 0]
    return sorted(serving, key=lambda edge: (-sign * importance[edge], edge))


def assemble_pattern(ordered: Sequence[Edge], *, max_edges: int = MAX_EDGES) -> tuple[Edge, ...]:
    """Grows a connected pattern from the source node of the best edge.

    Again and again takes the first edge in the order that touches a node of the pattern, whose pair of nodes is new,
    and whose target has fewer than two in-edges; the search starts from the top after each.

    Args:
        ordered: candidate edges of one cell type, the most important first.
        max_edges: L of the paper.

    Returns:
        At most ``max_edges`` edges in the order in which they were taken; none if there are no candidates.
    """
    if not ordered:
        return ()
    nodes, pairs, in_degree = {ordered[0].source}, set[tuple[int, int]](), Counter[int]()
    pattern: list[Edge] = []
    while len(pattern) < max_edges:
        for edge in ordered:
            touches = edge.source in nodes or edge.target in nodes
            if touches and (edge.source, edge.target) not in pairs and in_degree[edge.target] < 2:
                break
        else:
            return tuple(pattern)
        pattern.append(edge)
        nodes |= {edge.source, edge.target}
        pairs.add((edge.source, edge.target))
        in_degree[edge.target] += 1
    return tuple(pattern)
