"""Operation Importance: what one edge of an architecture adds to the attack's success (equation 1 of the paper).

Huang et al., "On the Privacy Risks of Cell-Based NAS Architectures", CCS 2022, section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES
from nni_privacy.genotype_codes import GenotypeCodes

__all__ = ["ImportanceTable", "Predict", "neighbours", "operation_importance"]

Floats = npt.NDArray[np.float64]
Predict = Callable[[GenotypeCodes], Floats]
"""Predicted AUC of n genotypes: what a surrogate's ``predict`` does."""

SLOTS = 2
"""Every node has two in-edges."""


@dataclass(frozen=True, eq=False)
class ImportanceTable:
    """Operation Importance of every edge of n architectures, in units of AUC; positive: the edge mitigates the attack.

    The axes are those of :class:`~nni_privacy.genotype_codes.GenotypeCodes`: architecture, cell type, node, in-edge.

    Attributes:
        importance: (n, 2, M, 2), equation 1: the mean predicted AUC of the edge's neighbours, less the architecture's.
        typical: (n, 2, M, 2), the same with the *median* neighbour. An edge whose importance is owed to a single
            alternative, which is itself the important edge, has a ``typical`` importance near 0.
    """

    importance: Floats
    typical: Floats

    def __len__(self) -> int:
        return len(self.importance)

    def __getitem__(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> ImportanceTable:
        """The rows of a mask or an index array."""
        return ImportanceTable(self.importance[rows], self.typical[rows])


def operation_importance(codes: GenotypeCodes, predict: Predict) -> ImportanceTable:
    """Operation Importance of every edge of every architecture; every different neighbour is predicted once.

    Args:
        codes: n architectures with M intermediate nodes.
        predict: predicted AUC of genotypes; called once.
    """
    blocks = [codes, *(block for _, block in neighbours(codes))]
    distinct, place = GenotypeCodes.concatenate(blocks).unique()
    predicted = np.asarray(predict(distinct), dtype=np.float64)[place]
    own, rest = predicted[: len(codes)], predicted[len(codes) :]
    mean, median = (np.empty(codes.sources.shape, dtype=np.float64) for _ in range(2))
    start = 0
    for (where, _), block in zip(neighbours_shape(codes.nodes), blocks[1:], strict=True):
        changes = rest[start : start + len(block)].reshape(len(codes), -1) - own[:, None]
        place_of_edge = (slice(None), *where)
        mean[place_of_edge], median[place_of_edge] = changes.mean(axis=1), np.median(changes, axis=1)
        start += len(block)
    return ImportanceTable(mean, median)


def neighbours_shape(nodes: int) -> Iterator[tuple[tuple[int, int, int], int]]:
    """For every edge slot (cell type, node, in-edge) the number of its neighbours, in the order of :func:`neighbours`.

    An edge into node j has one neighbour for each of the 6 other operations and for each of the j - 2 sources that
    neither of the node's edges has: 120 in all for M = 4.
    """
    for kind in range(len(CELL_TYPES)):
        for node in range(nodes):
            for slot in range(SLOTS):
                # j = node + 2 earlier nodes, less the two that the node's edges come from
                yield (kind, node, slot), len(DARTS_OPERATIONS) - 1 + node


def neighbours(codes: GenotypeCodes) -> Iterator[tuple[tuple[int, int, int], GenotypeCodes]]:
    """The neighbours of all architectures that change one edge slot, slot by slot.

    Yields:
        (cell type, node, in-edge), and n * k genotypes in canonical order: the k neighbours of the first architecture
        (other operations first, then other sources), those of the second, and so on.
    """
    for (kind, node, slot), count in neighbours_shape(codes.nodes):
        sources, operations = (np.repeat(array[:, None], count, axis=1) for array in (codes.sources, codes.operations))
        others = len(DARTS_OPERATIONS) - 1
        shifted = codes.operations[:, kind, node, slot, None] + np.arange(1, others + 1)
        operations[:, :others, kind, node, slot] = shifted % len(DARTS_OPERATIONS)
        if node:
            sources[:, others:, kind, node, slot] = _free_sources(codes.sources[:, kind, node], node + INPUT_NODES)
        block = GenotypeCodes(*(array.reshape(-1, *array.shape[2:]) for array in (sources, operations)))
        yield (kind, node, slot), block.canonical()


def _free_sources(taken: npt.NDArray[np.int8], target: int) -> npt.NDArray[np.int8]:
    """The nodes before ``target`` that are not among the two ``taken`` ones, row by row: (n, target - 2)."""
    earlier = np.arange(target, dtype=np.int8)
    free = (earlier[None, :, None] != taken[:, None, :]).all(axis=-1)
    return np.broadcast_to(earlier, free.shape)[free].reshape(len(taken), target - SLOTS)
