"""Trials that were stopped early in the report of a search: counted apart, with their reason, and never the best."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from nni_privacy.report.facts import facts_of, summary_info
from nni_privacy.report.run_page import progress_info, tradeoff_info
from nni_privacy.report.write import write_report
from nni_privacy.runs.records import read_run

WHY = "accuracy 0.999 after 3 of 15 epochs, the median of 5 is 1.000"


def test_stopped_trials_are_counted_and_never_the_best(run_directory: Path) -> None:
    path, config = run_directory / "trials.jsonl", run_directory / "config.yaml"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    before = summary_info(read_run(run_directory))
    for row in rows:
        row["curves"] = {"accuracy": [0.5] * 15}
    # Somebody else's line may even have metrics.
    metrics = {"accuracy": 0.999, "mia_auc": 0.5}
    stopped = {"trial": "early", "sequence": 99, "status": "stopped", "stopped": WHY, "metrics": metrics}
    stopped |= {"curves": {"accuracy": [0.1, 0.2, 0.999]}, "architecture": rows[0]["architecture"]}
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, stopped]))
    rule = {"rule": "median", "after": 3}
    settings = {**yaml.safe_load(config.read_text()), "stop": rule, "evaluator": {"recipe": {"epochs": 15}}}
    config.write_text(yaml.safe_dump(settings))
    run = read_run(run_directory)
    summary = summary_info(run)
    assert (summary.stopped, summary.failed, summary.succeeded) == (1, before.failed, before.succeeded)
    assert summary.best_accuracy is not None and summary.best_accuracy.trial != "early"
    assert summary.lowest_auc is not None and summary.lowest_auc.trial != "early"
    assert "early" not in {trial.trial for trial in tradeoff_info(run).trials}
    assert 99 not in progress_info(run).failed and max(progress_info(run).best_accuracy) < 0.999
    total = len(rows) + 1
    told = facts_of(run, summary)["Early stopping"]
    assert isinstance(told, str) and told.endswith(
        f"1 of {total} trials stopped, {15 * len(rows) + 3} of {15 * total} epochs trained"
    )
    page = write_report(run_directory).read_text()
    assert "1 stopped early" in page and WHY in page and told in page


def test_without_early_stopping_nothing_is_said_of_it(run_directory: Path) -> None:
    run = read_run(run_directory)
    assert facts_of(run, summary_info(run))["Early stopping"] == ""
    assert "stopped early" not in write_report(run_directory).read_text()
