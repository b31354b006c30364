"""Neural regressors: one loop that trains, applies and stores them, and the three networks.

The perceptron on path encodings is that of BANANAS (White et al., AAAI 2021, section 3).

The graph isomorphism network sees both cells, with topology features at its readout: Xu et al., "How Powerful are Graph
Neural Networks?", ICLR 2019, with labelled edges as in Hu et al., ICLR 2020 (torch_geometric's GINEConv).

The paper's own graph network has its faults included: a yardstick, not a model to use. As section 4 of Huang et al.
(CCS 2022) and the released code have it: both cells in one graph, joined by identity edges from output to input,
embedded labels on directed edges, a mean over all nodes, squared error. And with the released encoder's fault:
operations are listed by the node they lead into, edges by the node they come from, and the two lists are paired as they
stand. So an operation often sits on another edge than its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import GINEConv

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.surrogate.base import Floats, State
from nni_privacy.surrogate.committee import Encoder, Regressor, standardise
from nni_privacy.surrogate.encodings import COLUMNS, EDGE_LABELS, NODE_LABELS, GraphRows, encode_graphs, encode_paths
from nni_privacy.surrogate.topology import TOPOLOGY_NAMES
from nni_privacy.training.gradients import gradients_on

__all__ = ["GIN", "GraphNetwork", "PaperGIN", "PathPerceptron", "encode_mislabelled", "ranking_loss"]

_CHUNK = 1024
"""Architectures predicted at once."""

_IDENTITY = EDGE_LABELS.index("concatenate")


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
    """A regressor whose model is a torch module that maps :class:`Inputs` to (n,) predictions.

    It learns by AdamW, whose rate rises for a fifth of the steps and falls to zero after.

    Args:
        build: makes the untrained network.
        epochs: passes over the data.
        ranking: weight of :func:`ranking_loss` beside the squared error.

    Attributes:
        batch: architectures a step.
        learning_rate: at its highest.
    """

    batch: ClassVar[int] = 128
    learning_rate: ClassVar[float] = 3e-3
    _network: nn.Module

    def __init__(self, build: Callable[[], nn.Module], *, epochs: int, ranking: float = 0.0) -> None:
        self._build, self._epochs, self._ranking = build, epochs, ranking
        self._scales: dict[str, Floats] = {}

    @gradients_on()
    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Trains for a fixed number of epochs: ``held`` is too small and noisy to stop by."""
        self._learn_scales(features)
        inputs, wanted = self._inputs(features), torch.from_numpy(target).float()
        with _seeded(seed):
            self._network = self._build()
            self._train(inputs, wanted)
        self._network.eval()

    def _train(self, inputs: Inputs, target: Tensor) -> None:
        batch, rate = min(self.batch, len(target)), self.learning_rate
        steps = len(target) // batch
        optimizer = torch.optim.AdamW(self._network.parameters(), lr=rate, weight_decay=1e-2, foreach=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=self._epochs * steps, pct_start=0.2)
        for _ in range(self._epochs):
            order = torch.randperm(len(target))
            for step in range(steps):
                rows = order[step * batch : (step + 1) * batch]
                predicted, wanted = self._network(*inputs.take(rows)), target[rows]
                loss = functional.mse_loss(predicted, wanted)
                if self._ranking:
                    loss = loss + self._ranking * ranking_loss(predicted, wanted)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()

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
        return State({**weights, **self._scales})

    def restore(self, state: State) -> None:
        """Takes weights and scales over; RuntimeError if they do not fit the network."""
        self._scales = {name: np.asarray(state.arrays[name]) for name in self._scales}
        with _seeded(0):  # what is drawn here is overwritten; the caller's random numbers stay as they were
            self._network = self._build()
        weights = state.arrays_under("weights.")
        self._network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
        self._network.eval()

    @abstractmethod
    def _inputs(self, features: Any) -> Inputs:
        """Encoded architectures as tensors."""

    def _learn_scales(self, features: Any) -> None:
        """Sets the arrays of ``_scales``, by which ``_inputs`` scales features."""


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


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's generator started from ``seed``, and as it was before afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class PathPerceptron(NetworkRegressor):
    """The perceptron as a regressor.

    Args:
        width: of a hidden layer.
        layers: number of hidden layers.
        epochs: passes over the data.
    """

    encoder: ClassVar[Encoder] = staticmethod(encode_paths)
    batch, learning_rate = 32, 1e-3

    def __init__(self, *, width: int = 20, layers: int = 10, epochs: int = 40) -> None:
        super().__init__(partial(_Perceptron, width, layers), epochs=epochs)

    def _inputs(self, features: Any) -> Inputs:
        return Inputs((torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)),))


class _Perceptron(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(COLUMNS, width), nn.ReLU())
        for _ in range(layers - 1):
            self.layers.extend([nn.Linear(width, width), nn.ReLU()])
        self.layers.append(nn.Linear(width, 1))

    def forward(self, paths: Tensor) -> Tensor:
        """(n, 224) -> (n,)."""
        return self.layers(paths).squeeze(1)


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
        build = partial(GraphNetwork, width=width, layers=layers, dropout=dropout)
        super().__init__(build, epochs=epochs, ranking=ranking)
        self._scales = dict.fromkeys(("centre", "scale"), np.empty(0))

    def _inputs(self, features: GraphRows) -> Inputs:
        topology = ((features.topology - self._scales["centre"]) / self._scales["scale"]).astype(np.float32)
        return _graph_inputs(features, features.sources, features.labels, topology)

    def _learn_scales(self, features: GraphRows) -> None:
        self._scales = dict(zip(self._scales, standardise(features.topology), strict=True))


def _graph_inputs(features: GraphRows, *rows: npt.NDArray[Any]) -> Inputs:
    constants = (torch.from_numpy(features.targets), torch.from_numpy(features.roles))
    return Inputs(tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in rows), constants)


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


def encode_mislabelled(codes: GenotypeCodes) -> GraphRows:
    """Graphs whose k-th operation by target and source stands on the k-th edge by source and target."""
    graphs = encode_graphs(codes, topology=False)
    edges = 2 * codes.nodes
    labels = graphs.labels.reshape(len(codes), 2, -1).copy()
    sources = graphs.sources.reshape(labels.shape)
    # Stable, so that edges from one source stay ordered by target, which they are to begin with.
    order = np.argsort(sources[..., :edges], axis=2, kind="stable")
    np.put_along_axis(labels, order, labels[..., :edges].copy(), axis=2)
    return replace(graphs, labels=labels.reshape(len(codes), -1))


class PaperGIN(NetworkRegressor):
    """The network as a regressor.

    Args:
        width: of a node's state.
        layers: rounds of messages.
        epochs: passes over the data.
    """

    encoder: ClassVar[Encoder] = staticmethod(encode_mislabelled)
    learning_rate = 1e-3

    def __init__(self, *, width: int = 32, layers: int = 5, epochs: int = 20) -> None:
        super().__init__(partial(_Network, width=width, layers=layers), epochs=epochs)

    def _inputs(self, features: GraphRows) -> Inputs:
        return _graph_inputs(features, features.sources, features.labels)


class _Network(nn.Module):
    def __init__(self, *, width: int, layers: int) -> None:
        super().__init__()
        # Roles are the same in both cells: only the edges that join them tell the cells apart.
        self.roles = nn.Embedding(len(NODE_LABELS) // 2, width)
        self.labels = nn.Embedding(len(EDGE_LABELS), width)
        self.convolutions = nn.ModuleList(
            GINEConv(_perceptron(width).append(nn.ReLU()), train_eps=True) for _ in range(layers)
        )
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
