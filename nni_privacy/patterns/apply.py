"""Cell modification: pattern edges written into cells, one at a time or many at once.

Section 4.4 of the paper for DARTS; appendix F for NAS-Bench-201, where a pattern is one operation on the first m nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES, Cell, CellType, Edge
from nni_privacy.cells.nasbench201 import NASBENCH201_NODES, NasBench201Genotype

__all__ = ["apply_edges", "edges_that_fit", "input_edges", "modify_cell", "modify_nasbench201"]

TARGET_OPERATIONS: Mapping[str, str] = MappingProxyType({"promotion": "nor_conv_3x3", "demotion": "avg_pool_3x3"})
"""Objective to the operation that every constrained node gets; the space has no max pooling."""

_GIVES_WAY = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""Which operation is replaced first; ``none`` never is, so that the topology stays."""


def edges_that_fit(edges: Iterable[Edge], nodes: int) -> tuple[Edge, ...]:
    """Those of ``edges`` whose nodes exist in a cell with ``nodes`` intermediate nodes."""
    return tuple(edge for edge in edges if edge.target < INPUT_NODES + nodes)


def modify_cell(cell: Cell, edges: Iterable[Edge]) -> Cell:
    """Writes ``edges`` into ``cell``, in their order.

    For each edge (u, v, o): if node v already has an edge from u, that edge's operation becomes o. Otherwise the edge
    takes the place of one of v's two edges that no pattern edge has claimed; where both are unclaimed, of the one
    with the lower source. So the result is a legal cell, contains all the edges, and every other node stays as it
    was. Edges into nodes that the cell does not have are passed over.

    Args:
        cell: the cell to modify; it stays as it is.
        edges: at most two into any node, from different sources.

    Returns:
        The modified cell. Modifying it again with the same edges changes nothing.
    """
    wanted: dict[int, list[Edge]] = {}
    for edge in edges_that_fit(edges, cell.nodes):
        wanted.setdefault(edge.target, []).append(edge)
    for target, claims in wanted.items():
        claimed = {edge.source for edge in claims}
        kept = [edge for edge in cell.into(target) if edge.source not in claimed]
        # A node has two in-edges. Those that the claims leave room for are kept, the one with the higher source first.
        cell = cell.replace_node(target, [*claims, *kept[len(kept) + len(claims) - 2 :]])
    return cell


def constrained_nodes(budget: int) -> range:
    """The nodes that a pattern of ``budget`` edges constrains: the first of nodes 1 to 3, in their order."""
    return range(1, min(budget, NASBENCH201_NODES - 1) + 1)


def modify_nasbench201(genotype: NasBench201Genotype, objective: str, budget: int) -> NasBench201Genotype:
    """``genotype`` with the objective's operation on at least one in-edge of each of the first ``budget`` nodes.

    A node that has the operation, or has nothing but ``none``, stays as it is. Otherwise one edge is replaced: a
    skip_connect, else a nor_conv_1x1, else a nor_conv_3x3, else an avg_pool_3x3; of several the one with the lowest
    source.

    Args:
        genotype: the architecture to modify; it stays as it is.
        objective: ``demotion`` or ``promotion``.
        budget: number of nodes; 3 or more means all.

    Returns:
        The modified genotype. Modifying it again changes nothing.
    """
    target_operation = TARGET_OPERATIONS[objective]
    for node in constrained_nodes(budget):
        into = [edge for edge in genotype.into(node) if edge.op in _GIVES_WAY]
        if into and all(edge.op != target_operation for edge in into):
            given_up = min(into, key=lambda edge: (_GIVES_WAY.index(edge.op), edge.source))
            genotype = genotype.with_operation(given_up.source, node, target_operation)
    return genotype


def input_edges(objective: str, budget: int) -> tuple[Edge, ...]:
    """The edges that a search fixes: from the cell's input to each of the first ``budget`` nodes.

    A search needs definite edges where :func:`modify_nasbench201` only asks for some in-edge of a node. The paper does
    not say which; its patterns of the DARTS space lead mostly from the cell's inputs, and here there is one input.
    """
    return tuple(Edge(0, node, TARGET_OPERATIONS[objective]) for node in constrained_nodes(budget))


def apply_edges(codes: GenotypeCodes, cell: CellType, edges: Sequence[Edge]) -> GenotypeCodes:
    """The architectures with ``edges`` written into their cell of type ``cell``, by the rules of ``modify_cell``.

    Args:
        codes: n architectures; they stay as they are.
        cell: which of their cells.
        edges: at most two into any node, from different sources.
    """
    kind = CELL_TYPES.index(cell)
    sources, operations = codes.sources.copy(), codes.operations.copy()
    claims: dict[int, list[Edge]] = {}
    for edge in edges_that_fit(edges, codes.nodes):
        claims.setdefault(edge.target - INPUT_NODES, []).append(edge)
    for node, claimed in claims.items():
        # One edge changes the in-edge from the same source; where there is none, that of the lower source (slot 0).
        places = [(codes.sources[:, kind, node] == claimed[0].source).argmax(axis=1)] if len(claimed) == 1 else [0, 1]
        for edge, place in zip(claimed, places, strict=True):
            sources[np.arange(len(codes)), kind, node, place] = edge.source
            operations[np.arange(len(codes)), kind, node, place] = DARTS_OPERATIONS.index(edge.op)
    return GenotypeCodes(sources, operations).canonical()
