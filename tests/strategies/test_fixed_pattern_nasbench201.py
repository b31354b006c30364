"""FixedPattern on the NAS-Bench-201 space, around NNI's strategies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nni
import pytest
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.experiment import NasExperiment, NasExperimentConfig

from nni_privacy.cells.nasbench201 import NasBench201Genotype
from nni_privacy.errors import PatternError
from nni_privacy.nni_runtime.experiment import PrivacyExperiment
from nni_privacy.patterns import DualPattern, load_pattern
from nni_privacy.search_spaces import DARTS, NasBench201
from nni_privacy.strategies import FixedPattern, build_strategy

OPTIONS: dict[str, dict[str, Any]] = {
    "random": {},
    "regularized_evolution": {"population_size": 8, "sample_size": 3, "mutation_prob": 0.2},
    "tpe": {"startup_trials": 10},
    "grid_search": {},
}
SMALL = {"channels": 1, "cells": 1, "in_channels": 1}


def score(model: NasBench201) -> None:
    """Reports a number that depends on the architecture only; nothing is trained."""
    text = str(model.genotype)
    nni.report_final_result({"default": sum(map(ord, text)) % 101 / 101, "architecture": text})


def search(strategy: Any, folder: Path, *, model_format: str = "simplified") -> list[NasBench201Genotype]:
    config = NasExperimentConfig("sequential", model_format, "local")
    config.max_trial_number = 20
    config.experiment_working_directory = str(folder)
    nni.silence_stdout()
    experiment = NasExperiment(NasBench201(**SMALL), FunctionalEvaluator(score), strategy, config)
    experiment.run()
    experiment.stop()
    return [NasBench201Genotype.from_sample(model.sample) for model in experiment._engine.list_models()]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """NNI's TPE sleeps a second after each proposal."""
    monkeypatch.setattr("nni.nas.strategy.hpo.time.sleep", lambda _seconds: None)


@pytest.mark.parametrize("model_format", ["simplified", "raw"])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_proposal_has_the_fixed_edges(name: str, model_format: str, tmp_path: Path) -> None:
    strategy = FixedPattern(build_strategy(name, OPTIONS[name], seed=0), "demotion-reduction", budget=2)
    found = search(strategy, tmp_path, model_format=model_format)
    assert len(found) == 20 and len(set(found)) > 2
    for genotype in found:
        assert genotype.into(1)[0].op == genotype.into(2)[0].op == "avg_pool_3x3"
        assert strategy.fixed.missing_from(genotype) == []
    assert strategy.state_dict()["fixed"] == {"cell": [[0, 1, "avg_pool_3x3"], [0, 2, "avg_pool_3x3"]]}


def test_a_checkpoint_of_the_other_space_is_refused() -> None:
    darts = FixedPattern(build_strategy("random", seed=0), "demotion-reduction", budget=2)
    nasbench201 = FixedPattern(build_strategy("random", seed=0), "demotion-reduction", budget=2)
    assert darts.fit_to(DARTS(channels=1, cells=3)).as_lists()["reduction"]
    nasbench201.fit_to(NasBench201(**SMALL))
    with pytest.raises(PatternError, match="checkpoint"):
        nasbench201.load_state_dict({"fixed": darts.fixed.as_lists(), "strategy": {}})


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    mixed = DualPattern(load_pattern("demotion-normal"), load_pattern("promotion-reduction"))
    strategy = FixedPattern(build_strategy("random", seed=0), mixed, budget=2)
    with pytest.raises(PatternError, match="must agree"):
        PrivacyExperiment(NasBench201(**SMALL), FunctionalEvaluator(score), strategy, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_experiment_knows_what_is_fixed_before_it_starts(tmp_path: Path) -> None:
    strategy = FixedPattern(build_strategy("random", seed=0), "promotion-normal", budget=4)
    experiment = PrivacyExperiment(
        NasBench201(**SMALL), FunctionalEvaluator(score), strategy, output=tmp_path / "run", trials=1
    )
    fixed = experiment._environment()["fixed_edges"]
    assert json.loads(json.dumps(fixed)) == {"cell": [[0, node, "nor_conv_3x3"] for node in (1, 2, 3)]}
