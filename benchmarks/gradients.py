"""What the white-box gradients of all records cost: one forward pass here, against backward passes a record.

A DARTS network of 16 channels and 5 cells, images of 32x32, one thread. Run: python benchmarks/gradients.py

Prints seconds of CPU time of this process (a machine under load would spoil wall time): the median over repeats, and
the median of the ratios of runs made one after the other. "Extraction" is extract_signals(gradients=True) and all n x K
x F gradients made from it, a batch at a time. The released protocol is timed on fewer images and scaled up: its time
grows with the number of batches.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.auditing.forward import extract_signals
from nni_privacy.cells.darts import Genotype
from nni_privacy.search_spaces.network import CellNetwork
from nni_privacy.training.fit import evaluation_mode, predict_logits

GENOTYPE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
"""The genotype that DARTS' authors published (second order, CIFAR-10)."""

BATCH = 64
NEEDED_SPEEDUP = 80
ALLOWED_OVERHEAD = 1.15


def cpu_seconds(function: Callable[[], object]) -> float:
    """CPU time of this process, user and system."""
    started = time.process_time()
    function()
    return time.process_time() - started


def every_gradient(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Extraction as an attack uses it; returns a number, so that nothing can be left out."""
    is_member = np.arange(len(images)) % 2 == 0
    signals = extract_signals(model, images, labels, is_member, batch_size=BATCH, device="cpu", gradients=True)
    return sum(
        float(signals.weight_gradients(slice(start, start + BATCH)).sum()) for start in range(0, len(images), BATCH)
    )


def released_protocol(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """A batch of 64, and one backward pass a record through the whole batch's graph."""
    for batch, truth in zip(images.split(BATCH), labels.split(BATCH), strict=True):
        losses = functional.cross_entropy(model(batch), truth, reduction="none")
        for loss in losses:
            model.zero_grad(set_to_none=True)
            loss.backward(retain_graph=True)


def one_by_one(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """One forward and one full backward pass a record, at batch size 1."""
    for image, label in zip(images, labels, strict=True):
        model.zero_grad(set_to_none=True)
        functional.cross_entropy(model(image[None]), label[None]).backward()


def difference_from_autograd(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Largest difference of a gradient from autograd's, in float32."""
    signals = extract_signals(model, images, labels, np.arange(len(images)) % 2 == 0, device="cpu", gradients=True)
    worst = 0.0
    with evaluation_mode(model):
        for record in range(len(images)):
            loss = functional.cross_entropy(model(images[record : record + 1]), labels[record : record + 1])
            (expected,) = torch.autograd.grad(loss, [model.classifier.weight])
            worst = max(worst, float(np.abs(signals.weight_gradients([record])[0] - expected.numpy()).max()))
    return worst


def main() -> int:
    """Times all four ways and prints a table; returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=512, help="a multiple of 64")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--slow-images", type=int, default=64, help="for the ways with backward passes; of 64")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = CellNetwork(Genotype.parse(GENOTYPE), channels=16, cells=5).eval()
    images, labels = torch.rand(options.images, 3, 32, 32), torch.randint(0, 10, (options.images,))
    few, few_labels = images[: options.slow_images], labels[: options.slow_images]
    scale = options.images / options.slow_images

    every_gradient(model, images, labels)
    forward, extraction = [], []
    for _ in range(options.repeats):
        forward.append(cpu_seconds(lambda: predict_logits(model, images, batch_size=BATCH, device="cpu")))
        extraction.append(cpu_seconds(lambda: every_gradient(model, images, labels)))
    slow_repeats = max(1, options.repeats // 3)
    released = [scale * cpu_seconds(lambda: released_protocol(model, few, few_labels)) for _ in range(slow_repeats)]
    single = [scale * cpu_seconds(lambda: one_by_one(model, few, few_labels)) for _ in range(slow_repeats)]

    plain, ours, slow, alone = map(statistics.median, (forward, extraction, released, single))
    overhead = statistics.median(b / a for a, b in zip(forward, extraction, strict=True))
    print(f"{options.images} images of 32x32, 16 channels, 5 cells, one thread; seconds of CPU time, median")
    print(f"plain batched forward pass       {plain:9.3f}")
    print(f"extraction, all gradients        {ours:9.3f}   {overhead:.3f}x a forward pass (median of pairs)")
    print(f"released protocol, batch of 64   {slow:9.3f}   {slow / ours:.0f}x extraction")
    print(f"full backward at batch size 1    {alone:9.3f}   {alone / ours:.1f}x extraction")
    worst = difference_from_autograd(model, images[:32], labels[:32])
    print(f"largest difference from autograd {worst:9.1e}")
    fine = overhead <= ALLOWED_OVERHEAD and slow / ours >= NEEDED_SPEEDUP and worst <= 1e-5
    print("goals (1.15x, 80x, 1e-5):", "met" if fine else "MISSED")
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
