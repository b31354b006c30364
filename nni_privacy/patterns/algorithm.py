"""Algorithm 1 of the paper: from edges in the order of their importance to a pattern.

Huang et al., "On the Privacy Risks of Cell-Based NAS Architectures", CCS 2022, section 4.3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from nni_privacy.cells import Edge
from nni_privacy.patterns.pattern import Objective

__all__ = ["MAX_EDGES", "MIN_SUPPORT", "SIGN", "assemble_pattern", "order_edges"]

MAX_EDGES = 8
"""L of the paper: a cell with four intermediate nodes has eight edges."""

MIN_SUPPORT = 15
"""An edge is a candidate if *more than 14* architectures of the group contain it."""

SIGN: Mapping[Objective, int] = {"demotion": 1, "promotion": -1}
"""The sign of the importance that serves an objective: an edge of positive importance mitigates the attack."""


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
