"""A search on predicted AUC alone: thousands of random architectures in seconds, nothing trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES, Genotype
from nni_privacy.errors import ConfigError
from nni_privacy.genotype_codes import GenotypeCodes
from nni_privacy.patterns import Pattern
from nni_privacy.patterns.coded_modification import apply_edges
from nni_privacy.patterns.importance import Predict

__all__ = ["PredictedSearch", "random_architectures", "search_predicted"]


@dataclass(frozen=True, eq=False)
class PredictedSearch:
    """What a search on predictions found, the lowest predicted AUC first.

    Attributes:
        genotypes: different architectures.
        predicted_mia_auc: (n,) their *predicted* AUC; nothing has been measured.
    """

    genotypes: GenotypeCodes
    predicted_mia_auc: npt.NDArray[np.float64]

    def best(self, count: int) -> list[tuple[Genotype, float]]:
        """The first ``count`` architectures with their predicted AUC."""
        rows = self.genotypes[:count].to_genotypes()
        return list(zip(rows, self.predicted_mia_auc[:count].tolist(), strict=True))


def random_architectures(count: int, *, seed: int, nodes: int = 4) -> GenotypeCodes:
    """``count`` architectures, every pair of sources and every operation equally likely."""
    generator = np.random.default_rng(seed)
    sources = np.zeros((count, len(CELL_TYPES), nodes, 2), dtype=np.int8)
    for node in range(nodes):
        drawn = generator.random((count, len(CELL_TYPES), node + INPUT_NODES)).argsort(axis=-1)
        sources[:, :, node] = np.sort(drawn[..., :2], axis=-1)
    return GenotypeCodes(sources, generator.integers(0, len(DARTS_OPERATIONS), sources.shape).astype(np.int8))


def search_predicted(predict: Predict, *, count: int, pattern: Pattern | None = None, seed: int) -> PredictedSearch:
    """Draws random architectures, fixes a pattern's edges in them, and orders them by their predicted AUC.

    Args:
        predict: of a surrogate, for example ``load_surrogate().predict``.
        count: architectures to draw.
        pattern: all of its edges are fixed; take ``pattern.first(m)`` to fix m.
        seed: of the draw.

    Raises:
        ConfigError: if ``count`` is not a whole number of at least 1.
    """
    if type(count) is not int or count < 1:
        raise ConfigError(f"count: {count!r}; allowed is a whole number of at least 1")
    codes = random_architectures(count, seed=seed)
    for cell in CELL_TYPES if pattern is not None else ():
        codes = apply_edges(codes, cell, pattern.edges_of(cell) if pattern is not None else ())
    codes = codes.unique()[0]
    predicted = np.asarray(predict(codes), dtype=np.float64)
    order = np.argsort(predicted, kind="stable")
    return PredictedSearch(codes[order], predicted[order])
