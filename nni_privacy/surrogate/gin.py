"""A graph isomorphism network over both cells, with topology features at its readout.

Xu et al., "How Powerful are Graph Neural Networks?", ICLR 2019, with labelled edges as in Hu et al., ICLR 2020
(torch_geometric's GINEConv).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.nn import GINEConv

from nni_privacy.surrogate.base import Floats, State
from nni_privacy.surrogate.graphs import EDGE_LABELS, NODE_LABELS, GraphRows, encode_graphs
from nni_privacy.surrogate.network_training import Inputs, NetworkRegressor, Training
from nni_privacy.surrogate.regressor import Encoder, standardise
from nni_privacy.surrogate.topology import TOPOLOGY_NAMES

__all__ = ["GIN", "GraphNetwork"]


class GIN(NetworkRegressor):
    """The graph network as a regressor.

    Args:
        width: of a node's state.
        layers: rounds of messages.
        dropout: in the head.
        epochs: passes over the data.
        ranking: weight of the ranking loss beside the squared error.
    """

    encoder: ClassVar[Encoder] = staticmethod(encode_graphs)

    def __init__(
        self, *, width: int = 32, layers: int = 3, dropout: float = 0.5, epochs: int = 12, ranking: float = 0.5
    ) -> None:
        self._network_options = (width, layers, dropout)
        self.training = Training(epochs=epochs, ranking=ranking)
        self._centre = self._scale = np.empty(0)

    def _build(self) -> nn.Module:
        width, layers, dropout = self._network_options
        return GraphNetwork(width=width, layers=layers, dropout=dropout)

    def _inputs(self, features: GraphRows) -> Inputs:
        topology = ((features.topology - self._centre) / self._scale).astype(np.float32)
        rows = (features.sources, features.labels, topology)
        return Inputs(
            tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in rows),
            (torch.from_numpy(features.targets), torch.from_numpy(features.roles)),
        )

    def _learn_scales(self, features: GraphRows) -> None:
        self._centre, self._scale = standardise(features.topology)

    def _scales(self) -> dict[str, Floats]:
        return {"centre": self._centre, "scale": self._scale}

    def _restore_scales(self, state: State) -> None:
        self._centre, self._scale = np.asarray(state.arrays["centre"]), np.asarray(state.arrays["scale"])


class GraphNetwork(nn.Module):
    """Messages along labelled edges, both ways; sums over each cell's nodes; a head that also sees the topology.

    Args:
        width: of a node's state.
        layers: rounds of messages.
        dropout: in the head.
    """

    def __init__(self, *, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.roles = nn.Embedding(len(NODE_LABELS), width)
        self.labels = nn.ModuleList(nn.Embedding(2 * len(EDGE_LABELS), width) for _ in range(layers))
        self.convolutions = nn.ModuleList(GINEConv(_perceptron(width), train_eps=True) for _ in range(layers))
        self.shape = nn.Linear(2 * width, width)
        self.topology = nn.Linear(len(TOPOLOGY_NAMES), width)
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 1))
        self.linear = nn.Linear(len(TOPOLOGY_NAMES), 1)

    def forward(self, sources: Tensor, labels: Tensor, topology: Tensor, targets: Tensor, roles: Tensor) -> Tensor:
        """Fields of GraphRows, topology standardised -> (n,) predictions."""
        graphs, size = len(sources), len(roles)
        offsets = size * torch.arange(graphs)[:, None]
        begin, end = (sources + offsets).ravel(), (targets + offsets).ravel()
        edges = torch.stack([torch.cat([begin, end]), torch.cat([end, begin])])
        kinds = torch.cat([labels.ravel(), labels.ravel() + len(EDGE_LABELS)])
        states = self.roles(roles).repeat(graphs, 1)
        for convolution, embedding in zip(self.convolutions, self.labels, strict=True):
            states = states + convolution(states, edges, embedding(kinds))
        cells = states.view(graphs, 2, size // 2, -1).mean(dim=2).flatten(1)
        hidden = self.shape(cells) + self.topology(topology)
        return (self.head(hidden) + self.linear(topology)).squeeze(1)


def _perceptron(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width))
