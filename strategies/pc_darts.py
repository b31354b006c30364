"""PC-DARTS (Xu et al.: Partial Channel Connections for Memory-Efficient Architecture Search, arXiv 1907.05737)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from nni_privacy.schema import Count
from nni_privacy.search_spaces.supernet import Gate, Gates
from nni_privacy.strategies.differentiable import INITIAL_SCALE, Differentiable, DifferentiableOptions
from nni_privacy.strategies.one_shot import OneShotOptions

__all__ = ["PCDARTS", "PCDARTSOptions"]


class PCDARTSOptions(DifferentiableOptions):
    """Options of PC-DARTS; the defaults are the paper's (section 4.2) but for those of the two optimisers."""

    partial: Count = Field(4, description="K: an edge's candidates see one in so many of its channels")
    warmup: float = Field(
        0.3, ge=0, lt=1, description="part of the epochs, from the first, in which only the weights are trained"
    )


class PCDARTS(Differentiable):
    """DARTS with partial channel connections and edge normalisation (arXiv 1907.05737, section 3).

    Partial channel connections: on every edge the mixture of the candidates sees the first C // K channels; the others
    go past it untouched (max-pooled where the edge halves the resolution), and all are shuffled afterwards (equation 2;
    the network side is :class:`~nni_privacy.search_spaces.supernet.MixedOperation`).

    Edge normalisation: edges that compete for a node are weighted by parameters beta that all cells of a type share,
    which undoes the bias that random channels put into alpha (equation 3):

        node_j = sum over i < j of softmax(beta_j)_i * edge_ij(x_i),

    and the export ranks operations and edges by softmax(alpha) * softmax(beta) (section 3.3). A fixed edge competes
    with nothing: it enters with factor one beside the free edges, whose factors sum to one.

    Spaces in which no edges compete (NAS-Bench-201, spaces of ``LayerChoice``) have no beta. Candidates in a space of
    ``LayerChoice`` are made for all channels, and see all of them: the search is then DARTS with a warm-up.

    Defaults: K = 4, and alpha and beta stand still for the first 3 epochs in 10, the paper's 15 of 50. The optimisers
    are those of :class:`~nni_privacy.strategies.darts.DARTSFirstOrder`: weights at a learning rate of 0.025
    with batches of 64, which is the paper's 0.1 with 256 by linear scaling; alpha and beta at 3e-4, where the paper has
    6e-4 with a quarter of the steps.

    Attributes:
        edges: the parameters beta, a vector for each group of competing edges, in the layout's order.
    """

    Options: ClassVar[type[OneShotOptions]] = PCDARTSOptions

    edges: nn.ParameterList

    def begin(self) -> None:
        """Builds the supernet with partial channels, alpha, beta, and both optimisers."""
        self.install_supernet(self.searchable.supernet(seed=self.stream(3), partial=self.options.partial))
        self.install_architecture()

    def install_architecture(self) -> None:
        """Fresh alpha and beta, both initially 1e-3 times a standard normal, and their optimiser."""
        generator = torch.Generator().manual_seed(self.stream(8))
        self.edges = nn.ParameterList(
            nn.Parameter((INITIAL_SCALE * torch.randn(len(group), generator=generator)).to(self.data.device))
            for group in self.competing_edges()
        )
        super().install_architecture()

    def competing_edges(self) -> list[tuple[str, ...]]:
        """The keys of the edges that compete for one node, a tuple for each such node; an only edge has no rival."""
        return [group for group in self.layout().rivals if len(group) > 1]

    def architecture_parameters(self) -> list[nn.Parameter]:
        """All alpha in the order of the decisions, then all beta in that of the nodes."""
        return [*super().architecture_parameters(), *self.edges]

    def edge_weights(self) -> dict[str, Tensor]:
        """Key of each competing edge to its softmax(beta), a scalar; the edges of a node sum to one."""
        return {
            key: weight
            for group, beta in zip(self.competing_edges(), self.edges, strict=True)
            for key, weight in zip(group, torch.softmax(beta, dim=0), strict=True)
        }

    def gates(self) -> Gates:
        """Candidates weighted by softmax(alpha), whole edges by softmax(beta)."""
        scales = self.edge_weights()
        return {
            key: Gate(weights=torch.softmax(alpha, dim=0), scale=scales.get(key))
            for key, alpha in self.architecture.items()
        }

    def scores(self) -> dict[str, Tensor]:
        """softmax(alpha) * softmax(beta)."""
        scales = self.edge_weights()
        return {key: p * scales[key].detach() if key in scales else p for key, p in self.probabilities().items()}

    def trains_architecture(self, epoch: int) -> bool:
        """Whether the warm-up, which never takes all epochs, is over."""
        epochs = self.total_epochs()
        return epoch >= min(round(self.options.warmup * epochs), epochs - 1)

    def trained_parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Weights, alpha, beta and both optimisers."""
        return {**super().trained_parts(), "edges": self.edges}
