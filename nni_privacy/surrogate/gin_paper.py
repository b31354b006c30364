"""The paper's graph network, faults included: a yardstick, not a model to use.

As section 4 of Huang et al. (CCS 2022) and the released code have it: both cells in one graph, joined by identity edges
from output to input, embedded labels on directed edges, a mean over all nodes, squared error. And with the released
encoder's fault: operations are listed by the node they lead into, edges by the node they come from, and the two lists
are paired as they stand. So an operation often sits on another edge than its own.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch_geometric.nn import GINEConv

from nni_privacy.genotype_codes import GenotypeCodes
from nni_privacy.surrogate.graphs import EDGE_LABELS, NODE_LABELS, GraphRows, graph_edges
from nni_privacy.surrogate.network_training import Inputs, NetworkRegressor, Training
from nni_privacy.surrogate.regressor import Encoder

__all__ = ["PaperGIN", "encode_mislabelled"]

_IDENTITY = EDGE_LABELS.index("concatenate")


def encode_mislabelled(codes: GenotypeCodes) -> GraphRows:
    """Graphs whose k-th operation by target and source stands on the k-th edge by source and target."""
    graphs = graph_edges(codes)
    edges = 2 * codes.nodes
    labels = graphs.labels.reshape(len(codes), 2, -1).copy()
    sources = graphs.sources.reshape(labels.shape)
    # Stable, so that edges from one source stay ordered by target, which they are to begin with.
    order = np.argsort(sources[..., :edges], axis=2, kind="stable")
    np.put_along_axis(labels, order, labels[..., :edges].copy(), axis=2)
    return GraphRows(
        graphs.sources, graphs.targets, labels.reshape(len(codes), -1), graphs.roles, np.empty((len(codes), 0))
    )


class PaperGIN(NetworkRegressor):
    """The network as a regressor.

    Args:
        width: of a node's state.
        layers: rounds of messages.
        epochs: passes over the data.
    """

    encoder: ClassVar[Encoder] = staticmethod(encode_mislabelled)

    def __init__(self, *, width: int = 32, layers: int = 5, epochs: int = 20) -> None:
        self._network_options = (width, layers)
        self.training = Training(epochs=epochs, learning_rate=1e-3)

    def _build(self) -> nn.Module:
        width, layers = self._network_options
        return _Network(width=width, layers=layers)

    def _inputs(self, features: GraphRows) -> Inputs:
        arrays: tuple[npt.NDArray[Any], ...] = (features.sources, features.labels)
        return Inputs(
            tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays),
            (torch.from_numpy(features.targets), torch.from_numpy(features.roles)),
        )


class _Network(nn.Module):
    def __init__(self, *, width: int, layers: int) -> None:
        super().__init__()
        # Roles are the same in both cells: only the edges that join them tell the cells apart.
        self.roles = nn.Embedding(len(NODE_LABELS) // 2, width)
        self.labels = nn.Embedding(len(EDGE_LABELS), width)
        self.convolutions = nn.ModuleList(GINEConv(_perceptron(width), train_eps=True) for _ in range(layers))
        self.head = nn.Linear(width, 1)

    def forward(self, sources: Tensor, labels: Tensor, targets: Tensor, roles: Tensor) -> Tensor:
        """Sources and labels (n, E), targets (E,), roles (V,) -> (n,) predictions."""
        graphs, size = len(sources), len(roles)
        output, second = size // 2 - 1, size // 2
        joins = torch.tensor([[output, output, size - 1, size - 1], [second, second + 1, 0, 1]])
        begin = torch.cat([sources, joins[0].expand(graphs, -1)], dim=1)
        end = torch.cat([targets, joins[1]])
        kinds = nn.functional.pad(labels, (0, joins.shape[1]), value=_IDENTITY)
        offsets = size * torch.arange(graphs)[:, None]
        edges = torch.stack([(begin + offsets).ravel(), (end + offsets).ravel()])
        states = self.roles(roles % self.roles.num_embeddings).repeat(graphs, 1)
        attributes = self.labels(kinds.ravel())
        for convolution in self.convolutions:
            states = convolution(states, edges, attributes)
        return self.head(states.view(graphs, size, -1).mean(dim=1)).squeeze(1)


def _perceptron(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
