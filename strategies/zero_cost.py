"""Zero-cost proxies of an untrained network: condition number of its tangent kernel, and number of linear regions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["linear_regions", "ntk_condition_number"]


def ntk_condition_number(model: nn.Module, images: Tensor) -> float:
    """Condition number of the neural tangent kernel on a batch; the lower, the easier the network is to train.

    With g_i the gradient of image i's logits, summed, with respect to all parameters, the kernel is
    K_ij = <g_i, g_j>, and the condition number is its largest over its smallest eigenvalue (TE-NAS, arXiv 2102.11535,
    section 3.1.1; there, as here, the logits of an image are summed). The model runs once, on the whole batch and in
    the mode that it is in, so that batch normalisation sees the batch.

    Args:
        model: maps images (n, C, h, w) to logits (n, K).
        images: (n, C, h, w), two or more.

    Returns:
        A number >= 1; 1 where all images pull at the parameters equally hard and independently; infinity where the
        kernel is singular (at the precision of the gradients) or not finite.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    logits = model(images).sum(dim=1)
    rows: list[Tensor] = []
    for logit in logits:
        gradients = torch.autograd.grad(logit, parameters, retain_graph=True, allow_unused=True)
        # Parameters that the logits do not depend on are the same ones for all images.
        rows.append(torch.cat([gradient.flatten() for gradient in gradients if gradient is not None]))
    jacobian = torch.stack(rows)
    precision = torch.finfo(jacobian.dtype).eps * len(rows)
    jacobian = jacobian.double()
    kernel = jacobian @ jacobian.T
    if not torch.isfinite(kernel).all():
        return math.inf
    eigenvalues = torch.linalg.eigvalsh(kernel)
    smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    return largest / smallest if smallest > precision * largest else math.inf


@torch.no_grad()
def linear_regions(model: nn.Module, images: Tensor) -> int:
    """Number of linear regions of a ReLU network that a batch of inputs falls into; the more, the more it can express.

    Two inputs are in one region if every ReLU is active for both or for neither (TE-NAS, arXiv 2102.11535, section
    3.1.2). The ReLUs are the ``nn.ReLU`` modules that run; calls of ``functional.relu`` are not seen.

    Args:
        model: maps images (n, C, h, w) to anything.
        images: (n, C, h, w).

    Returns:
        A number in 1 .. n; n says that the inputs are too few to tell.
    """
    with _activation_patterns(model) as patterns:
        model(images)
    if not patterns:
        return 1
    packed = np.packbits(torch.cat(patterns, dim=1).cpu().numpy(), axis=1)
    return len({row.tobytes() for row in packed})


@contextmanager
def _activation_patterns(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collects (n, units) booleans of every ReLU that runs meanwhile."""
    patterns: list[Tensor] = []

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        patterns.append((output > 0).flatten(start_dim=1))

    handles = [part.register_forward_hook(record) for part in model.modules() if isinstance(part, nn.ReLU)]
    try:
        yield patterns
    finally:
        for handle in handles:
            handle.remove()
