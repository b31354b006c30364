"""Gradients where they are needed, whatever the caller has turned off: ``torch.no_grad``, ``torch.inference_mode``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["gradients_on", "make_trainable", "usable"]


@contextmanager
def gradients_on() -> Iterator[None]:
    """Turns gradients on meanwhile; a decorator, too."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def usable(tensor: Tensor) -> Tensor:
    """``tensor``, or a copy of one that was made under ``torch.inference_mode``: gradients refuse to pass by it."""
    return tensor.clone() if tensor.is_inference() else tensor


def make_trainable(model: nn.Module) -> None:
    """Replaces weights and buffers that were made under ``torch.inference_mode`` by copies; shared ones stay shared."""
    made: dict[Tensor, Tensor] = {}
    for module in model.modules():
        for name, value in module._parameters.items():
            if value is not None and value.is_inference():
                copy = made.get(value)
                made[value] = nn.Parameter(value.clone(), value.requires_grad) if copy is None else copy
                module._parameters[name] = made[value]  # type: ignore[assignment]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = usable(buffer)
