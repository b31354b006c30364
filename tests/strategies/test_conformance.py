"""The ten algorithms and the multi-trial strategies in the public conformance suites."""

from __future__ import annotations

from typing import Any

import pytest

from nni_privacy.strategies import build_strategy, strategy_names
from nni_privacy.strategies.registry import ONE_SHOT
from nni_privacy.strategies.testing import OneShotConformance, StrategyConformance

COMMON = {"epochs": 2, "batch_size": 8}
OPTIONS: dict[str, dict[str, Any]] = {
    "darts_v1": {},
    "darts_v2": {},
    "drnas": {},
    "enas": {"controller_steps": 2, "samples_per_step": 2, "candidates": 4},
    "gdas": {},
    "pc_darts": {},
    "random_search": {"candidates": 4},
    "sdarts": {},
    "setn": {"candidates": 4, "draws": 16},
    "tenas": {},
}
MULTI_TRIAL: dict[str, dict[str, Any]] = {
    "random": {},
    "regularized_evolution": {"population_size": 6, "sample_size": 3, "mutation_prob": 0.3},
    "tpe": {"startup_trials": 6},
    "grid_search": {},
    "pareto": {"population_size": 6},
}


def one_shot_suite(name: str) -> type[OneShotConformance]:
    from nni_privacy.strategies.registry import strategy_options

    kind = type(build_strategy(name, seed=0))
    known = strategy_options(name).model_fields

    class Suite(OneShotConformance):
        def make_strategy(self, **options: Any) -> Any:
            return kind(**{key: value for key, value in COMMON.items() if key in known}, **OPTIONS[name], **options)

    return Suite


def multi_trial_suite(name: str) -> type[StrategyConformance]:
    class Suite(StrategyConformance):
        def make_strategy(self, *, seed: int) -> Any:
            return build_strategy(name, MULTI_TRIAL[name], seed=seed)

    return Suite


TestDARTSFirstOrder = one_shot_suite("darts_v1")
TestDARTSSecondOrder = one_shot_suite("darts_v2")
TestDrNAS = one_shot_suite("drnas")
TestENAS = one_shot_suite("enas")
TestGDAS = one_shot_suite("gdas")
TestPCDARTS = one_shot_suite("pc_darts")
TestRandomSearch = one_shot_suite("random_search")
TestSDARTS = one_shot_suite("sdarts")
TestSETN = one_shot_suite("setn")
TestRandom = multi_trial_suite("random")
TestRegularizedEvolution = multi_trial_suite("regularized_evolution")
TestTPE = multi_trial_suite("tpe")
TestGridSearch = multi_trial_suite("grid_search")
TestPareto = multi_trial_suite("pareto")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """NNI's TPE sleeps a second after each proposal."""
    monkeypatch.setattr("nni.nas.strategy.hpo.time.sleep", lambda _seconds: None)


def test_every_strategy_is_put_through_a_suite() -> None:
    assert set(OPTIONS) == set(ONE_SHOT)
    assert set(OPTIONS) | set(MULTI_TRIAL) == set(strategy_names())
