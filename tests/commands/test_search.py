"""A whole search, end to end: NNI's manager, trials in processes of their own, the web UI in Chromium, the files."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support_browser import browser  # noqa: F401
from support_search import SMALL, Search, wait_for

from nni_privacy.cells.darts import Genotype
from nni_privacy.patterns import load_pattern

pytestmark = pytest.mark.slow

HEADERS = "return [...document.querySelectorAll('[role=columnheader]')].map(header => header.innerText.trim())"
CELLS = "return [...document.querySelectorAll('[role=gridcell]')].map(cell => cell.innerText.trim())"
OPEN_CHART = """
const tab = [...document.querySelectorAll('[role=tab]')].find(tab => tab.innerText.includes('Hyper-parameter'));
if (tab) tab.click();
return Boolean(tab)"""
DRAWN_PIXELS = """
const canvas = document.querySelector('.parcoords canvas.foreground');
if (canvas === null || canvas.width === 0) return 0;
const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
return pixels.filter((value, index) => index % 4 === 3 && value > 0).length"""
AXES = "return [...document.querySelectorAll('.parcoords svg .dimension .label')].map(label => label.textContent)"


def without_time(trial: dict[str, Any]) -> dict[str, Any]:
    return {key: trial[key] for key in ("status", "architecture", "metrics")}


def screenshot(driver: Any, name: str) -> None:
    folder = os.environ.get("NNI_PRIVACY_SCREENSHOTS")
    if folder:
        driver.save_screenshot(str(Path(folder) / f"{name}.png"))


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    run = Search(tmp_path_factory.mktemp("search"), SMALL)
    try:
        yield run
    finally:
        run.stop()


@pytest.fixture(scope="module")
def finished(search: Search) -> Search:
    search.wait_until_it_is_done()
    return search


@pytest.mark.browser
def test_the_page_shows_the_running_trials_and_their_auc(browser: Any, search: Search) -> None:  # noqa: F811
    trials = wait_for(lambda: search.trials, "a finished trial")
    browser.get(search.page("detail"))
    headers = wait_for(lambda: [text for text in browser.execute_script(HEADERS) if text], "the table", 30)
    assert headers[headers.index("Default metric") + 1].startswith("mia_auc")
    shown = browser.execute_script(CELLS)
    for trial in trials:
        assert any(trial["trial"] in cell.split() for cell in shown)
        for value in (trial["metrics"]["mia_auc"], trial["metrics"]["accuracy"]):
            assert any(_shows(cell, value) for cell in shown), value


def _shows(cell: str, value: float) -> bool:
    try:
        return abs(float(cell.split()[0]) - value) < 1e-5
    except (ValueError, IndexError):
        return False


@pytest.mark.browser
def test_the_hyper_parameter_chart_draws_a_line_for_each_trial(browser: Any, finished: Search) -> None:  # noqa: F811
    browser.get(finished.page("detail"))
    wait_for(lambda: browser.execute_script(OPEN_CHART), "the tab", 30)
    assert wait_for(lambda: browser.execute_script(DRAWN_PIXELS), "lines", 30) > 0
    screenshot(browser, "chart")
    axes = set(browser.execute_script(AXES))
    choices = {axis for axis in axes if axis.startswith(("normal_", "reduction_"))}
    assert "mia_auc" in axes and len(choices) == 6


def test_every_trial_is_constrained_and_reported(finished: Search) -> None:
    assert [trial["status"] for trial in finished.trials] == ["succeeded"] * SMALL["trials"]
    assert sorted(trial["sequence"] for trial in finished.trials) == list(range(SMALL["trials"]))
    fixed = set(load_pattern("demotion-reduction").first(4).edges)
    for trial in finished.trials:
        assert fixed <= set(Genotype.parse(trial["architecture"]).reduction.edges)
        assert 0 < trial["seconds"] < 200
        assert trial["metrics"]["mia_auc_low"] <= trial["metrics"]["mia_auc"] <= trial["metrics"]["mia_auc_high"]


def test_the_run_directory_is_as_the_design_page_says(finished: Search) -> None:
    config = yaml.safe_load((finished.output / "config.yaml").read_text())
    assert config["evaluator"]["recipe"]["momentum"] == 0.9  # resolved: defaults are written out
    environment = json.loads((finished.output / "environment.json").read_text())
    assert environment["seed"] == SMALL["seed"]
    assert len(environment["fixed_edges"]["reduction"]) == 4
    assert environment["versions"]["nni"] and environment["versions"]["torch"]
    for trial in finished.trials:
        with np.load(finished.output / "scores" / f"{trial['trial']}.npz", allow_pickle=False) as scores:
            assert scores["loss_threshold/scores"].shape == scores["loss_threshold/is_member"].shape == (200,)
    assert "4 of 4" in (finished.output / "report.html").read_text()


def test_the_terminal_tells_what_happens(finished: Search) -> None:
    epochs = [line for line in finished.text.splitlines() if line.startswith("trial ")]
    assert epochs[0].startswith(("trial 0: epoch 1/3, loss ", "trial 1: epoch 1/3, loss "))
    assert "Web portal URLs" not in finished.text
    last = [line for line in finished.text.splitlines() if "4/4 trials" in line][-1]
    for part in ("best accuracy 0.", "lowest AUC 0.", "0:00 left"):
        assert part in last


def nnictl(search: Search, *words: str, token: bool) -> str:
    """What `nni-privacy nnictl`, or NNI's own, prints for the user whose search it is."""
    ours = [sys.executable, "-m", "nni_privacy.commands.main", "nnictl"]
    theirs = [sys.executable, "-c", "from nni.tools.nnictl.nnictl import parse_args; parse_args()"]
    environment = dict(os.environ, HOME=str(search.folder))
    done = subprocess.run([*(ours if token else theirs), *words], env=environment, capture_output=True, text=True)
    return done.stdout


def test_nnictl_works_with_the_token_and_is_refused_without(finished: Search) -> None:
    trials = [trial["trial"] for trial in finished.trials]
    shown = nnictl(finished, "trial", "ls", token=True)
    assert all(f'"trialJobId":"{trial}"' in shown.replace('": "', '":"') for trial in trials)
    assert '"status"' in nnictl(finished, "experiment", "status", token=True)
    refused = nnictl(finished, "trial", "ls", token=False)
    assert not any(trial in refused for trial in trials)


def test_nobody_is_let_in_without_the_token(finished: Search) -> None:
    import requests

    root = f"http://127.0.0.1:{finished.port}"
    for path in ("/", "/detail", "/api/v1/nni/trial-jobs", "/logs/nnimanager.log", "/static/js/main.js"):
        assert requests.get(root + path, timeout=20).status_code == 401
    assert requests.get(finished.page("detail"), timeout=20).status_code == 200
    token = finished.page().partition("token=")[2]
    kept = list((finished.folder / ".cache" / "nni-privacy" / "managers").iterdir())
    holds = [path for path in finished.folder.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert {path for path in holds if path not in (*kept, finished.log)} == set()
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)


def test_ctrl_c_ends_the_page_and_leaves_no_process(finished: Search) -> None:
    import psutil

    children = finished.children()
    assert children
    assert finished.stop(signal.SIGINT) == 0
    assert not [process for process in children if psutil.pid_exists(process)]
    assert "Traceback" not in finished.text


EVOLUTION = {"name": "regularized_evolution", "population_size": 2, "sample_size": 1}


@pytest.mark.parametrize(("strategy", "concurrency"), [({"name": "random"}, 2), (EVOLUTION, 1)])
def test_the_same_seed_gives_the_same_architectures_and_metrics(
    strategy: dict[str, Any], concurrency: int, tmp_path: Path
) -> None:
    settings = {**SMALL, "strategy": strategy, "concurrency": concurrency, "trials": 3}
    runs = []
    for name, warm in (("first", True), ("second", True), ("cold", False)):
        run = Search(tmp_path / name, {**settings, "warm_trials": warm}, "--exit-when-done")
        assert run.wait() == 0, run.text
        runs.append({trial["architecture"]: without_time(trial) for trial in run.trials})
    assert len(runs[0]) == 3
    assert runs[0] == runs[1] == runs[2]


def test_failing_trials_are_reported_and_the_search_goes_on(tmp_path: Path) -> None:
    evaluator = {"recipe": {"epochs": 1, "learning_rate": 1e30}, "attacks": ["loss_threshold"]}
    run = Search(tmp_path, {**SMALL, "evaluator": evaluator, "trials": 2}, "--exit-when-done")
    assert run.wait() == 1
    assert [trial["status"] for trial in run.trials] == ["failed", "failed"]
    for trial in run.trials:
        assert ("TrainingDiverged" in trial["error"] and "metrics" not in trial) or trial["metrics"] == {}
        Genotype.parse(trial["architecture"])
    assert "2 failed" in run.text and "Traceback" not in run.text
    assert "TrainingDiverged" in (run.output / "report.html").read_text()


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_an_interrupted_search_keeps_what_it_has(warm: bool, tmp_path: Path) -> None:
    import psutil

    run = Search(tmp_path, {**SMALL, "trials": 50, "warm_trials": warm})
    wait_for(lambda: run.trials, "a finished trial")
    children = run.children()
    assert run.stop(signal.SIGTERM) == 130
    assert run.trials and (run.output / "report.html").is_file()
    again = f"go on with: nni-privacy search {run.folder / 'search.yaml'} --output {run.output} --resume"
    assert f"{again} --port {run.port}\n" in run.text
    assert not [process for process in children if psutil.pid_exists(process)]
    assert "Traceback" not in run.text


def test_trials_that_are_lost_with_what_they_were_forked_from_are_run_again(tmp_path: Path) -> None:
    import psutil

    run = Search(tmp_path, {**SMALL, "trials": 4, "concurrency": 2}, "--exit-when-done")

    def server_of_two() -> psutil.Process | None:
        for process in psutil.Process(run.process.pid).children():
            if "nni_privacy.nni_runtime.warm.server" in process.cmdline() and len(process.children()) == 2:
                return process
        return None

    server = wait_for(server_of_two, "two trials under way")
    server.kill()
    assert run.wait() == 0, run.text
    assert [trial["status"] for trial in run.trials] == ["succeeded"] * 4
    assert sorted(trial["sequence"] for trial in run.trials) == [0, 1, 2, 3]
    assert "started anew" in run.text and "Traceback" not in run.text
