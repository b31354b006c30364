"""The macro skeleton around the searched cells: base class of both spaces' networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from nni_privacy.search_spaces.sizes import check_sizes

__all__ = ["Skeleton"]


class Skeleton(nn.Module, ABC):
    """A stem, cells, global pooling and a linear classifier: images (n, in_channels, h, w) -> logits (n, K).

    Attributes:
        minimum: the smallest value of each size that the network is built with.
        classifier: the last layer.
    """

    minimum: ClassVar[Mapping[str, int]]

    classifier: nn.Linear

    @classmethod
    def check_sizes(cls, **sizes: object) -> None:
        """Raises ConfigError for the first of ``sizes`` that is not a whole number of at least its minimum."""
        check_sizes(sizes, cls.minimum)

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Penultimate features: (n, in_channels, h, w) -> (n, F)."""

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, in_channels, h, w) -> logits (n, K)."""
        return self.classifier(self.features(images))
