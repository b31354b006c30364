"""FixedPattern around NNI's strategies, in NNI's own experiment with the sequential engine."""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import Any

import nni
import pytest
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.experiment import NasExperiment, NasExperimentConfig
from nni.nas.hub.pytorch import MobileNetV3Space

from nni_privacy.cells.darts import Genotype
from nni_privacy.errors import PatternError
from nni_privacy.patterns import load_pattern
from nni_privacy.search_spaces import DARTS
from nni_privacy.strategies import FixedPattern, build_strategy, strategy_names
from nni_privacy.strategies.registry import ONE_SHOT

OPTIONS: dict[str, dict[str, Any]] = {
    "random": {},
    "regularized_evolution": {"population_size": 8, "sample_size": 3, "mutation_prob": 0.2},
    "tpe": {"startup_trials": 10},
    "grid_search": {},
    "pareto": {"population_size": 8},
}
PROPOSALS = 30
SMALL = {"channels": 1, "cells": 3, "in_channels": 1}


def score(model: DARTS) -> None:
    """Reports a number that depends on the architecture only; nothing is trained."""
    text = str(model.genotype)
    nni.report_final_result({"default": sum(map(ord, text)) % 101 / 101, "architecture": text})


def search(
    strategy: Any, folder: Path, *, trials: int, model_format: str = "simplified"
) -> tuple[NasExperiment, list[Genotype]]:
    config = NasExperimentConfig("sequential", model_format, "local")
    config.max_trial_number = trials
    config.experiment_working_directory = str(folder)
    nni.silence_stdout()
    experiment = NasExperiment(DARTS(**SMALL), FunctionalEvaluator(score), strategy, config)
    experiment.run()
    experiment.stop()
    return experiment, [Genotype.from_sample(model.sample) for model in experiment._engine.list_models()]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """NNI's TPE sleeps a second after each proposal."""
    monkeypatch.setattr("nni.nas.strategy.hpo.time.sleep", lambda _seconds: None)


def test_every_registered_strategy_is_covered() -> None:
    assert set(strategy_names()) - set(ONE_SHOT) == set(OPTIONS)  # those are in test_conformance.py


@pytest.mark.parametrize("model_format", ["simplified", "raw"])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_proposal_has_the_fixed_edges(name: str, model_format: str, tmp_path: Path) -> None:
    pattern = load_pattern("demotion-reduction")
    strategy = FixedPattern(build_strategy(name, OPTIONS[name], seed=0), pattern, budget=4)
    _, found = search(strategy, tmp_path, trials=PROPOSALS, model_format=model_format)
    assert len(found) == PROPOSALS
    assert all(set(pattern.edges[:4]) <= set(genotype.reduction.edges) for genotype in found)
    assert len(set(found)) >= 2
    for genotype in found:
        for cell in (genotype.normal, genotype.reduction):
            assert all(len({edge.source for edge in cell.into(target)}) == 2 for target in range(2, 6))


@pytest.mark.parametrize("name", OPTIONS)
def test_the_free_slot_of_a_half_fixed_node_is_searched(name: str, tmp_path: Path) -> None:
    pattern = load_pattern("promotion-normal")  # its first edges fix one in-edge each of nodes 4, 5 and 2
    strategy = FixedPattern(build_strategy(name, OPTIONS[name], seed=1), pattern, budget=3)
    _, found = search(strategy, tmp_path, trials=PROPOSALS)
    assert all(set(pattern.edges[:3]) <= set(genotype.normal.edges) for genotype in found)
    if name != "grid_search":  # whose first candidates differ in the last nodes only
        assert len({genotype.normal.into(5) for genotype in found}) > 1


@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_seed_proposes_the_same(name: str, tmp_path: Path) -> None:
    runs = []
    for run in range(2):
        strategy = FixedPattern(build_strategy(name, OPTIONS[name], seed=3), "demotion-reduction", budget=2)
        runs.append(search(strategy, tmp_path / str(run), trials=12)[1])
    assert runs[0] == runs[1]


def test_dual_patterns_fix_both_cells(tmp_path: Path) -> None:
    pattern = load_pattern("demotion", cells="dual")
    _, found = search(FixedPattern(build_strategy("random", seed=0), pattern, budget=3), tmp_path, trials=5)
    for genotype in found:
        assert set(pattern.edges_of("normal")[:3]) <= set(genotype.normal.edges)
        assert set(pattern.edges_of("reduction")[:3]) <= set(genotype.reduction.edges)


def test_budget_zero_is_the_unconstrained_search(tmp_path: Path) -> None:
    free = search(build_strategy("random", seed=5), tmp_path / "free", trials=8)[1]
    fixed = FixedPattern(build_strategy("random", seed=5), "demotion-reduction", budget=0)
    assert search(fixed, tmp_path / "fixed", trials=8)[1] == free


@pytest.mark.parametrize("name", ["random", "regularized_evolution"])
def test_its_state_survives_a_checkpoint(name: str, tmp_path: Path) -> None:
    def make() -> FixedPattern:
        return FixedPattern(build_strategy(name, OPTIONS[name], seed=7), "demotion-reduction", budget=4)

    whole = search(make(), tmp_path / "whole", trials=16)[1]
    first = make()
    experiment, start = search(first, tmp_path / "first", trials=10)
    assert start == whole[:10]
    state = first.state_dict()

    second = make()
    space, engine = experiment._exec_model_space, type(experiment._engine)(max_model_count=6)
    second.initialize(space, engine)
    second.load_state_dict(state)
    second.run()
    rest = [Genotype.from_sample(model.sample) for model in engine.list_models()]
    assert len(rest) == 6
    assert not set(rest) & set(start)
    pattern = load_pattern("demotion-reduction").edges[:4]
    assert all(set(pattern) <= set(genotype.reduction.edges) for genotype in rest)
    if name == "random":
        # NNI's random search draws an architecture before it asks for the budget: the one that did not fit is skipped.
        assert rest[:5] == whole[11:]


def test_a_checkpoint_of_another_pattern_is_refused(tmp_path: Path) -> None:
    strategy = FixedPattern(build_strategy("random", seed=0), "demotion-reduction", budget=4)
    search(strategy, tmp_path, trials=1)
    other = FixedPattern(build_strategy("random", seed=0), "demotion-reduction", budget=3)
    with pytest.raises(PatternError, match="checkpoint"):
        other.load_state_dict(strategy.state_dict())


def test_what_cannot_be_constrained_is_refused_before_any_trial(tmp_path: Path) -> None:
    config = NasExperimentConfig("sequential", "simplified", "local")
    config.max_trial_number = 1
    config.experiment_working_directory = str(tmp_path)
    strategy = FixedPattern(build_strategy("random", seed=0), "demotion-reduction", budget=4)
    experiment = NasExperiment(MobileNetV3Space(), FunctionalEvaluator(score), strategy, config)
    with pytest.raises(PatternError, match="takes no cell patterns"):
        experiment.run()
    atexit.unregister(experiment.stop)
    with pytest.raises(PatternError, match="budget"):
        FixedPattern(build_strategy("random", seed=0), "demotion-reduction", budget=8)


def test_a_pattern_whose_nodes_the_space_lacks_is_refused(tmp_path: Path) -> None:
    from nni.nas.space import SimplifiedModelSpace

    from nni_privacy.cells.darts import Edge
    from nni_privacy.patterns import CellPattern

    pattern = CellPattern("far", "normal", "demotion", (Edge(0, 5, "skip_connect"),))
    strategy = FixedPattern(build_strategy("random", seed=0), pattern, budget=1)
    space = SimplifiedModelSpace.from_model(DARTS(nodes=2, **SMALL))
    with pytest.raises(PatternError, match="too few intermediate nodes"):
        strategy.initialize(space, object())
