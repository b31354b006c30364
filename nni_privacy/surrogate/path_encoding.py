"""The path encoding of BANANAS: which sequences of operations lead from an input of a cell to its output.

White et al., "BANANAS: Bayesian Optimization with Neural Architectures for Neural Architecture Search", AAAI 2021.
There are tens of thousands of possible paths; as the authors do, only the shortest are kept, and here the paths of at
most two operations: 2 cells x 2 inputs x (7 + 49) columns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES
from nni_privacy.genotype_codes import Codes, GenotypeCodes

__all__ = ["COLUMNS", "encode_paths"]

OPERATIONS = len(DARTS_OPERATIONS)
COLUMNS = len(CELL_TYPES) * INPUT_NODES * (OPERATIONS + OPERATIONS**2)


def encode_paths(codes: GenotypeCodes) -> npt.NDArray[np.float32]:
    """(n, 224) zeros and ones: for each cell and input, whether a path of one, then of two operations is there.

    A path of operations a, b has column 7 + 7 a + b among those of its input, one of a alone column a. Every
    intermediate node is an end, since the cell's output concatenates all of them.
    """
    cells = [_cell(codes.sources[:, kind], codes.operations[:, kind]) for kind in range(len(CELL_TYPES))]
    return np.hstack(cells)


def _cell(sources: Codes, operations: Codes) -> npt.NDArray[np.float32]:
    rows, nodes = len(sources), sources.shape[1]
    present = operations[..., None] == np.arange(OPERATIONS)
    # (n, M, 2 inputs, 7): which operations lead straight from an input to a node
    straight = np.stack(
        [((sources == source)[..., None] & present).any(axis=2) for source in range(INPUT_NODES)], axis=2
    )
    pairs = np.zeros((rows, INPUT_NODES, OPERATIONS, OPERATIONS), dtype=bool)
    for node in range(nodes):
        for side in range(2):
            middle = sources[:, node, side] - INPUT_NODES
            first = straight[np.arange(rows), np.maximum(middle, 0)] & (middle >= 0)[:, None, None]
            pairs |= first[..., None] & present[:, node, side][:, None, None, :]
    single = straight.any(axis=1)
    return np.concatenate([single, pairs.reshape(rows, INPUT_NODES, -1)], axis=2).reshape(rows, -1).astype(np.float32)
