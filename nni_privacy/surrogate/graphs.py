"""Architectures as graphs: one component a cell, operations as labels of the edges that carry them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES
from nni_privacy.genotype_codes import GenotypeCodes
from nni_privacy.surrogate.topology import encode_topology

__all__ = ["EDGE_LABELS", "NODE_LABELS", "GraphRows", "encode_graphs", "graph_edges"]

Integers = npt.NDArray[np.int64]

_ROLES = ("previous_but_one", "previous", "intermediate", "output")
NODE_LABELS: tuple[str, ...] = tuple(f"{cell_type} {role}" for cell_type in CELL_TYPES for role in _ROLES)
EDGE_LABELS: tuple[str, ...] = (*DARTS_OPERATIONS, "concatenate")
"""What an edge may carry; the last leads from every intermediate node to its cell's output."""


@dataclass(frozen=True, eq=False)
class GraphRows:
    """n architectures with M intermediate nodes as n graphs of equal size.

    A graph has 2 (M + 3) nodes: for the normal, then the reduction cell its two inputs, intermediate nodes, output.
    Intermediate nodes are told apart by their edges alone, so that isomorphic cells are equal graphs.

    Attributes:
        sources: (n, E) the node where an edge begins; E = 2 (2 M + M).
        targets: (E,) where it ends, the same in every graph.
        labels: (n, E) index in :data:`EDGE_LABELS`.
        roles: (2 (M + 3),) index in :data:`NODE_LABELS`.
        topology: (n, k) topology features.
    """

    sources: Integers
    targets: Integers
    labels: Integers
    roles: Integers
    topology: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, rows: Any) -> GraphRows:
        return GraphRows(self.sources[rows], self.targets, self.labels[rows], self.roles, self.topology[rows])


def encode_graphs(codes: GenotypeCodes) -> GraphRows:
    """The graphs of n architectures, with their topology features."""
    return replace(graph_edges(codes), topology=encode_topology(codes))


def graph_edges(codes: GenotypeCodes) -> GraphRows:
    """The graphs alone: ``topology`` is (n, 0)."""
    nodes = codes.nodes
    size = nodes + INPUT_NODES + 1
    shift = size * np.arange(len(CELL_TYPES))[:, None]
    intermediate = np.arange(INPUT_NODES, nodes + INPUT_NODES)
    shape = (len(codes), len(CELL_TYPES), -1)
    sources, labels = (array.astype(np.int64).reshape(shape) for array in (codes.sources, codes.operations))
    ends = np.broadcast_to(intermediate, (len(codes), len(CELL_TYPES), nodes))
    sources = np.concatenate([sources, ends], axis=2) + shift
    labels = np.concatenate([labels, np.full(ends.shape, EDGE_LABELS.index("concatenate"))], axis=2)
    targets = np.concatenate([np.repeat(intermediate, 2), np.full(nodes, size - 1)]) + shift
    roles = np.array([0, 1, *[2] * nodes, 3]) + len(_ROLES) * np.arange(len(CELL_TYPES))[:, None]
    flat = (len(codes), -1)
    return GraphRows(
        sources.reshape(flat), targets.ravel(), labels.reshape(flat), roles.ravel(), np.empty((len(codes), 0))
    )
