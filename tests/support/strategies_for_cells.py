"""Hypothesis strategies for edges, cells, genotypes and legal patterns."""

from __future__ import annotations

from hypothesis import strategies as st

from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES, Cell, Edge, Genotype, source_pairs
from nni_privacy.cells.nasbench201 import NASBENCH201_EDGES, NASBENCH201_OPERATIONS, NasBench201Genotype
from nni_privacy.patterns import OBJECTIVES, CellPattern

operations = st.sampled_from(DARTS_OPERATIONS)


@st.composite
def cells(draw: st.DrawFn, nodes: int = 4) -> Cell:
    """Any legal cell with ``nodes`` intermediate nodes."""
    edges = []
    for target in range(INPUT_NODES, INPUT_NODES + nodes):
        edges += [Edge(source, target, draw(operations)) for source in draw(st.sampled_from(source_pairs(target)))]
    return Cell(tuple(draw(st.permutations(edges))))


@st.composite
def genotypes(draw: st.DrawFn, nodes: st.SearchStrategy[int] | int = 4) -> Genotype:
    """Any legal genotype."""
    count = nodes if isinstance(nodes, int) else draw(nodes)
    return Genotype(draw(cells(count)), draw(cells(count)))


@st.composite
def patterns(draw: st.DrawFn, nodes: int = 4) -> CellPattern:
    """Any legal pattern: up to two edges into each node, from different sources, in any order."""
    edges: list[Edge] = []
    for target in range(INPUT_NODES, INPUT_NODES + nodes):
        sources = draw(st.lists(st.integers(0, target - 1), unique=True, max_size=2))
        edges += [Edge(source, target, draw(operations)) for source in sources]
    if not edges:
        edges = [Edge(0, INPUT_NODES, draw(operations))]
    return CellPattern(
        name="random",
        cell=draw(st.sampled_from(CELL_TYPES)),
        objective=draw(st.sampled_from(OBJECTIVES)),
        edges=tuple(draw(st.permutations(edges))),
    )


@st.composite
def nasbench201_genotypes(draw: st.DrawFn) -> NasBench201Genotype:
    """Any genotype of NAS-Bench-201, its edges in any order."""
    edges = [Edge(*pair, draw(st.sampled_from(NASBENCH201_OPERATIONS))) for pair in NASBENCH201_EDGES]
    return NasBench201Genotype(tuple(draw(st.permutations(edges))))
