"""SETN (Dong, Yang: One-Shot NAS via Self-Evaluated Template Network, ICCV 2019, arXiv 1910.05733)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from nni_privacy.runs.journal import sample_key
from nni_privacy.schema import Count
from nni_privacy.search_spaces.supernet import Gates, Sample
from nni_privacy.strategies.differentiable import Differentiable, DifferentiableOptions, gumbel_max
from nni_privacy.strategies.one_shot import OneShotOptions

__all__ = ["SETN", "SETNOptions"]


class SETNOptions(DifferentiableOptions):
    """Options of :class:`SETN`; the others are DARTS' (arXiv 1806.09055, section 3.1)."""

    candidates: Count = Field(100, description="likeliest architectures that are scored at the end")
    draws: int = Field(
        2000, ge=1, description="architectures drawn to find the likeliest, in spaces of more than 20,000"
    )


ENUMERABLE = 20_000
"""Spaces up to this size are looked through as a whole; NAS-Bench-201 has 15,625 architectures."""


class SETN(Differentiable):
    """The self-evaluated template network (arXiv 1910.05733, section 3).

    Weights, "stochastic": each SGD step runs one architecture drawn uniformly, every choice
    independently, on a training batch, so that all candidates are trained equally well, whatever alpha prefers.

    Architecture, "self-evaluated": each Adam step of alpha runs the joint softmax mixture of all candidates on a
    validation batch.

    Selection: of the architectures with the largest sums of log softmax(alpha) over the edges they use,
    the first ``candidates`` are scored by the accuracy of the shared weights on one validation batch, the same for all;
    the best is exported. The paper draws its candidates from softmax(alpha). Here a small space is enumerated, so they
    are the likeliest of all; in a large one ``draws`` draws are taken and the likeliest of them are kept, with the
    likeliest of all, which is known, among them.

    Defaults: 100 candidates (as in NAS-Bench-201's comparison, arXiv 2001.00326); epochs, weights and alpha as for
    DARTS.
    """

    Options: ClassVar[type[OneShotOptions]] = SETNOptions

    def weight_gates(self) -> Gates:
        """One uniformly random path."""
        return self.supernet.path_gates(self.layout().random_sample(self.generator))

    def likeliest(self, count: int) -> list[Sample]:
        """The architectures with the largest sums of log softmax(alpha), the largest first, all different."""
        log_probabilities = {
            key: torch.log_softmax(alpha.detach(), dim=0).cpu() for key, alpha in self.architecture.items()
        }
        layout = self.layout()
        if layout.size() <= ENUMERABLE:
            found = [layout.sample_at(index) for index in range(layout.size())]
        else:  # the likeliest architecture, and draws from the distribution, without repetitions
            generator = torch.Generator().manual_seed(self.stream(7))
            samples = [layout.export(log_probabilities)]
            for _ in range(max(count, self.options.draws)):
                samples.append(gumbel_max(layout, log_probabilities, generator))
            found = list({sample_key(sample): sample for sample in samples}.values())
        plain = {key: values.tolist() for key, values in log_probabilities.items()}

        def log_probability(sample: Sample) -> float:
            return sum(plain[key][index] for key, index in layout.path(sample).items())

        return sorted(found, key=log_probability, reverse=True)[:count]

    def best_samples(self, count: int) -> list[Sample]:
        """The candidates of the highest accuracy; of equal ones the likelier first."""
        batch = self.data.validation_batch(batch_size=self.options.batch_size, seed=self.stream(8))
        samples = self.likeliest(max(count, self.options.candidates))
        return self.ranked_by_accuracy(samples, batch)[:count]
