"""What a pattern leaves to be searched: fixed edges, and the choices of a node that has some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from nni_privacy.cells import CELL_TYPES, DARTS_OPERATIONS, CellType, Edge, Genotype, format_sources, node_labels
from nni_privacy.patterns import Pattern

__all__ = ["FixedEdges", "choices_of_constrained_node"]


@dataclass(frozen=True)
class FixedEdges:
    """The edges that every architecture of a constrained search has, by type of cell.

    Args:
        edges: type of cell to its edges; at most two into any node, from different sources.
    """

    edges: Mapping[CellType, tuple[Edge, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        complete = {cell_type: tuple(self.edges.get(cell_type, ())) for cell_type in CELL_TYPES}
        object.__setattr__(self, "edges", MappingProxyType(complete))

    @classmethod
    def of(cls, pattern: Pattern) -> FixedEdges:
        """The edges of a (possibly dual) pattern."""
        return cls({cell_type: pattern.edges_of(cell_type) for cell_type in CELL_TYPES})

    def by_target(self, cell_type: CellType) -> dict[int, list[Edge]]:
        """The edges of ``cell_type`` grouped by the node that they lead into."""
        groups: dict[int, list[Edge]] = {}
        for edge in self.edges[cell_type]:
            groups.setdefault(edge.target, []).append(edge)
        return groups

    def missing_from(self, genotype: Genotype) -> list[Edge]:
        """Those edges that ``genotype`` does not have, though it has their nodes."""
        return [
            edge
            for cell_type in CELL_TYPES
            for edge in self.edges[cell_type]
            if edge.target < 2 + genotype.nodes and edge not in genotype.cell(cell_type).edges
        ]

    def as_lists(self) -> dict[str, list[list[int | str]]]:
        """Plain lists ``[source, target, operation]`` by type of cell, for files and checkpoints."""
        return {
            cell_type: [[edge.source, edge.target, edge.op] for edge in edges]
            for cell_type, edges in self.edges.items()
        }

    def __len__(self) -> int:
        return sum(len(edges) for edges in self.edges.values())


def choices_of_constrained_node(cell_type: CellType, target: int, fixed: Sequence[Edge]) -> dict[str, list[str]]:
    """The values that each choice of a node keeps when the edges ``fixed`` into it are given.

    The fixed edge is written as the node's first one. With one fixed edge the other slot may come from every other
    source, with every operation: the fixed source is never repeated, and no architecture is listed twice. With two
    the node has nothing left to choose.

    Returns:
        Label to its remaining values.
    """
    labels = node_labels(cell_type, target)
    first = fixed[0]
    if len(fixed) == 2:
        second = fixed[1]
        return {
            labels.sources: [format_sources(first.source, second.source)],
            labels.first_op: [first.op],
            labels.second_op: [second.op],
        }
    others = [source for source in range(target) if source != first.source]
    return {
        labels.sources: [format_sources(first.source, other) for other in others],
        labels.first_op: [first.op],
        labels.second_op: list(DARTS_OPERATIONS),
    }
