"""SDARTS (Chen, Hsieh: Stabilizing Differentiable Architecture Search, ICML 2020, arXiv 2002.05283)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from nni_privacy.schema import Count
from nni_privacy.search_spaces.supernet import Gate, Gates
from nni_privacy.strategies.differentiable import Differentiable, DifferentiableOptions
from nni_privacy.strategies.one_shot import Batch, OneShotOptions

__all__ = ["SDARTS", "Perturbation", "SDARTSOptions"]

Delta = dict[str, Tensor]
"""Key of each decision to what is added to its probabilities, (candidates,)."""


class SDARTSOptions(DifferentiableOptions):
    """Options of SDARTS; the defaults are the paper's (section 5.1 and the authors' code)."""

    variant: Literal["adversarial", "random"] = Field("adversarial", description="the worst perturbation, or any")
    epsilon: float = Field(0.03, ge=0, le=1, description="largest perturbation of a probability in the first epoch")
    epsilon_max: float = Field(0.3, ge=0, le=1, description="in the last epoch")
    ascent_steps: Count = Field(7, description="steps of projected gradient ascent (adversarial)")

    @model_validator(mode="after")
    def _grows(self) -> SDARTSOptions:
        if self.epsilon > self.epsilon_max:
            raise ValueError(f"epsilon: {self.epsilon} is above epsilon_max, which is {self.epsilon_max}")
        return self


@dataclass(frozen=True)
class Perturbation:
    """What a weight step adds to the probabilities.

    Attributes:
        delta: for each decision, (candidates,) in [-epsilon, epsilon].
        losses: what the ascent saw: on the training batch, at the weights before the step, in evaluation mode,
            ``clean_loss`` without and ``perturbed_loss`` with ``delta``. Empty for a random perturbation.
    """

    delta: Delta
    losses: Mapping[str, float]


class SDARTS(Differentiable):
    """DARTS whose weights are trained to stand a perturbed architecture (arXiv 2002.05283, section 4).

    The weight step sees p = softmax(alpha) + delta, the architecture step softmax(alpha). Weights that do well all
    around alpha smooth the validation loss, and discretising alpha at the end costs less.

    - ``random`` (SDARTS-RS, equation 5): every entry of delta is uniform in [-epsilon, epsilon].
    - ``adversarial`` (SDARTS-ADV, equation 6): delta maximises the training loss within that range, by 7 steps of
      projected gradient ascent from a random start, each of 2 epsilon / 7 along the gradient's sign: far enough for
      any corner from any start. It is done in evaluation mode, so that no running statistics change, and kept only if
      the loss rose: a weight step never sees a smaller loss than without delta. About nine forward passes more a step.

    p is not brought back to the simplex: the ball is all that bounds it.

    epsilon goes linearly from 0.03 to 0.3 over the epochs (section 5.1). Everything else is as in
    :class:`~nni_privacy.strategies.darts.DARTSFirstOrder`.

    Attributes:
        epsilon: of the current epoch.
    """

    Options: ClassVar[type[OneShotOptions]] = SDARTSOptions

    epsilon: float

    def before_epoch(self, epoch: int) -> None:
        """Sets epsilon: linear from ``epsilon`` to ``epsilon_max``."""
        self.epsilon = self.ramp(self.options.epsilon, self.options.epsilon_max, epoch)

    def search_step(self, train: Batch, validation: Batch, epoch: int) -> dict[str, float]:
        """One step of the architecture as it is, then one of the weights on the perturbed architecture."""
        losses = {"validation_loss": self.architecture_step(validation, train)}
        found = self.perturbation(train)
        losses["train_loss"] = self.weight_step(train, self.perturbed_gates(found.delta))
        return {**losses, **found.losses}

    def perturbed_gates(self, delta: Mapping[str, Tensor]) -> Gates:
        """Candidates weighted by softmax(alpha) + delta; alpha gets no gradient."""
        return {key: Gate(weights=p + delta[key]) for key, p in self.probabilities().items()}

    def perturbation(self, batch: Batch) -> Perturbation:
        """The perturbation of the weight step on ``batch``, as the variant has it."""
        return _VARIANTS[self.options.variant](self, batch)

    def random_delta(self) -> Delta:
        """Every entry uniform in [-epsilon, epsilon]; drawn on the CPU, so that a seed means the same anywhere."""
        return {
            key: torch.empty(p.shape).uniform_(-self.epsilon, self.epsilon, generator=self.generator).to(p.device)
            for key, p in self.probabilities().items()
        }

    def _random(self, batch: Batch) -> Perturbation:
        return Perturbation(self.random_delta(), {})

    def _adversarial(self, batch: Batch) -> Perturbation:
        self.supernet.eval()
        delta = self._ascend(batch)
        none = {key: torch.zeros_like(value) for key, value in delta.items()}
        clean, perturbed = self._loss(batch, none), self._loss(batch, delta)
        self.supernet.train()
        if not perturbed > clean:
            delta, perturbed = none, clean
        return Perturbation(delta, {"clean_loss": clean, "perturbed_loss": perturbed})

    def _ascend(self, batch: Batch) -> Delta:
        """Projected gradient ascent of the training loss, in the ball of radius epsilon of the maximum norm."""
        delta = self.random_delta()
        step = 2 * self.epsilon / self.options.ascent_steps
        for _ in range(self.options.ascent_steps):
            for value in delta.values():
                value.requires_grad_()
            loss = self.supernet.loss(*batch, self.perturbed_gates(delta))
            gradients = torch.autograd.grad(loss, list(delta.values()), materialize_grads=True)
            delta = {
                key: (value.detach() + step * gradient.sign()).clamp(-self.epsilon, self.epsilon)
                for (key, value), gradient in zip(delta.items(), gradients, strict=True)
            }
        return delta

    @torch.no_grad()
    def _loss(self, batch: Batch, delta: Delta) -> float:
        return self.supernet.loss(*batch, self.perturbed_gates(delta)).item()

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """The size of the perturbation."""
        return {"epsilon": self.epsilon}


_VARIANTS: Mapping[str, Callable[[SDARTS, Batch], Perturbation]] = MappingProxyType(
    {"adversarial": SDARTS._adversarial, "random": SDARTS._random}
)
