"""What confirms a search: which trials are chosen, means and intervals, and differences against SciPy's t-test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nni_privacy.analysis.confirmation import confirm_architectures, confirmed_mean, paired_differences
from nni_privacy.analysis.rows import MeasuredRow
from nni_privacy.analysis.selection import choose_trials, sizes_of
from nni_privacy.errors import ConfigError
from nni_privacy.runs.confirmed import Confirmed, label_of, read_confirmed, write_confirmed
from nni_privacy.runs.records import RunInfo, TrialRecord

SPACE = {"name": "darts", "channels": 8, "cells": 5, "nodes": 4}


def trial(number: int, accuracy: float, auc: float, **more: Any) -> TrialRecord:
    architecture = more.pop("architecture", f"architecture {number}")
    metrics = {"accuracy": accuracy, "mia_auc": auc, **more}
    return TrialRecord(f"t{number}", number, "succeeded", architecture, metrics)


def run_of(trials: list[TrialRecord], **config: Any) -> RunInfo:
    return RunInfo(Path("run"), {"search_space": SPACE, **config}, {}, {}, tuple(trials))


SEARCHED = [
    trial(0, 0.90, 0.60),  # on the front
    trial(1, 0.95, 0.70),  # on the front
    trial(2, 0.85, 0.61),  # behind it
    trial(3, 0.92, 0.62),  # on the front
    trial(4, 0.80, 0.80),  # far behind
    trial(5, 0.95, 0.70, architecture="architecture 1"),  # the same again
    TrialRecord("t6", 6, "failed", "architecture 6"),
]


def chosen(top: int, **config: Any) -> list[int]:
    return [one.sequence for one in choose_trials(run_of(SEARCHED, **config), top)]


def test_the_front_comes_first_by_accuracy_and_then_what_is_behind_it() -> None:
    assert chosen(9) == [1, 3, 0, 2, 4]
    assert chosen(3) == [1, 3, 0]
    assert chosen(2) == [1, 0]  # the two ends
    assert chosen(1) == [1]


def test_what_keeps_the_constraints_comes_first_and_then_what_is_least_off() -> None:
    assert chosen(9, constraints={"mia_auc": "<= 0.61"}) == [0, 2, 3, 1, 4]
    assert chosen(2, constraints={"mia_auc": "<= 0.5"}) == [0, 2]
    assert chosen(2, constraints={"mia_auc": [">= 0.61", "<= 0.65"]}) == [3, 2]
    assert chosen(5, constraints={"parameters": "<= 1000"}) == [1, 3, 0, 2, 4]  # unknown of all
    with pytest.raises(ConfigError, match=r"mia_auc: 'low'"):
        chosen(1, constraints={"mia_auc": "low"})


def test_the_same_architecture_of_another_size_is_another_one() -> None:
    space = {**SPACE, "channels": [8, 16]}
    sizes = [{"size": f"{channels} channels", "channels": channels, "network_cells": 5} for channels in (8, 16)]
    pair = [replace(trial(n, 0.9 - n / 10, 0.6 - n / 10, architecture="a"), factors=sizes[n]) for n in (0, 1)]
    assert len(choose_trials(run_of(pair, search_space=space), 5)) == 2
    assert sizes_of(pair[1], {"search_space": space}) == {**SPACE, "channels": 16}
    assert sizes_of(pair[1], {"search_space": {**space, "cells": [3, 5]}}) == {**SPACE, "channels": 16}
    with pytest.raises(ConfigError, match=r"search_space.channels: \[8, 16\]; trial 7 does not tell"):
        sizes_of(trial(7, 0.9, 0.6), {"search_space": space})


def test_a_mean_has_students_interval_within_the_unit_interval() -> None:
    values = [0.61, 0.66, 0.63, 0.70]
    found = confirmed_mean("mia_auc", [*values[:2], None, *values[2:]])
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.mean, found.low, found.high) == (pytest.approx(0.65), pytest.approx(low), pytest.approx(high))
    assert (found.count, found.sd) == (4, pytest.approx(np.std(values, ddof=1)))
    assert found.by_seed == [0.61, 0.66, None, 0.63, 0.70]
    assert confirmed_mean("accuracy", [0.99, 1.0]).high == 1.0
    assert confirmed_mean("parameters", [10.0, 30.0]).high == pytest.approx(20 + 10 * stats.t.ppf(0.975, 1))
    alone = confirmed_mean("mia_auc", [0.6])
    assert (alone.mean, alone.low, alone.high, alone.sd) == (0.6, None, None, None)


def test_differences_are_paired_t_tests_adjusted_for_all_pairs() -> None:
    rng = np.random.default_rng(5)
    table = rng.normal([[0.60], [0.62], [0.70]], 0.01, (3, 6)) + rng.normal(0, 0.1, (1, 6))
    found = paired_differences(table, [7, 3, 9], metric="mia_auc")
    assert [(one.first, one.second) for one in found] == [(7, 3), (7, 9), (3, 9)]
    tests = [stats.ttest_rel(table[a], table[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert [one.p_value for one in found] == pytest.approx([test.pvalue for test in tests])
    for one, test in zip(found, tests, strict=True):
        interval = test.confidence_interval()
        assert (one.low, one.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    ordered = sorted(one.p_value for one in found)
    assert sorted(one.adjusted for one in found) == pytest.approx(
        [3 * ordered[0], max(3 * ordered[0], 2 * ordered[1]), max(2 * ordered[1], ordered[2])]
    )
    assert [one.differ for one in found] == [one.adjusted <= 0.05 for one in found]
    assert found[1].differ and found[2].differ  # the seeds' own scatter, ten times as large, is no noise of a pair


def test_differences_are_over_the_seeds_that_both_have() -> None:
    table = np.array([[0.1, 0.2, np.nan, 0.3], [0.2, np.nan, 0.1, 0.5], [np.nan, np.nan, np.nan, 0.4]])
    (one,) = paired_differences(table, [0, 1, 2], metric="accuracy")
    assert (one.first, one.second, one.count, one.difference) == (0, 1, 2, pytest.approx(-0.15))


def trained(number: int, seed: int, **metrics: float) -> tuple[TrialRecord, MeasuredRow]:
    status = "succeeded" if metrics else "failed"
    record = TrialRecord(f"c{number}-{seed}", 10 * number + seed, status, f"architecture {number}", metrics)
    return record, MeasuredRow(label_of(number), "original", "digits", "none", seed, metrics)


def confirmed_of(**config: Any) -> Confirmed:
    again = {0: [0.80, 0.82, 0.84], 1: [0.93, 0.94, 0.95], 3: [0.96, 0.97]}
    rows = [
        trained(number, seed, accuracy=accuracy, mia_auc=1.3 - accuracy / 1.4, mia_auc_low=0.1, seconds=9.0)
        for number, values in again.items()
        for seed, accuracy in enumerate(values)
    ]
    run = run_of(SEARCHED, **config)
    picked = [SEARCHED[0], SEARCHED[1], SEARCHED[3], SEARCHED[2]]
    found = confirm_architectures(run, picked, [*rows, trained(3, 2)], seeds=[0, 1, 2], attacks=["loss_threshold"])
    assert found is not None
    return found


def test_the_best_is_the_most_accurate_by_confirmed_numbers_alone() -> None:
    found = confirmed_of()
    assert [one.sequence for one in found.architectures] == [0, 1, 3]  # trial 2 was not trained anew
    assert found.best == found.nearest == "t3"  # the search's most accurate is trial 1
    third = found.architectures[2]
    assert (third.failed, third.trials) == ([2], ["c3-0", "c3-1", "c3-2"])
    assert third.metrics["accuracy"].by_seed == [0.96, 0.97, None]
    assert set(third.metrics) == {"accuracy", "mia_auc"}
    assert third.means["mia_auc_low"] == third.metrics["mia_auc"].low  # over seeds, not over one training's records


def test_constraints_are_judged_by_confirmed_means_and_their_intervals() -> None:
    found = confirmed_of(constraints={"accuracy": ">= 0.9", "mia_auc": "<= 0.65"})
    assert [one.feasible for one in found.architectures] == [False, True, True]
    assert [one.certain for one in found.architectures] == [False, True, False]  # two seeds of the third
    assert found.constraints == ["accuracy >= 0.9", "mia_auc <= 0.65"]
    none = confirmed_of(constraints={"mia_auc": "<= 0.5"})
    assert (none.best, none.nearest) == (None, "t3")


def test_shrunken_estimates_are_there_for_every_measured_trial() -> None:
    found = confirmed_of().shrunken["mia_auc"]
    assert [one.sequence for one in found.trials] == [0, 1, 2, 3, 4, 5]
    assert found.count == 5
    by_number = {one.sequence: one for one in found.trials}
    assert by_number[1].estimate == by_number[5].estimate  # the same architecture
    assert all(one.low <= one.estimate <= one.high for one in found.trials)


def test_without_a_training_that_succeeded_there_is_nothing() -> None:
    failed = [trained(0, seed) for seed in range(3)]
    assert confirm_architectures(run_of(SEARCHED), [SEARCHED[0]], failed, seeds=[0, 1, 2], attacks=["lira"]) is None


def test_the_file_reads_as_it_was_written(tmp_path: Path) -> None:
    assert read_confirmed(tmp_path) is None
    found = confirmed_of(constraints={"mia_auc": "<= 0.65"})
    write_confirmed(tmp_path, found)
    assert read_confirmed(tmp_path) == found
