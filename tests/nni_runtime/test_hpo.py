"""A project of hyper-parameter optimization by NNI's command line: before, and with three lines after."""

from __future__ import annotations

import csv
import difflib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from support_browser import browser, shown, trial_table  # noqa: F401
from support_manager import final_metrics
from support_nnictl import PROJECT, RUNNER, Nnictl, nnictl, runs

DIFFERENCE = 5


def test_the_project_changes_by_a_few_lines() -> None:
    before, after = ((PROJECT / name).read_text().splitlines() for name in ("trial.py", "audited_trial.py"))
    changes = [line for line in difflib.ndiff(before, after) if line[0] in "+-" and line[1:].strip()]
    assert 0 < sum(line.startswith("+") for line in changes) <= DIFFERENCE
    assert sum(line.startswith("-") for line in changes) <= DIFFERENCE


@pytest.mark.slow
def test_the_trial_of_the_page_runs(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "nni.md").read_text(encoding="utf-8")
    (tmp_path / "trial.py").write_text(page.partition("```python\n# trial.py\n")[2].partition("```")[0])
    done = subprocess.run([sys.executable, "trial.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "'mia_auc': " in done.stdout + done.stderr, done.stderr


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nnictl]:
    """The project with an audit in its trial; all trials are done."""
    with nnictl(tmp_path_factory.mktemp("hpo")) as user:
        (user.folder / "audited_trial.py").replace(user.folder / "trial.py")
        user.create("config.yml")
        user.wait(3)
        yield user


@pytest.mark.slow
@pytest.mark.browser
def test_the_auc_stands_beside_the_default_metric_in_the_web_ui(browser: Any, audited: Nnictl) -> None:  # noqa: F811
    columns, cells = trial_table(browser, audited.page("detail"))
    at = columns.index("Default metric")
    assert columns[at + 1] == "mia_auc (metric)"
    for trial in audited.trials():
        metrics = final_metrics(trial)
        assert trial["trialJobId"] in cells and shown(metrics["mia_auc"]) in cells
        assert 0.4 < metrics["mia_auc"] <= 1 and 0.5 < metrics["default"] <= 1


@pytest.mark.slow
def test_the_commands_of_nni_reach_the_guarded_manager(audited: Nnictl) -> None:
    identity = audited.experiment["id"]
    assert '"DONE"' in audited.run("experiment", "status", identity).stdout
    assert audited.web in audited.run("webui", "url").stdout
    done = audited.run("experiment", "export", "--filename", "out.csv", "--type", "csv", "--intermediate")
    assert done.returncode == 0
    with (audited.folder / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    by_id = {trial["trialJobId"]: final_metrics(trial) for trial in audited.trials()}
    assert {row["trialJobId"]: float(row["mia_auc"]) for row in rows} == {
        trial: metrics["mia_auc"] for trial, metrics in by_id.items()
    }
    assert all(len(json.loads(row["intermediate"])) >= 5 for row in rows)  # NNI's own counts the final one, too
    best, *_ = json.loads(audited.run("trial", "ls", "--head", "1").stdout)
    assert final_metrics(best)["default"] == max(metrics["default"] for metrics in by_id.values())


@pytest.mark.slow
def test_nobody_else_reaches_it(audited: Nnictl) -> None:
    address = f"http://127.0.0.1:{audited.port}/api/v1/nni/trial-jobs"
    token = {"X-NNI-Privacy-Token": audited.web.partition("token=")[2]}
    assert requests.get(address, timeout=20).status_code == 401
    assert requests.get(address, headers=token, timeout=20).status_code == 200
    for foreign in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        assert requests.get(address, headers={**token, **foreign}, timeout=20).status_code == 403
    manager = psutil.Process(audited.experiment["pid"])
    listening = {one.laddr.ip for one in manager.net_connections() if one.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert "overlays" in " ".join(manager.cmdline())


@pytest.mark.slow
def test_an_ended_experiment_goes_on_and_is_looked_at(audited: Nnictl) -> None:
    """The last test of the experiment: it is stopped."""
    identity, first = audited.experiment["id"], audited.experiment["pid"]
    assert audited.run("stop", identity).returncode == 0
    assert not runs(first)
    assert audited.run("resume", identity, "--port", str(audited.port)).returncode == 0
    assert audited.run("update", "trialnum", identity, "--value", "4").returncode == 0
    trials = audited.wait(4)
    assert [trial["status"] for trial in trials] == ["SUCCEEDED"] * 4
    assert all("mia_auc" in final_metrics(trial) for trial in trials)
    audited.run("stop", "--all")
    assert audited.run("view", identity, "--port", str(audited.port)).returncode == 0
    assert len(audited.trials()) == 4
    audited.run("stop", "--all")
    assert not runs(audited.experiment["pid"])


@pytest.mark.slow
def test_an_old_configuration_with_a_tuner_of_its_own_runs_unchanged(tmp_path: Path) -> None:
    with nnictl(tmp_path / "hpo") as user:
        said = user.create("config_v1.yml", way=RUNNER)
        assert "legacy config" in said
        trials = user.wait(2)
        rates = [json.loads(trial["hyperParameters"][0])["parameters"]["learning_rate"] for trial in trials]
        assert sorted(rates) == [0.025, 0.05]
        assert all(0.1 < final_metrics(trial) <= 1 for trial in trials)
        log = user.folder / "nni-experiments" / user.experiment["id"] / "log" / "dispatcher.log"
        assert "Traceback" not in log.read_text()
        user.run("stop", "--all", way=RUNNER)
        assert not runs(user.experiment["pid"])
