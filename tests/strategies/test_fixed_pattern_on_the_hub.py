"""FixedPattern on the spaces of NNI's hub: the edges of built networks are read off their modules."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nni
import pytest
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.experiment import NasExperiment, NasExperimentConfig
from nni.nas.hub.pytorch import ENAS, PNAS, AmoebaNet, MobileNetV3Space, NASNet, nasnet
from nni.nas.hub.pytorch import NasBench201 as HubNasBench201
from nni.nas.hub.pytorch.modules.nasbench201 import NasBench201Cell
from nni.nas.hub.pytorch.nasbench201 import OPS_WITH_STRIDE
from nni.nas.hub.pytorch.nasnet import OPS
from nni.nas.nn.pytorch import Cell
from nni.nas.space import model_context
from nni.nas.strategy import Random, RegularizedEvolution
from torch import nn

from nni_privacy.cells.darts import Edge
from nni_privacy.errors import ConfigError, PatternError
from nni_privacy.patterns import load_pattern
from nni_privacy.strategies import GDAS, FixedPattern, ParetoEvolution

TRIALS = 6
SMALL = {"width": 4, "num_cells": 3}
CELLS = [nasnet.DARTS, ENAS, NASNet, AmoebaNet, PNAS]
OUR_NAMES = {"conv_1x1": "nor_conv_1x1", "conv_3x3": "nor_conv_3x3"}
found: list[dict[str, set[Edge]]] = []


def named(module: nn.Module, built: dict[str, nn.Module]) -> str:
    """The one operation that is built as ``module`` is."""
    (name,) = [name for name, other in built.items() if repr(other) == repr(module)]
    return name


def edges_of_cells(network: Any) -> Iterator[tuple[str, Edge]]:
    for cell in network.modules():
        if isinstance(cell, Cell):
            channels = cell.preprocessor.pre1[1].out_channels
            name = {"normal": "normal", "reduce": "reduction"}[cell.label]
            for target, (sources, operations) in enumerate(zip(cell.inputs, cell.ops, strict=True), start=2):
                for chosen, operation in zip(sources, operations, strict=True):
                    (source,) = chosen.chosen
                    stride = 2 if name == "reduction" and source < 2 else 1
                    with model_context({}):
                        built = {op: OPS[op](channels, stride, True) for op in network.op_candidates}
                    yield name, Edge(source, target, named(operation, built))
        if isinstance(cell, NasBench201Cell):
            width = cell.out_features
            with model_context({}):
                built = {op: make(width, width, 1) for op, make in OPS_WITH_STRIDE.items()}
            for target, layer in enumerate(cell.layers, start=1):
                for source, operation in enumerate(layer):
                    name = named(operation, built)
                    yield "cell", Edge(source, target, OUR_NAMES.get(name, name))


def read(network: Any) -> None:
    edges: dict[str, set[Edge]] = {}
    for name, edge in edges_of_cells(network):
        edges.setdefault(name, set()).add(edge)
    found.append(edges)
    nni.report_final_result(0.5)


def search(space: Any, strategy: Any, folder: Path, model_format: str = "simplified") -> list[dict[str, set[Edge]]]:
    """The edges of the networks that a search builds."""
    config = NasExperimentConfig("sequential", model_format, "local")
    config.max_trial_number = TRIALS
    config.experiment_working_directory = str(folder)
    nni.silence_stdout()
    found.clear()
    experiment = NasExperiment(space, FunctionalEvaluator(read), strategy, config)
    experiment.run()
    experiment.stop()
    return list(found)


@pytest.mark.parametrize("model_format", ["simplified", "raw"])
@pytest.mark.parametrize("inner", [Random, lambda: RegularizedEvolution(population_size=3, sample_size=2)])
def test_the_hubs_darts_has_the_edges_of_both_cells(inner: Any, model_format: str, tmp_path: Path) -> None:
    for name, cell in (("demotion-normal", "normal"), ("demotion-reduction", "reduction")):
        pattern = load_pattern(name)
        strategy = FixedPattern(inner(), pattern, budget=5)
        networks = search(nasnet.DARTS(**SMALL), strategy, tmp_path / name, model_format)
        assert len(networks) == TRIALS
        assert all(set(pattern.edges[:5]) <= network[cell] for network in networks)
        assert len({repr(sorted(network["normal"] | network["reduction"])) for network in networks}) > 1


@pytest.mark.parametrize("space", CELLS)
def test_the_other_cells_of_the_hub_have_them_too(space: Any, tmp_path: Path) -> None:
    networks = search(space(**SMALL), FixedPattern(Random(), "demotion-reduction", budget=6), tmp_path)
    wanted = set(load_pattern("demotion-reduction").edges[:6])
    assert len(networks) == TRIALS and all(wanted <= network["reduction"] for network in networks)


def test_a_derived_space_with_a_choice_of_sizes_is_searched_as_well(tmp_path: Path) -> None:
    class Derived(nasnet.DARTS):
        pass

    space = Derived(width=(4, 8), num_cells=(3, 6))
    networks = search(space, FixedPattern(Random(), "demotion-reduction", budget=2), tmp_path)
    assert all(set(load_pattern("demotion-reduction").edges[:2]) <= network["reduction"] for network in networks)


@pytest.mark.parametrize(
    ("pattern", "operation"), [("demotion-normal", "avg_pool_3x3"), ("promotion-normal", "nor_conv_3x3")]
)
def test_the_hubs_nasbench201_has_the_patterns_operation(pattern: str, operation: str, tmp_path: Path) -> None:
    space = HubNasBench201(stem_out_channels=4, num_modules_per_stack=1)
    strategy = FixedPattern(Random(), pattern, budget=2)
    networks = search(space, strategy, tmp_path)
    assert {Edge(0, 1, operation), Edge(0, 2, operation)} == set(strategy.fixed.edges["cell"])
    assert len(networks) == TRIALS
    assert all({Edge(0, 1, operation), Edge(0, 2, operation)} <= network["cell"] for network in networks)
    assert len({edge for network in networks for edge in network["cell"] if edge.target == 3}) > 3


def test_an_operation_that_the_space_lacks_is_named() -> None:
    strategy = FixedPattern(Random(), "demotion-normal", budget=1)
    message = r"edge \(1, 3, dil_conv_5x5\): the space nni.nas.hub.pytorch.nasnet.ENAS has no operation 'dil_conv_5x5'"
    with pytest.raises(PatternError, match=message):
        strategy.fit_to(ENAS(**SMALL))


def test_a_space_without_cells_is_named_with_its_module() -> None:
    with pytest.raises(
        PatternError, match=r"nni\.nas\.hub\.pytorch\.mobilenetv3\.MobileNetV3Space takes no cell patterns"
    ):
        FixedPattern(Random(), "demotion-normal").fit_to(MobileNetV3Space())


@pytest.mark.parametrize(
    "wrap", [lambda inner: inner, lambda inner: FixedPattern(inner, "demotion-reduction", budget=2)]
)
@pytest.mark.parametrize("make", [lambda: GDAS(epochs=1), ParetoEvolution])
def test_a_refused_search_ends_in_one_traceback(
    make: Any, wrap: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    strategy = wrap(make())
    with caplog.at_level(logging.ERROR), pytest.raises(ConfigError):
        search(nasnet.DARTS(**SMALL), strategy, tmp_path)
    assert [record for record in caplog.records if record.exc_info] == []
    make().load_state_dict(make().state_dict())  # what NNI saved of it stands in nobody's way
