"""Modes of a model's layers, and the random numbers that they draw: as wanted meanwhile, and afterwards as before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch import nn

__all__ = ["evaluation_mode", "kept_modes", "seeded_layers"]


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Puts the model in evaluation mode, and each of its layers back in its own mode at the end.

    An exported program keeps the mode that it was exported in.
    """
    with kept_modes(model):
        with suppress(NotImplementedError):
            model.eval()
        yield model


@contextmanager
def kept_modes(model: nn.Module) -> Iterator[None]:
    """Puts each layer back in its own mode at the end."""
    modes = [(module, module.training) for module in model.modules() if hasattr(module, "training")]
    try:
        yield
    finally:
        for module, training in modes:
            if module.training != training:  # frozen TorchScript cannot be set
                module.training = training


@contextmanager
def seeded_layers(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds torch's global generators for dropout and the like, and puts them back at the end."""
    devices: list[int] = []
    if device.type == "cuda":
        devices = [torch.cuda.current_device() if device.index is None else device.index]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
