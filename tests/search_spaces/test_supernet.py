"""The supernet: its layouts say the space's architectures, its paths compute what the discrete networks compute."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_shot_spaces import SPACES, darts_choices, opened
from strategies_for_cells import genotypes, patterns
from torch import Tensor, nn

from nni_privacy.cells.darts import CELL_TYPES, Edge, Genotype
from nni_privacy.cells.nasbench201 import NASBENCH201_OPERATIONS, NasBench201Genotype
from nni_privacy.patterns import Pattern
from nni_privacy.search_spaces import DARTS, CellNetwork
from nni_privacy.search_spaces.constraints import FixedEdges
from nni_privacy.search_spaces.darts_supernet import CellLayout, build_darts_supernet, decision_key, fixed_edges_of
from nni_privacy.search_spaces.nasbench201 import NasBench201
from nni_privacy.search_spaces.nasbench201_network import NasBench201Network
from nni_privacy.search_spaces.nasbench201_supernet import build_nasbench201_supernet
from nni_privacy.search_spaces.supernet import (
    NONE,
    Decision,
    Gate,
    MixedOperation,
    Supernet,
    Switchboard,
    transfer_weights,
)

BATCH = 6
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def random_scores(layout: Any, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {decision.key: torch.rand(len(decision.candidates), generator=generator) for decision in layout.decisions}


def fixed_by(pattern: Pattern, budget: int) -> FixedEdges:
    return FixedEdges.of(pattern.first(min(budget, len(pattern))))


# --- layouts ---


@given(patterns(), st.integers(0, 8))
def test_the_fixed_edges_are_read_off_the_constrained_choices(pattern: Pattern, budget: int) -> None:
    fixed = fixed_by(pattern, budget)
    found = fixed_edges_of(darts_choices(fixed), 4)
    for cell in CELL_TYPES:
        assert found.by_target(cell) == dict(sorted(fixed.by_target(cell).items()))
    DARTS.check_supernet(darts_choices(fixed), nodes=4)


@given(patterns(), st.integers(0, 8))
def test_no_decision_is_left_for_fixed_edges_nor_for_nodes_with_two(pattern: Pattern, budget: int) -> None:
    fixed = fixed_by(pattern, budget)
    layout = CellLayout(darts_choices(fixed), nodes=4)
    expected = []
    for cell in CELL_TYPES:
        for target in range(2, 6):
            known = {edge.source for edge in fixed.by_target(cell).get(target, [])}
            expected += [(cell, source, target) for source in range(target) if source not in known and len(known) < 2]
    assert [decision.key for decision in layout.decisions] == [decision_key(*edge) for edge in expected]
    assert [key for group in layout.rivals for key in group] == [decision.key for decision in layout.decisions]
    assert all(len(decision.candidates) == 8 for decision in layout.decisions)


def literal_export(
    scores: Mapping[str, Tensor], fixed: FixedEdges, candidates: tuple[str, ...]
) -> dict[str, set[Edge]]:
    """Of all legal ways to complete each node the one whose edges, each by its best operation, are the best."""
    found: dict[str, set[Edge]] = {}
    for cell in CELL_TYPES:
        found[cell] = set()
        for target in range(2, 6):
            known = fixed.by_target(cell).get(target, [])
            free = [source for source in range(target) if source not in {edge.source for edge in known}]
            ways = []
            for sources in combinations(free, 2 - len(known)):
                edges, strengths = [], []
                for source in sources:
                    values = scores[decision_key(cell, source, target)].tolist()  # type: ignore[arg-type]
                    strength, op = max((v, op) for v, op in zip(values, candidates, strict=True) if op != NONE)
                    edges.append(Edge(source, target, op))
                    strengths.append(strength)
                ways.append((sum(strengths), edges))
            found[cell] |= {*known, *max(ways, key=lambda way: way[0])[1]}
    return found


@given(patterns(), st.integers(0, 8), st.integers(0, 10_000))
def test_export_is_legal_and_the_best_of_all_ways(pattern: Pattern, budget: int, seed: int) -> None:
    fixed = fixed_by(pattern, budget)
    layout = CellLayout(darts_choices(fixed), nodes=4)
    scores = random_scores(layout, seed)
    sample = layout.export(scores)
    genotype = Genotype.from_sample(sample)
    assert not fixed.missing_from(genotype)
    assert all(sample[label] in values for label, values in layout.choices.items())
    candidates = layout.decisions[0].candidates if layout.decisions else ()
    literal = literal_export(scores, fixed, candidates)
    assert {cell: set(genotype.cell(cell)) for cell in CELL_TYPES} == literal
    assert layout.describe(sample) == str(genotype)
    skips = sum(edge.op == "skip_connect" for edges in literal.values() for edge in edges)
    assert layout.skip_connections(sample) == skips


@given(patterns(), st.integers(0, 8), st.integers(0, 10_000))
def test_the_path_of_an_export_is_its_free_edges(pattern: Pattern, budget: int, seed: int) -> None:
    fixed = fixed_by(pattern, budget)
    layout = CellLayout(darts_choices(fixed), nodes=4)
    for sample in (
        layout.export(random_scores(layout, seed)),
        layout.random_sample(torch.Generator().manual_seed(seed)),
    ):
        genotype = Genotype.from_sample(sample)
        by_key = {decision.key: decision for decision in layout.decisions}
        found = {(key, by_key[key].candidates[index]) for key, index in layout.path(sample).items()}
        expected = {
            (decision_key(cell, edge.source, edge.target), edge.op)
            for cell in CELL_TYPES
            for edge in genotype.cell(cell)
            if edge not in fixed.edges.get(cell, ())
        }
        assert found == expected
        log_probabilities = {key: scores.log_softmax(0) for key, scores in random_scores(layout, seed).items()}
        by_hand = sum(float(log_probabilities[key][by_key[key].candidates.index(op)]) for key, op in expected)
        assert float(layout.log_probability(sample, log_probabilities)) == pytest.approx(by_hand, abs=1e-4)


def test_export_ignores_none_and_prefers_the_first_source_of_equals() -> None:
    layout = CellLayout(darts_choices(), nodes=4)
    scores = {decision.key: torch.zeros(8) for decision in layout.decisions}
    scores["normal_0_4"] = torch.tensor([9.0, *[0.0] * 7])  # ``none`` comes first
    scores["normal_3_5"] = torch.tensor([0.0, *[0.0] * 6, 1.0])
    genotype = Genotype.from_sample(layout.export(scores))
    assert [edge.source for edge in genotype.normal.into(4)] == [0, 1]
    assert [(edge.source, edge.op) for edge in genotype.normal.into(5)] == [(0, "max_pool_3x3"), (3, "dil_conv_5x5")]


@pytest.mark.parametrize("budget", [0, 4])
def test_nasbench201_exports_the_best_operation_of_every_free_edge(budget: int) -> None:
    searchable = opened("nasbench201", budget=budget)
    layout = searchable.supernet(seed=0).layout
    assert len(layout.decisions) == (6 if not budget else 3)
    fixed = {label: values[0] for label, values in searchable.choices.items() if len(values) == 1}
    for seed in range(20):
        scores = random_scores(layout, seed)
        best = {key: NASBENCH201_OPERATIONS[int(values.argmax())] for key, values in scores.items()}
        sample = layout.export(scores)
        assert sample == {**best, **fixed}
        assert layout.skip_connections(sample) == list(sample.values()).count("skip_connect")


@pytest.mark.parametrize(("name", "budget"), [("darts", 0), ("darts", 4), ("nasbench201", 4), ("layers", 0)])
def test_random_samples_reach_every_value(name: str, budget: int) -> None:
    searchable = opened(name, budget=budget)
    layout, generator = searchable.supernet(seed=0).layout, torch.Generator().manual_seed(0)
    samples = [layout.random_sample(generator) for _ in range(300)]
    for label, values in searchable.choices.items():
        assert {sample[label] for sample in samples} == set(values)
    space = SPACES[name]()
    assert all(space.contains(sample) for sample in samples[:50])


# --- paths compute what the discrete networks compute ---


def copy_into_discrete(supernet: nn.Module, discrete: nn.Module, names: Mapping[str, str]) -> None:
    """Weights of ``supernet`` under their names in ``discrete``; BatchNorm there stays at weight 1 and bias 0."""
    weights = supernet.state_dict()
    for name, tensor in discrete.state_dict().items():
        known = next((name.replace(old, new) for old, new in names.items() if old in name), name)
        if known in weights:
            tensor.copy_(weights[known])
        else:
            assert "running" in name or "num_batches" in name or _of_norm(discrete, name), name


def _of_norm(network: nn.Module, name: str) -> bool:
    return isinstance(network.get_submodule(name.rpartition(".")[0]), nn.BatchNorm2d)


@given(genotypes(), patterns(), st.integers(0, 8), st.integers(0, 100))
@settings(max_examples=8)
def test_a_path_through_darts_is_the_discrete_network(
    genotype: Genotype, pattern: Pattern, budget: int, seed: int
) -> None:
    fixed = fixed_by(pattern, budget)
    layout = CellLayout(darts_choices(fixed), nodes=4)
    sample = layout.export(random_scores(layout, seed)) if budget else genotype.to_sample()
    genotype = Genotype.from_sample(sample)
    torch.manual_seed(seed)
    sizes = {"channels": 2, "cells": 3, "in_channels": 1}
    supernet = build_darts_supernet(darts_choices(fixed), nodes=4, **sizes)
    discrete = CellNetwork(genotype, **sizes).train()
    shapes = ["reduction" if cell.reduction else "normal" for cell in supernet.network.cells]
    names = {}
    for position, cell_type in enumerate(shapes):
        for edge in genotype.cell(cell_type):  # type: ignore[arg-type]
            name = f"cells.{position}.edges.{edge.source}-{edge.target}-{edge.op}."
            key = decision_key(cell_type, edge.source, edge.target)  # type: ignore[arg-type]
            is_fixed = edge in fixed.edges.get(cell_type, ())
            names[name] = name if is_fixed else f"cells.{position}.edges.{key}.operations.{edge.op}."
    copy_into_discrete(supernet.network, discrete, names)
    images = torch.randn(BATCH, 1, 8, 8)
    expected = discrete(images)
    gates = supernet.path_gates(sample)
    assert torch.allclose(supernet(images, gates), expected, **TOLERANCE)
    one_hot = {
        key: Gate(weights=nn.functional.one_hot(torch.tensor(gate.active[0]), 8).float())
        for key, gate in gates.items()
        if gate.active is not None
    }
    assert torch.allclose(supernet(images, one_hot), expected, **TOLERANCE)
    assert torch.allclose(supernet.eval()(images, gates), expected, **TOLERANCE)


@given(st.lists(st.sampled_from(NASBENCH201_OPERATIONS), min_size=6, max_size=6), st.integers(0, 3))
@settings(max_examples=25)
def test_a_path_through_nasbench201_is_the_discrete_network(operations: list[str], fixed: int) -> None:
    choices = {label: tuple(choice.values) for label, choice in NasBench201.choices().items()}
    sample = dict(zip(choices, operations, strict=True))
    choices.update({label: (sample[label],) for label in list(choices)[:fixed]})
    genotype = NasBench201Genotype.from_sample(sample)
    sizes = {"channels": 4, "cells": 1, "in_channels": 1}
    torch.manual_seed(0)
    supernet, discrete = build_nasbench201_supernet(choices, **sizes), NasBench201Network(genotype, **sizes).train()
    assert [decision.key for decision in supernet.decisions] == list(choices)[fixed:]
    names = {}
    for label, edge in zip(choices, genotype, strict=True):
        plain = f"edges.{label}." if len(choices[label]) == 1 else f"edges.{label}.operations.{edge.op}."
        names[f"edges.{edge.source}-{edge.target}-{edge.op}."] = plain
    copy_into_discrete(supernet.network, discrete, names)
    images = torch.randn(BATCH, 1, 8, 8)
    logits, expected = supernet(images, supernet.path_gates(sample)), discrete(images)
    assert torch.allclose(logits, expected, **TOLERANCE)


@pytest.mark.parametrize("name", ["darts", "nasbench201"])
def test_fixed_operations_cost_no_mixture(name: str) -> None:
    free, fixed = (opened(name, budget=budget).supernet(seed=0) for budget in (0, 4))

    def mixtures(supernet: Supernet) -> int:
        return sum(isinstance(module, MixedOperation) for module in supernet.modules())

    assert len(fixed.decisions) < len(free.decisions)
    assert mixtures(fixed) < mixtures(free)
    assert sum(p.numel() for p in fixed.parameters()) < sum(p.numel() for p in free.parameters())
    assert [decision.key for decision in fixed.decisions] == [
        decision.key for decision in opened(name, budget=4).supernet(seed=1).decisions
    ]


# --- one mixed operation ---


class Times(nn.Module):
    """Multiplies by a number, and counts how often it ran."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.runs = factor, 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return x * self.factor


FACTORS = {"times_two": 2.0, "times_three": 3.0}


def mixed(partial: int = 1, channels: int = 4) -> tuple[MixedOperation, Switchboard]:
    switchboard, decision = Switchboard(), Decision("edge", (NONE, "times_two", "times_three"))

    def build(name: str, channels: int, stride: int) -> nn.Module:
        return Times(FACTORS[name])

    return MixedOperation(
        decision, channels=channels, stride=1, build=build, switchboard=switchboard, partial=partial
    ), switchboard


@pytest.mark.parametrize(
    ("gate", "factor", "ran"),
    [
        (Gate(), 5.0, ["times_two", "times_three"]),
        (Gate(weights=torch.tensor([0.5, 0.25, 0.25])), 1.25, ["times_two", "times_three"]),
        (Gate(active=(2,)), 3.0, ["times_three"]),
        (Gate(active=(0, 1), weights=torch.tensor([0.5, 0.25, 0.25])), 0.5, ["times_two"]),
        (Gate(active=(1,), scale=torch.tensor(0.5)), 1.0, ["times_two"]),
        (Gate(active=(0,)), None, []),
        (None, None, []),
    ],
)
def test_a_gate_says_what_runs_and_how_it_is_weighted(gate: Gate | None, factor: float | None, ran: list[str]) -> None:
    operation, switchboard = mixed()
    switchboard.gates = {} if gate is None else {"edge": gate}
    x = torch.randn(2, 4, 3, 3)
    output = operation(x)
    if factor is None:
        assert output is None
    else:
        assert torch.allclose(output, factor * x)
    assert [name for name, module in operation.operations.items() if module.runs] == ran


@pytest.mark.parametrize(("channels", "partial", "seen"), [(8, 4, 2), (8, 1, 8), (6, 4, 1), (4, 6, 1), (7, 2, 3)])
def test_partial_channels_bypass_the_candidates_bit_for_bit(channels: int, partial: int, seen: int) -> None:
    operation, switchboard = mixed(partial, channels)
    switchboard.gates = {"edge": Gate(active=(1,))}
    x = torch.randn(2, channels, 3, 3)
    plain = torch.cat([2 * x[:, :seen], x[:, seen:]], dim=1)
    assert torch.equal(operation(x), plain[:, operation.order] if seen < channels else plain)
    assert sorted(operation.order.tolist()) == list(range(channels))
    switchboard.gates = {"edge": Gate(active=(0,))}
    if seen < channels:
        zeroed = torch.cat([0 * x[:, :seen], x[:, seen:]], dim=1)
        assert torch.equal(operation(x), zeroed[:, operation.order])


def test_weights_are_taken_over_where_shapes_overlap() -> None:
    source, target = nn.Conv2d(2, 2, 3), nn.Conv2d(4, 3, 3)
    before = target.weight.detach().clone()
    transfer_weights(source, target)
    assert torch.equal(target.weight[:2, :2], source.weight)
    assert torch.equal(target.weight[2:], before[2:])
    assert torch.equal(target.weight[:, 2:], before[:, 2:])
