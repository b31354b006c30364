"""The DARTS space as a supernet: every edge of every cell with all its candidate operations, fixed edges aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, cat, nn

from nni_privacy.cells.darts import (
    CELL_TYPES,
    DARTS_OPERATIONS,
    INPUT_NODES,
    CellType,
    Edge,
    Genotype,
    format_sources,
    node_labels,
)
from nni_privacy.cells.operations import is_skip
from nni_privacy.search_spaces.constraints import FixedEdges
from nni_privacy.search_spaces.network import CellShape, CellSkeleton, input_layers
from nni_privacy.search_spaces.operations import build_operation
from nni_privacy.search_spaces.supernet import (
    NONE,
    Decision,
    Layout,
    MixedOperation,
    Sample,
    Supernet,
    Switchboard,
    run_edges,
    use_batch_statistics,
)

__all__ = ["CellLayout", "MixedCell", "build_darts_supernet", "fixed_edges_of"]

CANDIDATES = (NONE, *DARTS_OPERATIONS)
"""DARTS searches with ``none`` among the operations of an edge; no finished architecture contains it."""


def fixed_edges_of(choices: Mapping[str, Sequence[Any]], nodes: int) -> FixedEdges:
    """The edges that a constrained space leaves no choice of: what :meth:`DARTS.constrain` narrowed it to.

    Args:
        choices: label to the values that are left.
        nodes: intermediate nodes a cell.
    """
    fixed: dict[str, tuple[Edge, ...]] = {}
    for cell_type in CELL_TYPES:
        edges: list[Edge] = []
        for target in range(INPUT_NODES, INPUT_NODES + nodes):
            labels = node_labels(cell_type, target)
            pairs = [tuple(int(part) for part in str(pair).split("+")) for pair in choices[labels.sources]]
            for position, label in enumerate((labels.first_op, labels.second_op)):
                sources, operations = {pair[position] for pair in pairs}, choices[label]
                if len(sources) == len(operations) == 1:
                    edges.append(Edge(sources.pop(), target, operations[0]))
        fixed[cell_type] = tuple(edges)
    return FixedEdges(fixed)


def decision_key(cell_type: CellType, source: int, target: int) -> str:
    """The key of an edge's decision, shared by all cells of the type."""
    return f"{cell_type}_{source}_{target}"


class CellLayout(Layout):
    """What DARTS cells are in terms of decisions: one an edge that may be there, two edges into every node.

    Args:
        choices: label to the values that the (constrained) space leaves.
        nodes: intermediate nodes a cell.
        candidates: for some decisions, what of the candidates is left; all others have the full list.
    """

    def __init__(
        self, choices: Mapping[str, Sequence[Any]], *, nodes: int, candidates: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.nodes = nodes
        self.choices = {label: tuple(values) for label, values in choices.items()}
        self.fixed = fixed_edges_of(choices, nodes)
        self.free: dict[tuple[CellType, int], list[Decision]] = {}
        for cell_type in CELL_TYPES:
            taken = self.fixed.by_target(cell_type)
            for target in range(INPUT_NODES, INPUT_NODES + nodes):
                known = {edge.source for edge in taken.get(target, ())}
                keys = [decision_key(cell_type, source, target) for source in range(target) if source not in known]
                self.free[cell_type, target] = [
                    Decision(key, tuple((candidates or {}).get(key, CANDIDATES))) for key in keys if len(known) < 2
                ]
        self.decisions = tuple(decision for group in self.free.values() for decision in group)
        self.rivals = tuple(tuple(decision.key for decision in group) for group in self.free.values() if group)

    def path(self, sample: Mapping[str, Any]) -> dict[str, int]:
        """Index of the operation of every free edge of the sample's cells."""
        genotype = Genotype.from_sample(sample, nodes=self.nodes)
        used: dict[str, int] = {}
        for (cell_type, target), group in self.free.items():
            candidates = {decision.key: decision.candidates for decision in group}
            for edge in genotype.cell(cell_type).into(target):
                key = decision_key(cell_type, edge.source, target)
                if key in candidates:
                    used[key] = candidates[key].index(edge.op)
        return used

    def export(self, scores: Mapping[str, Tensor]) -> Sample:
        """Per node the edges whose best operation other than ``none`` scores highest, as many as are free there."""
        sample: Sample = {}
        for (cell_type, target), group in self.free.items():
            fixed = self.fixed.by_target(cell_type).get(target, [])
            best = []  # score, source and operation of each edge's best candidate other than ``none``
            for decision in group:
                pairs = zip(scores[decision.key].tolist(), decision.candidates, strict=True)
                score, op = max(((score, op) for score, op in pairs if op != NONE), key=lambda found: found[0])
                best.append((score, int(decision.key.split("_")[1]), op))
            best.sort(key=lambda found: (-found[0], found[1]))
            chosen = [(source, op) for _, source, op in best[: 2 - len(fixed)]]
            # A sample writes the fixed edge of a node first, and free ones in ascending order.
            (first, op1), (second, op2) = [(edge.source, edge.op) for edge in fixed] + sorted(chosen)
            labels = node_labels(cell_type, target)
            sample[labels.sources] = format_sources(first, second)
            sample[labels.first_op], sample[labels.second_op] = op1, op2
        return sample

    def describe(self, sample: Mapping[str, Any]) -> str:
        """The genotype's text."""
        return str(Genotype.from_sample(sample, nodes=self.nodes))

    def skip_connections(self, sample: Mapping[str, Any]) -> int:
        """Skip connections of both cells, fixed ones included."""
        genotype = Genotype.from_sample(sample, nodes=self.nodes)
        return sum(is_skip(edge.op) for cell_type in CELL_TYPES for edge in genotype.cell(cell_type))


class MixedCell(nn.Module):
    """One cell of the supernet: a mixed operation on every free edge, and on each fixed edge its one operation.

    A node whose two edges are fixed has no other edges; there is nothing to search.

    Args:
        layout: what is fixed and what is free.
        cell_type: which of the two cells this is.
        shape: its place in the network.
        switchboard: of the supernet.
        partial: see :class:`MixedOperation`.
    """

    def __init__(
        self, layout: CellLayout, cell_type: CellType, *, shape: CellShape, switchboard: Switchboard, partial: int = 1
    ) -> None:
        super().__init__()
        self.preprocess0, self.preprocess1 = input_layers(shape, affine=False)
        self.edges = nn.ModuleDict()
        self._into: list[list[tuple[str, int]]] = []

        def build(op: str, channels: int, stride: int) -> nn.Module:
            return build_operation(op, channels, stride=stride, affine=False)

        for target in range(INPUT_NODES, INPUT_NODES + layout.nodes):
            into: list[tuple[str, int]] = []
            for edge in layout.fixed.by_target(cell_type).get(target, []):
                name = f"{edge.source}-{target}-{edge.op}"
                self.edges[name] = build(edge.op, shape.channels, _stride(shape, edge.source))
                into.append((name, edge.source))
            for decision in layout.free[cell_type, target]:
                source = int(decision.key.split("_")[1])
                self.edges[decision.key] = MixedOperation(
                    decision,
                    channels=shape.channels,
                    stride=_stride(shape, source),
                    build=build,
                    switchboard=switchboard,
                    partial=partial,
                )
                into.append((decision.key, source))
            self._into.append(into)
        self.channels, self.reduction = shape.channels, shape.reduction
        self.out_channels = shape.channels * layout.nodes

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        """Outputs of the two cells before -> the output of this one, (n, channels * nodes, h', w')."""
        states = [self.preprocess0(before_last), self.preprocess1(last)]
        run_edges(self.edges, self._into, states, absent=self._zeros)
        return cat(states[INPUT_NODES:], dim=1)

    def _zeros(self, states: list[Tensor]) -> Tensor:
        """What a node without edges holds."""
        if len(states) > INPUT_NODES:
            return torch.zeros_like(states[-1])
        step = 2 if self.reduction else 1
        return torch.zeros_like(states[0][:, :, ::step, ::step])


def _stride(shape: CellShape, source: int) -> int:
    return 2 if shape.reduction and source < INPUT_NODES else 1


def build_darts_supernet(
    choices: Mapping[str, Sequence[Any]],
    *,
    nodes: int = 4,
    partial: int = 1,
    candidates: Mapping[str, Sequence[str]] | None = None,
    **sizes: int,
) -> Supernet:
    """The supernet of a (constrained) DARTS space; BatchNorm without parameters and with batch statistics.

    Args:
        choices: label to the values that are left to choose.
        nodes: intermediate nodes per cell.
        partial: the candidates of an edge see one in so many of its channels.
        candidates: for some decisions, what of the candidates is left.
        **sizes: of :class:`~nni_privacy.search_spaces.network.CellSkeleton`.
    """
    layout, switchboard = CellLayout(choices, nodes=nodes, candidates=candidates), Switchboard()
    network = CellSkeleton(
        lambda shape: MixedCell(
            layout, "reduction" if shape.reduction else "normal", shape=shape, switchboard=switchboard, partial=partial
        ),
        **sizes,
    )
    return Supernet(use_batch_statistics(network), layout, switchboard)
