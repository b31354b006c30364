"""Data of a one-shot search: the two halves of target-train, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nni_privacy.data import Normalizer
from nni_privacy.errors import ConfigError
from nni_privacy.rng import stream_seed
from nni_privacy.training.fit import epoch_batches, prepare_batch, resolve_device

__all__ = ["Batch", "SearchData"]

Batch = tuple[Tensor, Tensor]
"""Images (n, C, h, w), normalised, and labels (n,), on the device."""


@dataclass(frozen=True, eq=False)
class SearchData:
    """The two halves of target-train on which an architecture is searched (paper, section 1).

    Attributes:
        images: (n, C, h, w), all records.
        labels: (n,) int64.
        train: indices of the half on which weights are trained.
        validation: indices of the half on which architectures are judged.
        normalize: statistics of all of ``images``.
        device: where batches go.
    """

    images: Tensor
    labels: Tensor
    train: Tensor
    validation: Tensor
    normalize: Normalizer
    device: torch.device

    @classmethod
    def halved(cls, images: Tensor, labels: Tensor, *, seed: int, device: str) -> SearchData:
        """Two equal, disjoint, random halves of the given records; of an odd number one is left over."""
        if len(images) != len(labels) or len(labels) < 4:
            raise ConfigError(f"data: {len(images)} images and {len(labels)} labels; a search needs 4 or more of both")
        half = len(labels) // 2
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(stream_seed(seed, 0)))
        normalize = Normalizer.fit(images)
        return cls(images, labels, order[:half], order[half : 2 * half], normalize, resolve_device(device))

    @classmethod
    def of_evaluator(cls, evaluator: Any, *, seed: int, device: str) -> SearchData:
        """The halves of an evaluator's target-train; of its target-test and shadow parts nothing is seen.

        Raises:
            ConfigError: if the evaluator has no data of ours.
        """
        if not hasattr(evaluator, "load_data"):
            raise ConfigError(
                f"data: a {type(evaluator).__name__} does not say what to search on; "
                "give the strategy data=(images, labels)"
            )
        data, split = evaluator.load_data()
        members = torch.from_numpy(split.target_train)
        return cls.halved(data.images[members], data.labels[members], seed=seed, device=device)

    def check_batch_size(self, batch_size: int) -> None:
        """Raises ConfigError if a half does not fill one batch."""
        if batch_size > len(self.train):
            raise ConfigError(f"batch_size: {batch_size}; each half of the training records has {len(self.train)}")

    def batch(self, index: Tensor) -> Batch:
        """The records ``index``, normalised, on the device."""
        images = self.images[index].to(self.device)
        return prepare_batch(images, self.normalize), self.labels[index].to(self.device)

    def epoch(self, *, batch_size: int, seed: int, epoch: int) -> Iterator[tuple[Batch, Batch]]:
        """Pairs of a training and a validation batch, both halves reshuffled; the same for the same seed and epoch."""
        orders = [
            epoch_batches(
                len(half),
                batch_size=batch_size,
                generator=torch.Generator().manual_seed(stream_seed(seed, 1, epoch, number)),
            )
            for number, half in enumerate((self.train, self.validation))
        ]
        for train, validation in zip(*orders, strict=True):
            yield self.batch(self.train[train]), self.batch(self.validation[validation])

    def validation_batch(self, *, batch_size: int, seed: int, number: int = 0) -> Batch:
        """One random batch of the validation half."""
        generator = torch.Generator().manual_seed(stream_seed(seed, 2, number))
        return self.batch(self.validation[torch.randperm(len(self.validation), generator=generator)[:batch_size]])
