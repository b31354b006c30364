"""DP-SGD with Opacus (Abadi et al., CCS 2016): Poisson batches, clipped gradients of single records, noise, epsilon.

Opacus is imported with this module, and this module where a recipe asks for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
from opacus.accountants import RDPAccountant
from opacus.accountants.utils import get_noise_multiplier
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from nni_privacy.errors import ConfigError
from nni_privacy.rng import derived_seed
from nni_privacy.training.dp_layers import RecordGradients, make_private_layers, refused
from nni_privacy.training.recipe import DPOptions, Recipe

__all__ = ["ACCOUNTANT", "Budget", "DPTraining", "budget_of", "make_private_layers"]

ACCOUNTANT = "rdp"
"""Opacus' accountant, for epsilon and for finding the noise. PRV is some 10% tighter where it works, but takes half a
minute for the paper's noise and fails for less; RDP is an upper bound that is there at once for every noise."""

_GRADIENT_NUMBERS = 2**27
"""Numbers that the single records' gradients may have at once: half a GiB. Larger batches go through in parts."""

Backward = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Takes rows; forward and backward pass of their mean loss. Returns the sum of their losses and how many are right."""


@dataclass(frozen=True)
class Budget:
    """What a DP training spends.

    Attributes:
        sample_rate: probability with which a record is in a batch, batch size / records, at most 1.
        steps: of all epochs together.
        noise_multiplier: standard deviation of the noise in units of the clipping norm.
        epsilon: after the last step, at the recipe's delta.
    """

    sample_rate: float
    steps: int
    noise_multiplier: float
    epsilon: float


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Poisson batches an epoch: so many that about ``n`` records are met."""
    return max(1, round(n / batch_size))


def budget_of(recipe: Recipe, n: int) -> Budget:
    """What training on ``n`` records by ``recipe``, which has ``dp``, spends; by Opacus' RDP accountant.

    Raises:
        ConfigError: if no noise is enough for the wanted epsilon.
    """
    options = _options(recipe)
    rate, steps = min(1.0, recipe.batch_size / n), recipe.epochs * steps_per_epoch(n, recipe.batch_size)
    noise = options.noise_multiplier
    if noise is None:
        noise = _noise_for(float(options.epsilon or 0), options.delta, rate, steps)
    return Budget(rate, steps, noise, _epsilon_of(noise, options.delta, rate, steps))


def _options(recipe: Recipe) -> DPOptions:
    if recipe.dp is None:
        raise ConfigError("recipe: dp is None: DP-SGD needs its options")
    return recipe.dp


@lru_cache(maxsize=64)  # the target and all shadows of a run ask the same, and an answer may take seconds
def _noise_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    with _quiet():
        try:
            noise = get_noise_multiplier(
                target_epsilon=epsilon, target_delta=delta, sample_rate=rate, steps=steps, accountant=ACCOUNTANT
            )
        except ValueError:
            raise ConfigError(
                f"recipe: dp: epsilon is {epsilon}: at delta {delta} no noise is enough for {steps} steps "
                f"with {rate:.4g} of the records each; ask for more, or train for fewer epochs"
            ) from None
    return float(noise)


@lru_cache(maxsize=64)
def _epsilon_of(noise: float, delta: float, rate: float, steps: int) -> float:
    accountant = RDPAccountant()
    accountant.history = [(noise, rate, steps)]
    with _quiet():
        return float(accountant.get_epsilon(delta=delta))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Opacus' hints at further orders, which would tighten a bound that holds anyway."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the")
        yield


class DPTraining:
    """DP-SGD of one model: which batches it takes, and what a step does.

    Args:
        model: its layers are private ones (:func:`make_private_layers`) and it is where it is trained.
        optimizer: of its trainable parameters.
        backward: forward and backward pass of the mean loss of some records.
        recipe: with ``dp``.
        n: number of records.
        seed: of the noise. The noise of a seeded generator can be repeated, which an audit needs and a published
            model must not allow: keep the seed of a model that is given away.
        device: of the model.

    Raises:
        ConfigError: if the wanted epsilon is out of reach.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        backward: Backward,
        *,
        recipe: Recipe,
        n: int,
        seed: int,
        device: torch.device,
    ) -> None:
        options = _options(recipe)
        self.budget = budget_of(recipe, n)
        self.epsilon: float | None = self.budget.epsilon
        self.model, self.backward, self.n = model, backward, n
        self.batches_an_epoch = steps_per_epoch(n, recipe.batch_size)
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        size = sum(parameter.numel() for parameter in self.parameters)
        self.physical_batch = max(1, _GRADIENT_NUMBERS // max(1, size))
        self.optimizer = DPOptimizer(
            optimizer,
            noise_multiplier=self.budget.noise_multiplier,
            max_grad_norm=options.max_grad_norm,
            expected_batch_size=self.budget.sample_rate * n,  # a whole number or not: it only divides
            generator=torch.Generator(device=device).manual_seed(derived_seed(seed, "noise of DP-SGD")),
        )

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """One epoch's Poisson batches: every record is in each of them with the same probability; some may be empty."""
        rate = self.budget.sample_rate
        return [
            torch.nonzero(torch.rand(self.n, generator=generator) < rate)[:, 0] for _ in range(self.batches_an_epoch)
        ]

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Gradients of single records are taken inside; outside, the model is a plain one."""
        gradients = RecordGradients(self.model)
        try:
            yield
        finally:
            gradients.cleanup()

    def step(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """One step on the records ``index``: clipped gradients in parts, their noisy sum, one step of the optimiser.

        Returns the sum of the records' losses and the number of those that were classified right.
        """
        parts = index.split(self.physical_batch) if len(index) else (index,)
        device = self.parameters[0].device
        total, right = torch.zeros((), dtype=torch.float64, device=device), torch.zeros((), device=device)
        for number, part in enumerate(parts, start=1):
            self.optimizer.signal_skip_step(number < len(parts))
            self.optimizer.zero_grad(set_to_none=True)
            if len(part):
                loss, correct = self.backward(part)
                total, right = total + loss, right + correct
            self._fill_in(len(part))
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total, right

    def _fill_in(self, count: int) -> None:
        """Weights that no record has a gradient for: an empty batch, or a layer that the logits do not depend on."""
        for parameter in self.parameters:
            if getattr(parameter, "grad_sample", None) is None:
                parameter.grad_sample = torch.zeros((count, *parameter.shape), device=parameter.device)

    def close(self) -> None:
        """Takes what the optimiser has left on the weights away."""
        for parameter in self.parameters:
            parameter.grad = None
            vars(parameter).pop("summed_grad", None)

    def check(self) -> None:
        """Tries two records, before training: whether there is a gradient of each, and nothing is remembered of them.

        Raises:
            ConfigError: with path and type of the layer that fails.
        """
        buffers = dict(self.model.named_buffers())
        before = {name: value.clone() for name, value in buffers.items()}
        devices = sorted({value.device.index or 0 for value in self.parameters if value.device.type == "cuda"})
        with torch.random.fork_rng(devices=devices), self.recording():
            self.backward(torch.arange(min(2, self.n)))
        for parameter in self.parameters:
            parameter.grad = None
        changed = [name for name, value in self.model.named_buffers() if not torch.equal(value, before[name])]
        with torch.no_grad():
            for name in changed:
                buffers[name].copy_(before[name])
        if changed:
            path = changed[0].rpartition(".")[0]
            raise refused(path, self.model.get_submodule(path), "keeps statistics of the records it has seen")
