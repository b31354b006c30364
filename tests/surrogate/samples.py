"""Random architectures, and AUCs planted in them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import DARTS_OPERATIONS
from nni_privacy.genotype_codes import GenotypeCodes

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
