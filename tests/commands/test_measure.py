"""`nni-privacy measure`, end to end: killed, started again, with an architecture that cannot be trained."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support_search import Search, wait_for

pytestmark = pytest.mark.slow

BROKEN = '''
"""A plugin that breaks one network: its loss is NaN from the first batch on."""
from nni_privacy import networks

built = networks.build_network


def build_network(name, **options):
    network = built(name, **options)
    if name == "dla":
        for parameter in network.parameters():
            parameter.data.fill_(float("nan"))
    return network


networks.build_network = build_network
'''

STUDY: dict[str, Any] = {
    "name": "study",
    "seeds": [3],
    "datasets": [{"name": "digits", "limit": 240}],
    "search_space": {"name": "darts", "channels": 4, "cells": 3, "nodes": 4},
    "architectures": [
        {"networks": ["regnet", "dla"]},
        {"sampled": 2, "variants": ["original", {"pattern": "demotion", "cells": "reduction"}]},
        {"strategy": {"name": "gdas", "epochs": 2, "batch_size": 16}},
    ],
    "evaluator": {
        "recipe": {"epochs": 2},
        "attacks": ["black_box_partial", "white_box_partial", "loss_threshold"],
        "plugins": ["broken_dla"],
    },
    "concurrency": 2,
}
MEASUREMENTS = 7


def start(folder: Path) -> Search:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "broken_dla.py").write_text(BROKEN)
    return Search(folder, STUDY, "--exit-when-done", command="measure")


def table(run: Search) -> list[dict[str, Any]]:
    rows = [{key: trial.get(key) for key in ("status", "architecture", "metrics", "factors")} for trial in run.trials]
    return sorted(rows, key=lambda row: json.dumps(row["factors"], sort_keys=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    run = start(tmp_path_factory.mktemp("whole"))
    try:
        assert run.wait() == 0, run.text
        yield run
    finally:
        run.stop()


def test_every_measurement_is_there_with_its_factors(whole: Search) -> None:
    rows = table(whole)
    assert len(rows) == MEASUREMENTS
    keys = ("architecture", "variant")
    told = {tuple(row["factors"][key] for key in keys): row for row in rows}
    assert len(told) == MEASUREMENTS
    found = told["sampled-1", "demotion-reduction-4"]
    assert found["architecture"] != told["sampled-1", "original"]["architecture"]
    assert found["metrics"]["parameters"] < told["sampled-1", "original"]["metrics"]["parameters"]
    assert {"mia_auc", "white_box_partial_mia_auc", "loss_threshold_mia_auc"} <= set(found["metrics"])
    assert told["gdas", "original"]["architecture"].startswith("Genotype(")
    assert (whole.output / "searches").is_dir()


def test_one_that_cannot_be_trained_is_reported_as_failed_and_the_rest_goes_on(whole: Search) -> None:
    (failed,) = [row for row in whole.trials if row["status"] == "failed"]
    assert failed["factors"]["architecture"] == "dla" and "nan" in failed["error"]
    page = (whole.output / "report.html").read_text()
    assert "dla" in page and "failed" in page


def test_killed_and_started_again_it_repeats_nothing_and_gives_the_same_table(whole: Search, tmp_path: Path) -> None:
    run = start(tmp_path / "killed")
    wait_for(lambda: len(run.trials) >= 2 or run.process.poll() is not None, "two measurements")
    before = run.trials
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.wait(60)
    again = start(tmp_path / "killed")
    try:
        assert again.wait() == 0, again.text
    finally:
        again.stop()
    assert len(again.trials) == MEASUREMENTS
    assert again.trials[: len(before)] == before  # byte for byte what was there: the same trials, not others
    assert table(again) == table(whole)


def test_another_study_in_the_same_folder_is_refused(whole: Search, tmp_path: Path) -> None:
    folder = whole.folder
    changed = Search(folder, {**STUDY, "seeds": [4]}, command="measure")
    try:
        assert changed.wait() == 2
    finally:
        changed.stop()
    assert "holds another run; seeds differ" in changed.text
