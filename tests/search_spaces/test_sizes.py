"""Every size of the ablations, N cells in {3, 5, 8} and M nodes in {2, 4, 6}: networks, patterns and their controls."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_for_cells import genotypes
from strategies_for_cells import patterns as any_patterns
from torch.nn import functional

from nni_privacy.cells import CELL_TYPES, INPUT_NODES, Cell, Genotype
from nni_privacy.patterns import CellPattern, Pattern, load_pattern
from nni_privacy.patterns.controls import placebo
from nni_privacy.search_spaces import DARTS, CellNetwork
from nni_privacy.search_spaces.network import reduction_positions

CELLS, NODES = (3, 5, 8), (2, 4, 6)
SIZES = list(product(CELLS, NODES))
CHANNELS, CLASSES = 2, 3

shipped_patterns = st.builds(
    lambda family, cells, budget: load_pattern(family, cells=cells).first(budget),
    st.sampled_from(["demotion", "promotion"]),
    st.sampled_from(["normal", "reduction", "dual"]),
    st.integers(1, 5),
)
foreign_patterns = st.sampled_from(NODES).flatmap(any_patterns)
patterns = shipped_patterns | foreign_patterns
architectures = genotypes(nodes=st.sampled_from(NODES))


def learns(genotype: Genotype, cells: int) -> CellNetwork:
    """The network of ``genotype``, after a forward and a backward pass through all of it."""
    torch.manual_seed(0)
    network = CellNetwork(genotype, channels=CHANNELS, cells=cells, in_channels=1, num_classes=CLASSES)
    logits = network(torch.rand(2, 1, 8, 8))
    assert logits.shape == (2, CLASSES)
    functional.cross_entropy(logits, torch.tensor([0, 2])).backward()
    assert torch.isfinite(logits).all()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in network.parameters())
    assert network.classifier.weight.grad is not None
    return network


@pytest.mark.parametrize(("cells", "nodes"), SIZES)
@settings(max_examples=3)
@given(data=st.data())
def test_networks_of_every_size_are_built_and_learn(cells: int, nodes: int, data: st.DataObject) -> None:
    network = learns(data.draw(genotypes(nodes)), cells)
    first, second = reduction_positions(cells)
    assert 0 < first < second < cells
    widths = [CHANNELS * 2 ** sum(position >= place for place in (first, second)) for position in range(cells)]
    assert network.classifier.in_features == nodes * widths[-1]  # all nodes of the last cell are concatenated


@pytest.mark.parametrize(("cells", "nodes"), SIZES)
@pytest.mark.parametrize("family", ["demotion", "promotion"])
def test_modified_networks_of_every_size_learn(cells: int, nodes: int, family: str) -> None:
    pattern = load_pattern(family, cells="dual").first(5)
    plain = Genotype.from_sample({label: choice.default() for label, choice in DARTS.choices(nodes).items()})
    for changed in (pattern.apply(plain), placebo(plain, pattern, seed=cells)):
        assert changed.nodes == nodes
        learns(changed, cells)


@given(architectures)
def test_texts_and_samples_of_every_size_read_back(genotype: Genotype) -> None:
    assert Genotype.parse(str(genotype)) == genotype
    assert Genotype.from_sample(genotype.to_sample()) == genotype
    assert DARTS(channels=CHANNELS, cells=3, nodes=genotype.nodes).contains(genotype.to_sample())


@given(architectures, patterns)
def test_an_edge_is_written_where_its_nodes_exist_and_else_skipped(genotype: Genotype, pattern: Pattern) -> None:
    changed = pattern.apply(genotype)
    assert changed.nodes == genotype.nodes
    for cell_type in CELL_TYPES:
        before, after = genotype.cell(cell_type), changed.cell(cell_type)
        fits = [edge for edge in pattern.edges_of(cell_type) if edge.target < INPUT_NODES + genotype.nodes]
        assert set(fits) <= set(after)
        for target in range(INPUT_NODES, INPUT_NODES + genotype.nodes):
            written = sum(edge.target == target for edge in fits)
            kept = len(set(before.into(target)) & set(after.into(target)))
            assert kept >= 2 - written  # a node loses at most an edge for each that is written
    assert pattern.apply(changed) == changed


@given(architectures, patterns, st.integers(0, 2**31))
def test_a_placebo_of_every_size_changes_the_same_places(genotype: Genotype, pattern: Pattern, seed: int) -> None:
    changed, control = pattern.apply(genotype), placebo(genotype, pattern, seed=seed)
    assert Genotype.parse(str(control)) == control
    for cell_type in CELL_TYPES:
        assert places(control.cell(cell_type)) == places(changed.cell(cell_type))
        assert not set(pattern.edges_of(cell_type)) & set(control.cell(cell_type))


@settings(max_examples=25)
@given(nodes=st.sampled_from(NODES), pattern=patterns, seed=st.integers(0, 2**32 - 1))
def test_what_a_constrained_space_of_every_size_samples_has_the_edges(nodes: int, pattern: Pattern, seed: int) -> None:
    fixed = DARTS.fixed_edges(pattern)
    choices = DARTS.constrain(DARTS.choices(nodes), fixed)
    assert list(choices) == list(DARTS.choices(nodes))
    state, sample = np.random.RandomState(seed), {}
    for mutable in choices.values():
        mutable.random(sample, state)  # type: ignore[attr-defined]
    genotype = Genotype.from_sample(sample, nodes=nodes)
    assert genotype.nodes == nodes
    assert fixed.missing_from(genotype) == []
    assert pattern.apply(genotype) == genotype


@pytest.mark.parametrize("nodes", NODES)
@settings(max_examples=10)
@given(data=st.data())
def test_a_constrained_space_keeps_every_architecture_with_the_edges(nodes: int, data: st.DataObject) -> None:
    pattern: CellPattern = data.draw(foreign_patterns)
    genotype = pattern.apply(data.draw(genotypes(nodes)))
    choices = DARTS.constrain(DARTS.choices(nodes), DARTS.fixed_edges(pattern))
    for target in range(INPUT_NODES, INPUT_NODES + nodes):
        fixed = {edge for edge in pattern.edges if edge.target == target}
        edges = sorted(genotype.cell(pattern.cell).into(target), key=lambda edge: edge not in fixed)
        allowed = [choices[f"{pattern.cell}_{target}_{part}"].values for part in ("sources", "op1", "op2")]  # type: ignore[attr-defined]
        orders = [edges, edges[::-1]]
        written = [(f"{a.source}+{b.source}", a.op, b.op) for a, b in orders]
        assert any(all(value in values for value, values in zip(one, allowed, strict=True)) for one in written)


def places(cell: Cell) -> set[tuple[int, int]]:
    return {(edge.source, edge.target) for edge in cell}
