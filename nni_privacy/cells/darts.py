"""Cells and genotypes: what a cell-based architecture is, as plain immutable values. No torch, no NNI.

A *cell* is a directed acyclic graph. Its nodes are numbered: 0 and 1 are the inputs (the outputs of the cell before
the previous one and of the previous one), 2 to M + 1 the intermediate nodes. Each intermediate node sums two edges
that come from different earlier nodes, and each edge carries one operation. A *genotype* is a pair of cells: the
normal cell, which keeps the resolution, and the reduction cell, which halves it (Liu et al., DARTS, ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from nni_privacy.cells.literals import genotype_fields, shown
from nni_privacy.errors import GenotypeError, nearest

__all__ = ["CELL_TYPES", "DARTS_OPERATIONS", "INPUT_NODES", "Cell", "CellType", "Edge", "Genotype", "NodeLabels"]
__all__ += ["check_darts_edge", "format_sources", "node_labels", "source_pairs"]

CellType = Literal["normal", "reduction"]
CELL_TYPES: tuple[CellType, ...] = ("normal", "reduction")

INPUT_NODES = 2
"""Every cell has two input nodes, 0 (previous but one) and 1 (previous)."""

DARTS_OPERATIONS: tuple[str, ...] = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""The seven operations that an edge of a finished DARTS architecture may carry (``none`` exists during a search
only)."""

_TEXT_FIELDS: Mapping[CellType, str] = {"normal": "normal", "reduction": "reduce"}


@dataclass(frozen=True, order=True)
class Edge:
    """One edge of a cell: ``op`` is applied to node ``source`` and added into node ``target``.

    Raises:
        GenotypeError: if the source is not a node before the target.
    """

    source: int
    target: int
    op: str

    def __post_init__(self) -> None:
        for name in ("source", "target"):
            value = getattr(self, name)
            if type(value) is not int:
                raise GenotypeError(f"{name} of an edge: {shown(value)} is not a whole number")
        if not isinstance(self.op, str):
            raise GenotypeError(f"op of an edge: {shown(self.op)} is not the name of an operation")
        if not 0 <= self.source < self.target:
            raise GenotypeError(f"edge {self}: its source must be a node before its target, and not negative")

    def __str__(self) -> str:
        return f"({self.source}, {self.target}, {self.op})"


def check_darts_edge(edge: Edge) -> None:
    """Raises GenotypeError unless ``edge`` can stand in a cell of the DARTS space."""
    if edge.op not in DARTS_OPERATIONS:
        raise GenotypeError(f"edge {edge}: operation {edge.op!r} is unknown; {nearest(edge.op, DARTS_OPERATIONS)}")
    if edge.target < INPUT_NODES:
        raise GenotypeError(
            f"edge {edge}: node {edge.target} is an input node; edges lead into nodes from {INPUT_NODES} up"
        )


@dataclass(frozen=True)
class Cell:
    """A legal cell: every intermediate node has exactly two in-edges, from different sources.

    Edges are kept in canonical order (by target, then source), so that equal cells compare and hash equal however they
    were written.

    Args:
        edges: ``2 * nodes`` edges in any order.

    Raises:
        GenotypeError: if the edges do not form such a cell.
    """

    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        edges = tuple(sorted(self.edges, key=lambda edge: (edge.target, edge.source, edge.op)))
        object.__setattr__(self, "edges", edges)
        for edge in edges:
            check_darts_edge(edge)
        if not edges:
            raise GenotypeError("a cell needs at least one intermediate node with two in-edges; it has no edges")
        for target in range(INPUT_NODES, edges[-1].target + 1):
            into = self.into(target)
            if len(into) != 2:
                raise GenotypeError(f"node {target} has {len(into)} in-edges; a node has exactly two")
            if into[0].source == into[1].source:
                raise GenotypeError(
                    f"node {target} takes both in-edges from node {into[0].source}; its two sources must differ"
                )

    @property
    def nodes(self) -> int:
        """The number M of intermediate nodes."""
        return self.edges[-1].target - INPUT_NODES + 1

    def into(self, target: int) -> tuple[Edge, ...]:
        """The in-edges of node ``target``, ordered by source."""
        return tuple(edge for edge in self.edges if edge.target == target)

    def replace_node(self, target: int, edges: Iterable[Edge]) -> Cell:
        """This cell with other in-edges for node ``target``."""
        return Cell(tuple(edge for edge in self.edges if edge.target != target) + tuple(edges))

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[str, int]]) -> Cell:
        """From DARTS' flat list of (operation, source): entries 2k and 2k + 1 belong to intermediate node k."""
        return cls(tuple(Edge(source, INPUT_NODES + index // 2, op) for index, (op, source) in enumerate(pairs)))

    def to_pairs(self) -> list[tuple[str, int]]:
        """The flat (operation, source) list of DARTS, in canonical order."""
        return [(edge.op, edge.source) for edge in self.edges]

    def __iter__(self) -> Iterator[Edge]:
        return iter(self.edges)


@dataclass(frozen=True)
class Genotype:
    """An architecture of the DARTS space: its normal and its reduction cell, with equally many intermediate nodes.

    ``str(genotype)`` and :meth:`parse` convert from and to the ``Genotype(normal=[...], ...)`` text that DARTS prints.
    """

    normal: Cell
    reduction: Cell

    def __post_init__(self) -> None:
        if self.normal.nodes != self.reduction.nodes:
            raise GenotypeError(
                f"the normal cell has {self.normal.nodes} intermediate nodes and the reduction cell "
                f"{self.reduction.nodes}; they must be equal"
            )

    @property
    def nodes(self) -> int:
        """The number M of intermediate nodes of either cell."""
        return self.normal.nodes

    def cell(self, cell_type: CellType) -> Cell:
        """The normal or the reduction cell."""
        return self.normal if cell_type == "normal" else self.reduction

    def edges_by_cell(self) -> dict[str, tuple[Edge, ...]]:
        """Name of the cell, ``normal`` or ``reduction``, to its edges."""
        return {cell_type: self.cell(cell_type).edges for cell_type in CELL_TYPES}

    def with_cell(self, cell_type: CellType, cell: Cell) -> Genotype:
        """This genotype with another normal or reduction cell."""
        return replace(self, **{cell_type: cell})

    def __str__(self) -> str:
        concat = list(range(INPUT_NODES, INPUT_NODES + self.nodes))
        return (
            f"Genotype(normal={self.normal.to_pairs()}, normal_concat={concat}, "
            f"reduce={self.reduction.to_pairs()}, reduce_concat={concat})"
        )

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Reads the text that DARTS prints: ``Genotype(normal=[('skip_connect', 0), ...], normal_concat=[...], ...)``.

        A name before the call, what a log adds, line breaks, pairs in lists node by node, ``np.int64(1)`` and ``range``
        are read as well. The text is parsed, never evaluated.

        Raises:
            GenotypeError: if the text is not of this form, or describes no legal genotype.
        """
        return cls.from_fields(genotype_fields(text))

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Genotype:
        """From plain data: ``normal``, ``reduce``, and maybe ``normal_concat`` and ``reduce_concat``.

        Raises:
            GenotypeError: if it describes no legal genotype.
        """
        cells: dict[str, Cell] = {}
        for cell_type, name in _TEXT_FIELDS.items():
            if name not in fields:
                raise GenotypeError(f"genotype without {name!r}; it has {', '.join(map(repr, fields)) or 'no fields'}")
            try:
                cells[cell_type] = Cell.from_pairs(_pairs(fields[name]))
            except GenotypeError as error:
                raise GenotypeError(f"{name}: {error}") from None
            concat = fields.get(f"{name}_concat")
            wanted = list(range(INPUT_NODES, INPUT_NODES + cells[cell_type].nodes))
            if concat is not None and (
                not isinstance(concat, list | tuple | range) or sorted(map(str, concat)) != sorted(map(str, wanted))
            ):
                raise GenotypeError(
                    f"{name}_concat: {shown(concat)} is not supported; all intermediate nodes are concatenated: "
                    f"{wanted}"
                )
        return cls(**cells)

    @classmethod
    def from_sample(cls, sample: Mapping[str, Any], *, nodes: int | None = None) -> Genotype:
        """From a sample of :class:`nni_privacy.search_spaces.DARTS`, a mapping of :func:`node_labels` to choices.

        Further keys are ignored, so that a sample which also chooses hyper-parameters of the evaluator is welcome.
        """
        if nodes is None:
            nodes = 0
            while node_labels("normal", INPUT_NODES + nodes).sources in sample:
                nodes += 1
        return cls(*(Cell(tuple(_edges_from_sample(sample, cell_type, nodes))) for cell_type in CELL_TYPES))

    def to_sample(self) -> dict[str, str]:
        """The sample of :class:`nni_privacy.search_spaces.DARTS` that stands for this genotype."""
        sample: dict[str, str] = {}
        for cell_type in CELL_TYPES:
            for target in range(INPUT_NODES, INPUT_NODES + self.nodes):
                labels = node_labels(cell_type, target)
                first, second = self.cell(cell_type).into(target)
                sample[labels.sources] = format_sources(first.source, second.source)
                sample[labels.first_op], sample[labels.second_op] = first.op, second.op
        return sample


@dataclass(frozen=True)
class NodeLabels:
    """The three labels under which a sample stores one intermediate node."""

    sources: str
    first_op: str
    second_op: str


def node_labels(cell_type: CellType, target: int) -> NodeLabels:
    """Labels of node ``target``: the pair of its sources, the operation on the first of them and on the second.

    One choice over *pairs* makes a repeated source impossible by construction. The labels hold no ``/``, which NNI's
    web UI and constructors do not take.
    """
    prefix = f"{cell_type}_{target}"
    return NodeLabels(f"{prefix}_sources", f"{prefix}_op1", f"{prefix}_op2")


def source_pairs(target: int) -> list[tuple[int, int]]:
    """All pairs of different sources that node ``target`` can have, lower source first."""
    return list(combinations(range(target), 2))


def format_sources(first: int, second: int) -> str:
    """How a pair of sources is written in a sample: ``"0+3"``; the order says which operation is whose."""
    return f"{first}+{second}"


def _edges_from_sample(sample: Mapping[str, Any], cell_type: CellType, nodes: int) -> Iterator[Edge]:
    for target in range(INPUT_NODES, INPUT_NODES + nodes):
        labels = node_labels(cell_type, target)
        missing = [label for label in (labels.sources, labels.first_op, labels.second_op) if label not in sample]
        if missing:
            raise GenotypeError(f"sample without {missing[0]!r}; it has {', '.join(map(str, sample)) or 'no keys'}")
        try:
            first, second = (int(part) for part in str(sample[labels.sources]).split("+"))
        except ValueError:
            raise GenotypeError(
                f"{labels.sources}: {sample[labels.sources]!r} is not a pair of sources such as '0+1'"
            ) from None
        yield Edge(first, target, sample[labels.first_op])
        yield Edge(second, target, sample[labels.second_op])


def _pairs(value: Any) -> list[tuple[str, int]]:
    """The (operation, source) pairs of a cell, which may stand in one list or, as pt.darts has them, node by node."""
    if not isinstance(value, list | tuple) or not value:
        raise GenotypeError(f"expected a list with two (operation, source) pairs a node, found {shown(value)}")
    if all(isinstance(node, list | tuple) and node and isinstance(node[0], list | tuple) for node in value):
        for target, node in enumerate(value, start=INPUT_NODES):
            if len(node) != 2:
                raise GenotypeError(f"node {target} has {len(node)} in-edges; a node has exactly two")
        value = [pair for node in value for pair in node]
    for pair in value:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not _is_pair(*pair):
            raise GenotypeError(f"{shown(pair)} is not a pair (operation, source)")
    if len(value) % 2:
        raise GenotypeError(f"{len(value)} pairs; expected two (operation, source) pairs a node")
    return [(op, source) for op, source in value]


def _is_pair(op: Any, source: Any) -> bool:
    """Whether both are of the right kind, and can stand in a message."""
    named = isinstance(op, str) and len(op) < 100 and op.isprintable()
    return named and type(source) is int and abs(source) < 10**6
