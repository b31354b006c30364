"""A search on predicted AUC alone: thousands of random architectures in seconds, nothing trained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nni_privacy.cells.codes import GenotypeCodes, random_architectures
from nni_privacy.cells.darts import CELL_TYPES, Genotype
from nni_privacy.files import to_csv
from nni_privacy.patterns import Pattern
from nni_privacy.patterns.apply import apply_edges
from nni_privacy.schema import Count, Seed, checked
from nni_privacy.surrogate.base import Floats, Surrogate

__all__ = ["PredictedArchitecture", "PredictedSearch", "predicted_csv", "random_architectures", "search_predicted"]

COLUMNS = ("genotype", "predicted_mia_auc", "predicted_sd", "pattern")
CHUNK = 20_000
"""Architectures that are predicted at once: bounds the memory, whatever the number of architectures."""


@dataclass(frozen=True)
class PredictedArchitecture:
    """One architecture and what a surrogate expects of it.

    Attributes:
        genotype: the architecture.
        predicted_mia_auc: its *predicted* AUC, in [0, 1].
        predicted_sd: standard deviation of the AUC that one training run would measure.
    """

    genotype: Genotype
    predicted_mia_auc: float
    predicted_sd: float


@dataclass(frozen=True, eq=False)
class PredictedSearch:
    """What a search on predictions found, the lowest predicted AUC first.

    Attributes:
        genotypes: n different architectures.
        predicted_mia_auc: (n,) their *predicted* AUC, ascending; nothing has been measured.
        predicted_sd: (n,) standard deviation of the AUC that one training run would measure.
        pattern: the pattern whose edges all of them have, if any.
        seconds: how long the search took.
    """

    genotypes: GenotypeCodes
    predicted_mia_auc: Floats
    predicted_sd: Floats
    pattern: Pattern | None
    seconds: float

    def __len__(self) -> int:
        return len(self.genotypes)

    def best(self, count: int) -> list[PredictedArchitecture]:
        """The first ``count`` architectures, those of the lowest predicted AUC."""
        columns = (self.predicted_mia_auc[:count].tolist(), self.predicted_sd[:count].tolist())
        rows = zip(self.genotypes[:count].to_genotypes(), *columns, strict=True)
        return [PredictedArchitecture(*row) for row in rows]


def search_predicted(
    surrogate: Surrogate, *, count: int, pattern: Pattern | None = None, seed: int = 0
) -> PredictedSearch:
    """Draws random architectures, fixes a pattern's edges in them, and orders them by their predicted AUC.

    The same seed draws the same architectures with and without a pattern, before its edges are fixed.

    Args:
        surrogate: a fitted one, for example ``load_surrogate()``.
        count: architectures to draw; those that are drawn twice are kept once.
        pattern: all of its edges are fixed; take ``pattern.first(m)`` to fix m.
        seed: of the draw.

    Raises:
        ConfigError: if ``count`` is not a whole number of at least 1, or ``seed`` none from 0 to 2^32 - 1.
        GenotypeError: if the surrogate learned from cells with other than four intermediate nodes.
    """
    checked(Count, count, "count")
    checked(Seed, seed, "seed")
    started = time.perf_counter()
    codes = random_architectures(count, seed=seed)
    if pattern is not None:
        for cell in CELL_TYPES:
            codes = apply_edges(codes, cell, pattern.edges_of(cell))
    codes = codes.unique()[0]
    parts = [surrogate.predict_with_uncertainty(codes[begin : begin + CHUNK]) for begin in range(0, len(codes), CHUNK)]
    mean, sd = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(mean, kind="stable")
    return PredictedSearch(codes[order], mean[order], sd[order], pattern, time.perf_counter() - started)


def predicted_csv(searches: Sequence[PredictedSearch]) -> str:
    """All architectures of ``searches`` as CSV, with the columns :data:`COLUMNS`; ``pattern`` is yes or no."""
    rows = []
    for search in searches:
        fixed = "no" if search.pattern is None else "yes"
        for row in search.best(len(search)):
            values = (str(row.genotype), f"{row.predicted_mia_auc:.6f}", f"{row.predicted_sd:.6f}", fixed)
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return to_csv(rows, COLUMNS)
