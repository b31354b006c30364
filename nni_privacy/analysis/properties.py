"""Properties of a cell that the paper's guidelines (section 5.6) speak of, as numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from nni_privacy.cells.darts import INPUT_NODES, Cell
from nni_privacy.cells.operations import operation_kind

__all__ = ["PROPERTIES", "depth", "width"]


def convolutions(cell: Cell) -> float:
    """Number of edges that carry a convolution, separable or dilated."""
    return float(sum(operation_kind(edge.op) == "convolution" for edge in cell))


def input_convolutions(cell: Cell) -> float:
    """Number of convolutions on edges from one of the cell's two inputs."""
    return float(sum(operation_kind(edge.op) == "convolution" and edge.source < INPUT_NODES for edge in cell))


def depth(cell: Cell) -> float:
    """Number of edges on the longest path from an input to an intermediate node, from 1 to the number of nodes.

    Shu et al. (Understanding Architectures Learnt by Cell-based Neural Architecture Search, ICLR 2020) count the way
    on to the output too, which is one more in every cell.
    """
    ranks: dict[int, int] = dict.fromkeys(range(INPUT_NODES), 0)
    for target in range(INPUT_NODES, INPUT_NODES + cell.nodes):
        ranks[target] = 1 + max(ranks[edge.source] for edge in cell.into(target))
    return float(max(ranks.values()))


def width(cell: Cell) -> float:
    """Sum over intermediate nodes of the share of their in-edges that comes from an input (Shu et al., ICLR 2020).

    In units of one node's channels: from 1 (a chain) to the number of nodes (all nodes read the inputs only).
    """
    return sum(edge.source < INPUT_NODES for edge in cell) / 2


PROPERTIES: Mapping[str, Callable[[Cell], float]] = MappingProxyType(
    {
        "convolutions": convolutions,
        "convolutions on the inputs": input_convolutions,
        "depth": depth,
        "width": width,
    }
)
"""Name to the function that measures it."""
