"""Operation Importance, Algorithm 1 and coded modification against independent, literal definitions."""

from __future__ import annotations

from statistics import fmean, median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_for_cells import genotypes, patterns

from nni_privacy import Genotype
from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, Cell, Edge
from nni_privacy.patterns import CellPattern
from nni_privacy.patterns.apply import apply_edges
from nni_privacy.patterns.importance import (
    assemble_pattern,
    edge_from_id,
    edge_ids,
    edge_means,
    neighbours,
    operation_importance,
    order_edges,
)


def score(genotype: Genotype) -> float:
    """Some number that depends on every edge, and on pairs of them."""
    total = 0.0
    for weight, cell in zip((1.0, 1.7), (genotype.normal, genotype.reduction), strict=True):
        values = [
            np.sin(1 + 3 * edge.source + 5 * edge.target + 7 * DARTS_OPERATIONS.index(edge.op)) for edge in cell.edges
        ]
        total += weight * (sum(values) + values[0] * values[-1])
    return float(total)


def predict(codes: GenotypeCodes) -> np.ndarray:
    assert codes.unique()[0].sources.shape == codes.sources.shape, "a genotype is predicted twice"
    return np.array([score(genotype) for genotype in codes.to_genotypes()])


def literal_neighbours(genotype: Genotype, cell_type: str, edge: Edge) -> list[Genotype]:
    cell = genotype.cell(cell_type)
    (other,) = (entry for entry in cell.into(edge.target) if entry != edge)
    changed = [Edge(edge.source, edge.target, op) for op in DARTS_OPERATIONS if op != edge.op]
    changed += [
        Edge(source, edge.target, edge.op) for source in range(edge.target) if source not in (edge.source, other.source)
    ]
    rest = [entry for entry in cell.edges if entry != edge]
    return [genotype.with_cell(cell_type, Cell((*rest, new))) for new in changed]


@settings(max_examples=15, deadline=None)
@given(st.lists(genotypes(), min_size=1, max_size=3))
def test_importance_is_its_definition(architectures: list[Genotype]) -> None:
    codes = GenotypeCodes.from_genotypes(architectures)
    table = operation_importance(codes, predict)
    for row, genotype in enumerate(architectures):
        for kind, cell_type in enumerate(CELL_TYPES):
            for position, edge in enumerate(genotype.cell(cell_type).edges):
                near = literal_neighbours(genotype, cell_type, edge)
                place = (row, kind, *divmod(position, 2))
                expected = fmean(map(score, near)) - score(genotype)
                assert table.importance[place] == pytest.approx(expected, abs=1e-9)
                assert table.median_contrast[place] == pytest.approx(
                    median(map(score, near)) - score(genotype), abs=1e-9
                )


@given(genotypes())
def test_an_architecture_has_120_different_neighbours(genotype: Genotype) -> None:
    found = [near for _, block in neighbours(GenotypeCodes.from_genotypes([genotype])) for near in block.to_genotypes()]
    assert len(found) == len({*found, genotype}) - 1 == 120


@given(genotypes(), st.one_of(patterns()))
def test_coded_modification_is_modification(genotype: Genotype, pattern: CellPattern) -> None:
    changed = apply_edges(GenotypeCodes.from_genotypes([genotype]), pattern.cell, pattern.edges)
    assert changed.to_genotypes() == [pattern.apply(genotype)]


@given(st.lists(genotypes(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_edge_means_are_means_over_the_architectures_that_contain_the_edge(architectures, random) -> None:
    codes = GenotypeCodes.from_genotypes(architectures)
    values = np.array([[[random.random() for _ in range(2)] for _ in range(4)] for _ in architectures])
    means = edge_means(edge_ids(codes, "normal"), values, nodes=4)
    expected: dict[Edge, list[float]] = {}
    for genotype, row in zip(architectures, values, strict=True):
        for edge, value in zip(genotype.normal.edges, row.ravel(), strict=True):
            expected.setdefault(edge, []).append(value)
    numbers = {edge_from_id(int(number), 4): number for number in np.flatnonzero(means.support)}
    assert numbers.keys() == expected.keys()
    for edge, found in expected.items():
        number = numbers[edge]
        assert means.support[number] == len(found) and means.mean[number] == pytest.approx(fmean(found))
    assert means.support.sum() == 8 * len(architectures)


def literal_algorithm_1(ordered: list[Edge], limit: int) -> list[Edge]:
    """The paper's pseudo-code, line by line."""
    if not ordered:
        return []
    pattern: list[Edge] = []
    vertices = [ordered[0].source]
    i = 0
    while i < len(ordered) and len(pattern) < limit:
        u, v = ordered[i].source, ordered[i].target
        connected = u in vertices or v in vertices
        new = all((edge.source, edge.target) != (u, v) for edge in pattern)
        room = sum(edge.target == v for edge in pattern) < 2
        if connected and new and room:
            pattern.append(ordered[i])
            vertices += [u, v]
            i = 0
        else:
            i += 1
    return pattern


ALL_EDGES = [Edge(u, v, op) for v in range(2, 6) for u in range(v) for op in DARTS_OPERATIONS]
VALUES = st.dictionaries(st.sampled_from(ALL_EDGES), st.sampled_from([k / 8 for k in range(-16, 17)]), max_size=40)


@given(VALUES, st.sampled_from(["demotion", "promotion"]), st.integers(1, 8))
def test_algorithm_1_is_the_papers(importance: dict[Edge, float], objective: str, limit: int) -> None:
    ordered = order_edges(importance, objective)
    sign = 1 if objective == "demotion" else -1
    assert set(ordered) == {edge for edge, value in importance.items() if sign * value > 0}
    strengths = [sign * importance[edge] for edge in ordered]
    assert strengths == sorted(strengths, reverse=True)
    found = assemble_pattern(ordered, max_edges=limit)
    assert list(found) == literal_algorithm_1(ordered, limit)

    CellPattern("p", "normal", objective, found)  # legal: its constructor checks
    nodes = {found[0].source} if found else set()
    for edge in found:  # connected, in the order in which it grew
        assert {edge.source, edge.target} & nodes
        nodes |= {edge.source, edge.target}
