"""Rules of early stopping against their definitions written out; options; and replays of curves that were recorded."""

from __future__ import annotations

import statistics
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.config import parse_config
from nni_privacy.errors import ConfigError
from nni_privacy.runs.records import TrialRecord
from nni_privacy.runs.stopping import Stopping, stop_rule

EPOCHS = 6
BASE = {
    "name": "x",
    "dataset": "digits",
    "search_space": "darts",
    "strategy": "random",
    "trials": 3,
    "evaluator": {"recipe": {"epochs": 15}},
}


def run(stop: dict[str, Any], curves: list[dict[str, list[float]]]) -> list[int]:
    """The epochs that each of the trials has, one after the other."""
    stopping, lengths = Stopping(stop_rule(stop), EPOCHS), []
    for number, curve in enumerate(curves):
        for epoch in range(1, EPOCHS + 1):
            so_far = {name: tuple(values[:epoch]) for name, values in curve.items()}
            if stopping.reported(str(number), so_far) is not None:
                break
        stopping.ended(str(number))
        lengths.append(epoch)
    return lengths


many = st.lists(st.lists(st.integers(0, 9), min_size=EPOCHS, max_size=EPOCHS), min_size=1, max_size=12)


@given(many, st.integers(1, EPOCHS - 1), st.integers(1, 4))
def test_the_median_rule_is_its_definition(values: list[list[int]], after: int, least: int) -> None:
    expected: list[int] = []
    for curve in values:
        for epoch in range(1, EPOCHS + 1):
            others = [max(values[n][:epoch]) for n, length in enumerate(expected) if length >= epoch]
            enough = epoch >= after and len(others) >= least and epoch < EPOCHS
            if enough and max(curve[:epoch]) < statistics.median(others):
                break
        expected.append(epoch)
    assert run({"after": after, "trials": least}, [{"accuracy": curve} for curve in values]) == expected


@given(many, st.sets(st.integers(1, EPOCHS - 1), min_size=1), st.sampled_from([0.25, 0.5, 0.75]))
def test_halving_is_its_definition(values: list[list[int]], rungs: set[int], keep: float) -> None:
    there: dict[int, list[int]] = {rung: [] for rung in rungs}
    expected = []
    for curve in values:
        for epoch in range(1, EPOCHS + 1):
            if epoch in rungs:
                value = -curve[epoch - 1]  # a leak: lower is better
                there[epoch].append(value)
                best = sorted(there[epoch], reverse=True)[: max(1, int(keep * len(there[epoch])))]
                if value < best[-1]:
                    break
        expected.append(epoch)
    stop = {"rungs": sorted(rungs), "keep": keep, "metric": "loss_threshold_mia_auc"}
    assert run(stop, [{"loss_threshold_mia_auc": curve} for curve in values]) == expected


def test_a_trial_that_still_runs_counts_at_a_rung_but_not_for_the_median() -> None:
    for stop, stopped in (({"rungs": [1]}, True), ({"after": 1, "trials": 1}, False)):
        stopping = Stopping(stop_rule(stop), EPOCHS)
        assert stopping.reported("first", {"accuracy": (0.9,)}) is None
        assert (stopping.reported("second", {"accuracy": (0.5,)}) is not None) is stopped
    stopping.ended("first")
    assert stopping.reported("second", {"accuracy": (0.5,)}) == "accuracy 0.500 after 1 of 6 epochs, " + (
        "the median of 1 is 0.900"
    )
    assert stopping.reported("second", {"accuracy": (0.5, 0.95)}) is None  # nobody came as far
    stopping.forget("second")
    assert stopping.reported("third", {"accuracy": (0.95,)}) is None


def test_with_both_metrics_none_that_is_better_in_one_is_stopped() -> None:
    rng = np.random.default_rng(0)
    curves = [
        {"accuracy": rng.random(EPOCHS).tolist(), "loss_threshold_mia_auc": rng.random(EPOCHS).tolist()}
        for _ in range(60)
    ]
    lengths = {}
    for metric in ("accuracy", "loss_threshold_mia_auc", ["accuracy", "loss_threshold_mia_auc"]):
        lengths[str(metric)] = run({"rungs": [2], "metric": metric}, curves)
    single, leak, both = lengths.values()
    # The rung is the first one: all trials come to it, so that each metric judges alike, alone or with the other.
    assert [a == 2 and b == 2 for a, b in zip(single, leak, strict=True)] == [one == 2 for one in both]
    assert 0 < sum(one == 2 for one in both) < min(sum(one == 2 for one in single), sum(one == 2 for one in leak))


def test_what_is_no_number_stops_nothing_and_finished_trials_count() -> None:
    finished = [TrialRecord(str(n), n, "succeeded", "", curves={"accuracy": (0.8,) * EPOCHS}) for n in range(2)]
    finished.append(TrialRecord("other", 3, "failed", ""))
    stopping = Stopping(stop_rule({"after": 1, "trials": 2}), EPOCHS, finished)
    assert stopping.reported("a", {"accuracy": (None,)}) is None
    assert stopping.reported("b", {"loss": (0.1,)}) is None
    assert stopping.reported("c", {}) is None
    assert stopping.reported("d", {"accuracy": (0.7,) * EPOCHS}) is None  # it is at its end
    assert stopping.reported("e", {"accuracy": (0.7,) * 3}) is not None


@pytest.mark.parametrize(
    ("stop", "resolved"),
    [
        ("median", {"rule": "median", "metric": ["accuracy"], "after": None, "trials": 5}),
        ({"after": 3}, {"rule": "median", "metric": ["accuracy"], "after": 3, "trials": 5}),
        ({"rungs": [3, 9]}, {"rule": "halving", "metric": ["accuracy"], "rungs": [3, 9], "keep": 0.5}),
    ],
)
def test_a_section_is_written_out_and_read_back(stop: Any, resolved: dict[str, Any]) -> None:
    settings = parse_config({**BASE, "stop": stop})
    assert settings.resolved()["stop"] == resolved
    assert parse_config({**BASE, "stop": resolved}).stop == settings.stop
    assert parse_config(BASE).resolved()["stop"] is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"stop": {"rule": "medain"}}, "stop.rule: unknown rule 'medain'; did you mean 'median'?"),
        ({"stop": {"metric": "acuracy"}}, "stop.metric: no epoch reports 'acuracy'; did you mean 'accuracy'?"),
        ({"stop": {"metric": "mia_auc"}}, "stop.metric: no epoch reports 'mia_auc'; known: accuracy, loss"),
        ({"stop": {"after": 15}}, "stop.after: 15; a trial has 15 epochs: allowed is less"),
        ({"stop": {"rungs": [3, 15]}}, "stop.rungs: 15; a trial has 15 epochs: allowed is less"),
        ({"stop": {"rungs": [9, 3]}}, "stop.rungs: [9, 3]; allowed are one or more epochs, ascending"),
        ({"stop": {"rule": "halving"}}, "stop.rungs: []; allowed are one or more"),
        ({"stop": {"rungs": [3], "keep": 1.5}}, "stop.keep: 1.5"),
        ({"stop": {"rule": "median", "rungs": [3]}}, "stop.rungs: unknown key"),
        ({"stop": 3}, "stop: 3; allowed is a mapping"),
        ({"stop": "median", "strategy": "darts_v1"}, "stop: darts_v1 audits its top_k architectures"),
        ({"stop": "median", "evaluator": {"kind": "predicted"}}, "stop: with evaluator.kind: predicted nothing"),
    ],
)
def test_what_cannot_stop_a_trial_is_told_in_a_line(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config({**BASE, **changed})
    assert words in str(error.value) and "\n" not in str(error.value)


def test_on_recorded_curves_the_default_rules_spare_epochs_and_keep_the_best() -> None:
    """200 random orders of 40 real trials; see docs/configuration.md for what else was measured on them."""
    benchmark = run_path(str(Path(__file__).parents[2] / "benchmarks" / "early_stopping.py"))
    records = benchmark["read_curves"](benchmark["CURVES"])
    assert len(records) == 40 and {record.epochs for record in records} == {15}
    for stop in ("median", {"rungs": [3, 9]}):
        found = benchmark["replay"](records, stop_rule(stop), orders=200, trials=None, seed=0)
        assert found.epochs.mean() <= 0.6 and found.accurate.mean() <= 0.05, stop
        assert (found.loss[~found.accurate] == 0).all()
    early = {"after": 5, "metric": "loss_threshold_mia_auc"}
    leak = benchmark["replay"](records, stop_rule(early), orders=50, trials=None, seed=0)
    assert leak.private.mean() > 0.1  # what an early AUC says of the final one is nothing
