"""Sums over all paths through a cell or a whole network, without listing them.

The number of paths through a network of five cells is in the millions; but what a path adds up to (edges,
convolutions, ...) can be summed node by node, as in the forward pass itself.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import DARTS_OPERATIONS, INPUT_NODES
from nni_privacy.genotype_codes import Codes, GenotypeCodes

__all__ = ["CONVOLUTIONS", "LONGEST", "PATHS", "PATH_NAMES", "POOLS", "SHORTEST", "SKIPS", "TOTALS"]
__all__ += ["network_paths", "path_statistics", "propagate", "start", "through_output"]

Floats = npt.NDArray[np.float64]

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
"""The cells of the paper's network, as indices of :data:`~nni_privacy.cells.CELL_TYPES`: N R N R N."""

_IS_CONVOLUTION = np.array(["conv" in op for op in DARTS_OPERATIONS], dtype=np.float64)
_PER_EDGE = np.zeros((len(DARTS_OPERATIONS), LARGE + 1))
_PER_EDGE[:, EDGES] = 1
_PER_EDGE[:, CONVOLUTIONS] = _IS_CONVOLUTION
_PER_EDGE[:, POOLS] = ["pool" in op for op in DARTS_OPERATIONS]
_PER_EDGE[:, SKIPS] = ["skip" in op for op in DARTS_OPERATIONS]
_PER_EDGE[:, LARGE] = ["5x5" in op for op in DARTS_OPERATIONS]


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
