"""Topology features: what matters of an architecture's shape, as 96 numbers for cells with any number of nodes.

All of them are the same for isomorphic cells, in which intermediate nodes only have other numbers. They describe each
cell (depths, what lies on edges from the inputs and between nodes, loose ends, paths), the network's cost by table
instead of by building it, and the paths through the whole network of five cells. The number of these paths is in the
millions; but what a path adds up to (edges, convolutions, ...) can be summed node by node, as in the forward pass
itself.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from nni_privacy.cells.codes import Codes, GenotypeCodes, operation_mask
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES
from nni_privacy.cells.operations import OPERATION_KINDS
from nni_privacy.surrogate.base import Floats

__all__ = ["TOPOLOGY_NAMES", "encode_topology", "network_cost"]

PATHS, EDGES, CONVOLUTIONS, POOLS, SKIPS, LARGE, LONGEST, SHORTEST = range(8)
"""Columns of a node's tally: the number of paths that end there; the sums over these paths of their edges,
convolutions, poolings, skips and 5x5 convolutions; the most and the fewest convolutions on one of them."""
TOTALS = slice(PATHS, LARGE + 1)
PATH_NAMES = (
    "log_paths",
    "edges_per_path",
    "convolutions_per_path",
    "pools_per_path",
    "skips_per_path",
    "5x5_per_path",
    "most_convolutions",
    "fewest_convolutions",
)

LAYOUT: tuple[int, ...] = (0, 1, 0, 1, 0)
"""The cells of the paper's network, as indices of :data:`~nni_privacy.cells.darts.CELL_TYPES`: N R N R N."""

_IS_CONVOLUTION = operation_mask("convolution")
_IS_LARGE = np.array([op.endswith("5x5") for op in DARTS_OPERATIONS])
_KINDS = np.stack([_IS_CONVOLUTION, operation_mask("pooling"), operation_mask("skip"), _IS_LARGE], axis=1).astype(float)
_PER_EDGE = np.zeros((len(DARTS_OPERATIONS), LARGE + 1))
_PER_EDGE[:, EDGES] = 1
_PER_EDGE[:, CONVOLUTIONS:] = _KINDS

COST_NAMES = ("parameters", "multiply_adds")
CHANNELS, STEM_MULTIPLIER, COLOURS, CLASSES = 16, 3, 3, 10
"""Of the paper's networks (section 4.1)."""
PIXELS = 32
"""Sides of the images; a larger image multiplies all multiply-adds alike (but the classifier's)."""

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

_CHUNK = 8192
"""Architectures at once: their intermediate arrays stay in the processor's cache."""


def start(rows: int) -> Floats:
    """(rows, 8) tallies of an input: one path, with nothing on it."""
    tally = np.zeros((rows, SHORTEST + 1))
    tally[:, PATHS] = 1
    return tally


def propagate(sources: Codes, operations: Codes, before_last: Floats, last: Floats) -> Floats:
    """Tallies of all nodes of a cell.

    Args:
        sources: (n, M, 2).
        operations: (n, M, 2).
        before_last: (n, 8), the tally of node 0.
        last: (n, 8), of node 1.

    Returns:
        (n, M + 2, 8).
    """
    rows = np.arange(len(sources))
    nodes = sources.shape[1]
    tallies = np.empty((len(sources), nodes + INPUT_NODES, SHORTEST + 1))
    tallies[:, 0], tallies[:, 1] = before_last, last
    for node in range(nodes):
        first, second = (_along(tallies[rows, sources[:, node, side]], operations[:, node, side]) for side in range(2))
        tallies[:, node + INPUT_NODES] = _join(first, second)
    return tallies


def through_output(tallies: Floats) -> Floats:
    """(n, 8): the tally of a cell's output, which concatenates all of its intermediate nodes."""
    return reduce(_join, (tallies[:, node] for node in range(INPUT_NODES, tallies.shape[1])))


def network_paths(codes: GenotypeCodes) -> Floats:
    """(n, 8) statistics, as :data:`PATH_NAMES` has them, of the paths from the stem to the end of N R N R N."""
    before_last = last = start(len(codes))
    for kind in LAYOUT:
        tallies = propagate(codes.sources[:, kind], codes.operations[:, kind], before_last, last)
        before_last, last = last, through_output(tallies)
    return path_statistics(last)


def path_statistics(tally: Floats) -> Floats:
    """(n, 8) tallies -> (n, 8) statistics, as :data:`PATH_NAMES` has them."""
    statistics = tally.copy()
    statistics[:, EDGES : LARGE + 1] /= tally[:, PATHS, None]
    statistics[:, PATHS] = np.log(tally[:, PATHS])
    return statistics


def _along(tally: Floats, operation: Codes) -> Floats:
    """The paths of ``tally``, each one edge longer."""
    longer = tally.copy()
    longer[:, TOTALS] += tally[:, PATHS, None] * _PER_EDGE[operation]
    longer[:, LONGEST:] += _IS_CONVOLUTION[operation, None]
    return longer


def _join(first: Floats, second: Floats) -> Floats:
    both = first + second
    both[:, LONGEST] = np.maximum(first[:, LONGEST], second[:, LONGEST])
    both[:, SHORTEST] = np.minimum(first[:, SHORTEST], second[:, SHORTEST])
    return both


def network_cost(codes: GenotypeCodes) -> Floats:
    """(n, 2): parameters, and multiply-adds of convolutions and classifier for one image of 32 x 32."""
    channels, side = CHANNELS, PIXELS
    stem = STEM_MULTIPLIER * channels
    total = np.tile(_convolution(COLOURS, stem, 3, side) + _norm(stem), (len(codes), 1))
    before_last, last, last_side = stem, stem, side
    for kind in LAYOUT:
        reduces = CELL_TYPES[kind] == "reduction"
        channels = 2 * channels if reduces else channels
        # Inputs are brought to the cell's width first; one of twice the resolution is halved by the way.
        for width in (before_last, last):
            total += _convolution(width, channels, 1, last_side) + _norm(channels)
        side = last_side // 2 if reduces else last_side
        # A cell that reduces halves the resolution on the edges from its inputs.
        table = np.array(
            [[_operation(name, channels, side, halves) for name in DARTS_OPERATIONS] for halves in (False, reduces)]
        )
        from_input = (codes.sources[:, kind] < INPUT_NODES).astype(np.int8)
        total += table[from_input, codes.operations[:, kind]].sum(axis=(1, 2))
        before_last, last, last_side = last, channels * codes.nodes, side
    return total + np.array([last * CLASSES + CLASSES, last * CLASSES])


def _operation(name: str, channels: int, side: int, halves: bool) -> Floats:
    """(2,): of one operation, ``side`` pixels a side of its output; poolings have neither weights nor multiply-adds."""
    kind = OPERATION_KINDS[name]
    if kind == "pooling":
        return np.zeros(2)
    if kind == "skip":
        return _convolution(channels, channels, 1, side) + _norm(channels) if halves else np.zeros(2)
    kernel = int(name[-1])
    # Depthwise, then pointwise.
    once = _convolution(1, channels, kernel, side) + _convolution(channels, channels, 1, side) + _norm(channels)
    return 2 * once if name.startswith("sep") else once


def _convolution(inputs: int, outputs: int, kernel: int, side: int) -> Floats:
    weights = inputs * outputs * kernel**2
    return np.array([weights, weights * side**2], dtype=np.float64)


def _norm(channels: int) -> Floats:
    return np.array([2 * channels, 0], dtype=np.float64)


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
    kinds = (outer @ _KINDS, (counts - outer) @ _KINDS)
    paths = path_statistics(through_output(tallies))
    return np.hstack([counts, outer, *kinds, _shape(sources, operations, tallies), paths])


def _shape(sources: Codes, operations: Codes, tallies: Floats) -> Floats:
    """(n, k), as _SHAPE_NAMES has them."""
    convolution = _IS_CONVOLUTION[operations]
    per_node = convolution.sum(axis=2)
    depths = _depths(sources)
    # A node that no other intermediate node reads is a loose end: it reaches the output alone.
    readers = (sources[..., None] == np.arange(INPUT_NODES, sources.shape[1] + INPUT_NODES)).sum(axis=(1, 2))
    loose = readers == 0
    # From node 1, the previous cell, alone.
    from_last = propagate(sources, operations, np.zeros((len(sources), SHORTEST + 1)), start(len(sources)))
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
        through_output(from_last)[:, PATHS] / through_output(tallies)[:, PATHS],
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
