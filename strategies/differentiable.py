"""Base class of differentiable searches: a distribution over the candidates of every decision, trained by gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from nni_privacy.search_spaces.supernet import Decision, Gate, Gates, Layout, Sample
from nni_privacy.strategies.one_shot import Batch, OneShotOptions
from nni_privacy.strategies.weight_sharing import WeightSharing, WeightSharingOptions, check_finite

__all__ = ["ArchitectureParameters", "Differentiable", "DifferentiableOptions", "gumbel_max"]

INITIAL_SCALE = 1e-3
SAMPLING_ROUNDS = 50


class DifferentiableOptions(WeightSharingOptions):
    """Options of searches by gradient; the defaults are those of DARTS (arXiv 1806.09055, section 3.1)."""

    architecture_learning_rate: float = Field(3e-4, gt=0, description="of the architecture parameters (Adam)")
    architecture_weight_decay: float = Field(1e-3, ge=0)


class ArchitectureParameters(nn.Module):
    """alpha: for every decision a vector over its candidates, initially 1e-3 times a standard normal.

    Args:
        decisions: in the order in which their parameters are kept; it is the same in every process.
        generator: of the initial values.
    """

    def __init__(self, decisions: tuple[Decision, ...], *, generator: torch.Generator) -> None:
        super().__init__()
        # Not a ParameterDict: keys are labels of a user's making, and may have dots or be called like its methods.
        self.alphas = nn.ParameterList()
        self._position = {decision.key: number for number, decision in enumerate(decisions)}
        for decision in decisions:
            self.alphas.append(INITIAL_SCALE * torch.randn(len(decision.candidates), generator=generator))

    def __getitem__(self, key: str) -> Tensor:
        return self.alphas[self._position[key]]

    def items(self) -> list[tuple[str, Tensor]]:
        """Keys and vectors, in order."""
        return [(key, self.alphas[number]) for key, number in self._position.items()]


class Differentiable(WeightSharing):
    """Alternates a step of the architecture on the validation half and one of the weights on the training half.

    Subclasses say what the gates are. The attributes are there after :meth:`prepare`.

    Attributes:
        architecture: the parameters alpha.
        architecture_optimizer: Adam, betas (0.5, 0.999), of them and of nothing else.
    """

    Options: ClassVar[type[OneShotOptions]] = DifferentiableOptions

    architecture: ArchitectureParameters
    architecture_optimizer: torch.optim.Adam

    def begin(self) -> None:
        """Builds the supernet, the architecture parameters and both optimisers."""
        super().begin()
        self.install_architecture()

    def install_architecture(self) -> None:
        """Fresh architecture parameters for the decisions of the supernet, and their optimiser."""
        generator = torch.Generator().manual_seed(self.stream(6))
        self.architecture = ArchitectureParameters(self.supernet.decisions, generator=generator).to(self.data.device)
        self.architecture_optimizer = torch.optim.Adam(
            self.architecture_parameters(),
            lr=self.options.architecture_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=self.options.architecture_weight_decay,
        )

    def architecture_parameters(self) -> list[nn.Parameter]:
        """All that the architecture step changes, in a fixed order."""
        return list(self.architecture.parameters())

    # --- what an algorithm defines ---

    def gates(self) -> Gates:
        """How the architecture stands in a forward pass: here, every candidate weighted by its probability."""
        return {key: Gate(weights=torch.softmax(alpha, dim=0)) for key, alpha in self.architecture.items()}

    def weight_gates(self) -> Gates:
        """The gates of the weight step; by default those of the architecture step."""
        return self.gates()

    def probabilities(self) -> dict[str, Tensor]:
        """Key to the probability of each candidate, detached: what export, sampling and the entropy go by."""
        return {key: torch.softmax(alpha.detach(), dim=0) for key, alpha in self.architecture.items()}

    def scores(self) -> dict[str, Tensor]:
        """What the export ranks candidates and edges by: their probabilities."""
        return self.probabilities()

    def trains_architecture(self, epoch: int) -> bool:
        """Whether the architecture is trained in this epoch (counted from 0); False during a warm-up."""
        return True

    # --- the two steps ---

    def search_step(self, train: Batch, validation: Batch, epoch: int) -> dict[str, float]:
        """One step of the architecture, then one of the weights."""
        losses: dict[str, float] = {}
        if self.trains_architecture(epoch):
            losses["validation_loss"] = self.architecture_step(validation, train)
        with torch.no_grad():
            gates = self.weight_gates()
        losses["train_loss"] = self.weight_step(train, gates)
        return losses

    def architecture_step(self, validation: Batch, train: Batch) -> float:
        """One Adam step of the architecture on a validation batch. Returns the loss."""
        loss, gradients = self.architecture_gradients(validation, train)
        for parameter, gradient in zip(self.architecture_parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.architecture_optimizer.step()
        return loss

    def architecture_gradients(self, validation: Batch, train: Batch) -> tuple[float, list[Tensor]]:
        """Validation loss, and its gradient with respect to each of :meth:`architecture_parameters`."""
        loss = self.supernet.loss(*validation, self.gates())
        # Parameters of a decision that no path of this pass used get a gradient of zero.
        gradients = torch.autograd.grad(loss, self.architecture_parameters(), materialize_grads=True)
        return check_finite(loss.item(), self.epoch + 1), list(gradients)

    # --- what the search has found ---

    def current_sample(self) -> Sample:
        """The architecture of the highest scores."""
        return self.layout().export(self.scores())

    def best_samples(self, count: int) -> list[Sample]:
        """The exported architecture, then the likeliest others among random draws from the distribution."""
        best = self.current_sample()
        if count == 1:
            return [best]
        generator = torch.Generator().manual_seed(self.stream(7))
        layout, found = self.layout(), {}
        log_probabilities = {key: p.clamp_min(1e-12).log().cpu() for key, p in self.scores().items()}
        for _ in range(SAMPLING_ROUNDS * count):
            sample = gumbel_max(layout, log_probabilities, generator)
            if sample != best:
                found[layout.describe(sample)] = sample
        likeliest = sorted(
            found.values(), key=lambda sample: float(layout.log_probability(sample, log_probabilities)), reverse=True
        )
        return [best, *likeliest[: count - 1]]

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers of the weights and of the architecture."""
        return {**super().optimizers(), "architecture": self.architecture_optimizer}

    def entropy(self) -> float | None:
        """Mean entropy of the decisions' distributions, in nats."""
        return float(torch.stack([torch.special.entr(p).sum() for p in self.probabilities().values()]).mean())

    def trained_parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Weights, architecture and both optimisers."""
        return {
            **super().trained_parts(),
            "architecture": self.architecture,
            "architecture_optimizer": self.architecture_optimizer,
        }


def gumbel_max(layout: Layout, log_probabilities: Mapping[str, Tensor], generator: torch.Generator) -> Sample:
    """A draw from the distribution: the export of log-probabilities perturbed by Gumbel noise."""
    return layout.export(
        {
            key: values - torch.empty_like(values).exponential_(generator=generator).log()
            for key, values in log_probabilities.items()
        }
    )
