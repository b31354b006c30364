"""ParetoEvolution in NNI's own experiment with the sequential engine, and what a configuration may ask of it."""

from __future__ import annotations

import json
from pathlib import Path

import nni
import pytest
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.experiment import NasExperiment, NasExperimentConfig
from nni.nas.strategy import Random

from nni_privacy.cells.darts import Genotype
from nni_privacy.commands.main import main
from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces import DARTS
from nni_privacy.strategies import ParetoEvolution, registry
from nni_privacy.strategies.objectives import check_metrics_given
from nni_privacy.strategies.registry import StrategyOptions


def score(model: DARTS) -> None:
    text = str(model.genotype)
    share = text.count("conv") / 16
    nni.report_final_result({"default": share, "accuracy": share, "mia_auc": 0.5 + share / 3 + len(text) / 1e5})


def search(strategy: ParetoEvolution, folder: Path, *, trials: int, model_format: str) -> tuple[NasExperiment, list]:
    config = NasExperimentConfig("sequential", model_format, "local")
    config.max_trial_number = trials
    config.experiment_working_directory = str(folder)
    nni.silence_stdout()
    space = DARTS(channels=1, cells=3, in_channels=1)
    experiment = NasExperiment(space, FunctionalEvaluator(score), strategy, config)
    experiment.run()
    experiment.stop()
    return experiment, [Genotype.from_sample(model.sample) for model in experiment._engine.list_models()]


@pytest.mark.parametrize("model_format", ["simplified", "raw"])
def test_a_plain_experiment_fills_a_front(model_format, tmp_path):
    strategy = ParetoEvolution(population_size=6)
    _, found = search(strategy, tmp_path, trials=15, model_format=model_format)
    assert len(set(found)) == 15
    front = [tuple(values.values()) for _, values in strategy.front()]
    assert front and not any(
        a >= other_a and u <= other_u and (a, u) != (other_a, other_u) for a, u in front for other_a, other_u in front
    )


@pytest.mark.parametrize("model_format", ["simplified", "raw"])
def test_its_state_goes_on_in_another_experiment(model_format, tmp_path):
    whole = search(ParetoEvolution(population_size=4), tmp_path / "whole", trials=14, model_format=model_format)[1]
    first = ParetoEvolution(population_size=4)
    experiment, start = search(first, tmp_path / "first", trials=9, model_format=model_format)
    state = json.loads(json.dumps(first.state_dict()))
    second = ParetoEvolution(population_size=4)
    engine = type(experiment._engine)(max_model_count=5)
    second.initialize(experiment._exec_model_space, engine)
    second.load_state_dict(state)
    assert json.loads(json.dumps(second.state_dict())) == state
    second.run()
    assert start + [Genotype.from_sample(model.sample) for model in engine.list_models()] == whole


def test_metrics_that_the_attacks_give_are_accepted():
    check_metrics_given(["accuracy", "mia_auc", "gap_mia_auc_high"], ["black_box_partial", "gap"])


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("label_only_mia_auc", "evaluator.attacks black_box_partial, gap"),
        ("black_box_partial_mia_auc", "no prefix, write 'mia_auc'"),
    ],
)
def test_metrics_that_they_do_not_give_are_one_clear_line(name, wanted):
    with pytest.raises(ConfigError, match=wanted) as caught:
        check_metrics_given([name], ["black_box_partial", "gap"])
    assert name in str(caught.value) and "\n" not in str(caught.value)


class OwnOptions(StrategyOptions):
    objective: str = "mia_aucc"

    def metrics_read(self):
        return {"objective": [self.objective]}


def test_the_metrics_that_any_strategy_reads_are_asked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(registry, "_STRATEGIES", dict(registry._STRATEGIES))
    registry.register_strategy("own_search", OwnOptions)(lambda options, seed: Random(seed=seed))
    with pytest.raises(ConfigError, match="strategy 'own_search' is registered already"):
        registry.register_strategy("own_search", OwnOptions)(lambda options, seed: Random(seed=seed))
    check_refused(tmp_path, capsys, {"name": "own_search"}, "strategy.objective: no trial would report 'mia_aucc'")


def test_the_command_refuses_such_an_objective_before_anything_starts(tmp_path, capsys):
    objectives = {"accuracy": "maximize", "label_only_mia_auc": "minimize"}
    check_refused(tmp_path, capsys, {"name": "pareto", "objectives": objectives}, "label_only_mia_auc")


def check_refused(tmp_path, capsys, strategy, words):
    config = tmp_path / "search.yaml"
    content = {
        "name": "refused",
        "dataset": {"name": "digits"},
        "search_space": {"name": "darts", "channels": 4, "cells": 3},
        "strategy": strategy,
        "trials": 2,
    }
    config.write_text(json.dumps(content))  # JSON is YAML
    code = main(["search", str(config), "--output", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1 and words in error
    assert not (tmp_path / "run").exists()
