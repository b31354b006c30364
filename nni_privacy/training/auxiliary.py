"""The auxiliary head of DARTS' evaluation protocol: a second classifier inside a network, in training only.

Liu et al., ICLR 2019 (their released code). What its layer shows is pooled to 2 x 2, then a 1x1 convolution to 128
channels, a 2x2 convolution to 768, each with batch normalisation and ReLU, and a linear classifier.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nni_privacy.data.inputs import IMAGE_DIMS
from nni_privacy.errors import ConfigError

__all__ = ["AuxiliaryHead", "auxiliary_layer", "build_head"]

DARTS_SIDE = 8
"""Side of the feature map in the paper, of images of 32 pixels after two reductions: pooled by 5 x 5 at stride 3."""
WIDTHS = (128, 768)


def auxiliary_layer(model: nn.Module) -> nn.Module:
    """The layer that a network, or one inside of it, names as its ``auxiliary_layer``.

    Raises:
        ConfigError: if none names one.
    """
    for module in model.modules():
        layer: Any = getattr(module, "auxiliary_layer", None)
        if isinstance(layer, nn.Module):
            return layer
    raise ConfigError(
        f"recipe.auxiliary: a {type(model).__name__} has no auxiliary_layer; networks of our search spaces have one, "
        "and others that name a layer of theirs so, whose output is (n, C, h, w)"
    )


def build_head(features: Tensor, classes: int) -> nn.Sequential:
    """A head for such features ``(n, C, h, w)``, where and of the type that they are.

    Raises:
        ConfigError: if they have another number of dimensions.
    """
    if features.ndim != IMAGE_DIMS:
        shape = tuple(features.shape)
        raise ConfigError(f"recipe.auxiliary: the auxiliary_layer returns a tensor {shape}, expected (n, C, h, w)")
    plain = features.shape[2:] == (DARTS_SIDE, DARTS_SIDE)
    pool = nn.AvgPool2d(5, stride=3, count_include_pad=False) if plain else nn.AdaptiveAvgPool2d(2)
    first, second = WIDTHS
    head = nn.Sequential(
        nn.ReLU(),
        pool,
        nn.Conv2d(features.shape[1], first, 1, bias=False),
        nn.BatchNorm2d(first),
        nn.ReLU(),
        nn.Conv2d(first, second, 2, bias=False),
        nn.BatchNorm2d(second),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second, classes),
    )
    return head.to(features.device, features.dtype).to(memory_format=torch.channels_last)


class AuxiliaryHead:
    """A head and what its layer has shown last.

    Args:
        layer: of the network in training.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.head: nn.Module = nn.Identity()
        self.shown: Tensor | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """The layer's outputs are noticed meanwhile."""
        hook = self.layer.register_forward_hook(self._note)
        try:
            yield
        finally:
            hook.remove()
            self.shown = None

    def _note(self, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        self.shown = output

    def logits(self) -> Tensor:
        """What the head says ``(n, K)`` of the records that the network saw last."""
        logits: Tensor = self.head(self.shown)
        return logits
