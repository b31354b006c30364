"""How long the dilated depthwise convolutions of DARTS take on the CPU: torch's own and ours, in turn.

    python benchmarks/convolutions.py [--batch 64] [--rounds 5] [--size 8]

One thread. A step is a forward and a backward pass of one layer, as in training, at the three resolutions of a network
with 8 channels for images of ``--size``; median and range over rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor, nn

from nni_privacy.training.convolutions import DilatedDepthwise

STEPS = 50
CHANNELS = 8


def milliseconds(layer: nn.Module, images: Tensor) -> float:
    """Of one step, on average over :data:`STEPS`."""
    gradient = torch.ones_like(layer(images))
    started = time.perf_counter()
    for _ in range(STEPS):
        layer(images).backward(gradient)
    return (time.perf_counter() - started) / STEPS * 1e3


def main() -> None:
    """Prints a row for each layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for level in range(3):
        channels, side = CHANNELS << level, options.size >> level
        images = torch.randn(options.batch, channels, side, side)
        images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
        for kernel in (3, 5):
            plain = nn.Conv2d(channels, channels, kernel, padding=kernel - 1, dilation=2, groups=channels, bias=False)
            layers = {"torch": plain, "ours": DilatedDepthwise(channels, kernel)}
            times: dict[str, list[float]] = {name: [] for name in layers}
            for _ in range(options.rounds):
                for name, layer in layers.items():
                    times[name].append(milliseconds(layer, images))
            cells = [
                f"{name} {statistics.median(of):.2f} ms ({min(of):.2f} to {max(of):.2f})" for name, of in times.items()
            ]
            print(f"{channels:3} channels, {side:2} x {side:<2}, kernel {kernel}: {', '.join(cells)}")


if __name__ == "__main__":
    main()
