"""A search in a space of one's own, from its file to the web UI, the report and a model of plain torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support_browser import browser, shown, trial_table  # noqa: F401
from support_search import Search

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[1] / "support" / "projects" / "own_space"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    """Two trials; file and module are not in the folder that it was started in."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(PROJECT, folder / "project")
    settings = yaml.safe_load((PROJECT / "search.yaml").read_text())
    search = Search(folder / "work", settings, config=folder / "project" / "search.yaml")
    search.wait_until_it_is_done()
    yield search
    search.stop()


@pytest.mark.browser
def test_accuracy_and_auc_are_seen_in_the_web_ui(browser: Any, finished: Search) -> None:  # noqa: F811
    columns, cells = trial_table(browser, finished.page("detail"))
    at = columns.index("Default metric")
    assert columns[at + 1] == "mia_auc (metric)"
    assert len(finished.trials) == 2
    for trial in finished.trials:
        assert trial["trial"] in cells and shown(trial["metrics"]["mia_auc"]) in cells


def test_the_report_names_the_space_and_what_was_chosen(finished: Search) -> None:
    report = (finished.output / "report.html").read_text()
    assert "mynet.spaces:Stack" in report
    for trial in finished.trials:
        assert set(json.loads(trial["architecture"])) == {"activation", "layer0", "layer1", "pool", "width"}


def test_its_model_is_exported_as_code_of_plain_torch(finished: Search, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "nni_privacy", "export", str(finished.output), "--output", str(tmp_path / "model")]
    refused = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2 and "mynet.spaces" in refused.stderr and "--plugins" in refused.stderr
    project = finished.folder.parent / "project"
    words += ["--plugins", "mynet.spaces"]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    program = "import model, torch; print(tuple(model.load()(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).shape))"
    shape = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "model", capture_output=True, text=True, check=True
    )
    assert shape.stdout.strip() == "(2, 10)"


def test_a_confirmation_says_that_it_needs_genotypes(finished: Search) -> None:
    words = [sys.executable, "-m", "nni_privacy", "confirm", str(finished.output)]
    done = subprocess.run(words, capture_output=True, text=True)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and "mynet.spaces:Stack are no genotypes" in line
