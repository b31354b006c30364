"""The ten algorithms and the multi-trial strategies in the public conformance suites."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import pytest

from nni_privacy.strategies import build_strategy, strategy_names
from nni_privacy.strategies.registry import ONE_SHOT, strategy_options
from nni_privacy.strategies.testing import OneShotConformance, StrategyConformance

COMMON = {"epochs": 2, "batch_size": 16}
SEVERAL_PASSES = ("darts_v2", "sdarts")
"""Algorithms whose steps take several passes: their suites take half a minute each."""


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
    kind = type(build_strategy(name, seed=0))
    given = {key: value for key, value in COMMON.items() if key in strategy_options(name).model_fields} | OPTIONS[name]

    class Suite(OneShotConformance):
        def make_strategy(self, **options: Any) -> Any:
            return kind(**given, **options)

    return pytest.mark.slow(Suite) if name in SEVERAL_PASSES else Suite


def multi_trial_suite(name: str) -> type[StrategyConformance]:
    class Suite(StrategyConformance):
        def make_strategy(self, *, seed: int) -> Any:
            return build_strategy(name, MULTI_TRIAL[name], seed=seed)

    return Suite


# What pytest collects: TestDARTSFirstOrder and so on, after the class; TestTpe and so on, after the name.
SUITES = {
    **{f"Test{ONE_SHOT[name].partition('.')[2]}": one_shot_suite(name) for name in OPTIONS},
    **{f"Test{name.title().replace('_', '')}": multi_trial_suite(name) for name in MULTI_TRIAL},
}
globals().update(SUITES)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """NNI's TPE sleeps a second after each proposal; TE-NAS looks at hundreds of networks, minutes in the DARTS space.

    What it sees in them is tested in test_tenas.py; here it is made up of the gates.
    """
    monkeypatch.setattr("nni.nas.strategy.hpo.time.sleep", lambda _seconds: None)
    monkeypatch.setattr("nni_privacy.strategies.tenas.Probe.measure", measured)


def measured(probe: Any, gates: dict[str, Any]) -> tuple[float, float]:
    text = repr(sorted((key, gate.active) for key, gate in gates.items()))
    return crc32(text.encode()) / 2**32, float(crc32(text[::-1].encode()) % 100)


def test_every_strategy_is_put_through_a_suite() -> None:
    assert set(OPTIONS) == set(ONE_SHOT)
    assert set(OPTIONS) | set(MULTI_TRIAL) == set(strategy_names())
    assert len(SUITES) == len(strategy_names())
