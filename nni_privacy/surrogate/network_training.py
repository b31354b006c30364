"""How neural regressors are trained, applied and stored: one loop for all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.surrogate.base import Floats, State
from nni_privacy.surrogate.regressor import Regressor

__all__ = ["Inputs", "NetworkRegressor", "Training", "ranking_loss"]

_CHUNK = 1024
"""Architectures predicted at once."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network learns: AdamW, its rate rising for a fifth of the steps and falling to zero after.

    Attributes:
        epochs: passes over the data.
        batch: architectures a step.
        learning_rate: at its highest.
        weight_decay: of AdamW.
        ranking: weight of :func:`ranking_loss` beside the squared error.
    """

    epochs: int
    batch: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    ranking: float = 0.0


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a network is called with: ``rows``, each (n, ...), then ``constants``, the same for every row."""

    rows: tuple[Tensor, ...]
    constants: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.rows[0])

    def take(self, rows: Any) -> tuple[Tensor, ...]:
        """The arguments for some of the rows."""
        return (*(tensor[rows] for tensor in self.rows), *self.constants)


class NetworkRegressor(Regressor):
    """A regressor whose model is a torch module that maps :class:`Inputs` to (n,) predictions."""

    training: Training
    _network: nn.Module

    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Trains for a fixed number of epochs: ``held`` is too small and noisy to stop by."""
        self._learn_scales(features)
        inputs, wanted = self._inputs(features), torch.from_numpy(target).float()
        with _seeded(seed):
            self._network = self._build()
            _train(self._network, inputs, wanted, self.training)
        self._network.eval()

    def predict(self, features: Any) -> Floats:
        """(n,) outputs of the network."""
        inputs = self._inputs(features)
        starts = range(0, len(inputs), _CHUNK)
        with torch.no_grad():
            parts = [self._network(*inputs.take(slice(begin, begin + _CHUNK))) for begin in starts]
        predicted: Floats = torch.cat(parts).double().numpy() if parts else np.empty(0)
        return predicted

    def state(self) -> State:
        """The network's weights, and what features are scaled by."""
        weights = {f"weights.{name}": tensor.numpy() for name, tensor in self._network.state_dict().items()}
        return State({**weights, **self._scales()})

    def restore(self, state: State) -> None:
        """Takes weights and scales over; RuntimeError if they do not fit the network."""
        self._restore_scales(state)
        with _seeded(0):  # what is drawn here is overwritten; the caller's random numbers stay as they were
            self._network = self._build()
        start = "weights."
        arrays = {name.removeprefix(start): array for name, array in state.arrays.items() if name.startswith(start)}
        self._network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
        self._network.eval()

    @abstractmethod
    def _build(self) -> nn.Module:
        """The untrained network."""

    @abstractmethod
    def _inputs(self, features: Any) -> Inputs:
        """Encoded architectures as tensors."""

    def _learn_scales(self, features: Any) -> None:
        """Takes note of what ``_inputs`` scales features by."""

    def _scales(self) -> dict[str, Floats]:
        return {}

    def _restore_scales(self, state: State) -> None:
        """Undoes ``_scales``."""


def ranking_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean of log(1 + exp(p_low - p_high)) over all pairs with different targets (Burges et al., RankNet, ICML 2005).

    Args:
        predicted: (n,).
        target: (n,).

    Returns:
        A scalar; 0 if there is no such pair.
    """
    higher = target[:, None] > target
    margins = (predicted[:, None] - predicted)[higher]
    return functional.softplus(-margins).mean() if len(margins) else predicted.sum() * 0


def _train(network: nn.Module, inputs: Inputs, target: Tensor, training: Training) -> None:
    network.train()
    batch = min(training.batch, len(target))
    steps = len(target) // batch
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, foreach=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.learning_rate, total_steps=training.epochs * steps, pct_start=0.2
    )
    for _ in range(training.epochs):
        order = torch.randperm(len(target))
        for step in range(steps):
            rows = order[step * batch : (step + 1) * batch]
            predicted, wanted = network(*inputs.take(rows)), target[rows]
            loss = functional.mse_loss(predicted, wanted)
            if training.ranking:
                loss = loss + training.ranking * ranking_loss(predicted, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's generator started from ``seed``, and as it was before afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
