"""Canaries: planted records that a coin puts into the training, so that attacks on them bound its epsilon from below.

A canary is an image of the attacker's own part of the data set (the shadow halves, which nothing else of the trial is
trained or tested on) with a wrong label: what a network can only know by heart. It is taken out of those halves. Each
is in the training with probability 1/2, independently (Steinke et al., arXiv 2305.08846), which a split that deals out
halves does not give.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nni_privacy.attacks import TargetSignals
from nni_privacy.auditing.epsilon import CanaryScores
from nni_privacy.data import Dataset, FourWaySplit
from nni_privacy.errors import ConfigError
from nni_privacy.rng import derived_seed

__all__ = ["Canaries", "plant_canaries"]


@dataclass(frozen=True, eq=False)
class Canaries:
    """Planted records.

    Attributes:
        index: ``(n,)`` ``int64``, rows of the data set whose images they have.
        labels: ``(n,)`` ``int64``, wrong ones.
        included: ``(n,)`` booleans: whether it is trained on.
    """

    index: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    included: npt.NDArray[np.bool_]

    def records(self, data: Dataset, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Images and labels to train on: those of ``rows`` of ``data``, and of the canaries that are included."""
        index = np.concatenate([rows, self.index[self.included]])
        wrong = torch.from_numpy(self.labels[self.included])
        return data.images[index], torch.cat([data.labels[rows], wrong])

    def scored(self, logits: npt.NDArray[np.floating]) -> CanaryScores:
        """The loss-threshold attack's scores by the trained model's answers ``(n, K)`` on all canaries."""
        signals = TargetSignals.from_logits(logits, self.labels, self.included)
        return CanaryScores(-signals.losses, self.included)

    def arrays(self, scores: CanaryScores) -> dict[str, npt.NDArray[Any]]:
        """What is saved of them, by name."""
        kept = {"index": self.index, "label": self.labels, "included": self.included, "score": scores.scores}
        return {f"canary_{name}": value for name, value in kept.items()}


def plant_canaries(data: Dataset, split: FourWaySplit, count: int, *, seed: int) -> tuple[Canaries, FourWaySplit]:
    """Draws canaries from the shadow halves, as many from either; and the split without them.

    Args:
        data: the data set.
        split: of it.
        count: number of canaries.
        seed: of images, labels and coins.

    Raises:
        ConfigError: if they would take more than half of the shadow halves.
    """
    halves = split.shadow_train, split.shadow_test
    most = sum(map(len, halves)) // 2
    if count > most:
        raise ConfigError(
            f"canaries: {count}; {data.name} has {2 * most} records for the attacker; half of them ({most}) at most "
            "can be canaries"
        )
    generator = np.random.default_rng(derived_seed(seed, "canaries"))
    taken, left = [], []
    for half, number in zip(halves, (count - count // 2, count // 2), strict=True):
        chosen = np.sort(generator.choice(len(half), size=number, replace=False))
        taken.append(half[chosen])
        left.append(np.delete(half, chosen))
    index = np.concatenate(taken)
    wrong = generator.integers(1, data.num_classes, size=count)
    labels = (data.labels[index].numpy() + wrong) % data.num_classes
    canaries = Canaries(index, labels, generator.random(count) < 0.5)
    return canaries, replace(split, shadow_train=left[0], shadow_test=left[1])
