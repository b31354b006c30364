"""The supernet that all weight-sharing algorithms use: every candidate operation is there, gates say which of them run.

An algorithm and a space meet here. The space says which :class:`Decision` there are and which paths through them stand
for which architecture (a :class:`Layout`); the algorithm sets a :class:`Gate` for each decision before a forward pass.
Cells that share a decision (all normal cells, say) share its gate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.cells.operations import NO_CONNECTION, is_skip

__all__ = ["BuildOperation", "Decision", "FlatLayout", "Gate", "Gates", "Layout", "MixedOperation", "Supernet"]
__all__ += ["Switchboard", "run_edges", "transfer_weights", "use_batch_statistics"]

NONE = NO_CONNECTION
"""The candidate that outputs zeros: an edge that is not there."""

Sample = dict[str, Any]
BuildOperation = Callable[[str, int, int], nn.Module]
"""(operation, channels, stride) -> module."""


@dataclass(frozen=True)
class Decision:
    """One choice of an operation, shared by all places of the network that carry its key.

    Attributes:
        key: its name, unique in the space; places with the same key always decide alike.
        candidates: names of the operations to choose from, in a fixed order, ``none`` among them where an edge may be
            absent during the search.
    """

    key: str
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class Gate:
    """How a decision stands during a forward pass.

    Attributes:
        weights: (candidates,) what the candidates' outputs are multiplied by before they are summed; ``None`` for ones.
        active: indices of the candidates that run, in ascending order; ``None`` for all. The others cost nothing.
        scale: factor of the whole edge's output, a scalar; ``None`` for one.
    """

    weights: Tensor | None = None
    active: tuple[int, ...] | None = None
    scale: Tensor | None = None

    def mix(self, candidates: Sequence[str], run: Callable[[str], Tensor | None]) -> Tensor | None:
        """The weighted sum of what the active candidates compute, not scaled; None if all of them compute None."""
        output: Tensor | None = None
        for index in range(len(candidates)) if self.active is None else self.active:
            term = run(candidates[index])
            if term is not None and self.weights is not None:
                term = term * self.weights[index]
            output = _added(output, term)
        return output

    def scaled(self, output: Tensor) -> Tensor:
        """The edge's output times its scale."""
        return output if self.scale is None else output * self.scale


Gates = Mapping[str, Gate]
"""Gate by key of its decision. A decision without a gate does not run: its edge is not there."""


Halves = tuple[Tensor, Tensor]
"""The first C // k and the other channels of a state."""


class Switchboard:
    """Where the mixed operations of one supernet read their gates."""

    def __init__(self) -> None:
        self.gates: Gates = {}


class MixedOperation(nn.Module):
    """All candidates of a decision at one place of the network; its gate says which run and how they are weighted.

    With ``partial`` = k > 1 the candidates see the first C // k channels only, the others bypass them (max-pooled where
    the stride is 2), and all channels are shuffled afterwards (PC-DARTS, arXiv 1907.05737, section 3.1).

    Args:
        decision: what there is to choose.
        channels: number of channels C of input and output.
        stride: 1 or 2.
        build: makes a candidate; ``none`` needs no module.
        switchboard: of the supernet.
        partial: k.
    """

    def __init__(
        self,
        decision: Decision,
        *,
        channels: int,
        stride: int,
        build: BuildOperation,
        switchboard: Switchboard,
        partial: int = 1,
    ) -> None:
        super().__init__()
        self.decision, self.stride = decision, stride
        self.seen = max(channels // partial, 1)
        self.bypass = nn.MaxPool2d(2, stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.partial = self.seen < channels
        # The channel shuffle of ShuffleNet with groups of ``seen`` channels, for any number of channels.
        order = sorted(range(channels), key=lambda channel: (channel % self.seen, channel // self.seen))
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.operations = nn.ModuleDict(
            {name: build(name, self.seen, stride) for name in decision.candidates if name != NONE}
        )
        self._switchboard = switchboard

    order: Tensor

    def forward(self, x: Tensor) -> Tensor | None:
        """Tensor (n, C, h, w) -> (n, C, ceil(h / stride), ceil(w / stride)); None if the edge is not there.

        ``None`` stands for zeros and saves adding them.
        """
        if self.partial:
            halves = self.halves(*self.split(x))
            return None if halves is None else self.join(*halves)
        gate = self._switchboard.gates.get(self.decision.key)
        output = None if gate is None else self._mix(x, gate)
        return None if gate is None or output is None else gate.scaled(output)

    def split(self, x: Tensor) -> Halves:
        """The channels that the candidates of a partial edge see, and those that bypass them."""
        # Not two slices, whose gradients are padded with zeros and added; and copied once, not by each candidate.
        seen, others = x.split([self.seen, x.shape[1] - self.seen], dim=1)
        return seen.contiguous(memory_format=torch.channels_last), others

    def halves(self, seen: Tensor, others: Tensor) -> tuple[Tensor | None, Tensor] | None:
        """Of a partial edge, what its candidates make of the channels that they see, and the channels that bypass them.

        ``None`` in place of the first stands for zeros, in place of both for an edge that is not there. As joining is
        linear, the halves of all edges into a node may be summed first and joined once.
        """
        gate = self._switchboard.gates.get(self.decision.key)
        if gate is None:
            return None
        mixed = self._mix(seen, gate)
        return None if mixed is None else gate.scaled(mixed), gate.scaled(self.bypass(others))

    def join(self, seen: Tensor | None, bypassed: Tensor) -> Tensor:
        """Halves put together and dealt out anew: the next edge sees others, and bypassed ones stay what they are."""
        if seen is None:
            n, _, height, width = bypassed.shape
            seen = bypassed.new_zeros(n, self.seen, height, width)
        if bypassed.shape[1] % self.seen:
            return torch.cat([seen, bypassed], dim=1).index_select(1, self.order)
        # The same permutation in one copy, channels last as in the whole network: its gradient is many times cheaper.
        groups = [seen, *bypassed.split(self.seen, dim=1)]
        return torch.stack([group.permute(0, 2, 3, 1) for group in groups], dim=4).flatten(3).permute(0, 3, 1, 2)

    def _mix(self, x: Tensor, gate: Gate) -> Tensor | None:
        return gate.mix(self.decision.candidates, lambda op: None if op == NONE else self.operations[op](x))


def run_edges(
    edges: nn.ModuleDict,
    into: Sequence[Sequence[tuple[str, int]]],
    states: list[Tensor],
    *,
    absent: Callable[[list[Tensor]], Tensor],
) -> None:
    """Appends the state of every node of a cell to ``states``: the sum of what the edges into it compute.

    Args:
        edges: operation or mixed operation by name.
        into: for each node the names of its edges and the numbers of the states that they read.
        states: the inputs of the cell; grows.
        absent: the state of a node none of whose edges is there.
    """
    split: dict[int, Halves] = {}  # what partial edges have split already; each state is split once
    for names in into:
        whole: Tensor | None = None
        seen: Tensor | None = None
        bypassed: Tensor | None = None
        partial: MixedOperation | None = None
        for name, source in names:
            edge = edges[name]
            if not isinstance(edge, MixedOperation) or not edge.partial:
                whole = _added(whole, edge(states[source]))
                continue
            if source not in split:
                split[source] = edge.split(states[source])
            halves = edge.halves(*split[source])
            if halves is not None:
                partial = edge
                seen, bypassed = _added(seen, halves[0]), _added(bypassed, halves[1])
        if partial is not None and bypassed is not None:
            whole = _added(whole, partial.join(seen, bypassed))
        states.append(absent(states) if whole is None else whole)


def _added(total: Tensor | None, term: Tensor | None) -> Tensor | None:
    if total is None or term is None:
        return term if total is None else total
    return total + term


class Layout(ABC):
    """What a space's architectures are in terms of decisions.

    Attributes:
        decisions: in a fixed order; all that is left to choose, so no fixed edges.
        choices: label to the allowed values of the (constrained) space's samples, single values included.
        rivals: groups of decisions whose edges compete for one node, where a node takes only some of them; empty where
            every decision stands on its own.
    """

    decisions: tuple[Decision, ...]
    choices: Mapping[str, tuple[Any, ...]]
    rivals: tuple[tuple[str, ...], ...] = ()

    @abstractmethod
    def path(self, sample: Mapping[str, Any]) -> dict[str, int]:
        """Key of each decision that ``sample`` uses, to the index of its candidate; others' edges are not there."""

    @abstractmethod
    def export(self, scores: Mapping[str, Tensor]) -> Sample:
        """The architecture that ``scores`` (key to (candidates,), higher is better) stands for, fixed edges included.

        The rule is the algorithms' own: the best candidate of a decision; where edges compete for a node, those whose
        best candidate other than ``none`` is the best.
        """

    def describe(self, sample: Mapping[str, Any]) -> str:
        """How the architecture is written in logs."""
        return str(dict(sample))

    def skip_connections(self, sample: Mapping[str, Any]) -> int:
        """How many skip connections the architecture has; DARTS is known to collapse into them."""
        candidates = {decision.key: decision.candidates for decision in self.decisions}
        return sum(is_skip(candidates[key][index]) for key, index in self.path(sample).items())

    def random_sample(self, generator: torch.Generator) -> Sample:
        """An architecture drawn uniformly: every choice independently, every allowed value as likely as the others."""
        return {
            label: values[int(torch.randint(len(values), (), generator=generator))]
            for label, values in self.choices.items()
        }

    def size(self) -> int:
        """Number of samples that the (constrained) space has."""
        return math.prod(len(values) for values in self.choices.values())

    def sample_at(self, index: int) -> Sample:
        """The sample number ``index`` of the space, in ``range(size())``; the last choice changes fastest."""
        sample: Sample = {}
        for label, values in reversed(list(self.choices.items())):
            index, digit = divmod(index, len(values))
            sample[label] = values[digit]
        return {label: sample[label] for label in self.choices}

    def log_probability(self, sample: Mapping[str, Any], log_probabilities: Mapping[str, Tensor]) -> Tensor:
        """Sum of the logarithms of the probabilities of all decisions on the path of ``sample``."""
        terms = [log_probabilities[key][index] for key, index in self.path(sample).items()]
        return torch.stack(terms).sum() if terms else torch.zeros(())


class FlatLayout(Layout):
    """One decision a choice that has more than one value left; its key is the choice's label.

    Args:
        choices: label to the values that the (constrained) space leaves.
        candidates: for some decisions, the names of what is left of their candidates; all others have all their values.
        describe: how a sample is written in logs.
    """

    def __init__(
        self,
        choices: Mapping[str, Sequence[Any]],
        *,
        candidates: Mapping[str, Sequence[str]] | None = None,
        describe: Callable[[Mapping[str, Any]], str] | None = None,
    ) -> None:
        self.choices = {label: tuple(values) for label, values in choices.items()}
        self.fixed = {label: values[0] for label, values in self.choices.items() if len(values) == 1}
        self.decisions = tuple(
            Decision(label, tuple((candidates or {}).get(label, map(str, values))))
            for label, values in self.choices.items()
            if len(values) > 1
        )
        self._describe = describe

    def path(self, sample: Mapping[str, Any]) -> dict[str, int]:
        """Index of the chosen operation of every decision."""
        return {decision.key: decision.candidates.index(str(sample[decision.key])) for decision in self.decisions}

    def export(self, scores: Mapping[str, Tensor]) -> Sample:
        """The best operation of every decision."""
        chosen = {decision.key: decision.candidates[int(scores[decision.key].argmax())] for decision in self.decisions}
        return {
            label: next(value for value in values if str(value) == chosen[label]) if label in chosen else values[0]
            for label, values in self.choices.items()
        }

    def describe(self, sample: Mapping[str, Any]) -> str:
        """The space's own text of an architecture, or the sample."""
        return super().describe(sample) if self._describe is None else self._describe(sample)

    def skip_connections(self, sample: Mapping[str, Any]) -> int:
        """How many choices are skip connections, fixed ones included."""
        return sum(is_skip(str(value)) for value in sample.values())


class Supernet(nn.Module):
    """A network with all candidate operations; :attr:`layout` says what it searches.

    Args:
        network: maps images to logits, with :class:`MixedOperation` in the places of the decisions.
        layout: what there is to choose.
        switchboard: the one that its mixed operations read.
    """

    def __init__(self, network: nn.Module, layout: Layout, switchboard: Switchboard) -> None:
        super().__init__()
        self.network = network
        self.layout = layout
        self._switchboard = switchboard

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What is left to choose, in a fixed order."""
        return self.layout.decisions

    def forward(self, images: Tensor, gates: Gates) -> Tensor:
        """Images (n, C, h, w) -> logits (n, K), with the decisions standing as ``gates`` says."""
        self._switchboard.gates = gates
        try:
            return self.network(images)
        finally:
            self._switchboard.gates = {}

    def loss(self, images: Tensor, labels: Tensor, gates: Gates) -> Tensor:
        """Mean cross-entropy of a batch, a scalar."""
        return functional.cross_entropy(self(images, gates), labels)

    def path_gates(self, sample: Mapping[str, Any]) -> dict[str, Gate]:
        """Gates that run the architecture ``sample`` and nothing else."""
        return {key: Gate(active=(index,)) for key, index in self.layout.path(sample).items()}


def use_batch_statistics(module: nn.Module) -> nn.Module:
    """Makes every BatchNorm of ``module`` normalise with the batch at hand, in training and evaluation; returns it.

    Running statistics mix those of all paths and mixtures that passed through, and fit none of them.
    """
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.track_running_stats = False
            part.running_mean = part.running_var = part.num_batches_tracked = None
    return module


@torch.no_grad()
def transfer_weights(source: nn.Module, target: nn.Module) -> None:
    """Copies the weights of ``source`` into those of ``target`` with the same name, as far as their shapes overlap.

    What ``target`` has beyond (more channels an operation sees, say) keeps its own initial weights.
    """
    known = dict(source.state_dict())
    for name, tensor in target.state_dict().items():
        if name in known and known[name].ndim == tensor.ndim:
            overlap = tuple(slice(min(a, b)) for a, b in zip(known[name].shape, tensor.shape, strict=True))
            tensor[overlap] = known[name][overlap]
