"""DARTS of first and of second order (Liu, Simonyan, Yang: DARTS, ICLR 2019, arXiv 1806.09055)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from nni_privacy.strategies.differentiable import Differentiable, DifferentiableOptions
from nni_privacy.strategies.one_shot import Batch, OneShotOptions
from nni_privacy.strategies.weight_sharing import check_finite

__all__ = ["DARTSFirstOrder", "DARTSSecondOrder", "DARTSSecondOrderOptions", "hypergradient"]

Loss = Callable[[], Tensor]
"""A scalar loss at the weights and architecture as they stand."""


class DARTSFirstOrder(Differentiable):
    """DARTS with the first-order approximation, the paper's DARTS-V1 (arXiv 1806.09055, section 2.3, xi = 0).

    Every edge computes the mixture of all its candidates, weighted by softmax(alpha) (equation 2). Steps alternate:
    alpha goes down the gradient of the validation loss at the current weights, the weights that of the training loss.

    Defaults, from section 3.1 there: 50 epochs, batches of 64; weights: SGD, momentum 0.9, learning rate 0.025 to 0.001
    by a cosine, weight decay 3e-4, gradients clipped at norm 5; alpha: Adam, learning rate 3e-4, betas (0.5, 0.999),
    weight decay 1e-3.
    """


class DARTSSecondOrderOptions(DifferentiableOptions):
    """Options of :class:`DARTSSecondOrder`."""

    perturbation: float = Field(
        0.01, gt=0, description="length of the step of the finite difference; epsilon is this over the norm of v"
    )


class DARTSSecondOrder(Differentiable):
    """DARTS with the second-order approximation, the paper's DARTS-V2 (arXiv 1806.09055, section 2.3).

    Every edge computes the mixture of all its candidates, weighted by softmax(alpha) (equation 2). alpha goes down the
    gradient of the validation loss at the weights w' that one training step from here would reach, and so takes into
    account that the weights answer to alpha (equations 7 and 8, see :func:`hypergradient`). Then the weights go down
    the gradient of the training loss. xi is the current learning rate of the weights.

    Two things follow the paper's code: the unrolled step has momentum and weight decay as the weights' own step has,
    and it does not clip the gradient.

    Defaults are those of :class:`DARTSFirstOrder`, and epsilon = 0.01 / norm(v) (footnote 2).
    """

    Options: ClassVar[type[OneShotOptions]] = DARTSSecondOrderOptions

    def architecture_gradients(self, validation: Batch, train: Batch) -> tuple[float, list[Tensor]]:
        """Validation loss at w', and the hypergradient with respect to each of :meth:`architecture_parameters`."""
        options, optimizer = self.options, self.weight_optimizer
        weights = [parameter for parameter in self.supernet.parameters() if parameter.requires_grad]
        states = [optimizer.state.get(parameter, {}).get("momentum_buffer") for parameter in weights]
        draws = int(torch.randint(2**31, (), generator=self.generator))

        def loss(batch: Batch) -> Tensor:
            # The two ends of the finite difference must not differ in what dropout draws.
            with torch.random.fork_rng():
                torch.manual_seed(draws)
                return self.supernet.loss(*batch, self.gates())

        with _buffers_kept(self.supernet):
            value, gradients = hypergradient(
                lambda: loss(train),
                lambda: loss(validation),
                weights=weights,
                architecture=self.architecture_parameters(),
                momentum_buffers=states,
                learning_rate=optimizer.param_groups[0]["lr"],
                momentum=options.momentum,
                weight_decay=options.weight_decay,
                nesterov=options.nesterov,
                perturbation=options.perturbation,
            )
        return check_finite(value, self.epoch + 1), gradients


def hypergradient(
    train_loss: Loss,
    validation_loss: Loss,
    *,
    weights: Sequence[Tensor],
    architecture: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor | None],
    learning_rate: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    perturbation: float = 0.01,
) -> tuple[float, list[Tensor]]:
    """The gradient of the validation loss after one SGD step, with respect to the architecture a.

    With xi the learning rate, mu the momentum and lambda the weight decay (arXiv 1806.09055, equations 7 and 8)::

        w' = w - xi * (mu * buffer + grad_w L_train(w, a) + lambda * w)
        v  = grad_w' L_val(w', a)
        g  = grad_a L_val(w', a) - xi * (grad_a L_train(w + eps v, a) - grad_a L_train(w - eps v, a)) / (2 eps)

    where the last term is a finite difference, eps = perturbation / norm(v), for the product of the mixed second
    derivative of L_train with v. The weights are moved in place meanwhile, and are bit for bit the same afterwards.

    Args:
        train_loss: L_train at the weights and architecture as they stand.
        validation_loss: L_val likewise.
        weights: w, leaves that require a gradient.
        architecture: a, likewise.
        momentum_buffers: SGD's, one a weight; ``None`` before its first step.
        learning_rate: xi.
        momentum: mu.
        weight_decay: lambda.
        nesterov: whether the step is Nesterov's.
        perturbation: norm of eps v.

    Returns:
        L_val(w', a), and g, shaped as ``architecture``.
    """
    original = [weight.detach().clone() for weight in weights]
    try:
        step = _sgd_direction(train_loss, weights, momentum_buffers, momentum, weight_decay, nesterov)
        _move(weights, original, step, -learning_rate)
        loss = validation_loss()
        value, gradients = loss.item(), torch.autograd.grad(loss, [*architecture, *weights], materialize_grads=True)
        at_validation, v = list(gradients[: len(architecture)]), gradients[len(architecture) :]
        norm = float(torch.sqrt(sum((part.square().sum() for part in v), torch.zeros((), device=v[0].device))))
        if norm == 0.0:  # the weights do not matter to the validation loss, nor does how they answer
            return value, at_validation
        epsilon = perturbation / norm
        ends = []
        for sign in (1.0, -1.0):
            _move(weights, original, v, sign * epsilon)
            ends.append(torch.autograd.grad(train_loss(), architecture, materialize_grads=True))
    finally:
        _move(weights, original, original, 0.0)
    # Nesterov's step takes the gradient once itself, and once more through the momentum.
    scale = learning_rate * (1.0 + momentum if nesterov else 1.0) / (2.0 * epsilon)
    return value, [g - scale * (plus - minus) for g, plus, minus in zip(at_validation, *ends, strict=True)]


def _sgd_direction(
    train_loss: Loss,
    weights: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor | None],
    momentum: float,
    weight_decay: float,
    nesterov: bool,
) -> list[Tensor]:
    """What SGD would subtract from the weights, over the learning rate."""
    gradients = torch.autograd.grad(train_loss(), weights, materialize_grads=True)
    direction = []
    for weight, gradient, buffer in zip(weights, gradients, momentum_buffers, strict=True):
        decayed = gradient + weight_decay * weight.detach()
        step = decayed if buffer is None else decayed + momentum * buffer
        direction.append(decayed + momentum * step if nesterov else step)
    return direction


@torch.no_grad()
def _move(weights: Sequence[Tensor], origin: Sequence[Tensor], direction: Sequence[Tensor], length: float) -> None:
    """Sets the weights to ``origin + length * direction``; to the very bits of ``origin`` where length is 0."""
    for weight, start, towards in zip(weights, origin, direction, strict=True):
        weight.copy_(start)
        if length:
            weight.add_(towards, alpha=length)


@contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """Puts running statistics back to what they were: forwards at w' and w +- eps v are no training."""
    saved = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, before in saved:
            buffer.copy_(before)
