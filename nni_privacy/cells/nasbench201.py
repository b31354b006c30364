"""The one searched cell of NAS-Bench-201 (Dong & Yang, ICLR 2020) as a plain immutable value. No torch, no NNI.

Nodes 0 to 3 are joined by all six edges (i, j) with i < j. Node 0 is the cell's input, node 3 its output, and every
node but the first adds up its in-edges. Only the operations are searched; ``none`` is one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nni_privacy.cells.darts import Edge
from nni_privacy.cells.literals import quoted
from nni_privacy.errors import GenotypeError, nearest

__all__ = ["NASBENCH201_CELL", "NASBENCH201_EDGES", "NASBENCH201_FORM", "NASBENCH201_NODES"]
__all__ += ["NASBENCH201_OPERATIONS", "NNI_NAMES", "NasBench201Genotype", "edge_label", "random_cells"]

NASBENCH201_OPERATIONS: tuple[str, ...] = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The five operations that an edge may carry, under the names of the benchmark's papers."""

NASBENCH201_NODES = 4
"""Nodes of the cell, its input and its output among them."""

NASBENCH201_EDGES: tuple[tuple[int, int], ...] = tuple(
    (source, target) for target in range(1, NASBENCH201_NODES) for source in range(target)
)
"""(source, target) of all edges in canonical order: by target, then source."""

NASBENCH201_CELL = "cell"
"""What the one searched cell is called where cells have names."""

NNI_NAMES: Mapping[str, str] = {"conv_1x1": "nor_conv_1x1", "conv_3x3": "nor_conv_3x3"}
"""NNI's names of operations to the benchmark's."""
NASBENCH201_FORM = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"


def edge_label(source: int, target: int) -> str:
    """The label under which a sample stores the operation of an edge.

    >>> edge_label(0, 2)
    'edge_0_2'
    """
    return f"edge_{source}_{target}"


@dataclass(frozen=True)
class NasBench201Genotype:
    """An architecture of NAS-Bench-201: one operation on each of the six edges.

    ``str(genotype)`` and :meth:`parse` convert to and from the text ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`` of the
    benchmark. Edges are kept in canonical order (by target, then source), however they were given.

    Args:
        edges: one edge for each pair of nodes, in any order.

    Raises:
        GenotypeError: if an edge is missing, given twice or not of the cell, or its operation is unknown.
    """

    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        edges = tuple(sorted(self.edges, key=lambda edge: (edge.target, edge.source, edge.op)))
        object.__setattr__(self, "edges", edges)
        for edge in edges:
            if (edge.source, edge.target) not in NASBENCH201_EDGES:
                raise GenotypeError(f"edge {edge}: the nodes of a NAS-Bench-201 cell are 0 to {NASBENCH201_NODES - 1}")
            if edge.op not in NASBENCH201_OPERATIONS:
                known = nearest(edge.op, NASBENCH201_OPERATIONS)
                raise GenotypeError(f"edge {edge}: operation {edge.op!r} is unknown in NAS-Bench-201; {known}")
        given = [(edge.source, edge.target) for edge in edges]
        for source, target in NASBENCH201_EDGES:
            count = given.count((source, target))
            if count != 1:
                raise GenotypeError(
                    f"{count} edges from node {source} to node {target}; a NAS-Bench-201 cell has exactly one"
                )

    def into(self, target: int) -> tuple[Edge, ...]:
        """The in-edges of node ``target``, ordered by source."""
        return tuple(edge for edge in self.edges if edge.target == target)

    def with_operation(self, source: int, target: int, op: str) -> NasBench201Genotype:
        """This genotype with ``op`` on the edge from ``source`` to ``target``."""
        kept = (edge for edge in self.edges if (edge.source, edge.target) != (source, target))
        return NasBench201Genotype((*kept, Edge(source, target, op)))

    def edges_by_cell(self) -> dict[str, tuple[Edge, ...]]:
        """Name of the cell to its edges: there is one searched cell, ``cell``."""
        return {NASBENCH201_CELL: self.edges}

    def __iter__(self) -> Iterator[Edge]:
        return iter(self.edges)

    def __str__(self) -> str:
        nodes = ("".join(f"|{edge.op}~{edge.source}" for edge in self.into(n)) for n in range(1, NASBENCH201_NODES))
        return "+".join(f"{node}|" for node in nodes)

    @classmethod
    def parse(cls, text: str) -> NasBench201Genotype:
        """Reads the benchmark's text, ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...~0|...~1|...~2|``.

        NNI's names ``conv_1x1`` and ``conv_3x3`` are understood too.

        Raises:
            GenotypeError: if the text is not of this form, or describes no legal genotype.
        """
        edges: list[Edge] = []
        for target, node in enumerate("".join(text.split()).split("+"), start=1):
            if len(node) < 2 or node[0] != "|" or node[-1] != "|":
                raise GenotypeError(f"not of the form {NASBENCH201_FORM}: {quoted(text)}")
            for part in node[1:-1].split("|"):
                op, tilde, source = part.partition("~")
                if not tilde or not (source.isascii() and source.isdigit() and len(source) == 1):
                    raise GenotypeError(f"{quoted(part)} is not operation~source, in {quoted(text)}")
                edges.append(Edge(int(source), target, NNI_NAMES.get(op, op)))
        return cls(tuple(edges))

    @classmethod
    def from_sample(cls, sample: Mapping[str, Any]) -> NasBench201Genotype:
        """From a sample of :class:`nni_privacy.search_spaces.NasBench201`, label of the edge to operation.

        Further keys are ignored, so that a sample which also chooses hyper-parameters of the evaluator is welcome.

        Raises:
            GenotypeError: if an edge is missing or its operation is unknown.
        """
        labels = {edge_label(*pair): pair for pair in NASBENCH201_EDGES}
        missing = [label for label in labels if label not in sample]
        if missing:
            raise GenotypeError(f"sample without {missing[0]!r}; it has {', '.join(map(str, sample)) or 'no keys'}")
        return cls(tuple(Edge(*pair, sample[label]) for label, pair in labels.items()))

    def to_sample(self) -> dict[str, str]:
        """The sample of :class:`nni_privacy.search_spaces.NasBench201` that stands for this genotype."""
        return {edge_label(edge.source, edge.target): edge.op for edge in self.edges}


def random_cells(count: int, seed: int) -> list[NasBench201Genotype]:
    """Random architectures whose input reaches their output; more of them with the same seed begin with the same."""
    generator = np.random.default_rng(seed)
    found: list[NasBench201Genotype] = []
    while len(found) < count:
        drawn = generator.integers(0, len(NASBENCH201_OPERATIONS), len(NASBENCH201_EDGES))
        pairs = zip(NASBENCH201_EDGES, drawn, strict=True)
        genotype = NasBench201Genotype(tuple(Edge(*pair, NASBENCH201_OPERATIONS[number]) for pair, number in pairs))
        reached = {0}
        for edge in genotype:
            if edge.op != "none" and edge.source in reached:
                reached.add(edge.target)
        if NASBENCH201_NODES - 1 in reached:  # else the network guesses, whatever it is trained on
            found.append(genotype)
    return found
