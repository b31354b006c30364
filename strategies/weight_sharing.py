"""Base class of searches that train one supernet: its weights, and the loop over batches."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nni_privacy.schema import Count
from nni_privacy.search_spaces.supernet import Gates, Layout, Sample, Supernet
from nni_privacy.strategies.one_shot import Batch, OneShotOptions, OneShotStrategy
from nni_privacy.training.fit import TrainingDiverged

__all__ = ["CandidateOptions", "WeightSharing", "WeightSharingOptions", "check_finite", "judging"]


class WeightSharingOptions(OneShotOptions):
    """Options of strategies that train a supernet; the defaults are those of DARTS (arXiv 1806.09055, section 3.1)."""

    epochs: Count = Field(50, description="passes over the search halves")
    learning_rate: float = Field(0.025, gt=0, description="of the weights, at the start")
    learning_rate_min: float = Field(0.001, ge=0, description="at the end of the cosine")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(3e-4, ge=0)
    nesterov: bool = False
    gradient_clip: float = Field(5.0, gt=0, description="largest norm of the weights' gradient")


class CandidateOptions(WeightSharingOptions):
    """Options of strategies that score candidates with the shared weights at the end."""

    candidates: Count = Field(100, description="architectures that are drawn and scored at the end")
    score_batch_size: int = Field(
        512, ge=2, description="validation records that candidates are scored on, at most all of the half"
    )


class WeightSharing(OneShotStrategy):
    """Trains the weights of a supernet with SGD on the training half; :meth:`search_step` says on what gates.

    The attributes are there after :meth:`prepare`.

    Attributes:
        supernet: the supernet.
        weight_optimizer: of its weights, and of nothing else.
    """

    Options: ClassVar[type[OneShotOptions]] = WeightSharingOptions

    supernet: Supernet
    weight_optimizer: torch.optim.SGD

    def begin(self) -> None:
        """Builds the supernet and its optimiser."""
        self.install_supernet(self.searchable.supernet(seed=self.stream(3)))

    def install_supernet(self, supernet: Supernet) -> None:
        """Makes ``supernet`` the one that is trained, with a fresh optimiser."""
        options = self.options
        self.supernet = supernet.to(self.data.device).to(memory_format=torch.channels_last)
        self.weight_optimizer = torch.optim.SGD(
            self.supernet.parameters(),
            lr=options.learning_rate,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
            nesterov=options.nesterov,
        )

    def total_epochs(self) -> int:
        """As many as the option says."""
        return int(self.options.epochs)

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """A pass over both halves, a training and a validation batch a step; the learning rate falls by a cosine."""
        low, high = self.options.learning_rate_min, self.options.learning_rate
        for group in self.weight_optimizer.param_groups:
            group["lr"] = low + (high - low) * (1 + math.cos(math.pi * epoch / self.total_epochs())) / 2
        self.generator = torch.Generator().manual_seed(self.stream(4, epoch))
        torch.manual_seed(self.stream(5, epoch))  # for what layers draw
        self.supernet.train()
        self.before_epoch(epoch)
        totals: dict[str, float] = {}
        steps = 0
        for train, validation in self.data.epoch(batch_size=self.options.batch_size, seed=self.stream(1), epoch=epoch):
            for name, value in self.search_step(train, validation, epoch).items():
                totals[name] = totals.get(name, 0.0) + value
            steps += 1
        metrics = {name: total / steps for name, total in totals.items()}
        return {**metrics, **self.after_epoch(epoch)}

    generator: torch.Generator
    """Of everything that the algorithm draws, seeded anew for each epoch."""

    def before_epoch(self, epoch: int) -> None:
        """What an algorithm does at the start of an epoch (counted from 0)."""

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """What an algorithm does at the end of an epoch; further metrics."""
        return {}

    @abstractmethod
    def search_step(self, train: Batch, validation: Batch, epoch: int) -> dict[str, float]:
        """One step of the algorithm. Returns numbers that are averaged over the epoch."""

    def ramp(self, first: float, last: float, epoch: int) -> float:
        """A value in an epoch, counted from 0, that goes linearly from ``first`` to ``last`` over all epochs."""
        done = epoch / max(self.total_epochs() - 1, 1)
        return first * (1 - done) + last * done

    def weight_step(self, batch: Batch, gates: Gates) -> float:
        """One SGD step of the weights on a batch, with the architecture standing as ``gates`` says. Returns the loss.

        Raises:
            TrainingDiverged: if the loss is NaN or infinite.
        """
        loss = self.supernet.loss(*batch, gates)
        value = check_finite(loss.item(), self.epoch + 1)
        self.weight_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.supernet.parameters(), self.options.gradient_clip)
        self.weight_optimizer.step()
        return value

    @torch.no_grad()
    def accuracy(self, sample: Sample, batch: Batch) -> float:
        """Fraction of a batch that the shared weights classify right along the path of ``sample``."""
        images, labels = batch
        predicted = self.supernet(images, self.supernet.path_gates(sample)).argmax(1)
        return float((predicted == labels).float().mean())

    def ranked_by_accuracy(self, samples: Sequence[Sample], batch: Batch) -> list[Sample]:
        """``samples`` by the accuracy of the shared weights on ``batch``, best first; equal ones keep their order."""
        with judging(self.supernet):
            accuracies = [self.accuracy(sample, batch) for sample in samples]
        order = sorted(range(len(samples)), key=lambda index: -accuracies[index])
        return [samples[index] for index in order]

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimiser of the weights."""
        return {"weights": self.weight_optimizer}

    def layout(self) -> Layout:
        """The layout of the supernet."""
        return self.supernet.layout

    def trained_parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """All that the epochs change, by its name in a checkpoint: here weights and optimiser."""
        return {"supernet": self.supernet, "weight_optimizer": self.weight_optimizer}

    def search_state(self) -> dict[str, Any]:
        """The state of each of :meth:`trained_parts`."""
        return {name: part.state_dict() for name, part in self.trained_parts().items()}

    def load_search_state(self, state: Mapping[str, Any]) -> None:
        """Restores each of :meth:`trained_parts`."""
        for name, part in self.trained_parts().items():
            part.load_state_dict(state[name])


def check_finite(loss: float, epoch: int) -> float:
    """``loss``, unless it is NaN or infinite; then a TrainingDiverged that says in which epoch (from 1)."""
    if not math.isfinite(loss):
        raise TrainingDiverged(f"the search loss became {loss} in epoch {epoch}; try a lower learning_rate")
    return loss


@contextmanager
def judging(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, but every BatchNorm normalises with the batch at hand; nothing of ``network`` changes.

    The running statistics that a space of a user's own may keep mix those of all paths, and fit none of them.
    """
    modes = {module: module.training for module in network.modules()}
    norms = [module for module in modes if isinstance(module, _BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    network.eval()
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm, track in zip(norms, tracked, strict=True):
            norm.track_running_stats = track
        for module, training in modes.items():
            module.training = training
