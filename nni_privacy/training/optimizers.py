"""Optimisers by name, and a step of one: gradients scaled for 16 bits and clipped, as torch does both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from nni_privacy.training.recipe import Recipe

__all__ = ["OPTIMIZERS", "Stepper", "autocast", "optimizer_of"]

SECOND_BETA = 0.999
"""Of Adam and AdamW, as in torch."""


def _sgd(recipe: Recipe, parameters: Sequence[nn.Parameter], common: dict[str, Any]) -> Optimizer:
    return SGD(parameters, momentum=recipe.momentum, nesterov=recipe.nesterov, **common)


def _adam(recipe: Recipe, parameters: Sequence[nn.Parameter], common: dict[str, Any]) -> Optimizer:
    return Adam(parameters, betas=(recipe.momentum, SECOND_BETA), **common)


def _adamw(recipe: Recipe, parameters: Sequence[nn.Parameter], common: dict[str, Any]) -> Optimizer:
    return AdamW(parameters, betas=(recipe.momentum, SECOND_BETA), **common)


OPTIMIZERS: Mapping[str, Callable[[Recipe, Sequence[nn.Parameter], dict[str, Any]], Optimizer]] = MappingProxyType(
    {"sgd": _sgd, "adam": _adam, "adamw": _adamw}
)
"""Name in a recipe to what makes the optimiser."""


def optimizer_of(recipe: Recipe, parameters: Sequence[nn.Parameter]) -> Optimizer:
    """The optimiser of a recipe for these weights."""
    # One kernel for all weights; on a CPU it would gain 2% and round otherwise than the plain loop.
    fused = recipe.dp is None and all(one.is_cuda and one.is_floating_point() for one in parameters)
    common: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, "fused": fused or None}
    return OPTIMIZERS[recipe.optimizer](recipe, parameters, common)


def autocast(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """What the forward pass of a recipe runs under."""
    if recipe.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, recipe.precision))


class Stepper:
    """Backward pass and step of an optimiser.

    With ``precision: float16`` the loss is scaled, so that small gradients do not become 0, and a step whose gradients
    overflow is left out (``torch.amp.GradScaler``).

    Args:
        optimizer: of all weights.
        recipe: says whether gradients are scaled and clipped.
        device: of the weights.
    """

    def __init__(self, optimizer: Optimizer, recipe: Recipe, device: torch.device) -> None:
        self.optimizer, self.clip = optimizer, recipe.gradient_clip
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16")

    def backward(self, loss: Tensor) -> None:
        """The gradients of a loss, scaled."""
        self.scaler.scale(loss).backward()

    def step(self) -> None:
        """A step along the gradients, as they are without scale, and clipped."""
        if self.clip is not None:
            self.scaler.unscale_(self.optimizer)
            weights = [one for group in self.optimizer.param_groups for one in group["params"]]
            nn.utils.clip_grad_norm_(weights, self.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
