"""Initial weights that two architectures share wherever they share a layer: what makes differences paired."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nni_privacy.errors import ConfigError
from nni_privacy.rng import derived_seed

__all__ = ["initialize_paired"]


def initialize_paired(model: nn.Module, *, seed: int) -> None:
    """Draws all initial weights again, each layer's from a stream of its own.

    What a layer draws depends on ``seed``, its path in the model, its class and its shapes, and not on the layers that
    were built before it. Paths in our cell networks say what an edge is (``cells.2.edges.0-3-sep_conv_5x5.1``), so that
    a cell and its modified version start from the same weights in every layer that both have. Each layer draws by its
    own ``reset_parameters``, so distributions are torch's usual ones. The global generators are left as they were.

    Args:
        model: made of layers with torch's own initialisation: our cell networks, most users' networks. timm's have one
            of their own that would be lost, and are refused: build them under
            :func:`~nni_privacy.training.seed_everything` and leave them as they are.
        seed: 0 or more.

    Raises:
        ConfigError: if a layer's initialisation is not its ``reset_parameters``; then nothing is changed.
    """
    layers: list[tuple[str, Any]] = []
    for path, layer in model.named_modules():
        name = f"layer {path or '(the model itself)'!r} ({type(layer).__name__})"
        if callable(getattr(layer, "init_weights", None)):
            raise ConfigError(f"paired initial weights: {name} has an initialisation of its own, init_weights()")
        if next(layer.parameters(recurse=False), None) is None:
            continue
        if not callable(getattr(layer, "reset_parameters", None)):
            raise ConfigError(f"paired initial weights: {name} has weights but no reset_parameters()")
        layers.append((path, layer))
    devices = sorted({value.device.index or 0 for value in model.parameters() if value.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        for path, layer in layers:
            shapes = [tuple(value.shape) for value in layer.parameters(recurse=False)]
            torch.manual_seed(derived_seed(seed, "initial weights", path, type(layer).__qualname__, shapes))
            layer.reset_parameters()
