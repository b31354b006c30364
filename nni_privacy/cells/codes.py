"""Genotypes as arrays of small integers, for computations on thousands of architectures at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES, Cell, Edge, Genotype
from nni_privacy.cells.operations import OPERATION_KINDS, OperationKind
from nni_privacy.errors import GenotypeError

__all__ = ["GenotypeCodes", "operation_mask", "random_architectures"]

Codes = npt.NDArray[np.int8]

_OPERATION_CODE = {operation: code for code, operation in enumerate(DARTS_OPERATIONS)}


def operation_mask(kind: OperationKind) -> npt.NDArray[np.bool_]:
    """(7,) which operations are of ``kind``; ``operation_mask(kind)[codes.operations]`` are the edges that are."""
    return np.array([OPERATION_KINDS[op] == kind for op in DARTS_OPERATIONS])


@dataclass(frozen=True, eq=False)
class GenotypeCodes:
    """n genotypes with M intermediate nodes each, one row per genotype, in canonical order.

    The axes of both arrays are: genotype; type of cell in the order of :data:`~nni_privacy.cells.darts.CELL_TYPES`
    (normal, reduction); intermediate node (0 stands for node 2); in-edge (the one with the lower source first).

    Attributes:
        sources: (n, 2, M, 2), the node that an in-edge comes from.
        operations: (n, 2, M, 2), the index of its operation in :data:`~nni_privacy.cells.darts.DARTS_OPERATIONS`.
    """

    sources: Codes
    operations: Codes

    @classmethod
    def from_genotypes(cls, genotypes: Sequence[Genotype]) -> GenotypeCodes:
        """Codes of ``genotypes``, row by row.

        Raises:
            GenotypeError: if they do not all have the same number of intermediate nodes, or if there are none.
        """
        if not genotypes:
            raise GenotypeError("no genotypes")
        nodes = genotypes[0].nodes
        rows: list[list[tuple[int, int]]] = []
        for number, genotype in enumerate(genotypes, start=1):
            if genotype.nodes != nodes:
                raise GenotypeError(
                    f"genotype {number} has {genotype.nodes} intermediate nodes and the first {nodes}; must be equal"
                )
            rows.append(
                [(edge.source, _OPERATION_CODE[edge.op]) for kind in CELL_TYPES for edge in genotype.cell(kind).edges]
            )
        table = np.array(rows, dtype=np.int8).reshape(len(rows), len(CELL_TYPES), nodes, 2, 2)
        return cls(table[..., 0].copy(), table[..., 1].copy())

    def to_genotypes(self) -> list[Genotype]:
        """The genotypes that the rows stand for."""

        def cell(sources: list[list[int]], operations: list[list[int]]) -> Cell:
            return Cell(
                tuple(
                    Edge(source, INPUT_NODES + node, DARTS_OPERATIONS[operation])
                    for node, pair in enumerate(zip(sources, operations, strict=True))
                    for source, operation in zip(*pair, strict=True)
                )
            )

        rows = zip(self.sources.tolist(), self.operations.tolist(), strict=True)
        return [Genotype(*map(cell, sources, operations)) for sources, operations in rows]

    @property
    def nodes(self) -> int:
        """The number M of intermediate nodes of every cell."""
        return int(self.sources.shape[2])

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, rows: Any) -> GenotypeCodes:
        """The rows of a slice, an index array or a boolean mask."""
        return GenotypeCodes(self.sources[rows], self.operations[rows])

    @staticmethod
    def concatenate(parts: Sequence[GenotypeCodes]) -> GenotypeCodes:
        """The rows of all ``parts``, one after another."""
        return GenotypeCodes(
            np.concatenate([part.sources for part in parts]), np.concatenate([part.operations for part in parts])
        )

    def canonical(self) -> GenotypeCodes:
        """The same genotypes with every node's in-edges in ascending order of their sources."""
        order = np.argsort(self.sources, axis=-1, kind="stable")
        return GenotypeCodes(
            np.take_along_axis(self.sources, order, axis=-1), np.take_along_axis(self.operations, order, axis=-1)
        )

    def unique(self) -> tuple[GenotypeCodes, npt.NDArray[np.intp]]:
        """Every different genotype once, and for each row the index of its genotype among them."""
        flat = np.concatenate([self.sources.reshape(len(self), -1), self.operations.reshape(len(self), -1)], axis=1)
        keys = np.ascontiguousarray(flat).view(np.dtype((np.void, flat.shape[1]))).ravel()
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        return self[first], inverse.reshape(-1)


def random_architectures(count: int, *, seed: int, nodes: int = 4) -> GenotypeCodes:
    """``count`` architectures, every pair of sources and every operation equally likely."""
    generator = np.random.default_rng(seed)
    sources = np.zeros((count, len(CELL_TYPES), nodes, 2), dtype=np.int8)
    for node in range(nodes):
        drawn = generator.random((count, len(CELL_TYPES), node + INPUT_NODES)).argsort(axis=-1)
        sources[:, :, node] = np.sort(drawn[..., :2], axis=-1)
    return GenotypeCodes(sources, generator.integers(0, len(DARTS_OPERATIONS), sources.shape).astype(np.int8))
