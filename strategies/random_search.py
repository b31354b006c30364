"""Random search with shared weights (Li, Talwalkar: Random Search and Reproducibility for NAS, arXiv 1902.07638)."""

from __future__ import annotations

from typing import ClassVar

import torch

from nni_privacy.runs.journal import sample_key
from nni_privacy.search_spaces.supernet import Layout, Sample
from nni_privacy.strategies.one_shot import Batch, OneShotOptions
from nni_privacy.strategies.weight_sharing import CandidateOptions, WeightSharing

__all__ = ["RandomSearch", "distinct_random_samples"]

PREVIEWED = 5
"""Candidates that are scored after every epoch, to say where the search stands at little cost."""
SMALL_SPACE = 100_000
"""Spaces up to this size are drawn from without replacement; in larger ones draws hardly ever repeat."""


class RandomSearch(WeightSharing):
    """Random search with weight sharing (arXiv 1902.07638, section 3).

    Training: each step draws an architecture uniformly, every choice independently, and takes one SGD step of the
    weights on its path; nothing else is learnt, and of the validation half nothing is seen.

    Selection: ``candidates`` architectures, drawn uniformly, all different, are scored by the accuracy of the shared
    weights. All see the same batch, of ``score_batch_size`` records of the validation half (the whole half where it has
    no more), and are ranked by it. There is no distribution over architectures, so there is no entropy to report.

    Defaults: 100 candidates (as in NAS-Bench-201's comparison, arXiv 2001.00326); epochs and weights as for DARTS.
    """

    Options: ClassVar[type[OneShotOptions]] = CandidateOptions

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
        return self.ranked_by_accuracy(samples, batch)

    def best_samples(self, count: int) -> list[Sample]:
        """The candidates of the highest accuracy."""
        return self.ranked(self.drawn_candidates(max(count, self.options.candidates)))[:count]

    def current_sample(self) -> Sample:
        """The best of the first few candidates; the others are scored at the end."""
        return self.ranked(self.drawn_candidates(min(PREVIEWED, self.options.candidates)))[0]


def distinct_random_samples(layout: Layout, count: int, *, generator: torch.Generator) -> list[Sample]:
    """Uniformly random samples without replacement.

    Returns:
        ``count`` samples, all different, or the whole space in random order if it has no more.
    """
    size = layout.size()
    if size <= max(SMALL_SPACE, 2 * count):
        return [layout.sample_at(index) for index in torch.randperm(size, generator=generator)[:count].tolist()]
    found: dict[str, Sample] = {}
    while len(found) < count:
        sample = layout.random_sample(generator)
        found[sample_key(sample)] = sample
    return list(found.values())
