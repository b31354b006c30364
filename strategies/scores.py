"""What is known of an architecture before it is trained, by the names of a configuration: what filters go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from nni_privacy.schema import OpenFraction, Positive

__all__ = ["PREDICTED", "SCORES", "KnownScore"]

PREDICTED = "predicted_mia_auc"
"""What a filter goes by unless it is told otherwise."""


@dataclass(frozen=True)
class KnownScore:
    """A number of an architecture that nothing has to be trained for.

    Attributes:
        scorer: the class in :mod:`nni_privacy.strategies.scorers` that knows it; that module imports torch, so it waits
            until named.
        label: what it is called in a sentence.
        form: how it is written there, a format specification.
        bounds: the type of a bound on it.
        drawn: how many random architectures a quantile is estimated on.
        of_genotypes: whether architectures have to be genotypes.
        of_images: whether it needs the data set.
    """

    scorer: str
    label: str
    form: str
    bounds: Any
    drawn: int
    of_genotypes: bool = False
    of_images: bool = False

    def written(self, score: float) -> str:
        """``score`` as text."""
        return format(score, self.form)


# The share that passes differs from the quantile by sqrt(q (1 - q) / drawn), whatever the scores are distributed like:
# .011 of 2,000, .022 of 500 and .035 of 200 at a half. Of networks of 16 channels and 5 cells for 32 x 32 pixels, a
# prediction takes 0.2 ms where there are many, a cost 30 to 70 ms, synflow 0.25 s, and what goes through a batch 0.9 to
# 1.5 s of one core: a bound is found within five minutes.
SCORES: Mapping[str, KnownScore] = MappingProxyType(
    {
        PREDICTED: KnownScore("PredictedScore", "predicted AUC", ".4f", OpenFraction, 2000, of_genotypes=True),
        "parameters": KnownScore("CostScore", "number of parameters", ",.0f", Positive, 500),
        "multiply_adds": KnownScore("CostScore", "number of multiply-adds", ",.0f", Positive, 500, of_images=True),
        "synflow": KnownScore("ZeroCostScore", "synflow", ".6g", float, 200, of_images=True),
        "grad_norm": KnownScore("ZeroCostScore", "grad_norm", ".6g", Positive, 200, of_images=True),
        "snip": KnownScore("ZeroCostScore", "snip", ".6g", Positive, 200, of_images=True),
        "naswot": KnownScore("ZeroCostScore", "naswot", ".6g", float, 200, of_images=True),
    }
)
"""Name to what is known of a score, and to the class that computes it."""
