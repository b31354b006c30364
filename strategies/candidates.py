"""Candidate architectures of a weight-sharing search: sampling without replacement, and ranking by shared weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nni_privacy.search_spaces.supernet import Layout, Sample
from nni_privacy.strategies.search_data import Batch
from nni_privacy.strategies.weight_sharing import WeightSharing

__all__ = [
    "distinct_random_samples",
    "judging",
    "ranked_by_accuracy",
    "sample_at",
    "sample_key",
    "space_size",
]

SMALL_SPACE = 100_000
"""Spaces up to this size are drawn from without replacement; in larger ones draws hardly ever repeat."""


def space_size(layout: Layout) -> int:
    """Number of samples that the (constrained) space has."""
    return math.prod(len(values) for values in layout.choices.values())


def sample_at(layout: Layout, index: int) -> Sample:
    """The sample number ``index`` of the space, in ``range(space_size(layout))``; the last choice changes fastest."""
    sample: Sample = {}
    for label, values in reversed(list(layout.choices.items())):
        index, digit = divmod(index, len(values))
        sample[label] = values[digit]
    return {label: sample[label] for label in layout.choices}


def sample_key(layout: Layout, sample: Sample) -> tuple[Any, ...]:
    """What two samples share if, and only if, they are the same."""
    return tuple(sample[label] for label in layout.choices)


def distinct_random_samples(layout: Layout, count: int, *, generator: torch.Generator) -> list[Sample]:
    """Uniformly random samples without replacement.

    Returns:
        ``count`` samples, all different, or the whole space in random order if it has no more.
    """
    size = space_size(layout)
    if size <= max(SMALL_SPACE, 2 * count):
        order = torch.randperm(size, generator=generator)[:count]
        return [sample_at(layout, index) for index in order.tolist()]
    found: dict[tuple[Any, ...], Sample] = {}
    while len(found) < count:
        sample = layout.random_sample(generator)
        found.setdefault(sample_key(layout, sample), sample)
    return list(found.values())


def ranked_by_accuracy(strategy: WeightSharing, samples: Sequence[Sample], batch: Batch) -> list[Sample]:
    """``samples`` by the accuracy of the shared weights on ``batch``, best first; equal ones keep their order."""
    with judging(strategy.supernet):
        accuracies = [strategy.accuracy(sample, batch) for sample in samples]
    order = sorted(range(len(samples)), key=lambda index: -accuracies[index])
    return [samples[index] for index in order]


@contextmanager
def judging(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, but every BatchNorm normalises with the batch at hand; nothing of ``network`` changes.

    The running statistics that a space of a user's own may keep mix those of all paths, and fit none of them.
    """
    modes = {module: module.training for module in network.modules()}
    norms = [module for module in modes if isinstance(module, _BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    network.eval()
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm, track in zip(norms, tracked, strict=True):
            norm.track_running_stats = track
        for module, training in modes.items():
            module.training = training
