from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from report.samples import make_run, write_rows

from nni_privacy.analysis.pareto import pareto_front
from nni_privacy.report.roc import roc_info
from nni_privacy.report.run_page import front_title, progress_info, select_best, tradeoff_info
from nni_privacy.runs.records import read_run


def rewrite(directory, change):
    rows = [json.loads(line) for line in (directory / "trials.jsonl").read_text().splitlines()]
    write_rows(directory, [change(row) for row in rows])
    return read_run(directory)


def test_tradeoff_splits_the_measured_trials_into_front_and_rest(run_directory):
    run = read_run(run_directory)
    info = tradeoff_info(run)
    assert len(info.trials) == 11
    assert {trial.trial for trial in info.front}.isdisjoint(trial.trial for trial in info.dominated)
    assert len(info.front) + len(info.dominated) == 11
    front = pareto_front([trial.accuracy for trial in info.trials], [trial.mia_auc for trial in info.trials])
    assert info.front == tuple(info.trials[index] for index in front)


def front_of(directory, count):
    def change(row):
        step = row["sequence"] / 100
        row["metrics"].update(accuracy=0.9 - step, mia_auc=0.7 - step)
        return row

    return tradeoff_info(rewrite(make_run(directory, trials=count), change)).front


@pytest.mark.parametrize(
    ("count", "limit", "wanted"),
    [(1, 4, [0]), (2, 4, [0, 1]), (4, 4, [0, 3, 1, 2]), (9, 3, [0, 8, 4]), (5, 1, [0]), (3, 0, [])],
)
def test_best_cells_are_the_ends_of_the_front_first(tmp_path, count, limit, wanted):
    front = front_of(tmp_path / "run", count)
    assert [trial.sequence for trial in select_best(front, limit)] == wanted


def test_repeated_and_unreadable_architectures_are_drawn_once_or_not_at_all(tmp_path):
    front = front_of(tmp_path / "run", 4)
    same = [front[0], *(replace(trial, architecture=front[0].architecture) for trial in front[1:3])]
    none = replace(front[3], architecture="resnet")
    assert select_best([*same, none]) == (front[0],)
    assert select_best([]) == ()


def test_progress_carries_the_best_over_failed_trials(run_directory):
    info = progress_info(read_run(run_directory))
    assert info.sequence == tuple(range(12)) and info.failed == (5,)
    assert math.isnan(info.accuracy[5]) and math.isnan(info.mia_auc[5])
    assert info.best_accuracy[5] == info.best_accuracy[4] == max(info.accuracy[:5])
    assert info.lowest_auc[-1] == np.nanmin(info.mia_auc)
    assert list(info.best_accuracy) == sorted(info.best_accuracy)


def test_roc_is_of_the_most_accurate_trial_with_scores(run_directory):
    run = read_run(run_directory)
    ranked = sorted(run.measured, key=lambda trial: -trial.accuracy)
    info = roc_info(run)
    assert info.trial == ranked[0]
    assert info.attacks == ("black_box_partial", "loss_threshold")
    assert info.curves[0].auc == pytest.approx(info.trial.mia_auc, abs=1e-12)
    assert info.grid[0] == pytest.approx(1 / 150) and info.grid[-1] == pytest.approx(1)
    (run_directory / "scores" / f"{ranked[0].trial}.npz").unlink()
    assert roc_info(run).trial == ranked[1]


def test_roc_ties_in_accuracy_go_to_the_lower_auc(run_directory):
    def change(row):
        row["metrics"].update(accuracy=0.9)
        return row

    run = rewrite(run_directory, change)
    assert roc_info(run).trial.mia_auc == min(trial.mia_auc for trial in run.measured)


def test_no_scores_no_roc(tmp_path):
    directory = make_run(tmp_path / "run", trials=2, failed=(0, 1))
    assert roc_info(read_run(directory)) is None
    assert tradeoff_info(read_run(directory)).front == ()


def test_a_genotype_at_both_ends_of_a_front_does_not_swap_them(tmp_path):
    front = front_of(tmp_path / "run", 5)
    twice = [*front[:4], replace(front[4], architecture=front[0].architecture)]
    assert [trial.sequence for trial in select_best(twice)] == [0, 4, 1, 3]
    titles = [front_title(trial, twice) for trial in select_best(twice)]
    assert titles == ["Highest accuracy: trial", "Lowest AUC: trial", "Trial", "Trial"]
    assert front_title(front[0], front[:1]) == "Highest accuracy and lowest AUC: trial"
    inside = [front[0], *(replace(trial, architecture=front[1].architecture) for trial in front[1:])]
    assert [trial.sequence for trial in select_best(inside)] == [0, 4]
