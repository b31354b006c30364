"""One column for every edge that a cell can have, with every operation: 196 for cells with four nodes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES
from nni_privacy.errors import GenotypeError
from nni_privacy.genotype_codes import GenotypeCodes

__all__ = ["decode_one_hot", "encode_one_hot", "one_hot_names"]

OPERATIONS = len(DARTS_OPERATIONS)


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


def decode_one_hot(encoded: npt.NDArray[np.float32], *, nodes: int) -> GenotypeCodes:
    """The genotypes that :func:`encode_one_hot` made ``encoded`` from.

    Raises:
        GenotypeError: if a row has not two ones for each node.
    """
    shape = (len(encoded), len(CELL_TYPES), nodes, 2)
    columns = np.nonzero(encoded)[1]
    if encoded.shape[1] != len(CELL_TYPES) * _slots(nodes) * OPERATIONS or len(columns) != np.prod(shape):
        raise GenotypeError(f"an array of shape {encoded.shape} is not the encoding of cells with {nodes} nodes")
    slots, operations = np.divmod(columns % (_slots(nodes) * OPERATIONS), OPERATIONS)
    targets = np.repeat(np.arange(nodes), np.arange(nodes) + INPUT_NODES)[slots]
    expected = np.tile(np.repeat(np.arange(nodes), 2), len(encoded) * len(CELL_TYPES))
    if not np.array_equal(targets, expected):
        raise GenotypeError("a node of an encoded cell does not have two in-edges")
    sources = slots - np.array([_slots(node) for node in range(nodes)])[targets]
    return GenotypeCodes(sources.reshape(shape).astype(np.int8), operations.reshape(shape).astype(np.int8))


def one_hot_names(nodes: int) -> tuple[str, ...]:
    """The columns' names, such as ``normal (0, 2, sep_conv_3x3)``."""
    return tuple(
        f"{cell_type} ({source}, {target}, {operation})"
        for cell_type in CELL_TYPES
        for target in range(INPUT_NODES, INPUT_NODES + nodes)
        for source in range(target)
        for operation in DARTS_OPERATIONS
    )


def _slots(nodes: int) -> int:
    """How many edges could lead into the first ``nodes`` intermediate nodes."""
    return nodes * (nodes + 2 * INPUT_NODES - 1) // 2
