"""Whatever kills a run, and however often: in the end it is what it would have been without."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from nni.nas.space import SimplifiedModelSpace
from support_chaos import WAYS, Chaos
from support_search import Search, wait_for

from nni_privacy.commands.build import build_evaluator, build_space
from nni_privacy.config import parse_config

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {
    "name": "chaos",
    "seed": 4,
    "dataset": {"name": "digits", "limit": 200},
    "search_space": {"name": "darts", "channels": 2, "cells": 3},
    "strategy": {"name": "regularized_evolution", "population_size": 6, "sample_size": 3},
    "evaluator": {"recipe": {"epochs": 1}, "attacks": ["loss_threshold"]},
    "trials": 24,
    "concurrency": 2,
}
KILLS = 10
SEEDS = range(int(os.environ.get("NNI_PRIVACY_CHAOS_SEEDS", "2")))


@pytest.mark.parametrize(("seed", "warm"), [*((seed, True) for seed in SEEDS), (0, False)])
def test_killed_ten_times_it_has_each_trial_once_with_its_own_metrics(seed: int, warm: bool, tmp_path: Path) -> None:
    print(f"seed {seed}, {'warm' if warm else 'cold'}")
    settings = {**TINY, "warm_trials": warm, "trials": 60 if warm else 24}
    chaos = Chaos(tmp_path, settings, seed)
    try:
        ways = [*WAYS, *chaos.random.choices(WAYS, k=KILLS - len(WAYS))]
        chaos.random.shuffle(ways)
        chaos.strike(ways)
        print("\n".join(chaos.story))
        assert chaos.search.process.wait(1800) == 0, chaos.search.text
        check_whole(chaos, settings)
        chaos.check_quiet()
    finally:
        chaos.power_loss()


def check_whole(chaos: Chaos, settings: dict[str, Any]) -> None:
    trials = chaos.search.trials
    assert [trial["status"] for trial in trials] == ["succeeded"] * settings["trials"]
    assert sorted(trial["sequence"] for trial in trials) == list(range(settings["trials"]))
    assert len({trial["trial"] for trial in trials}) == settings["trials"]
    assert len({trial["architecture"] for trial in trials}) == settings["trials"]
    assert {path.stem for path in (chaos.output / "scores").iterdir()} >= {trial["trial"] for trial in trials}
    steps = chaos.steps()
    assert not [step for step in steps if "kept" in step]  # the strategy took no other way than before
    samples = {step["proposed"]: step["sample"] for step in steps if "proposed" in step}
    config = parse_config(settings)
    evaluator = build_evaluator(config)
    space = SimplifiedModelSpace.from_model(build_space(config, evaluator.load_data()[0]), evaluator)
    for trial in chaos.random.sample(trials, 5):
        alone = evaluator._execute(space.freeze(samples[trial["sequence"]]))
        assert alone["architecture"] == trial["architecture"]
        assert {key: alone[key] for key in trial["metrics"]} == trial["metrics"]


ONE_SHOT: dict[str, Any] = {
    **TINY,
    "name": "one-shot",
    "strategy": {"name": "darts_v1", "epochs": 6, "batch_size": 16, "top_k": 1},
    "trials": 1,
    "concurrency": 1,
}


def test_a_one_shot_search_killed_amid_its_epochs_ends_in_the_same_cell(tmp_path: Path) -> None:
    whole = Search(tmp_path / "whole", ONE_SHOT, "--exit-when-done")
    assert whole.wait() == 0, whole.text
    chaos = Chaos(tmp_path / "killed", ONE_SHOT, seed=1)
    try:
        for epochs in (1, 3):
            log = chaos.output / "search" / "epochs.jsonl"
            wait_for(
                lambda log=log, epochs=epochs: log.exists() and len(log.read_text().splitlines()) >= epochs, "epochs"
            )
            chaos.search.process.kill()  # in the middle of the next epoch
            chaos.search.process.wait()
            chaos.restart()
        assert chaos.search.process.wait(600) == 0, chaos.search.text
        chaos.check_quiet()
    finally:
        chaos.power_loss()
    ((expected,), (found,)) = (whole.trials, chaos.search.trials)
    for key in ("architecture", "metrics", "status"):
        assert found[key] == expected[key]
    runs = [folder / "search" / "epochs.jsonl" for folder in (whole.output, chaos.output)]
    told = [[json.loads(line) for line in path.read_text().splitlines()] for path in runs]
    without_time = [[{key: epoch[key] for key in epoch if key != "seconds"} for epoch in epochs] for epochs in told]
    assert without_time[0] == without_time[1] and len(told[0]) == 6
