"""Random search with shared weights (Li, Talwalkar: Random Search and Reproducibility for NAS, arXiv 1902.07638)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from nni_privacy.schema import Count
from nni_privacy.search_spaces.supernet import Sample
from nni_privacy.strategies.candidates import distinct_random_samples, ranked_by_accuracy
from nni_privacy.strategies.one_shot import OneShotOptions
from nni_privacy.strategies.search_data import Batch
from nni_privacy.strategies.weight_sharing import WeightSharing, WeightSharingOptions

__all__ = ["RandomSearch", "RandomSearchOptions"]

PREVIEWED = 5
"""Candidates that are scored after every epoch, to say where the search stands at little cost."""


class RandomSearchOptions(WeightSharingOptions):
    """Options of :class:`RandomSearch`; those of the weights are DARTS' (arXiv 1806.09055, section 3.1)."""

    candidates: Count = Field(100, description="random architectures that are scored at the end")
    score_batch_size: int = Field(
        512, ge=2, description="validation records that candidates are scored on, at most all of the half"
    )


class RandomSearch(WeightSharing):
    """Random search with weight sharing (arXiv 1902.07638, section 3).

    Training: each step draws an architecture uniformly, every choice independently, and takes one SGD step of the
    weights on its path; nothing else is learnt, and of the validation half nothing is seen.

    Selection: ``candidates`` architectures, drawn uniformly, all different, are scored by the accuracy of the shared
    weights. All see the same batch, of ``score_batch_size`` records of the validation half (the whole half where it has
    no more), and are ranked by it. There is no distribution over architectures, so there is no entropy to report.

    Defaults: 100 candidates (as in NAS-Bench-201's comparison, arXiv 2001.00326); epochs and weights as for DARTS.
    """

    Options: ClassVar[type[OneShotOptions]] = RandomSearchOptions

    def search_step(self, train: Batch, validation: Batch, epoch: int) -> dict[str, float]:
        """One step of the weights on a uniformly random path."""
        gates = self.supernet.path_gates(self.layout().random_sample(self.generator))
        return {"train_loss": self.weight_step(train, gates)}

    def drawn_candidates(self, count: int) -> list[Sample]:
        """The first ``count`` of the candidates: the same after every epoch, all different."""
        generator = torch.Generator().manual_seed(self.stream(7))
        return distinct_random_samples(self.layout(), max(count, self.options.candidates), generator=generator)[:count]

    def ranked(self, samples: list[Sample]) -> list[Sample]:
        """``samples`` by the accuracy of the shared weights on one large validation batch, best first."""
        batch = self.data.validation_batch(batch_size=self.options.score_batch_size, seed=self.stream(8))
        return ranked_by_accuracy(self, samples, batch)

    def best_samples(self, count: int) -> list[Sample]:
        """The candidates of the highest accuracy."""
        return self.ranked(self.drawn_candidates(max(count, self.options.candidates)))[:count]

    def current_sample(self) -> Sample:
        """The best of the first few candidates; the others are scored at the end."""
        return self.ranked(self.drawn_candidates(min(PREVIEWED, self.options.candidates)))[0]
