"""Cell modification: writing pattern edges into an existing cell (section 4.4 of the paper)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nni_privacy.cells import INPUT_NODES, Cell, Edge

__all__ = ["edges_that_fit", "modify_cell"]


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
        cell = cell.replace_node(target, _claim(cell.into(target), claims))
    return cell


def _claim(current: Sequence[Edge], claims: Sequence[Edge]) -> list[Edge]:
    claimed = {edge.source for edge in claims}
    kept = [edge for edge in current if edge.source not in claimed]
    # A node has two in-edges. Those that the claims leave room for are kept, the one with the higher source first.
    free = 2 - len(claims)
    return [*claims, *kept[len(kept) - free :]]
