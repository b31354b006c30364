"""Where the nodes, edges and labels of a cell go on paper, as plain values; see also ``cell``, which draws.

The layout is a layered one (Sugiyama et al., 1981) in which every edge owns a slot in every column that it passes, and
its label a whole one. So labels overlap neither each other, nor nodes, nor other edges, by construction.

Columns alternate: even ones hold the nodes of one rank (the longest way from an input), odd ones the labels of edges.
Lengths are inches; y grows upwards.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from operator import itemgetter
from statistics import fmean
from typing import Literal

from nni_privacy.cells.darts import INPUT_NODES, Cell, Edge
from nni_privacy.cells.genotypes import AnyCell
from nni_privacy.cells.operations import NO_CONNECTION, OPERATION_KINDS, OperationKind, is_skip

__all__ = ["LABEL_HEIGHT", "LABEL_WIDTH", "NODE_HEIGHT", "NODE_WIDTH", "CellDrawing", "DrawnEdge", "DrawnNode"]
__all__ += ["cell_graph", "draw_info", "operation_label"]

Point = tuple[float, float]

NODE_WIDTH, NODE_HEIGHT = 0.56, 0.34
LABEL_WIDTH, LABEL_HEIGHT = 1.18, 0.20
THIN = 0.08
"""Height of the slot in which an edge without a label passes a column."""
PADDING = 0.07
"""Between neighbours in a column."""
GAP = 0.42
"""Between columns, where edges bend and cross."""
SWEEPS = 24


Role = Literal["input", "intermediate", "output"]


@dataclass(frozen=True)
class CellGraph:
    """What there is to draw of a cell, whichever space it is of.

    Attributes:
        labels: of the nodes, in the order of their numbers; the last node is the output.
        roles: of the nodes.
        edges: each with its operation; those of ``none`` keep their room in a drawing and are not drawn.
        concatenated: the nodes that the output concatenates; none where it adds up in-edges as every other node.
    """

    labels: tuple[str, ...]
    roles: tuple[Role, ...]
    edges: tuple[Edge, ...]
    concatenated: tuple[int, ...] = ()


def cell_graph(cell: AnyCell) -> CellGraph:
    """The graph of a cell."""
    last = max(edge.target for edge in cell.edges)
    inputs, nodes = (INPUT_NODES, cell.nodes) if isinstance(cell, Cell) else (1, last - 1)
    between = tuple(range(inputs, inputs + nodes))
    first: Role = "input"
    middle: Role = "intermediate"
    roles = (*[first] * inputs, *[middle] * nodes, "output")
    if isinstance(cell, Cell):
        names = (f"c_{{k-{inputs - node}}}" for node in range(inputs))
        return CellGraph((*names, *map(str, between), "c_{k}"), roles, cell.edges, between)
    return CellGraph(tuple(map(str, range(last + 1))), roles, cell.edges)


@dataclass(frozen=True)
class DrawnNode:
    """A node: its label and the centre of its box (``NODE_WIDTH`` x ``NODE_HEIGHT``)."""

    label: str
    x: float
    y: float
    role: Role


@dataclass(frozen=True)
class DrawnEdge:
    """An edge: the points it runs through, and the centre of its label's box (``LABEL_WIDTH`` x ``LABEL_HEIGHT``)."""

    edge: Edge
    kind: OperationKind
    label: str
    fixed: bool
    path: tuple[Point, ...]
    label_x: float
    label_y: float


@dataclass(frozen=True)
class CellDrawing:
    """A cell, laid out.

    Attributes:
        name: of the cell: normal, reduction, or cell in NAS-Bench-201.
        nodes: by index, the output last.
        edges: in the cell's order, those of ``none`` left out.
        outputs: paths from each node that the output concatenates to it.
        width: of the drawing; x lies between 0 and it.
        height: of the drawing; y lies between 0 and it.
    """

    name: str
    nodes: tuple[DrawnNode, ...]
    edges: tuple[DrawnEdge, ...]
    outputs: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def operation_label(op: str) -> str:
    """``op`` as it stands on an edge.

    >>> operation_label("dil_conv_5x5")
    'dil conv 5×5'
    """
    if is_skip(op):
        return "skip"
    *words, last = op.split("_")
    return " ".join([*words, last.replace("x", "×") if last[:1].isdigit() else last])


@dataclass(eq=False)
class _Slot:
    """A place in a column: a node, a label, or an edge that passes. ``links`` are its neighbours, by side."""

    column: int
    height: float
    width: float
    y: float = 0.0
    left: list[_Slot] = field(default_factory=list)
    right: list[_Slot] = field(default_factory=list)


def draw_info(cell: AnyCell, name: str, fixed: Collection[Edge] = ()) -> CellDrawing:
    """Lays a cell out.

    Args:
        cell: with any number of intermediate nodes; made for 2 to 6.
        name: of the cell: normal, reduction, or cell in NAS-Bench-201.
        fixed: the edges that a pattern fixed; those that the cell does not have are ignored.
    """
    graph = cell_graph(cell)
    ranks = _ranks(graph)
    output = len(ranks) - 1
    nodes = [_Slot(2 * rank, NODE_HEIGHT, NODE_WIDTH) for rank in ranks]
    label_columns = _label_columns(graph, ranks)
    chains = [_chain(nodes[edge.source], nodes[edge.target], label_columns.get(edge)) for edge in graph.edges]
    tails = [_chain(nodes[node], nodes[output], None) for node in graph.concatenated]
    columns: list[list[_Slot]] = [[] for _ in range(nodes[output].column + 1)]
    for slot in nodes + [slot for chain in chains + tails for slot in chain[1:-1]]:
        columns[slot.column].append(slot)
    _order(columns)
    _place(columns)
    widths = [max(slot.width for slot in column) for column in columns]
    lefts = accumulate((width + GAP for width in widths), initial=0.0)
    centres = [left + width / 2 for left, width in zip(lefts, widths, strict=False)]
    return CellDrawing(
        name=name,
        nodes=tuple(
            DrawnNode(label, centres[slot.column], slot.y, role)
            for label, slot, role in zip(graph.labels, nodes, graph.roles, strict=True)
        ),
        edges=tuple(
            _drawn_edge(edge, _path(chain, centres, widths), chain, edge in fixed, label_columns[edge])
            for edge, chain in zip(graph.edges, chains, strict=True)
            if edge in label_columns
        ),
        outputs=tuple(_path(chain, centres, widths) for chain in tails),
        width=centres[-1] + widths[-1] / 2,
        height=max(slot.y + slot.height / 2 for column in columns for slot in column),
    )


def _ranks(graph: CellGraph) -> list[int]:
    """The longest way from an input to each node; the output stands further than all that it concatenates."""
    ranks: list[int] = []
    for node, role in enumerate(graph.roles):
        sources = [edge.source for edge in graph.edges if edge.target == node]
        if role == "output":
            sources += graph.concatenated
        ranks.append(1 + max(ranks[source] for source in sources) if sources else 0)
    return ranks


def _label_columns(graph: CellGraph, ranks: Sequence[int]) -> dict[Edge, int]:
    """The odd column of each drawn edge's label: the emptiest of those it passes, short edges choosing first."""
    load: dict[int, int] = {}
    chosen: dict[Edge, int] = {}
    drawn = (edge for edge in graph.edges if edge.op != NO_CONNECTION)
    for edge in sorted(drawn, key=lambda edge: ranks[edge.target] - ranks[edge.source]):
        passed = range(2 * ranks[edge.source] + 1, 2 * ranks[edge.target], 2)
        column = min(passed, key=lambda column: (load.get(column, 0), column))
        load[column] = load.get(column, 0) + 1
        chosen[edge] = column
    return chosen


def _chain(source: _Slot, target: _Slot, label_column: int | None) -> list[_Slot]:
    """The slots of an edge from node to node, linked to each other."""
    between = range(source.column + 1, target.column)
    sizes = ((LABEL_HEIGHT, LABEL_WIDTH) if column == label_column else (THIN, 0.0) for column in between)
    chain = [source, *(_Slot(column, *size) for column, size in zip(between, sizes, strict=True)), target]
    for left, right in pairwise(chain):
        left.right.append(right)
        right.left.append(left)
    return chain


def _order(columns: list[list[_Slot]]) -> None:
    """Orders every column so that few edges cross: barycentre sweeps, then swaps of neighbours; the best order wins."""
    best, fewest = [list(column) for column in columns], _crossings(columns)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        for column in columns[1:] if forward else columns[-2::-1]:
            near = columns[column[0].column + (-1 if forward else 1)]
            position = {slot: index for index, slot in enumerate(near)}
            links = [slot.left if forward else slot.right for slot in column]
            means = [fmean(position[n] for n in ends) if ends else index for index, ends in enumerate(links)]
            column[:] = [slot for _, slot in sorted(zip(means, column, strict=True), key=itemgetter(0))]
        _swap_neighbours(columns)
        crossings = _crossings(columns)
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    columns[:] = best


def _swap_neighbours(columns: list[list[_Slot]]) -> None:
    for index, column in enumerate(columns):
        for upper in range(len(column) - 1):
            near = columns[max(index - 1, 0) : index + 2]
            before = _crossings(near)
            column[upper], column[upper + 1] = column[upper + 1], column[upper]
            if _crossings(near) >= before:
                column[upper], column[upper + 1] = column[upper + 1], column[upper]


def _crossings(columns: Sequence[Sequence[_Slot]]) -> int:
    total = 0
    for near, far in pairwise(columns):
        position = {slot: index for index, slot in enumerate(far)}
        ends = [sorted(position[slot] for slot in start.right) for start in near]
        flat: list[int] = []
        for group in ends:
            total += sum(earlier > end for end in group for earlier in flat)
            flat += group
    return total


def _place(columns: Sequence[Sequence[_Slot]]) -> None:
    """Heights: every slot as near to its neighbours' mean as order and distances allow; a column starts on top."""
    for column in columns:
        _settle(column, [0.0] * len(column))
    for sweep in range(SWEEPS):
        for column in columns if sweep % 2 == 0 else columns[::-1]:
            _settle(column, [fmean(n.y for n in slot.left + slot.right) for slot in column])
    ceiling = max(slot.y + slot.height / 2 for column in columns for slot in column)
    for column in columns:
        for slot in column:
            slot.y = ceiling - slot.y


def _settle(column: Sequence[_Slot], wanted: Sequence[float]) -> None:
    """Least-squares placement in the column's order: isotonic regression of the heights less the distances."""
    offsets = [0.0]
    for lower, upper in pairwise(column):
        offsets.append(offsets[-1] + (lower.height + upper.height) / 2 + PADDING)
    blocks: list[tuple[float, int]] = []
    for value, offset in zip(wanted, offsets, strict=True):
        mean, count = value - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, size = blocks.pop()
            mean, count = (mean * count + other * size) / (count + size), count + size
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    for slot, mean, offset in zip(column, means, offsets, strict=True):
        slot.y = mean + offset


def _path(chain: Sequence[_Slot], centres: Sequence[float], widths: Sequence[float]) -> tuple[Point, ...]:
    """From the right side of the source through both sides of each slot's column to the left side of the target."""
    points: list[Point] = []
    for slot in chain:
        x, half = centres[slot.column], widths[slot.column] / 2
        points += [(x - half, slot.y), (x + half, slot.y)]
    return tuple(points[1:-1])


def _drawn_edge(edge: Edge, path: tuple[Point, ...], chain: Sequence[_Slot], fixed: bool, column: int) -> DrawnEdge:
    """The label stands in the middle of its column, whose two sides are points 2i - 1 and 2i of the path."""
    place = column - chain[0].column
    (left, y), (right, _) = path[2 * place - 1 : 2 * place + 1]
    return DrawnEdge(edge, OPERATION_KINDS[edge.op], operation_label(edge.op), fixed, path, (left + right) / 2, y)
