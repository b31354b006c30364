"""Loss contours: the loss around trained weights along two random directions (Li et al., NeurIPS 2018; paper, Fig. 12).

Random directions are only comparable between networks if they are as long as the weights are: here each filter's part
of a direction has the norm of that filter. Biases and the parameters of normalisation layers stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.errors import AuditError
from nni_privacy.rng import derived_seed
from nni_privacy.runs.contours import ContourInfo
from nni_privacy.schema import Count, checked
from nni_privacy.training.contour_options import ContourOptions
from nni_privacy.training.fit import evaluation_mode, prepare_batch, resolve_device

__all__ = ["ContourInfo", "filter_normalised_direction", "loss_contour"]

Loss = Callable[[Tensor, Tensor], Tensor]
Direction = list[tuple[nn.Parameter, Tensor]]


def loss_contour(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    normalize: Callable[[Tensor], Tensor] | None = None,
    steps: int = 21,
    span: float = 1.0,
    seed: int = 0,
    device: str | torch.device = "auto",
    batch_size: int = 256,
    loss: Loss = functional.cross_entropy,
) -> ContourInfo:
    """Evaluates ``model`` on a grid around its weights; these are put back bit for bit, whatever happens meanwhile.

    Statistics of batch normalisation stay those of the trained weights: the model is in evaluation mode.

    Args:
        model: a trained classifier.
        images: ``(n, C, H, W)`` to evaluate it on, and
        labels: their ``(n,)`` classes.
        normalize: as in :func:`nni_privacy.training.fit.fit`.
        steps: points along either axis, an odd number of 3 or more, so that the weights are one of them.
        span: the axes run from -span to span.
        seed: of the two directions.
        device: ``auto``, ``cpu``, ``cuda`` or a ``torch.device``.
        batch_size: images a forward pass.
        loss: mean loss of logits ``(n, K)`` and labels.

    Raises:
        ConfigError: if ``steps``, ``span`` or ``batch_size`` is out of range.
        AuditError: if the model has no weights to move, or there are no images.
    """
    grid = ContourOptions(steps=steps, span=span)
    batch_size = checked(Count, batch_size, "contours.batch_size")
    if not len(images):
        raise AuditError("a contour needs images, and there are none")
    model.to(place := resolve_device(device))
    axis = np.linspace(-grid.span, grid.span, grid.steps)
    axis[grid.steps // 2] = 0.0
    directions = [filter_normalised_direction(model, seed=derived_seed(seed, "contour", side)) for side in range(2)]

    def mean_loss() -> float:
        total = 0.0
        for start in range(0, len(images), batch_size):
            batch = prepare_batch(images[start : start + batch_size].to(place), normalize)
            truth = labels[start : start + batch_size].to(place)
            total += loss(model(batch), truth).item() * len(truth)
        return total / len(images)

    losses = np.empty((grid.steps, grid.steps))
    with evaluation_mode(model), torch.no_grad(), _kept_weights(model) as weights:
        base = mean_loss()
        for row, beta in enumerate(axis):
            for column, alpha in enumerate(axis):
                _move(weights, directions, (alpha, beta))
                losses[row, column] = mean_loss()
    return ContourInfo(axis, losses, base)


def filter_normalised_direction(model: nn.Module, *, seed: int) -> Direction:
    """A random direction in the space of weights, each filter's part as long as the filter.

    What is drawn for a layer depends on ``seed``, its path and its shape alone: a network and its modified version
    move in the same direction in every layer that both have (see :mod:`nni_privacy.training.initialization`).

    Returns:
        The parameters of two or more dimensions that move, and how.

    Raises:
        AuditError: if there is none.
    """
    direction: Direction = []
    for path, parameter in _moving(model):
        generator = torch.Generator().manual_seed(derived_seed(seed, path, tuple(parameter.shape)))
        drawn = torch.randn(parameter.shape, generator=generator).to(parameter)
        norms = [tensor.detach().flatten(1).norm(dim=1) for tensor in (parameter, drawn)]
        scale = norms[0] / norms[1].clamp_min(torch.finfo(parameter.dtype).tiny)
        direction.append((parameter, drawn * scale.view(-1, *[1] * (parameter.ndim - 1))))
    if not direction:
        name = type(model).__name__
        raise AuditError(f"a {name} has no weights of two or more dimensions: there is no contour of it")
    return direction


def _moving(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Path and parameter of the filters: biases and normalisation have one dimension, quantised weights do not move."""
    return [(path, value) for path, value in model.named_parameters() if value.ndim >= 2 and value.is_floating_point()]


def _move(weights: list[Tensor], directions: list[Direction], place: tuple[float, float]) -> None:
    for original, *sides in zip(weights, *directions, strict=True):
        parameter = sides[0][0]
        parameter.copy_(original)
        for distance, (_, step) in zip(place, sides, strict=True):
            parameter.add_(step, alpha=float(distance))


@contextmanager
def _kept_weights(model: nn.Module) -> Iterator[list[Tensor]]:
    """Copies of the weights that move, which are put back at the end."""
    moving = [parameter for _, parameter in _moving(model)]
    copies = [parameter.detach().clone() for parameter in moving]
    try:
        yield copies
    finally:
        with torch.no_grad():
            for parameter, original in zip(moving, copies, strict=True):
                parameter.copy_(original)
