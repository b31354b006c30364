"""Encodings of architectures as the columns or graphs that a surrogate learns from.

One-hot: one column for every edge that a cell can have, with every operation: 196 for cells with four nodes.

Paths (White et al., "BANANAS: Bayesian Optimization with Neural Architectures for Neural Architecture Search", AAAI
2021): which sequences of operations lead from an input of a cell to its output. There are tens of thousands of possible
paths; as the authors do, only the shortest are kept, and here the paths of at most two operations: 2 cells x 2 inputs x
(7 + 49) columns.

Graphs: one component per cell, operations as labels of the edges that carry them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nni_privacy.cells.codes import Codes, GenotypeCodes
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES
from nni_privacy.surrogate.topology import encode_topology

__all__ = ["COLUMNS", "EDGE_LABELS", "NODE_LABELS", "GraphRows", "encode_graphs", "encode_one_hot", "encode_paths"]

OPERATIONS = len(DARTS_OPERATIONS)

COLUMNS = len(CELL_TYPES) * INPUT_NODES * (OPERATIONS + OPERATIONS**2)

Integers = npt.NDArray[np.int64]

_ROLES = ("previous_but_one", "previous", "intermediate", "output")
NODE_LABELS: tuple[str, ...] = tuple(f"{cell_type} {role}" for cell_type in CELL_TYPES for role in _ROLES)
EDGE_LABELS: tuple[str, ...] = (*DARTS_OPERATIONS, "concatenate")
"""What an edge may carry; the last leads from every intermediate node to its cell's output."""


def encode_one_hot(codes: GenotypeCodes) -> npt.NDArray[np.float32]:
    """(n, k) zeros and ones; k = 2 (cells) x (M (M + 3) / 2) (edges) x 7 (operations), in that order.

    Edges are ordered by target, then source.
    """
    per_cell = _slots(codes.nodes) * OPERATIONS
    # Node 2 has 2 possible sources, node 3 has 3, ...: where the slots of each intermediate node begin.
    first = np.array([_slots(node) for node in range(codes.nodes)])
    columns = (first[:, None] + codes.sources.astype(np.int64)) * OPERATIONS + codes.operations
    columns += per_cell * np.arange(len(CELL_TYPES))[:, None, None]
    encoded = np.zeros((len(codes), len(CELL_TYPES) * per_cell), dtype=np.float32)
    np.put_along_axis(encoded, columns.reshape(len(codes), -1), 1.0, axis=1)
    return encoded


def _slots(nodes: int) -> int:
    """How many edges could lead into the first ``nodes`` intermediate nodes."""
    return nodes * (nodes + 2 * INPUT_NODES - 1) // 2


def encode_paths(codes: GenotypeCodes) -> npt.NDArray[np.float32]:
    """(n, 224) zeros and ones: for each cell and input, whether a path of one, then of two operations is there.

    A path of operations a, b has column 7 + 7 a + b among those of its input, one of a alone column a. Every
    intermediate node is an end, since the cell's output concatenates all of them.
    """
    return np.hstack([_cell(codes.sources[:, kind], codes.operations[:, kind]) for kind in range(len(CELL_TYPES))])


def _cell(sources: Codes, operations: Codes) -> npt.NDArray[np.float32]:
    rows, nodes = len(sources), sources.shape[1]
    present = operations[..., None] == np.arange(OPERATIONS)
    # (n, M, 2 inputs, 7): which operations lead straight from an input to a node
    straight = np.stack([((sources == node)[..., None] & present).any(axis=2) for node in range(INPUT_NODES)], axis=2)
    pairs = np.zeros((rows, INPUT_NODES, OPERATIONS, OPERATIONS), dtype=bool)
    for node in range(nodes):
        for side in range(2):
            middle = sources[:, node, side] - INPUT_NODES
            first = straight[np.arange(rows), np.maximum(middle, 0)] & (middle >= 0)[:, None, None]
            pairs |= first[..., None] & present[:, node, side][:, None, None, :]
    single = straight.any(axis=1)
    return np.concatenate([single, pairs.reshape(rows, INPUT_NODES, -1)], axis=2).reshape(rows, -1).astype(np.float32)


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


def encode_graphs(codes: GenotypeCodes, *, topology: bool = True) -> GraphRows:
    """The graphs of n architectures, with their topology features, or else with (n, 0)."""
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
    features = encode_topology(codes) if topology else np.empty((len(codes), 0))
    flat = (len(codes), -1)
    return GraphRows(sources.reshape(flat), targets.ravel(), labels.reshape(flat), roles.ravel(), features)
