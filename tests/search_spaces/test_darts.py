"""The DARTS space: samples are DARTS cells, and the network is the one of the paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from nni.mutable import SampleValidationError
from nni.nas.space import model_context
from strategies_for_cells import genotypes

from nni_privacy.cells.darts import DARTS_OPERATIONS, Genotype
from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces import DARTS, CellNetwork
from nni_privacy.search_spaces.network import reduction_positions
from nni_privacy.search_spaces.operations import build_operation

SMALL = {"channels": 4, "cells": 3}


@pytest.mark.parametrize("nodes", [2, 4, 6])
def test_random_samples_are_always_darts_cells(nodes: int) -> None:
    space = DARTS(nodes=nodes, **SMALL)
    state = np.random.RandomState(0)
    choices = space.simplify()
    seen = set()
    for _ in range(200):
        sample: dict[str, str] = {}
        for mutable in choices.values():
            mutable.random(sample, state)
        seen.add(Genotype.from_sample(sample))  # raises if it is not one
        assert space.contains(sample)
    assert len(seen) > 190
    assert all(genotype.nodes == nodes for genotype in seen)


def test_mutated_samples_are_always_darts_cells() -> None:
    choices = DARTS(**SMALL).simplify()
    state = np.random.RandomState(1)
    sample = {label: mutable.default() for label, mutable in choices.items()}
    for label in state.choice(list(choices), 300):
        sample[label] = choices[label].random(random_state=state)
        Genotype.from_sample(sample)


def test_every_genotype_is_in_the_space_once() -> None:
    choices = DARTS(**SMALL).simplify()
    per_cell = math.prod(7**2 * math.comb(target, 2) for target in range(2, 6))
    assert math.prod(len(mutable.values) for mutable in choices.values()) == per_cell**2


@given(genotypes())
@settings(max_examples=10)
def test_a_frozen_space_runs_the_genotype_of_its_sample(genotype: Genotype) -> None:
    space = DARTS(in_channels=1, **SMALL)
    frozen = space.freeze(genotype.to_sample())
    assert frozen.genotype == genotype
    assert frozen(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    with model_context(genotype.to_sample()):
        assert DARTS(in_channels=1, **SMALL).genotype == genotype


@pytest.mark.parametrize("cells", [3, 5, 8])
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32), (1, 28), (3, 7)])
def test_images_of_all_sizes_give_logits(cells: int, channels: int, size: int) -> None:
    torch.manual_seed(0)
    sample = {k: np.random.RandomState(3).choice(m.values) for k, m in DARTS(**SMALL).simplify().items()}
    network = CellNetwork(Genotype.from_sample(sample), channels=4, cells=cells, in_channels=channels, num_classes=7)
    logits = network(torch.randn(2, channels, size, size))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_layout_is_that_of_the_paper() -> None:
    genotype = DARTS(**SMALL).genotype
    network = CellNetwork(genotype)
    assert reduction_positions(5) == (1, 3)
    assert network.stem[0].out_channels == 48
    widths = [cell.out_channels for cell in network.cells]
    assert widths == [64, 128, 128, 256, 256]  # 4 nodes of 16, then 32, then 64 channels
    sizes: list[int] = []
    for cell in network.cells:
        cell.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape[-1]))
    network(torch.randn(1, 3, 32, 32))
    assert sizes == [32, 16, 16, 8, 8]
    assert network.classifier.in_features == 256


def test_a_node_is_the_sum_of_its_two_edges_and_the_output_their_concatenation() -> None:
    genotype = Genotype.from_sample(
        {k: np.random.RandomState(5).choice(m.values) for k, m in DARTS(**SMALL).simplify().items()}
    )
    cell = CellNetwork(genotype, **SMALL).eval().cells[0]
    before_last, last = torch.randn(2, 12, 8, 8), torch.randn(2, 12, 8, 8)
    states = {0: cell.preprocess0(before_last), 1: cell.preprocess1(last)}
    for target in range(2, 6):
        a, b = genotype.normal.into(target)
        states[target] = sum(cell.edges[f"{e.source}-{e.target}-{e.op}"](states[e.source]) for e in (a, b))
    torch.testing.assert_close(cell(before_last, last), torch.cat([states[t] for t in range(2, 6)], 1))


@pytest.mark.parametrize("name", DARTS_OPERATIONS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [7, 8])
def test_operations_keep_channels_and_divide_the_resolution(name: str, stride: int, size: int) -> None:
    operation = build_operation(name, 6, stride=stride)
    assert operation(torch.randn(2, 6, size, size)).shape == (2, 6, -(-size // stride), -(-size // stride))


@pytest.mark.parametrize("name", ["max_pool_3x3", "avg_pool_3x3"])
def test_pooling_is_followed_by_a_norm_without_parameters(name: str) -> None:
    operation = build_operation(name, 6)
    norms = [module for module in operation.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 1 and not norms[0].affine
    assert not list(operation.parameters())


def test_samples_that_are_no_architecture_are_refused() -> None:
    space = DARTS(**SMALL)
    sample = space.genotype.to_sample()
    assert space.contains({**sample, "normal_3_sources": "1+0"})
    for change in ({"normal_3_sources": "1+1"}, {"normal_3_sources": "0+3"}, {"normal_3_op1": "none"}):
        assert not space.contains({**sample, **change})
    with pytest.raises(SampleValidationError):
        space.freeze({"normal_2_op1": "skip_connect"})


@pytest.mark.parametrize("name", ["channels", "cells", "nodes", "in_channels", "num_classes"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "4", True])
def test_sizes_are_checked(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        DARTS(**{**SMALL, name: value})
