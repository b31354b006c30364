"""What there is to draw of a cell, whichever space it is of: nodes with roles, edges, and what is concatenated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nni_privacy.cells.darts import INPUT_NODES, Cell, Edge
from nni_privacy.cells.genotypes import AnyCell
from nni_privacy.cells.nasbench201 import NASBENCH201_NODES, NasBench201Genotype

__all__ = ["CellGraph", "Role", "cell_graph"]

Role = Literal["input", "intermediate", "output"]


@dataclass(frozen=True)
class CellGraph:
    """A cell as a graph.

    Attributes:
        labels: of the nodes, in the order of their numbers; the last node is the output.
        roles: of the nodes.
        edges: each with its operation; those of ``none`` keep their room in a drawing and are not drawn.
        concatenated: the nodes that the output concatenates; none where it adds up in-edges as every other node.
    """

    labels: tuple[str, ...]
    roles: tuple[Role, ...]
    edges: tuple[Edge, ...]
    concatenated: tuple[int, ...] = ()


def cell_graph(cell: AnyCell) -> CellGraph:
    """The graph of a cell."""
    return _darts_graph(cell) if isinstance(cell, Cell) else _nasbench201_graph(cell)


def _darts_graph(cell: Cell) -> CellGraph:
    between = tuple(range(INPUT_NODES, INPUT_NODES + cell.nodes))
    return CellGraph(
        labels=(*(f"c_{{k-{INPUT_NODES - node}}}" for node in range(INPUT_NODES)), *map(str, between), "c_{k}"),
        roles=_roles(INPUT_NODES, cell.nodes),
        edges=cell.edges,
        concatenated=between,
    )


def _nasbench201_graph(genotype: NasBench201Genotype) -> CellGraph:
    return CellGraph(
        labels=tuple(map(str, range(NASBENCH201_NODES))),
        roles=_roles(1, NASBENCH201_NODES - 2),
        edges=genotype.edges,
    )


def _roles(inputs: int, between: int) -> tuple[Role, ...]:
    first: Role = "input"
    middle: Role = "intermediate"
    return (*[first] * inputs, *[middle] * between, "output")
