"""Every size of the ablations, N cells in {3, 5, 8} and M nodes in {2, 4, 6}: networks, patterns and their controls."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.space import SimplifiedModelSpace
from strategies_for_cells import genotypes
from strategies_for_cells import patterns as any_patterns
from torch.nn import functional

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import CELL_TYPES, INPUT_NODES, Cell, Edge, Genotype
from nni_privacy.errors import PatternError
from nni_privacy.patterns import CellPattern, Pattern, load_pattern
from nni_privacy.patterns.apply import apply_edges
from nni_privacy.patterns.controls import placebo
from nni_privacy.search_spaces import DARTS, CellNetwork
from nni_privacy.search_spaces.network import reduction_positions
from nni_privacy.strategies import FixedPattern, build_strategy

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


@given(architectures, patterns)
def test_modification_is_the_papers_one_edge_after_the_other(genotype: Genotype, pattern: Pattern) -> None:
    changed = pattern.apply(genotype)
    for cell_type in CELL_TYPES:
        wanted = pattern.edges_of(cell_type)
        assert set(changed.cell(cell_type)) == one_after_the_other(genotype.cell(cell_type), wanted)


@settings(max_examples=40)
@given(architectures, foreign_patterns)
def test_many_architectures_of_every_size_are_modified_at_once_as_each_alone(
    genotype: Genotype, pattern: CellPattern
) -> None:
    codes = apply_edges(GenotypeCodes.from_genotypes([genotype, genotype]), pattern.cell, pattern.edges)
    assert codes.to_genotypes() == [pattern.apply(genotype)] * 2


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


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(SIZES), shipped_patterns, st.integers(0, 2**32 - 1))
def test_a_search_of_every_size_keeps_the_edges_that_fit_or_says_that_none_does(
    size: tuple[int, int], pattern: Pattern, seed: int
) -> None:
    cells, nodes = size
    space = DARTS(channels=1, cells=cells, nodes=nodes, in_channels=1, num_classes=CLASSES)
    simplified = SimplifiedModelSpace.from_model(space, FunctionalEvaluator(len))
    strategy = FixedPattern(build_strategy("random", {}, seed=0), pattern, budget=len(pattern))
    fits = {(c, e) for c in CELL_TYPES for e in pattern.edges_of(c) if e.target < INPUT_NODES + nodes}
    if not fits:
        with pytest.raises(PatternError, match="too few intermediate nodes"):
            strategy.check(simplified)
        return
    strategy.initialize(simplified, None)  # type: ignore[arg-type]
    state, sample = np.random.RandomState(seed), {}
    for mutable in strategy.searched_space().values():
        mutable.random(sample, state)
    frozen = space.freeze(sample)
    assert fits <= {(c, e) for c, edges in frozen.genotype.edges_by_cell().items() for e in edges}  # type: ignore[comparison-overlap]
    assert len(frozen.network.cells) == cells and frozen.genotype.nodes == nodes


@pytest.mark.parametrize("nodes", NODES)
def test_a_supernet_of_every_size_runs_with_its_edges_fixed(nodes: int) -> None:
    pattern = load_pattern("demotion-reduction").first(4)
    choices = DARTS.constrain(DARTS.choices(nodes), DARTS.fixed_edges(pattern))
    values = {label: list(choice.values) for label, choice in choices.items()}  # type: ignore[attr-defined]
    supernet = DARTS.supernet(values, channels=1, cells=3, nodes=nodes, in_channels=1, num_classes=CLASSES)
    sample = {label: options[0] for label, options in values.items()}
    assert supernet(torch.rand(2, 1, 8, 8), supernet.path_gates(sample)).shape == (2, CLASSES)


def one_after_the_other(cell: Cell, wanted: tuple[Edge, ...]) -> set[Edge]:
    """Section 4.4 of the paper read literally; of two edges that may give way, the one with the lower source."""
    claimed, current = {(edge.source, edge.target) for edge in wanted}, list(cell)
    for edge in wanted:
        into = sorted(old for old in current if old.target == edge.target)
        if into:  # else the node is not there
            same = [old for old in into if old.source == edge.source]
            free = [old for old in into if (old.source, old.target) not in claimed]
            current.remove((same or free)[0])
            current.append(edge)
    return set(current)


def places(cell: Cell) -> set[tuple[int, int]]:
    return {(edge.source, edge.target) for edge in cell}
