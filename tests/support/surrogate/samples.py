"""Random architectures, and AUCs planted in them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import DARTS_OPERATIONS, Cell, Edge, Genotype

NOISE = 0.01


def random_codes(rows: int, *, seed: int = 0, nodes: int = 4) -> GenotypeCodes:
    """Uniform over sources and operations."""
    random = np.random.default_rng(seed)
    sources = np.empty((rows, 2, nodes, 2), dtype=np.int8)
    for node in range(nodes):
        keys = random.random((rows, 2, node + 2))
        sources[:, :, node] = np.sort(np.argsort(keys, axis=2)[..., :2], axis=2)
    return GenotypeCodes(sources, random.integers(0, 7, sources.shape).astype(np.int8))


def planted_auc(codes: GenotypeCodes, *, seed: int = 0, noise: float = NOISE) -> npt.NDArray[np.float64]:
    """.8, and .01 less for every average pooling in the reduction cell, plus normal noise."""
    pools = (codes.operations[:, 1] == DARTS_OPERATIONS.index("avg_pool_3x3")).sum(axis=(1, 2))
    return np.clip(0.8 - 0.01 * pools + noise * np.random.default_rng(seed + 1).normal(size=len(codes)), 0, 1)


def planted_rows(rows: int = 60) -> list[list[object]]:
    """Genotype and AUC of random architectures."""
    codes = random_codes(rows, seed=3)
    aucs = planted_auc(codes).tolist()
    return [[str(genotype), auc] for genotype, auc in zip(codes.to_genotypes(), aucs, strict=True)]


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows under a header; by default 60 architectures with planted AUC."""

    def write(rows: list[list[object]] | None = None, header: tuple[str, ...] = ("genotype", "mia_auc")) -> Path:
        path = tmp_path / "data.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *(planted_rows() if rows is None else rows)])
        return path

    return write


def relabelled(cell: Cell, order: tuple[int, ...]) -> Cell | None:
    """The cell with intermediate node 2 + k called 2 + order[k]; None if an edge would then lead backwards."""
    name = {0: 0, 1: 1, **{2 + old: 2 + new for old, new in enumerate(order)}}
    if any(name[edge.source] >= name[edge.target] for edge in cell):
        return None
    return Cell(tuple(Edge(name[edge.source], name[edge.target], edge.op) for edge in cell))


def isomorphic(genotype: Genotype) -> list[Genotype]:
    """All relabellings of the intermediate nodes of either cell."""
    orders = list(permutations(range(genotype.nodes)))
    normals = [cell for order in orders if (cell := relabelled(genotype.normal, order))]
    reductions = [cell for order in orders if (cell := relabelled(genotype.reduction, order))]
    return [Genotype(normal, reduction) for normal in normals for reduction in reductions]
