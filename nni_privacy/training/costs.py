"""Costs of a network: weights, multiply-adds of one image, and how long a forward pass takes."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nni_privacy.training.fit import evaluation_mode

__all__ = ["LATENCY_BATCH", "latency", "multiply_adds", "parameters"]

LATENCY_BATCH = 64
_WARM_UP, _LEAST, _MOST = 3, 5, 50
_SECONDS = 1.0
"""Passes that are not timed, the fewest and the most that are, and after how long no more than the fewest are."""


def parameters(network: nn.Module) -> int:
    """The number of weights of ``network``, each once where layers share it; buffers are none."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, image_shape: tuple[int, ...]) -> int:
    """Multiply-adds of the convolutions and linear layers for one image, which is what is usually called MACs.

    One multiply-add is two floating-point operations (FLOPs). Everything else, such as normalisation, activations,
    pooling, sums and biases, is left out. Counted from the shapes that the layers really give, by running one image
    through the network, wherever its weights are: on the ``meta`` device nothing is computed.

    Args:
        network: takes images ``(1, *image_shape)``; stays as it is.
        image_shape: channels, height and width.
    """
    total = 0

    def count(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += _of_layer(layer, inputs[0], output)

    weights = next(network.parameters(), torch.empty(0))
    layers = [layer for layer in network.modules() if isinstance(layer, _ConvNd | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with evaluation_mode(network), torch.no_grad():
            network(torch.zeros(1, *image_shape, device=weights.device, dtype=weights.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    return total


def _of_layer(layer: Any, image: Tensor, output: Tensor) -> int:
    if isinstance(layer, nn.Linear):
        return output.numel() * layer.in_features
    kernel = math.prod(layer.kernel_size)
    if layer.transposed:
        return image.numel() * kernel * layer.out_channels // layer.groups
    return output.numel() * kernel * layer.in_channels // layer.groups


def latency(network: nn.Module, images: Tensor) -> dict[str, float]:
    """Median time of a forward pass, in milliseconds an image, on the device of ``images``.

    The network is in evaluation mode and keeps no gradients; the first passes of either size are not timed. On a GPU
    each pass is waited for. Trials that run at the same time slow each other down.

    Args:
        network: on the device of ``images``.
        images: ``(n, C, h, w)``, n >= 1, ready to be fed; the first is the single one, 64 at the most are the batch.

    Returns:
        ``latency_ms`` of a single image, and ``batch_latency_ms`` of an image in a batch.
    """
    batch = images[:LATENCY_BATCH]
    with evaluation_mode(network), torch.no_grad():
        single = _median_ms(lambda: network(images[:1]), images.device)
        whole = _median_ms(lambda: network(batch), images.device)
    return {"latency_ms": single, "batch_latency_ms": whole / len(batch)}


def _median_ms(run: Callable[[], object], device: torch.device) -> float:
    for _ in range(_WARM_UP):
        run()
    seconds: list[float] = []
    begin = time.perf_counter()
    while len(seconds) < _LEAST or (len(seconds) < _MOST and time.perf_counter() - begin < _SECONDS):
        _wait_for(device)
        started = time.perf_counter()
        run()
        _wait_for(device)
        seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
