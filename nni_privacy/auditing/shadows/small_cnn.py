"""The shadow model of Black-Box/Shadow: one small CNN, whatever the target is (Huang et al., CCS 2022)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from nni_privacy.schema import Count, Several, checked

__all__ = ["SmallCNN", "small_mlp"]

WIDTHS = (32, 64, 128)
HIDDEN = 512
MAX_GRID = 6
"""What is left of a 64x64 image in ML-Doctor's network, whose convolutions are not padded: 6x6."""
MIN_SIZE = 4
"""Two max-pools leave one pixel of a 4x4 image."""


class SmallCNN(nn.Module):
    """Three 3x3 convolutions (32, 64, 128 channels), two 2x2 max-pools, and a classifier with 512 hidden units.

    The convolutions are padded, so that 8x8 images work too, and what they leave is averaged down to at most 6x6:
    64x64 images come to the 6x6x128 inputs that ML-Doctor's classifier has, and 8x8 images keep their 2x2. The wide
    hidden layer is what lets a shadow overfit as its target does.

    Args:
        in_channels: channels of the images.
        num_classes: number of classes K.
        image_size: height and width of the images, 4 or more.

    Maps images ``(B, in_channels, H, W)`` to logits ``(B, K)``.

    Raises:
        ConfigError: if a size is not a whole number or too small.
    """

    def __init__(self, *, in_channels: int, num_classes: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        height, width = image_size
        checked(Count, in_channels, "in_channels")
        checked(Several, num_classes, "num_classes")
        for side in image_size:
            checked(Annotated[Count, Field(ge=MIN_SIZE)], side, "image_size")
        first, second, third = WIDTHS
        grid = (min(height // 4, MAX_GRID), min(width // 4, MAX_GRID))
        self.convolutions = nn.Sequential(
            nn.Conv2d(in_channels, first, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(second, third, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(grid),
            nn.Flatten(),
        )
        self.hidden = nn.Sequential(nn.Linear(third * grid[0] * grid[1], HIDDEN), nn.ReLU())
        self.classifier = nn.Linear(HIDDEN, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> logits (B, K)."""
        logits: Tensor = self.classifier(self.hidden(self.convolutions(images)))
        return logits


def small_mlp(*, features: int, num_classes: int) -> nn.Module:
    """What stands for it where records are no images: a perceptron with a hidden layer as wide as the CNN's.

    Args:
        features: numbers of a record.
        num_classes: number of classes K.
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, num_classes))
