"""The evaluator that predicts: what it reports, alone, in NNI's experiments, and from a configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nni
import numpy as np
import pytest
import yaml
from nni.nas.experiment import NasExperiment, NasExperimentConfig
from nni.nas.space import RawFormatModelSpace, SimplifiedModelSpace
from support_search import SMALL, Search
from surrogate.samples import planted_auc, random_codes

from nni_privacy import PredictedEvaluator, PrivacyExperiment, load_pattern
from nni_privacy.cells.darts import Genotype
from nni_privacy.commands.main import main
from nni_privacy.config import parse_config
from nni_privacy.errors import ConfigError, DataError, GenotypeError
from nni_privacy.search_spaces import DARTS, NasBench201
from nni_privacy.strategies import FixedPattern, build_strategy
from nni_privacy.surrogate import build_surrogate, load_surrogate, read_mia_data

TINY = {"channels": 1, "cells": 3, "in_channels": 1}
PREDICTED: dict[str, Any] = {
    "name": "few",
    "seed": 3,
    "search_space": {"name": "darts"},
    "pattern": {"name": "demotion", "cells": "reduction", "budget": 4},
    "strategy": {"name": "regularized_evolution", "population_size": 8, "sample_size": 4, "mutation_prob": 0.2},
    "evaluator": {"kind": "predicted"},
    "trials": 40,
}


def own_surrogate(folder: Path, nodes: int = 4) -> Path:
    codes = random_codes(60, nodes=nodes)
    build_surrogate("ridge").fit(codes, planted_auc(codes), seed=0).save(folder / f"own{nodes}.npz")
    return folder / f"own{nodes}.npz"


@pytest.mark.parametrize("model_format", [SimplifiedModelSpace, RawFormatModelSpace])
def test_it_reports_what_the_surrogate_predicts(model_format: Any, tmp_path: Path) -> None:
    path = own_surrogate(tmp_path)
    for surrogate, given in ((load_surrogate(), None), (load_surrogate(path), path)):
        evaluator = PredictedEvaluator(given)
        model = model_format.from_model(DARTS(**TINY), evaluator).random(random_state=np.random.RandomState(1))
        with evaluator.mock_runtime(model):
            metrics = model.execute()
        genotype = Genotype.from_sample(model.sample)
        mean, sd = surrogate.predict_with_uncertainty([genotype])
        assert set(metrics) == {"default", "predicted_mia_auc", "predicted_mia_auc_sd", "seconds", "architecture"}
        assert metrics["predicted_mia_auc"] == mean[0] == -metrics["default"]
        assert metrics["predicted_mia_auc_sd"] == sd[0]
        assert metrics["architecture"] == str(genotype)
        json.dumps(metrics, allow_nan=False)


def test_a_model_is_predicted_without_the_space_too() -> None:
    evaluator, space = PredictedEvaluator(), DARTS(**TINY)
    model = SimplifiedModelSpace.from_model(space, evaluator).random(random_state=np.random.RandomState(0))
    network = model.executable_model()
    with evaluator.mock_runtime(model):
        assert evaluator.evaluate(network)["predicted_mia_auc"] == load_surrogate().predict([network.genotype])[0]


def test_it_survives_the_way_to_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = own_surrogate(tmp_path)
    monkeypatch.chdir(tmp_path)
    evaluator = PredictedEvaluator(path.name)
    monkeypatch.chdir("/")
    model = SimplifiedModelSpace.from_model(DARTS(**TINY), evaluator).random()
    loaded = nni.load(nni.dump(model))
    assert loaded.evaluator == evaluator and hash(loaded.evaluator) == hash(evaluator)
    assert loaded.evaluator != PredictedEvaluator()
    with loaded.evaluator.mock_runtime(loaded):
        expected = load_surrogate(path).predict([Genotype.from_sample(model.sample)])[0]
        assert loaded.execute()["predicted_mia_auc"] == expected


@pytest.mark.parametrize("model_format", ["simplified", "raw"])
@pytest.mark.parametrize("name", ["random", "regularized_evolution"])
def test_it_works_in_a_plain_experiment_with_the_sequential_engine(
    name: str, model_format: str, tmp_path: Path
) -> None:
    config = NasExperimentConfig("sequential", model_format, "local")
    config.max_trial_number = 12
    config.experiment_working_directory = str(tmp_path)
    nni.silence_stdout()
    pattern = load_pattern("demotion-reduction")
    strategy = FixedPattern(build_strategy(name, seed=0), pattern, budget=4)
    experiment = NasExperiment(DARTS(**TINY), PredictedEvaluator(), strategy, config)
    experiment.run()
    experiment.stop()
    models = list(experiment._engine.list_models())
    genotypes = [Genotype.from_sample(model.sample) for model in models]
    np.testing.assert_allclose([-model.metric for model in models], load_surrogate().predict(genotypes), atol=1e-12)
    assert len(models) == 12
    assert all(set(pattern.edges[:4]) <= set(genotype.reduction.edges) for genotype in genotypes)


def test_what_cannot_be_predicted_is_refused_before_anything_starts(tmp_path: Path) -> None:
    strategy = build_strategy("random", seed=0)
    for space, message in (
        (NasBench201(channels=1, cells=1), "DARTS space only, not of NasBench201"),
        (DARTS(nodes=3, **TINY), "have 3 intermediate nodes; those it learned from had 4"),
    ):
        with pytest.raises(ConfigError, match=message):
            PrivacyExperiment(space, PredictedEvaluator(), strategy, output=tmp_path / "run")
    assert not list(tmp_path.iterdir())
    PredictedEvaluator(own_surrogate(tmp_path, nodes=3)).check_space(
        SimplifiedModelSpace.from_model(DARTS(nodes=3, **TINY))
    )
    with pytest.raises(DataError, match="nowhere"):
        PredictedEvaluator("nowhere.npz")
    with pytest.raises(GenotypeError, match="DARTS space only"):
        PredictedEvaluator().evaluate(object())


def run(content: dict[str, Any], folder: Path) -> tuple[int, Path]:
    config = folder / "search.yaml"
    config.write_text(yaml.safe_dump(content))
    return main(["search", str(config), "--output", str(folder / "run")]), folder / "run"


def test_a_configuration_runs_in_this_process_and_says_predicted_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = run(PREDICTED, tmp_path)
    assert code == 0
    printed = capsys.readouterr().out
    assert "40 trials are PREDICTED" in printed and "lowest PREDICTED AUC" in printed and "8080" not in printed

    trials = [json.loads(line) for line in (output / "trials.jsonl").read_text().splitlines()]
    genotypes = [Genotype.parse(trial["architecture"]) for trial in trials]
    mean, sd = load_surrogate().predict_with_uncertainty(genotypes)
    assert len(trials) == len(set(genotypes)) == 40
    for trial, auc, error in zip(trials, mean, sd, strict=True):
        assert trial["metrics"] == pytest.approx({"predicted_mia_auc": auc, "predicted_mia_auc_sd": error}, abs=1e-12)
    pattern = set(load_pattern("demotion-reduction").edges[:4])
    assert all(pattern <= set(genotype.reduction.edges) for genotype in genotypes)
    assert mean[:8].mean() > mean[-8:].mean()  # evolution goes for the lowest

    config = yaml.safe_load((output / "config.yaml").read_text())
    assert config["evaluator"] == {"kind": "predicted", "surrogate": None} and config["dataset"] is None
    assert parse_config(config).resolved() == config

    page = (output / "report.html").read_text()
    assert "PREDICTED, NOT MEASURED" in page and f"{mean.min():.4f}" in page
    assert "attack AUC" not in page and "accuracy</div>" not in page
    assert main(["report", str(output)]) == 0
    assert (output / "report.html").read_text() == page

    # What is predicted never becomes training data.
    with pytest.raises(DataError, match="0 "):
        read_mia_data(output)


def test_the_same_seed_gives_the_same_trials(tmp_path: Path) -> None:
    found = []
    for name in "ab":
        (tmp_path / name).mkdir()
        _, output = run({**PREDICTED, "trials": 15}, tmp_path / name)
        found.append([json.loads(line)["architecture"] for line in (output / "trials.jsonl").read_text().splitlines()])
    assert found[0] == found[1]


def test_pareto_takes_the_predicted_metric(tmp_path: Path) -> None:
    strategy = {"name": "pareto", "objectives": {"predicted_mia_auc": "minimize"}, "population_size": 4}
    code, output = run({**PREDICTED, "strategy": strategy, "trials": 10}, tmp_path)
    assert code == 0 and len((output / "trials.jsonl").read_text().splitlines()) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluator": {"kind": "predicted", "recipe": {"epochs": 3}}}, "evaluator.recipe: nothing is trained"),
        ({"evaluator": {"kind": "guessed"}}, "evaluator.kind: 'guessed'"),
        ({"evaluator": {"surrogate": "x.npz"}}, "evaluator.surrogate: 'x.npz'; only kind: predicted has one"),
        ({"evaluator": {"kind": "predicted", "surrogate": "nowhere.npz"}}, "nowhere.npz: cannot be read"),
        ({"evaluator": {"kind": "measured"}}, "dataset: missing"),
        ({"strategy": {"name": "gdas"}, "trials": 1}, "strategy.name: gdas trains a supernet"),
        ({"strategy": {"name": "pareto"}}, "no trial would report 'accuracy'"),
        ({"search_space": {"name": "nasbench201"}, "pattern": None}, "DARTS space only, not of NasBench201"),
        ({"search_space": {"name": "darts", "nodes": 5}}, "5 intermediate nodes"),
    ],
)
def test_bad_configurations_are_one_line_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    code, output = run({**PREDICTED, **change}, tmp_path)
    captured = capsys.readouterr()
    assert code == 2 and message in captured.err and captured.err.count("\n") == 1
    assert not output.exists()


@pytest.mark.slow
def test_trials_of_the_training_service_report_predictions(tmp_path: Path) -> None:
    script = """
from pathlib import Path
from nni_privacy import PredictedEvaluator, PrivacyExperiment
from nni_privacy.search_spaces import DARTS
from nni_privacy.strategies import build_strategy
import sys
experiment = PrivacyExperiment(DARTS(), PredictedEvaluator(), build_strategy("random", seed=0),
                               output=Path("run"), trials=2)
experiment.run(int(sys.argv[1]))
experiment.stop()
"""
    import os
    import subprocess
    import sys

    from support_search import free_port

    (tmp_path / "run.py").write_text(script)
    environment = dict(os.environ, HOME=str(tmp_path))
    subprocess.run([sys.executable, "run.py", str(free_port())], cwd=tmp_path, env=environment, check=True, timeout=240)
    trials = [json.loads(line) for line in (tmp_path / "run" / "trials.jsonl").read_text().splitlines()]
    assert [trial["status"] for trial in trials] == ["succeeded"] * 2
    for trial in trials:
        expected = load_surrogate().predict([Genotype.parse(trial["architecture"])])[0]
        assert trial["metrics"]["predicted_mia_auc"] == pytest.approx(expected, abs=1e-12)
        assert "mia_auc" not in trial["metrics"]


@pytest.mark.slow
def test_a_filtered_search_trains_only_what_passes(tmp_path: Path) -> None:
    search = Search(tmp_path, {**SMALL, "filter": {"quantile": 0.3}, "trials": 3}, "--exit-when-done")
    assert search.wait() == 0, search.text
    trained = load_surrogate().predict([Genotype.parse(trial["architecture"]) for trial in search.trials])
    lines = (search.output / "search" / "skipped.jsonl").read_text().splitlines()
    skipped = [json.loads(line)["predicted_mia_auc"] for line in lines]
    assert len(trained) == 3 and skipped and max(trained) < min(skipped)
    assert all("mia_auc" in trial["metrics"] for trial in search.trials)
    assert "search/skipped.jsonl" in (search.output / "report.html").read_text()
