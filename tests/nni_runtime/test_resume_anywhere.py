"""A search that is killed at any write of its files and resumed is the search that was never interrupted."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nni.nas.space import SimplifiedModelSpace
from nni.nas.strategy import Strategy
from support_world import Cut, Kill, World, make_run, open_run

from nni_privacy import files
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.stopping import stop_rule
from nni_privacy.search_spaces import DARTS
from nni_privacy.strategies import FixedPattern, build_strategy
from nni_privacy.strategies.predicted_filter import PredictedFilter
from nni_privacy.strategies.scores import SCORES

TRIALS = 7
HOW = ("before", "torn", "after")
EVERY = {"regularized_evolution": 1, "pareto": 1}
"""Killed at every write; the other strategies, whose decisions are simpler or slower, at every fourth."""


def metrics(sample: dict[str, Any]) -> dict[str, Any]:
    """Made up, but the same for the same sample."""
    digest = hashlib.sha256(json.dumps(sample, sort_keys=True).encode()).digest()
    accuracy, auc = digest[0] / 255, 0.5 + digest[1] / 510
    return {"default": accuracy, "accuracy": accuracy, "mia_auc": auc, "mia_tpr_at_01pct_fpr": None}


@pytest.fixture(scope="module")
def space() -> SimplifiedModelSpace:
    return SimplifiedModelSpace.from_model(DARTS(channels=2, cells=3))


def named(name: str, **options: Any) -> Callable[[], Strategy]:
    return lambda: build_strategy(name, options, seed=3)


EVOLUTION = {"population_size": 3, "sample_size": 2, "mutation_prob": 0.3}
STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "random": named("random"),
    "regularized_evolution": named("regularized_evolution", **EVOLUTION),
    "tpe": named("tpe", startup_trials=2, candidates=4),
    "grid_search": named("grid_search"),
    "pareto": named("pareto", population_size=3),
    "pattern": lambda: FixedPattern(named("regularized_evolution", **EVOLUTION)(), "demotion-reduction", budget=2),
}


def told(run: RunDirectory) -> list[tuple[int, str, dict[str, Any]]]:
    """All that matters of a run: by the proposals' numbers, architectures and their metrics."""
    return sorted((record.sequence, record.architecture, dict(record.metrics)) for record in run.records())


def state(strategy: Strategy) -> Any:
    inner = getattr(strategy, "strategy", strategy)
    population = getattr(inner, "_population", None)
    return None if population is None else [repr(one) for one in population]


def lines(run: RunDirectory) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.journal.path.read_text().splitlines()]


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("name", STRATEGIES)
def test_killed_at_any_write_it_ends_as_if_nothing_had_happened(
    name: str, concurrency: int, space: SimplifiedModelSpace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def start(run: RunDirectory, cut: Cut) -> tuple[Strategy, World]:
        with monkeypatch.context() as patch:
            patch.setattr(files.LineFile, "append", lambda file, line: cut(file, line))
            world = World(run, trials=TRIALS, concurrency=concurrency, metrics=metrics)
            strategy = STRATEGIES[name]()
            world.search(strategy, space, patch)
            return strategy, world

    whole = make_run(tmp_path / "whole")
    counting = Cut()
    expected, _ = start(whole, counting)
    assert len(whole.records()) == TRIALS and counting.count > 3 * TRIALS
    for at in range(1, counting.count + 1, EVERY.get(name, 4)):
        run = make_run(tmp_path / f"cut-{at}")
        with pytest.raises(Kill):
            start(run, Cut(at, HOW[at % 3]))
        before = len(open_run(run.path).records())
        strategy, world = start(open_run(run.path), Cut())
        assert told(run) == told(whole), at
        assert state(strategy) == state(expected), at
        assert len(world.sent) == TRIALS - before  # nothing is run twice
        assert not [line for line in lines(run) if "kept" in line]  # it took no other way


def curve(sample: dict[str, Any]) -> list[dict[str, float]]:
    """Six made-up epochs, the same for the same sample, that end near its accuracy."""
    final = metrics(sample)
    steps = [0.3, 0.5, 0.7, 0.9, 1.0, 1.0]
    accuracies = [final["accuracy"] * step for step in steps]
    return [{"default": one, "accuracy": one, "loss_threshold_mia_auc": final["mia_auc"]} for one in accuracies]


STOPPED_EARLY = {
    "median": {"after": 2, "trials": 2},
    "halving": {"rungs": [1, 3]},
    "both": {"after": 2, "trials": 2, "metric": ["accuracy", "loss_threshold_mia_auc"]},
}


@pytest.mark.parametrize("name", ["random", "regularized_evolution", "pareto", "tpe"])
@pytest.mark.parametrize("stop", STOPPED_EARLY)
def test_killed_at_any_write_the_same_trials_are_stopped_early(
    stop: str, name: str, space: SimplifiedModelSpace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def start(run: RunDirectory, cut: Cut) -> World:
        with monkeypatch.context() as patch:
            patch.setattr(files.LineFile, "append", lambda file, line: cut(file, line))
            rule = stop_rule(STOPPED_EARLY[stop])
            world = World(run, trials=TRIALS, concurrency=1, metrics=metrics, curve=curve, rule=rule)
            world.search(STRATEGIES[name](), space, patch)
            return world

    def told_all(run: RunDirectory) -> list[Any]:
        return sorted((one.sequence, one.status, one.epochs, one.stopped or "") for one in run.records())

    whole = make_run(tmp_path / "whole")
    counting = Cut()
    world = start(whole, counting)
    records = whole.records()
    stopped = [one for one in records if one.status == "stopped"]
    assert len(records) == TRIALS and 0 < len(stopped) < TRIALS
    assert world.epochs_run == sum(one.epochs for one in records) < TRIALS * 6
    for one in stopped:  # no result, but all that it told; and neither a failure nor an accuracy
        assert one.epochs < 6 and not one.metrics and one.error is None and f"after {one.epochs} of 6" in one.stopped
    assert all(one.epochs == 6 for one in records if one.succeeded)
    for at in range(1, counting.count + 1, 4):
        run = make_run(tmp_path / f"cut-{at}")
        with pytest.raises(Kill):
            start(run, Cut(at, HOW[at % 3]))
        start(open_run(run.path), Cut())
        assert (told(run), told_all(run)) == (told(whole), told_all(whole)), at
        assert not [line for line in lines(run) if "kept" in line]


STEPS = {"predicted_mia_auc": 5, "snip": 11, "parameters": 40}

CHANCY = {
    "regularized_evolution": STRATEGIES["regularized_evolution"],
    "pareto": STRATEGIES["pareto"],
    # What is skipped depends on what was heard of before, and what is heard of on when the strategy asked.
    "filter": lambda: PredictedFilter(STRATEGIES["regularized_evolution"](), quantile=0.5),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANCY)
def test_where_the_order_is_a_matter_of_chance_the_course_is_the_recorded_one(
    name: str, space: SimplifiedModelSpace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chance = random.Random(5)

    def start(run: RunDirectory, cut: Cut) -> tuple[Strategy, World]:
        with monkeypatch.context() as patch:
            patch.setattr(files.LineFile, "append", lambda file, line: cut(file, line))
            world = World(
                run,
                trials=TRIALS,
                concurrency=3,
                metrics=metrics,
                pick=chance.randrange,
                hurry=lambda: chance.random() < 0.5,
            )
            strategy = CHANCY[name]()
            world.search(strategy, space, patch)
        return strategy, world

    for attempt in range(3 if name == "filter" else 6):  # whose predictions take seconds
        run = make_run(tmp_path / f"run-{attempt}")
        for _ in range(4):
            before = [line["proposed"] for line in lines(open_run(run.path)) if "proposed" in line]
            try:
                start(open_run(run.path), Cut(chance.randint(1, 12), chance.choice(HOW)))
            except Kill:
                run.journal.read()  # cuts a torn line
        strategy, _ = start(open_run(run.path), Cut())
        records = run.records()
        assert len({record.trial for record in records}) == len(records) == TRIALS
        assert [line["proposed"] for line in lines(run) if "proposed" in line][: len(before)] == before
        assert not [line for line in lines(run) if "kept" in line]  # it took no other way
        # Led through the whole journal once more, with nothing left to run, it ends in the same population.
        again, world = start(open_run(run.path), Cut())
        assert state(again) == state(strategy) and world.sent == []


@pytest.mark.parametrize(
    "by",
    [
        # Whose predictions take seconds.
        pytest.param("predicted_mia_auc", marks=pytest.mark.slow),
        pytest.param("snip", marks=pytest.mark.slow),
        "parameters",
    ],
)
def test_a_filter_skips_again_what_it_skipped(by: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    few = replace(SCORES[by], drawn=SCORES[by].drawn if by == "predicted_mia_auc" else 25)
    monkeypatch.setattr("nni_privacy.strategies.registry.SCORES", {**SCORES, by: few})
    images = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    data = (images, torch.arange(64) % 10)
    full = SimplifiedModelSpace.from_model(DARTS(channels=2, cells=3), None)

    def start(run: RunDirectory, cut: Cut, pick: Callable[[int], int]) -> PredictedFilter:
        # The bound lets about half through; what is skipped depends on when the results before it were heard of.
        log = run.path / "skipped.jsonl"
        strategy = PredictedFilter(STRATEGIES["regularized_evolution"](), by=by, quantile=0.5, log=log, data=data)
        with monkeypatch.context() as patch:
            patch.setattr(files.LineFile, "append", lambda file, line: cut(file, line))
            World(run, trials=6, concurrency=2, metrics=metrics, pick=pick).search(strategy, full, patch)
        return strategy

    whole = make_run(tmp_path / "whole")
    counting = Cut()
    expected = start(whole, counting, lambda _: 0)
    assert expected.skipped > 0
    for at in range(1, counting.count + 1, STEPS[by]):
        run = make_run(tmp_path / f"cut-{at}")
        torch.manual_seed(at)  # nothing depends on the generators of the process
        with pytest.raises(Kill):
            start(run, Cut(at, HOW[at % 3]), lambda _: 0)
        strategy = start(open_run(run.path), Cut(), lambda _: 0)
        assert told(run) == told(whole)
        assert strategy.bound == expected.bound
        assert (strategy.skipped, strategy.accepted) == (expected.skipped, expected.accepted)
        assert (run.path / "skipped.jsonl").read_text() == (whole.path / "skipped.jsonl").read_text()


def test_a_strategy_that_goes_another_way_uses_what_is_finished_and_runs_no_more_than_it_may(
    space: SimplifiedModelSpace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Listed(Strategy):
        """Proposes given samples; not what it proposed before, if they are others."""

        def __init__(self, samples: list[dict[str, Any]]) -> None:
            super().__init__()
            self.samples = samples
            self.heard: list[float] = []

        def _run(self) -> None:
            for sample in self.samples:
                if not self.wait_for_resource():
                    return
                model = self.model_space.freeze(sample)
                self.engine.submit_models(model)
                self.engine.wait_models(model)
                self.heard.append(model.metric)

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            pass

    state_ = np.random.RandomState(0)
    samples: list[dict[str, Any]] = []
    for _ in range(6):
        samples.append({})
        space.random(memo=samples[-1], random_state=state_)
    run = make_run(tmp_path / "run")
    cut = Cut(4 * 3 + 2, "after")  # three are finished, the fourth is under way
    with monkeypatch.context() as patch:
        patch.setattr(files.LineFile, "append", lambda file, line: cut(file, line))
        world = World(run, trials=5, concurrency=1, metrics=metrics)
        with pytest.raises(Kill):
            world.search(Listed(samples[:5]), space, patch)
    assert len(run.records()) == 3
    other = Listed([samples[0], samples[2], samples[5], samples[1], samples[4], samples[3]])
    with monkeypatch.context() as patch:
        world = World(open_run(run.path), trials=5, concurrency=1, metrics=metrics)
        world.search(other, space, patch)
    assert [model.sample for _, model in world.sent] == [samples[5], samples[4]]  # 3 + 2 = 5
    assert other.heard == [metrics(sample)["default"] for sample in other.samples[:5]]
    assert len({record.trial for record in run.records()}) == len(run.records()) == 5
    # A third start of the same goes its way without running anything.
    with monkeypatch.context() as patch:
        third = Listed(other.samples[:5])
        world = World(open_run(run.path), trials=5, concurrency=1, metrics=metrics)
        world.search(third, space, patch)
    assert world.sent == [] and third.heard == other.heard


def test_a_run_may_be_made_longer(space: SimplifiedModelSpace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = []
    for name, parts in (("whole", [TRIALS]), ("longer", [4, TRIALS])):
        run = make_run(tmp_path / name)
        for trials in parts:
            with monkeypatch.context() as patch:
                strategy = STRATEGIES["pareto"]()
                World(open_run(run.path), trials=trials, concurrency=1, metrics=metrics).search(strategy, space, patch)
            assert len(run.records()) == trials
        results.append((told(run), state(strategy)))
    assert results[0] == results[1]


def test_a_result_that_vanished_from_the_file_is_run_again(
    space: SimplifiedModelSpace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run")
    with monkeypatch.context() as patch:
        World(run, trials=5, concurrency=1, metrics=metrics).search(STRATEGIES["tpe"](), space, patch)
    whole = told(run)
    path = run.path / "trials.jsonl"
    kept = path.read_text().splitlines()
    path.write_text("\n".join([*kept[:1], *kept[2:]]) + "\n")
    with monkeypatch.context() as patch:
        world = World(open_run(run.path), trials=5, concurrency=1, metrics=metrics)
        world.search(STRATEGIES["tpe"](), space, patch)
    assert len(world.sent) == 1 and told(run) == whole
