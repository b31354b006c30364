"""PredictedFilter around strategies, in NNI's own experiment with the sequential engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nni
import numpy as np
import pytest
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.execution.event import ModelEventType
from nni.nas.experiment import NasExperiment, NasExperimentConfig
from nni.nas.space import RawFormatModelSpace, SimplifiedModelSpace

from nni_privacy import PredictedEvaluator, PrivacyExperiment, load_pattern
from nni_privacy.cells.darts import Genotype
from nni_privacy.commands.build import build_search_strategy
from nni_privacy.config import parse_config
from nni_privacy.errors import ConfigError, PatternError
from nni_privacy.search_spaces import DARTS, NasBench201
from nni_privacy.strategies import GDAS, FixedPattern, PredictedFilter, build_strategy
from nni_privacy.strategies.choice_codes import ChoiceCodes, random_codes
from nni_privacy.surrogate import load_surrogate
from nni_privacy.surrogate.search import search_predicted

SMALL = {"channels": 1, "cells": 3, "in_channels": 1}
BOUND = 0.782
OPTIONS: dict[str, dict[str, Any]] = {
    "random": {},
    "regularized_evolution": {"population_size": 6, "sample_size": 3, "mutation_prob": 0.2},
    "tpe": {"startup_trials": 5},
    "grid_search": {},
    "pareto": {"population_size": 6, "objectives": {"default": "maximize"}},
}


def score(model: DARTS) -> None:
    """Reports a number that depends on the architecture only; nothing is trained."""
    nni.report_final_result({"default": sum(map(ord, str(model.genotype))) % 101 / 101})


def predict(genotypes: list[Genotype]) -> Any:
    return load_surrogate().predict(genotypes)


def search(
    strategy: Any, *, trials: int, space: Any = None, model_format: Any = SimplifiedModelSpace
) -> tuple[SequentialExecutionEngine, list[Genotype]]:
    nni.silence_stdout()
    engine = SequentialExecutionEngine(max_model_count=trials)
    strategy(model_format.from_model(space or DARTS(**SMALL), FunctionalEvaluator(score)), engine)
    return engine, [Genotype.from_sample(model.sample) for model in engine.list_models()]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """NNI's TPE sleeps a second after each proposal."""
    monkeypatch.setattr("nni.nas.strategy.hpo.time.sleep", lambda _seconds: None)


@pytest.mark.parametrize("model_format", [SimplifiedModelSpace, RawFormatModelSpace])
def test_it_trains_what_picking_by_hand_would(model_format: Any, tmp_path: Path) -> None:
    everything = search(build_strategy("random", seed=2), trials=60, model_format=model_format)[1]
    passing = [one for one, auc in zip(everything, predict(everything), strict=True) if auc < BOUND]
    assert 5 < len(passing) < 55
    log = tmp_path / "search" / "skipped.jsonl"
    strategy = PredictedFilter(build_strategy("random", seed=2), below=BOUND, log=log)
    engine, trained = search(strategy, trials=len(passing), model_format=model_format)
    assert trained == passing
    assert strategy.accepted == len(passing) and strategy.bound == BOUND
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows) == strategy.skipped
    skipped = [Genotype.parse(row["architecture"]) for row in rows]
    before_the_last = [one for one in everything[: everything.index(passing[-1])] if one not in passing]
    assert skipped[: len(before_the_last)] == before_the_last
    np.testing.assert_allclose([row["predicted_mia_auc"] for row in rows], predict(skipped), atol=1e-12)
    assert all(model.metric is not None for model in engine.list_models())


@pytest.mark.parametrize(
    "model_format", [SimplifiedModelSpace, pytest.param(RawFormatModelSpace, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", OPTIONS)
def test_every_strategy_goes_on_after_what_is_skipped(name: str, model_format: Any) -> None:
    inner = build_strategy(name, OPTIONS[name], seed=0)
    strategy = FixedPattern(PredictedFilter(inner, quantile=0.4), "demotion-reduction", budget=4)
    _, trained = search(strategy, trials=15, model_format=model_format)
    edges = set(load_pattern("demotion-reduction").edges[:4])
    assert len(trained) == 15 and all(edges <= set(genotype.reduction.edges) for genotype in trained)
    chosen = strategy.strategy
    assert predict(trained).max() < chosen.bound and chosen.accepted == 15 and chosen.skipped > 0
    population = getattr(inner, "_population", ())
    assert len(population) == (6 if name in ("regularized_evolution", "pareto") else 0)


def test_a_skipped_architecture_is_no_trial_for_anybody_else() -> None:
    ended: list[Any] = []
    engine = SequentialExecutionEngine(max_model_count=8)
    engine.register_model_event_callback(ModelEventType.TrainingEnd, ended.append)
    inner = build_strategy("regularized_evolution", OPTIONS["regularized_evolution"], seed=1)
    strategy = PredictedFilter(inner, quantile=0.3)
    strategy(SimplifiedModelSpace.from_model(DARTS(**SMALL), FunctionalEvaluator(score)), engine)
    assert len(ended) == 8 and strategy.skipped > 0 and not inner._running_models
    assert not engine._callbacks[ModelEventType.FinalMetric]
    assert engine._callbacks[ModelEventType.TrainingEnd] == [ended.append]  # nothing of ours stays behind
    assert len(list(strategy.list_models())) == 8


@pytest.mark.parametrize("pattern", [None, "demotion-reduction"])
def test_the_quantile_is_that_of_the_searched_space(pattern: str | None) -> None:
    inner = PredictedFilter(build_strategy("random", seed=0), quantile=0.25)
    strategy = inner if pattern is None else FixedPattern(inner, pattern, budget=4)
    search(strategy, trials=2)
    given = None if pattern is None else load_pattern(pattern).first(4)
    found = search_predicted(load_surrogate(), count=20_000, pattern=given, seed=9)
    assert (found.predicted_mia_auc < inner.bound).mean() == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_bound_is_what_it_ever_was(seed: int) -> None:
    """A run of an older version that is resumed has the same one, to the last bit."""
    space = SimplifiedModelSpace.from_model(DARTS(**SMALL), FunctionalEvaluator(score))
    choices, generator = ChoiceCodes.of(space), np.random.default_rng(seed)
    drawn = [choices.decode(random_codes(choices.counts, generator)) for _ in range(2000)]
    predicted = predict([Genotype.from_sample(sample) for sample in drawn])
    for share in (0.01, 0.1, 0.25, 0.3, 0.5, 0.9):
        strategy = PredictedFilter(build_strategy("random", seed=0), quantile=share, seed=seed)
        strategy.initialize(space, SequentialExecutionEngine(max_model_count=1))
        assert strategy.bound == float(np.quantile(predicted, share))


def test_a_pattern_may_be_inside_too(tmp_path: Path) -> None:
    strategy = PredictedFilter(FixedPattern(build_strategy("random", seed=0), "demotion-reduction"), below=0.79)
    experiment = PrivacyExperiment(DARTS(**SMALL), PredictedEvaluator(), strategy, output=tmp_path / "run")
    assert len(experiment._fixed_edges["reduction"]) == 4
    _, trained = search(strategy, trials=5)
    edges = set(load_pattern("demotion-reduction").edges[:4])
    assert all(edges <= set(genotype.reduction.edges) for genotype in trained)
    assert len(strategy.searched_space()["reduction_2_sources"].values) == 1


def test_too_many_rejections_are_one_clear_error() -> None:
    strategy = PredictedFilter(build_strategy("random", seed=0), below=0.5, max_rejections=20)
    with pytest.raises(ConfigError, match=r"20 proposals in a row have a predicted AUC of .*, none below 0.5000"):
        search(strategy, trials=3)
    assert strategy.skipped == 20 and strategy.accepted == 0


@pytest.mark.parametrize("name", ["random", "pareto"])
def test_its_state_survives_a_checkpoint(name: str) -> None:
    def make() -> FixedPattern:
        inner = PredictedFilter(build_strategy(name, OPTIONS[name], seed=7), quantile=0.5)
        return FixedPattern(inner, "demotion-reduction", budget=4)

    whole = search(make(), trials=16)[1]
    first = make()
    start = search(first, trials=10)[1]
    assert start == whole[:10]
    second, engine = make(), SequentialExecutionEngine(max_model_count=6)
    second.initialize(SimplifiedModelSpace.from_model(DARTS(**SMALL), FunctionalEvaluator(score)), engine)
    second.load_state_dict(first.state_dict())
    assert (second.strategy.accepted, second.strategy.skipped) == (10, first.strategy.skipped)
    second.run()
    rest = [Genotype.from_sample(model.sample) for model in engine.list_models()]
    assert len(rest) == 6 and not set(rest) & set(start)
    assert predict(rest).max() < second.strategy.bound
    if name == "pareto":
        assert rest == whole[10:]
    other = PredictedFilter(build_strategy(name, OPTIONS[name], seed=7), below=0.77)
    with pytest.raises(ConfigError, match="checkpoint"):
        other.load_state_dict(first.strategy.state_dict())


def test_it_works_in_a_plain_experiment(tmp_path: Path) -> None:
    config = NasExperimentConfig("sequential", "simplified", "local")
    config.max_trial_number = 5
    config.experiment_working_directory = str(tmp_path)
    nni.silence_stdout()
    strategy = PredictedFilter(build_strategy("random", seed=0), below=BOUND)
    experiment = NasExperiment(DARTS(**SMALL), FunctionalEvaluator(score), strategy, config)
    experiment.run()
    experiment.stop()
    models = list(experiment._engine.list_models())
    assert len(models) == 5 and predict([Genotype.from_sample(model.sample) for model in models]).max() < BOUND


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    random = build_strategy("random", seed=0)
    for options in ({}, {"below": 0.7, "quantile": 0.1}, {"below": 1.5}, {"quantile": 0}, {"below": True}):
        with pytest.raises(ConfigError):
            PredictedFilter(random, **options)
    with pytest.raises(ConfigError, match="max_rejections"):
        PredictedFilter(random, below=0.7, max_rejections=0)
    with pytest.raises(ConfigError, match="one-shot"):
        PredictedFilter(GDAS(), below=0.7)
    for space in (NasBench201(channels=1, cells=1), DARTS(nodes=3, **SMALL)):
        with pytest.raises(ConfigError, match="search_space"):
            PrivacyExperiment(space, PredictedEvaluator(), PredictedFilter(random, below=0.7), output=tmp_path / "run")
        with pytest.raises(ConfigError, match="search_space"):
            search(PredictedFilter(build_strategy("random", seed=0), below=0.7), trials=1, space=space)
    with pytest.raises(PatternError):
        PredictedFilter(FixedPattern(random, "demotion-reduction", budget=99), below=0.7)


CONFIG: dict[str, Any] = {
    "name": "filtered",
    "dataset": {"name": "digits"},
    "search_space": {"name": "darts"},
    "pattern": {"name": "demotion-reduction"},
    "filter": {"below": 0.77},
    "strategy": {"name": "random"},
    "trials": 3,
}


def test_a_configuration_puts_the_filter_inside_the_pattern(tmp_path: Path) -> None:
    settings = parse_config(CONFIG)
    strategy = build_search_strategy(settings, folder=tmp_path)
    assert isinstance(strategy, FixedPattern) and isinstance(strategy.strategy, PredictedFilter)
    assert strategy.strategy.below == 0.77 and strategy.strategy.log == tmp_path / "skipped.jsonl"
    assert parse_config(settings.resolved()).resolved() == settings.resolved()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filter": {}}, "filter: give either below"),
        ({"filter": {"below": 2.0}}, "filter.below: 2.0"),
        ({"filter": {"quantile": 1.0}}, "filter.quantile: 1.0"),
        ({"filter": {"quantil": 0.1}}, "filter.quantil: unknown key"),
        ({"strategy": {"name": "gdas"}}, "filter: gdas proposes its top_k architectures once"),
    ],
)
def test_bad_filters_are_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config({**CONFIG, **change})
    assert str(error.value).startswith(message)
