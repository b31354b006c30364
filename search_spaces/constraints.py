"""Constraints of a search by a pattern: fixed edges, and the choices left to a node that has some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, CellType, Edge, format_sources, node_labels
from nni_privacy.cells.spaces import AnyGenotype
from nni_privacy.patterns import Pattern

__all__ = ["FixedEdges", "choices_of_constrained_node"]


@dataclass(frozen=True)
class FixedEdges:
    """The edges that every architecture of a constrained search has, by cell.

    Args:
        edges: name of a searched cell (``normal`` and ``reduction`` in the DARTS space, ``cell`` in NAS-Bench-201) to
            its edges; those of a DARTS cell lead at most two into any node, from different sources.
    """

    edges: Mapping[str, tuple[Edge, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", MappingProxyType({name: tuple(edges) for name, edges in self.edges.items()}))

    @classmethod
    def of(cls, pattern: Pattern) -> FixedEdges:
        """The edges of a (possibly dual) pattern in the DARTS space, which patterns are written for."""
        return cls({cell_type: pattern.edges_of(cell_type) for cell_type in CELL_TYPES})

    def by_target(self, cell: str) -> dict[int, list[Edge]]:
        """The edges of one cell grouped by the node that they lead into."""
        groups: dict[int, list[Edge]] = {}
        for edge in self.edges.get(cell, ()):
            groups.setdefault(edge.target, []).append(edge)
        return groups

    def missing_from(self, genotype: AnyGenotype) -> list[Edge]:
        """Those edges that ``genotype`` does not have, though it has their nodes."""
        missing = []
        for cell, present in genotype.edges_by_cell().items():
            nodes = {edge.target for edge in present}
            missing += [edge for edge in self.edges.get(cell, ()) if edge.target in nodes and edge not in present]
        return missing

    def as_lists(self) -> dict[str, list[list[int | str]]]:
        """Plain lists ``[source, target, operation]`` by cell, for files and checkpoints."""
        return {name: [[edge.source, edge.target, edge.op] for edge in edges] for name, edges in self.edges.items()}

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
    labels, (first, *rest) = node_labels(cell_type, target), fixed
    others = [edge.source for edge in rest] or [source for source in range(target) if source != first.source]
    return {
        labels.sources: [format_sources(first.source, other) for other in others],
        labels.first_op: [first.op],
        labels.second_op: [edge.op for edge in rest] or list(DARTS_OPERATIONS),
    }
