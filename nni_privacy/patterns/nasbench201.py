"""Patterns in the form that NAS-Bench-201 takes (appendix F of the paper): one operation, on the first m nodes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nni_privacy.cells import Edge
from nni_privacy.nasbench201_cells import NASBENCH201_NODES, NasBench201Genotype

__all__ = ["TARGET_OPERATIONS", "constrained_nodes", "input_edges", "modify_nasbench201"]

TARGET_OPERATIONS: Mapping[str, str] = MappingProxyType({"promotion": "nor_conv_3x3", "demotion": "avg_pool_3x3"})
"""Objective to the operation that every constrained node gets; the space has no max pooling."""

_GIVES_WAY = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""Which operation is replaced first; ``none`` never is, so that the topology stays."""


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
