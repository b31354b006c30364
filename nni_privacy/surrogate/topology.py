"""What matters of an architecture's shape, as numbers: 94 for cells with any number of nodes.

All of them are the same for isomorphic cells, in which intermediate nodes only have other numbers. They describe each
cell (depths, what lies on edges from the inputs and between nodes, loose ends, paths), the network's cost, and the
paths through the whole network of five cells.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES
from nni_privacy.genotype_codes import Codes, GenotypeCodes
from nni_privacy.surrogate.cost import COST_NAMES, network_cost
from nni_privacy.surrogate.paths import (
    LONGEST,
    PATH_NAMES,
    PATHS,
    SHORTEST,
    network_paths,
    path_statistics,
    propagate,
    start,
    through_output,
)

__all__ = ["TOPOLOGY_NAMES", "encode_topology"]

Floats = npt.NDArray[np.float64]

_SHAPE_NAMES = (
    "edges_from_node_0",
    "edges_from_node_1",
    "nodes_on_inputs_only",
    "depth",
    "mean_depth",
    "loose_ends",
    "convolutions_into_loose_ends",
    "most_readers",
    "nodes_of_two_convolutions",
    "nodes_without_convolution",
    "mean_longest_convolutions",
    "mean_shortest_convolutions",
    "input_1_path_share",
)
_COUNT_NAMES = ("convolutions", "pools", "skips", "5x5")
_CELL_NAMES = (
    *DARTS_OPERATIONS,
    *(f"{name}_from_inputs" for name in DARTS_OPERATIONS),
    *(f"{name}{place}" for place in ("_from_inputs", "_between_nodes") for name in _COUNT_NAMES),
    *_SHAPE_NAMES,
    *PATH_NAMES,
)
TOPOLOGY_NAMES: tuple[str, ...] = (
    *(f"{cell_type}_{name}" for cell_type in CELL_TYPES for name in _CELL_NAMES),
    *COST_NAMES,
    *(f"network_{name}" for name in PATH_NAMES),
)
"""Names of the columns of :func:`encode_topology`."""

_IS_CONVOLUTION = np.array(["conv" in op for op in DARTS_OPERATIONS])
_KINDS = np.array(
    [["conv" in op, "pool" in op, "skip" in op, "5x5" in op] for op in DARTS_OPERATIONS], dtype=np.float64
)
_CHUNK = 8192
"""Architectures at once: their intermediate arrays stay in the processor's cache."""


def encode_topology(codes: GenotypeCodes) -> Floats:
    """(n, 96) features, as :data:`TOPOLOGY_NAMES` names them."""
    encoded = np.empty((len(codes), len(TOPOLOGY_NAMES)))
    for begin in range(0, len(codes), _CHUNK):
        part = codes[begin : begin + _CHUNK]
        cells = [_cell_features(part.sources[:, kind], part.operations[:, kind]) for kind in range(len(CELL_TYPES))]
        encoded[begin : begin + _CHUNK] = np.hstack([*cells, network_cost(part), network_paths(part)])
    return encoded


def _cell_features(sources: Codes, operations: Codes) -> Floats:
    """Sources and operations (n, M, 2) of one type of cell -> (n, k), as _CELL_NAMES has them."""
    from_input = sources < INPUT_NODES
    present = (operations[..., None] == np.arange(len(DARTS_OPERATIONS))).astype(np.float64)
    counts = present.sum(axis=(1, 2))
    outer = (present * from_input[..., None]).sum(axis=(1, 2))
    inputs = start(len(sources))
    tallies = propagate(sources, operations, inputs, inputs)
    return np.hstack(
        [
            counts,
            outer,
            outer @ _KINDS,
            (counts - outer) @ _KINDS,
            _shape(sources, operations, tallies),
            path_statistics(through_output(tallies)),
        ]
    )


def _shape(sources: Codes, operations: Codes, tallies: Floats) -> Floats:
    """(n, k), as _SHAPE_NAMES has them."""
    convolution = _IS_CONVOLUTION[operations]
    per_node = convolution.sum(axis=2)
    depths = _depths(sources)
    # A node that no other intermediate node reads is a loose end: it reaches the output alone.
    readers = (sources[..., None] == np.arange(INPUT_NODES, sources.shape[1] + INPUT_NODES)).sum(axis=(1, 2))
    loose = readers == 0
    columns = (
        (sources == 0).sum(axis=(1, 2)),
        (sources == 1).sum(axis=(1, 2)),
        (sources < INPUT_NODES).all(axis=2).sum(axis=1),
        depths.max(axis=1),
        depths.mean(axis=1),
        loose.sum(axis=1),
        (per_node * loose).sum(axis=1),
        readers.max(axis=1),
        (per_node == 2).sum(axis=1),
        (per_node == 0).sum(axis=1),
        tallies[:, INPUT_NODES:, LONGEST].mean(axis=1),
        tallies[:, INPUT_NODES:, SHORTEST].mean(axis=1),
        _share_from_last(sources, operations, tallies),
    )
    return np.stack([column.astype(np.float64) for column in columns], axis=1)


def _depths(sources: Codes) -> Floats:
    """(n, M): edges on the longest way from an input to each intermediate node."""
    rows = np.arange(len(sources))
    depths = np.zeros((len(sources), sources.shape[1] + INPUT_NODES))
    for node in range(sources.shape[1]):
        first, second = (depths[rows, sources[:, node, side]] for side in range(2))
        depths[:, node + INPUT_NODES] = 1 + np.maximum(first, second)
    return depths[:, INPUT_NODES:]


def _share_from_last(sources: Codes, operations: Codes, tallies: Floats) -> Floats:
    """(n,): the share of all paths through the cell that begin at node 1, the previous cell."""
    nothing = np.zeros((len(sources), tallies.shape[2]))
    from_last = propagate(sources, operations, nothing, start(len(sources)))
    share: Floats = through_output(from_last)[:, PATHS] / through_output(tallies)[:, PATHS]
    return share
