"""The first page of a search: its four answers in every state that a run can be in, and what is recommended."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from report.pages import Page
from report.samples import failed_row, make_run, write_rows

from nni_privacy.analysis.confirmation import confirm_architectures
from nni_privacy.analysis.rows import MeasuredRow
from nni_privacy.report import read_run, write_report
from nni_privacy.report.facts import summary_info
from nni_privacy.report.first_page import FirstPage, first_page, most_found, out_of_100
from nni_privacy.report.recommendation import choose
from nni_privacy.runs.confirmed import label_of, read_confirmed, write_confirmed
from nni_privacy.runs.records import TrialRecord

PRIVACY = {"noise_multiplier": 1.1, "sample_rate": 0.05, "steps": 400, "delta": 1e-5}


def row(sequence: int, accuracy: float, auc: float, *, half: float = 0.03, **more: Any) -> dict[str, Any]:
    metrics = {"accuracy": accuracy, "mia_auc": auc, "mia_auc_low": auc - half, "mia_auc_high": auc + half}
    metrics |= {"mia_tpr_at_1pct_fpr": 0.034} | more.pop("metrics", {})
    return {
        "trial": f"t{sequence}",
        "sequence": sequence,
        "status": "succeeded",
        "architecture": "x",
        "metrics": metrics,
        **more,
    }


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", trials=2)


def page_of(directory: Path, rows: list[dict[str, Any]], **config: Any) -> FirstPage:
    """The first page of a run with these rows and a changed configuration."""
    write_rows(directory, rows)
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **config}))
    run = read_run(directory)
    summary = summary_info(run)
    choice = choose(run, confirmed=read_confirmed(directory), feasibility=summary.feasibility)
    return first_page(run, summary, choice)


def test_without_a_trial_nothing_is_recommended(directory: Path) -> None:
    page = page_of(directory, [])
    assert page.choice.best is None and page.choice.refused == "No trial has finished yet."
    assert page.tried[0].endswith("Nothing has finished yet.")
    assert page.attacker is None and page.dots is None and page.sure[0].startswith("Nothing was attacked")


def test_where_all_failed_nothing_is_recommended(directory: Path) -> None:
    page = page_of(directory, [failed_row(0, "boom"), failed_row(1, "boom")])
    assert page.choice.best is None and page.choice.refused == "None of the 2 trials has succeeded."
    assert "tried 2 architectures (0 succeeded, 2 failed)." in page.tried[0] and page.attacker is None


def test_of_the_front_the_most_accurate_is_taken_that_is_not_told_from_the_lowest(directory: Path) -> None:
    page = page_of(directory, [row(0, 0.90, 0.60), row(1, 0.92, 0.62), row(2, 0.95, 0.70)], trials=5)
    best = page.choice.best
    assert best is not None and best.trial.trial == "t1" and str(best.auc) == "0.620 [0.590, 0.650]"
    assert best.reason.startswith("Its leak cannot be told from the lowest that was found (trial #0)")
    assert "tried 3 architectures of 5 that are planned." in page.tried[0]
    assert page.sure[0] == (
        "The AUC of the strongest attack (black_box_partial) is 0.620 [0.590, 0.650], with its 95% interval above "
        "guessing (0.5): this network does leak."
    )
    assert page.sure[1].startswith("Not confirmed: each was trained once, and the best of 3 looks better than it is")
    assert page.sure[2] == "1 attack was made; a stronger one may find more."


def test_the_least_leak_is_not_taken_where_it_costs_more_than_a_tenth_of_the_accuracy(directory: Path) -> None:
    page = page_of(directory, [row(0, 0.30, 0.51), row(1, 0.90, 0.62), row(2, 0.95, 0.70)])
    best = page.choice.best
    assert best is not None and best.trial.trial == "t1"
    assert best.reason == (
        "It leaks least of those within a tenth of the best accuracy; trial #0 leaks less, but costs more accuracy "
        "than that."
    )


def test_a_trial_that_is_best_in_both_needs_no_compromise(directory: Path) -> None:
    page = page_of(directory, [row(0, 0.95, 0.55), row(1, 0.90, 0.62)])
    best = page.choice.best
    assert best is not None and best.trial.trial == "t0"
    assert best.reason == "No other trial is more accurate, and none leaks less."


def test_counts_out_of_100_are_those_of_the_strongest_attack(directory: Path) -> None:
    stronger = {
        "rmia_mia_auc": 0.66,
        "rmia_mia_auc_low": 0.63,
        "rmia_mia_auc_high": 0.69,
        "rmia_mia_tpr_at_1pct_fpr": 0.081,
    }
    attacker = page_of(directory, [row(0, 0.9, 0.6, metrics=stronger)]).attacker
    assert attacker is not None and (attacker.attack, attacker.attacks, attacker.found) == ("rmia", 2, 0.081)
    assert attacker.sentences == (
        "Of 100 members of the training data, an attacker who is wrong about 1 in 100 non-members finds 8; "
        "by guessing 1.",
        "Shown one member and one non-member, the attacker picks the member in 66 of 100 cases; by guessing in 50.",
    )


def test_a_rate_that_is_not_resolvable_is_said_to_be_unknown(directory: Path) -> None:
    page = page_of(directory, [row(0, 0.9, 0.6, metrics={"mia_tpr_at_1pct_fpr": None})])
    assert page.attacker is not None and page.attacker.found is None and page.dots is None
    assert "cannot be said: too few non-members were attacked" in page.attacker.sentences[0]


def test_an_interval_that_holds_guessing_shows_no_leak_and_rules_none_out(directory: Path) -> None:
    page = page_of(directory, [row(0, 0.9, 0.51)])
    assert page.attacker is not None and page.attacker.guesses
    assert page.attacker.sentences[1].endswith("That may be chance.")
    assert page.sure[0].endswith("an interval that holds 0.5, guessing: no leak is shown, and none is ruled out.")
    assert page.sure[1] == "It is one training of one network: another may differ."


def test_an_interval_below_guessing_is_no_privacy(directory: Path) -> None:
    page = page_of(directory, [row(0, 0.9, 0.4)])
    assert page.sure[0].endswith("below guessing (0.5): members and non-members differ otherwise than it assumes.")


def test_the_best_feasible_trial_is_taken(directory: Path) -> None:
    rows = [row(0, 0.90, 0.60), row(1, 0.92, 0.62), row(2, 0.95, 0.70)]
    page = page_of(directory, rows, constraints={"mia_auc": "<= 0.65"})
    best = page.choice.best
    assert best is not None and best.trial.trial == "t1"
    assert best.reason == "It is the most accurate of 2 trials that keep mia_auc <= 0.65."


def test_where_no_trial_is_feasible_nothing_is_recommended_and_the_nearest_is_named(directory: Path) -> None:
    page = page_of(directory, [row(0, 0.90, 0.60), row(1, 0.92, 0.62)], constraints={"mia_auc": "<= 0.55"})
    assert page.choice.best is None and page.choice.refused == "No trial keeps mia_auc <= 0.55."
    assert page.choice.nearest is not None and page.choice.nearest.trial == "t0"
    assert page.attacker is not None and page.attacker.trial.trial == "t1"  # the most accurate one


def test_a_trial_whose_numbers_may_be_no_result_is_not_recommended(directory: Path) -> None:
    odd = row(0, 0.95, 0.50, notices=["accuracy at chance: balanced accuracy 0.1"])
    page = page_of(directory, [odd, row(1, 0.90, 0.60, notices=["few records: fewer than 200"])])
    assert page.choice.best is not None and page.choice.best.trial.trial == "t1"
    page = page_of(directory, [odd])
    assert page.choice.best is None
    assert page.choice.refused == "The numbers of the only trial may be no result: accuracy at chance."
    page = page_of(directory, [odd], constraints={"mia_auc": "<= 0.9"})
    assert page.choice.refused == "The numbers of trial #0 may be no result: accuracy at chance (see above)."


def test_what_is_predicted_is_not_recommended(directory: Path) -> None:
    predicted = {"trial": "p", "sequence": 0, "status": "succeeded", "architecture": "x"}
    predicted["metrics"] = {"predicted_mia_auc": 0.6, "default": -0.6}
    page = page_of(directory, [predicted], evaluator={"kind": "predicted"})
    assert page.choice.best is None and page.attacker is None
    assert page.choice.refused == "No network was trained or attacked: every AUC is predicted."
    assert page.sure == ("Nothing was attacked, so nothing is known about leaks. Measure what you mean to use.",)
    words = Page(write_report(directory).read_text(encoding="utf-8")).root.words
    assert "What is recommended Nothing No network was trained or attacked" in words


def confirm(directory: Path, rows: list[dict[str, Any]], aucs: dict[int, list[float]], **config: Any) -> FirstPage:
    page_of(directory, rows, **config)
    run = read_run(directory)
    trained = []
    for sequence, values in aucs.items():
        for seed, value in enumerate(values):
            metrics = {"accuracy": 0.9 + sequence / 100, "mia_auc": value, "mia_tpr_at_1pct_fpr": 0.02}
            record = TrialRecord(f"c{sequence}-{seed}", len(trained), "succeeded", f"x{sequence}", metrics)
            trained.append((record, MeasuredRow(label_of(sequence), "original", "digits", "none", seed, metrics)))
    chosen = [trial for trial in run.trials if trial.sequence in aucs]
    seeds = range(max(map(len, aucs.values())))
    found = confirm_architectures(run, chosen, trained, seeds=seeds, attacks=["black_box_partial"])
    assert found is not None
    write_confirmed(directory, found)
    return page_of(directory, rows)


def test_what_is_confirmed_comes_before_all_else_and_has_the_means_over_fresh_seeds(directory: Path) -> None:
    rows = [row(0, 0.95, 0.56), row(1, 0.90, 0.60)]
    page = confirm(directory, rows, {0: [0.61, 0.62, 0.63], 1: [0.64, 0.65, 0.66]})
    best = page.choice.best
    assert best is not None and best.trial.trial == "t1" and best.seeds == 3
    assert math.isclose(best.auc.value, 0.65) and math.isclose(best.accuracy.value, 0.91)
    assert best.reason == "It is the most accurate of the 2 architectures that were trained anew."
    assert page.attacker is not None and page.attacker.found == pytest.approx(0.02) and page.dots == 2
    assert "Confirmed: the numbers are means over 3 fresh trainings, which had no part in the search." in page.sure


def test_where_nothing_confirmed_keeps_the_constraints_nothing_is_recommended(directory: Path) -> None:
    rows = [row(0, 0.95, 0.56), row(1, 0.90, 0.60)]
    page = confirm(directory, rows, {0: [0.61, 0.63], 1: [0.65, 0.67]}, constraints={"mia_auc": "<= 0.6"})
    assert page.choice.best is None
    assert page.choice.refused == "No architecture keeps mia_auc <= 0.6 when it is trained anew."
    assert page.choice.nearest is not None and page.choice.nearest.trial == "t0"


def test_a_wide_mean_over_few_seeds_does_not_hide_what_the_search_measured(directory: Path) -> None:
    page = confirm(directory, [row(0, 0.95, 0.60), row(1, 0.90, 0.61)], {0: [0.52, 0.68]})
    assert page.attacker is not None and page.attacker.guesses and page.attacker.seeds == 2
    assert page.sure[0].endswith("over 2 fresh trainings: too few to tell it from guessing (0.5).")
    assert page.sure[1] == "The search's own training does leak: 0.600 [0.570, 0.630]."


def test_differential_privacy_bounds_what_any_attacker_finds(directory: Path) -> None:
    private = row(0, 0.9, 0.52, data={"privacy": PRIVACY}, metrics={"epsilon": 1.0})
    page = page_of(directory, [private, {**private, "trial": "t1", "sequence": 1}])
    attacker = page.attacker
    assert attacker is not None and attacker.epsilon is not None and attacker.most is not None
    assert attacker.most == pytest.approx(most_found(attacker.epsilon, 1e-5))
    assert f"would find more than {math.ceil(100 * attacker.most)} of 100." in attacker.sentences[-1]
    assert page.sure[-1].startswith("Differential privacy: epsilon") and "choosing among the 2" in page.sure[-1]


def test_the_bound_of_differential_privacy_is_that_of_its_definition() -> None:
    for epsilon in (0.0, 0.1, 1.0, 3.0, 8.0):
        for delta in (0.0, 1e-5, 1e-2):
            share = most_found(epsilon, delta)
            # Both of its inequalities hold there, and one of them with equality.
            first = math.exp(epsilon) * 0.01 + delta - share
            second = math.exp(epsilon) * (1 - share) + delta - 0.99
            assert min(first, second) == pytest.approx(0, abs=1e-9)
    assert most_found(0, 0) == pytest.approx(0.01) and most_found(1e4, 0) == 1


def test_a_share_is_a_count_that_does_not_claim_more_than_it_is() -> None:
    shares = (0.0, 0.004, 0.006, 0.034, 0.5, 1.0)
    assert [out_of_100(share) for share in shares] == ["none", "fewer than 1", "1", "3", "50", "100"]


def test_the_page_says_all_of_it_before_anything_else(run_directory: Path) -> None:
    root = Page(write_report(run_directory).read_text(encoding="utf-8")).root
    (answers,) = root.all("div", "answers")
    titles = [head.words for head in answers.all("h2")]
    assert titles == ["What was tried", "What is recommended", "What an attacker learns", "How sure that is"]
    run = read_run(run_directory)
    rows = [json.loads(line) for line in (run_directory / "trials.jsonl").read_text().splitlines()]
    assert f"tried {len(rows)} architectures (11 succeeded, 1 failed)" in answers.words
    summary = summary_info(run)
    best = choose(run, feasibility=summary.feasibility).best
    assert best is not None and f"The network of trial #{best.trial.sequence}" in answers.words
    dots = [dot for dot in answers.all("circle") if dot.attributes["fill"] != "none"]
    assert len(dots) == round(100 * best.trial.metrics["mia_tpr_at_1pct_fpr"])
