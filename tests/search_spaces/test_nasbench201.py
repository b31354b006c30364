"""The NAS-Bench-201 space: every sample is an architecture, and the network is the benchmark's."""

from __future__ import annotations

import math
from pkgutil import resolve_name

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from nni.mutable import SampleValidationError
from nni.nas.space import model_context
from strategies_for_cells import nasbench201_genotypes

from nni_privacy.cells.nasbench201 import NASBENCH201_EDGES, NASBENCH201_OPERATIONS, NasBench201Genotype
from nni_privacy.cells.spaces import SPACES
from nni_privacy.errors import ConfigError
from nni_privacy.patterns import load_pattern
from nni_privacy.search_spaces import NasBench201, NasBench201Network
from nni_privacy.search_spaces.nasbench201_network import NasBench201Cell, ReductionBlock
from nni_privacy.search_spaces.operations import build_nasbench201_operation

SMALL = {"channels": 4, "cells": 1}


def uniform(op: str) -> NasBench201Genotype:
    return NasBench201Genotype.parse(f"|{op}~0|+|{op}~0|{op}~1|+|{op}~0|{op}~1|{op}~2|")


def parameters_by_hand(channels: int, cells: int, per_edge: dict[int, int], classes: int = 10) -> int:
    """Summed up from the paper's table of layers; ``per_edge`` holds the parameters of the six edges by width."""
    a, b, c = channels, 2 * channels, 4 * channels
    stem = 27 * a + 2 * a
    stages = cells * sum(per_edge[width] for width in (a, b, c))
    reductions = sum(9 * i * o + 2 * o + 9 * o * o + 2 * o + i * o for i, o in ((a, b), (b, c)))
    return stem + stages + reductions + 2 * c + (c * classes + classes)


def test_random_and_mutated_samples_are_always_architectures() -> None:
    space = NasBench201(**SMALL)
    choices, state = space.simplify(), np.random.RandomState(0)
    seen = set()
    for _ in range(300):
        sample: dict[str, str] = {}
        for mutable in choices.values():
            mutable.random(sample, state)
        label = state.choice(list(choices))
        for candidate in (sample, {**sample, label: choices[label].random(random_state=state)}):
            assert space.contains(candidate)
            seen.add(NasBench201.genotype_of(candidate))
    assert len(seen) > 500
    assert math.prod(len(mutable.values) for mutable in choices.values()) == 5**6 == 15_625


@given(nasbench201_genotypes())
@settings(max_examples=12)
def test_a_frozen_space_runs_the_genotype_of_its_sample(genotype: NasBench201Genotype) -> None:
    frozen = NasBench201(in_channels=1, **SMALL).freeze(genotype.to_sample())
    assert frozen.genotype == genotype
    logits = frozen(torch.randn(2, 1, 8, 8))
    assert logits.shape == (2, 10) and torch.isfinite(logits).all()
    logits.sum().backward()
    # None is left without a gradient, wherever edges are cut: per-sample gradients need that.
    assert all(parameter.grad is not None for parameter in frozen.parameters())
    with model_context(genotype.to_sample()):
        assert NasBench201(in_channels=1, **SMALL).genotype == genotype


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32), (1, 28), (3, 7)])
def test_images_of_all_sizes_give_logits(channels: int, size: int) -> None:
    network = NasBench201Network(uniform("nor_conv_1x1"), channels=4, cells=2, in_channels=channels, num_classes=7)
    images = torch.randn(2, channels, size, size)
    assert network(images).shape == (2, 7)
    assert network.features(images).shape == (2, 16)
    torch.testing.assert_close(network.classifier(network.features(images)), network(images))


@pytest.mark.parametrize(("channels", "cells"), [(16, 5), (8, 1)])
def test_parameters_are_as_many_as_by_hand(channels: int, cells: int) -> None:
    per_edge = {
        "nor_conv_3x3": lambda width: 6 * (9 * width * width + 2 * width),
        "nor_conv_1x1": lambda width: 6 * (width * width + 2 * width),
        "skip_connect": lambda width: 0,
        "avg_pool_3x3": lambda width: 0,
        "none": lambda width: 0,
    }
    assert set(per_edge) == set(NASBENCH201_OPERATIONS)
    for op, count in per_edge.items():
        network = NasBench201Network(uniform(op), channels=channels, cells=cells)
        wanted = parameters_by_hand(channels, cells, {width * channels: count(width * channels) for width in (1, 2, 4)})
        assert sum(parameter.numel() for parameter in network.parameters()) == wanted


def test_the_all_3x3_architecture_has_the_benchmarks_number_of_parameters() -> None:
    network = NasBench201Network(uniform("nor_conv_3x3"))
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_531_546  # 1.5315 MB in the benchmark


@given(nasbench201_genotypes())
@settings(max_examples=10)
def test_a_node_is_the_sum_of_its_in_edges(genotype: NasBench201Genotype) -> None:
    cell = NasBench201Cell(genotype, 3).eval()
    states = [torch.randn(2, 3, 5, 5)]
    for node in (1, 2, 3):
        into = genotype.into(node)
        states.append(sum(cell.edges[f"{e.source}-{e.target}-{e.op}"](states[e.source]) for e in into))
    torch.testing.assert_close(cell(states[0]), states[3])
    assert list(cell.edges) == [f"{e.source}-{e.target}-{e.op}" for e in genotype]


def test_operations_are_those_of_the_benchmark() -> None:
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(build_nasbench201_operation("none", 3)(x), torch.zeros_like(x))
    assert build_nasbench201_operation("skip_connect", 3)(x) is x
    pooled = build_nasbench201_operation("avg_pool_3x3", 3)(x)
    torch.testing.assert_close(pooled[:, :, 0, 0], x[:, :, :2, :2].mean(dim=(2, 3)))  # the border is not counted
    torch.testing.assert_close(pooled[:, :, 1, 1], x[:, :, :3, :3].mean(dim=(2, 3)))
    for name in NASBENCH201_OPERATIONS:
        operation = build_nasbench201_operation(name, 3, affine=False)
        assert operation(x).shape == x.shape
        assert not [m for m in operation.modules() if isinstance(m, torch.nn.BatchNorm2d) and m.affine]


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_a_reduction_halves_the_resolution(size: int) -> None:
    assert ReductionBlock(3, 6)(torch.randn(2, 3, size, size)).shape == (2, 6, -(-size // 2), -(-size // 2))


def test_a_pattern_narrows_the_input_edges_to_one_operation() -> None:
    choices = NasBench201.choices()
    for budget, labels in ((0, []), (1, ["edge_0_1"]), (4, ["edge_0_1", "edge_0_2", "edge_0_3"])):
        fixed = NasBench201.fixed_edges(load_pattern("demotion-reduction").first(budget))
        constrained = NasBench201.constrain(choices, fixed)
        assert list(constrained) == list(choices)
        for label, choice in constrained.items():
            assert choice.values == (["avg_pool_3x3"] if label in labels else list(NASBENCH201_OPERATIONS))
        assert fixed.as_lists() == {"cell": [[0, int(label[-1]), "avg_pool_3x3"] for label in labels]}
        assert len(fixed.missing_from(uniform("skip_connect"))) == len(labels)
        assert fixed.missing_from(uniform("avg_pool_3x3")) == []


def test_samples_that_are_no_architecture_are_refused() -> None:
    space = NasBench201(**SMALL)
    sample = space.genotype.to_sample()
    assert space.contains(sample)
    assert not space.contains({**sample, "edge_0_3": "max_pool_3x3"})
    with pytest.raises(SampleValidationError):
        space.freeze({"edge_0_1": "none"})


@pytest.mark.parametrize("name", ["channels", "cells", "in_channels", "num_classes"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "4", True])
def test_sizes_are_checked(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        NasBench201(**{**SMALL, name: value})


def test_the_space_has_a_name_in_configurations() -> None:
    assert resolve_name(SPACES["nasbench201"].model_space) is NasBench201
    assert len(NASBENCH201_EDGES) == len(NasBench201.choices()) == 6
