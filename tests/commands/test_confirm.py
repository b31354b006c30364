"""`nni-privacy confirm`: what is refused, what would run, and, end to end, killed in the middle and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from report.samples import make_run
from support_search import SMALL, Search, free_port, wait_for

from nni_privacy.commands.main import main
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.processes import ProcessId


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    """A search of twelve trials that has ended, as it is recorded, but for its data set's options."""
    directory = make_run(tmp_path / "run", pattern=False)
    config = yaml.safe_load((directory / "config.yaml").read_text())
    config["evaluator"] = {"recipe": {"epochs": 2}, "attacks": ["black_box_partial", "loss_threshold"]}
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    return directory


def change(directory: Path, **fields: Any) -> None:
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **fields}))


def dry(capsys: pytest.CaptureFixture[str], directory: Path, *words: str, code: int = 0) -> str:
    before = sorted(directory.rglob("*"))
    assert main(["confirm", str(directory), "--dry-run", "--port", str(free_port()), *words]) == code
    assert sorted(directory.rglob("*")) == before
    told = capsys.readouterr()
    return told.err if code else told.out


def test_a_dry_run_says_what_would_be_trained(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = dry(capsys, searched, "--top", "3", "--seeds", "4", "--attacks", "rmia", "--concurrency", "7")
    assert "quickstart-confirm: 12 measurements would run, 7 at a time" in text
    assert "attacks black_box_partial, loss_threshold, rmia;" in text and str(searched / "confirm") in text


def test_what_was_configured_holds_unless_an_option_says_otherwise(
    searched: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(searched, confirm={"top": 2, "seeds": 3, "attacks": []})
    text = dry(capsys, searched)
    assert "6 measurements" in text and "attacks black_box_partial, loss_threshold;" in text
    assert "10 measurements" in dry(capsys, searched, "--seeds", "5")


def test_by_default_the_reference_attacks_are_added(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "attacks black_box_partial, loss_threshold, rmia, lira;" in dry(capsys, searched)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--top", "0"], "top: 0; input should be greater than or equal to 1"),
        (["--seeds", "1"], "seeds: 1; input should be greater than or equal to 2"),
        (["--attacks", "lirra"], "attacks: unknown attack 'lirra': did you mean 'lira'"),
        (["--concurrency", "0"], "concurrency: 0"),
        (["--resume"], "--resume: nothing of"),
        (["--fail-if", "mia_acu_high > 0.6"], "unknown metric 'mia_acu_high': did you mean 'mia_auc_high'"),
        (["--fail-if", "mia_auc"], "--fail-if: mia_auc: ''; expected one of"),
        (["--junit", "gate.xml"], "there is no --fail-if"),
    ],
)
def test_an_option_that_is_not_possible(
    words: list[str], message: str, searched: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = dry(capsys, searched, *words, code=2)
    assert message in text and len(text.splitlines()) == 1


def test_a_run_that_cannot_be_confirmed(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not a run directory" in dry(capsys, searched / "scores", code=2)
    own = ProcessId.of(os.getppid())
    assert own is not None
    (searched / "running.json").write_text(json.dumps({"process": own.to_dict()}))
    assert "is still running" in dry(capsys, searched, code=2)
    (searched / "running.json").unlink()
    service = {"platform": "remote", "machine_list": [{"host": "h", "user": "u", "password": "(not written)"}]}
    change(searched, training_service=service)
    assert f"search CONFIG --output {searched} --resume" in dry(capsys, searched, code=2)
    change(searched, training_service=None)
    (searched / "trials.jsonl").write_text("")
    assert "no trial has an accuracy and an AUC" in dry(capsys, searched, code=2)
    change(searched, evaluator={"kind": "predicted"}, strategy="random", dataset=None)
    assert "there is no measurement to confirm" in dry(capsys, searched, code=2)


def test_a_study_has_seeds_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(tmp_path / "study")
    run.create({"name": "s", "architectures": [{"networks": ["resnet"]}]}, {})
    assert "a study, whose seeds are its own" in dry(capsys, run.path, code=2)


def test_a_search_tells_that_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "search.yaml"
    config.write_text(yaml.safe_dump({**SMALL, "confirm": {"top": 3, "seeds": 2}}))
    assert main(["search", str(config), "--dry-run", "--port", str(free_port())]) == 0
    assert "then the best 3 are trained 2 times each and attacked also by rmia, lira" in capsys.readouterr().out


# --- end to end ---

CONFIRMING = {
    **SMALL,
    "dataset": {"name": "digits", "limit": 240},
    "trials": 2,
    "evaluator": {"recipe": {"epochs": 1}, "attacks": ["loss_threshold"]},
    "confirm": {"top": 2, "seeds": 3, "attacks": ["gap"]},
}
TRAININGS = 6


def lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "confirm" / "trials.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def measured(folder: Path) -> dict[str, Any]:
    """What is measured, without names and times of trials."""
    rows = sorted(lines(folder), key=lambda row: json.dumps(row["factors"], sort_keys=True))
    return {"rows": [(row["factors"], row["metrics"]) for row in rows]}


def confirm(folder: Path, *words: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "nni_privacy.commands.main", "confirm", str(folder), "--exit-when-done"]
    command += ["--port", str(free_port()), *words]
    return _ended(command, folder, code).stdout


def _ended(command: list[str], folder: Path, code: int) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, HOME=str(folder.parent), PYTHONUNBUFFERED="1")
    ended = subprocess.run(
        command, cwd=folder.parent, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Search, list[dict[str, Any]]]]:
    """A search that was killed while it was confirmed, and the trainings that were finished then."""
    run = Search(tmp_path_factory.mktemp("killed"), CONFIRMING, "--exit-when-done")
    try:
        wait_for(lambda: lines(run.output) or run.process.poll() is not None, "a training", 900)
        before = lines(run.output)
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait(60)
        yield run, before
    finally:
        run.stop()


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_repeats_nothing(killed: tuple[Search, list[dict[str, Any]]]) -> None:
    run, before = killed
    assert 1 <= len(before) < TRAININGS and not (run.output / "confirmed.json").exists()
    addresses = [line.partition("web UI at ")[2] for line in run.text.splitlines() if "web UI" in line]
    assert len(addresses) == 2 and addresses[0] == addresses[1]  # one page for the search and what confirms it
    text = confirm(run.output)
    assert lines(run.output)[: len(before)] == before and len(lines(run.output)) == TRAININGS
    assert text.splitlines()[-1].startswith("best by confirmed numbers: trial ")
    found = json.loads((run.output / "confirmed.json").read_text())
    assert [one["metrics"]["mia_auc"]["count"] for one in found["architectures"]] == [3, 3]
    assert all("gap_mia_auc" in one["metrics"] for one in found["architectures"])
    assert 1 not in found["seeds"]  # the search's own
    assert len({(row["factors"]["architecture"], row["factors"]["seed"]) for row in lines(run.output)}) == TRAININGS
    assert "Confirmed with fresh seeds" in (run.output / "report.html").read_text()

    again = run.output.with_name("again")
    shutil.copytree(run.output, again, ignore=shutil.ignore_patterns("confirm", "confirmed.json", "nni"))
    confirm(again)
    assert measured(again) == measured(run.output)  # as if it had not been killed

    assert "complete: all 6 trials are finished" in confirm(run.output, "--resume")
    assert len(lines(run.output)) == TRAININGS
    junit = run.output / "gate.xml"
    confirm(run.output, "--fail-if", "mia_auc > 0.01", "--junit", str(junit), code=4)
    assert 'failures="1"' in junit.read_text() and "mia_auc &gt; 0.01" in junit.read_text()
    confirm(run.output, "--fail-if", "mia_auc > 0.999", "--fail-if", "accuracy_low < -9")
    confirm(run.output, "--seeds", "4")
    assert len(lines(run.output)) == TRAININGS + 2 and lines(run.output)[: len(before)] == before
    grown = json.loads((run.output / "confirmed.json").read_text())
    assert grown["seeds"][:3] == found["seeds"] and len(grown["seeds"]) == 4
