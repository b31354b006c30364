"""What surrounds a run and must not break it: threads, outer trials, strict warnings, files of the working folder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import yaml
from support_search import SMALL, free_port, wait_for

import nni_privacy
from nni_privacy.commands.interrupts import interruptible
from nni_privacy.commands.main import main
from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime.hidden_modules import check_folder, hidden_modules
from nni_privacy.nni_runtime.surroundings import OF_A_TRIAL, put_outer_trial_aside, show_warnings

SEARCH = {**SMALL, "trials": 1, "concurrency": 1, "evaluator": {"recipe": {"epochs": 1}, "attacks": ["loss_threshold"]}}


@pytest.mark.parametrize("module", ["nni_privacy", "nni_privacy.commands.main"])
def test_the_package_runs_as_a_module(module: str, tmp_path: Path) -> None:
    (tmp_path / "random.py").touch()
    (tmp_path / "yaml").mkdir()
    (tmp_path / "yaml" / "__init__.py").touch()
    command = [sys.executable, "-W", "error", "-m", module, "patterns", "list"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and "demotion-normal" in run.stdout, run.stderr


# --- files of the working folder ---


def test_modules_that_hide_needed_ones_are_found_and_others_are_not(tmp_path: Path) -> None:
    for name in ("random.py", "sys.py", "os.py", "mine.py", "notes.txt", "json.txt", "turtle.py"):
        (tmp_path / name).touch()
    for name in ("numpy", "torch"):
        (tmp_path / name).mkdir()
    (tmp_path / "numpy" / "__init__.py").touch()  # without one, a folder hides nothing
    frozen = sys.version_info >= (3, 11)  # os is part of the interpreter from there on
    assert hidden_modules(tmp_path) == ["numpy", *([] if frozen else ["os"]), "random"]
    with pytest.raises(ConfigError, match=r"its module 'numpy' hides the one that trials need: rename it") as caught:
        check_folder(tmp_path)
    assert "\n" not in str(caught.value)
    assert hidden_modules(Path(nni_privacy.__file__).parents[1]) == []  # it hides none that it is itself


@pytest.mark.parametrize("name", ["nni", "random", "yaml"])
def test_a_search_beside_one_does_not_start(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{name}.py").touch()
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(SEARCH))
    assert main(["search", "search.yaml", "--output", "run", "--port", str(free_port())]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"its module {name!r} hides" in line
    assert not (tmp_path / "run").exists()


# --- threads ---


def test_in_another_thread_there_are_no_handlers_and_no_error() -> None:
    done: list[str] = []

    def run() -> None:
        with interruptible():
            done.append("ran")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done == ["ran"]


THREAD = """
import sys, threading
from nni_privacy.commands.search import run_search
codes = []
def run():
    codes.append(run_search("search.yaml", output="run", port=int(sys.argv[1])))
thread = threading.Thread(target=run)
thread.start()
print("MAIN", flush=True)
while thread.is_alive():
    if "stop" in __import__("os").listdir():
        break
    thread.join(0.2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_search_in_a_thread_of_an_outer_trial_under_strict_warnings(warm: bool, tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text(yaml.safe_dump({**SEARCH, "warm_trials": warm}))
    outer = {"NNI_PLATFORM": "local", "NNI_TRIAL_JOB_ID": "outer", "NNI_OUTPUT_DIR": str(tmp_path / "outer")}
    environment = dict(os.environ, HOME=str(tmp_path), PYTHONWARNINGS="error", **outer)
    log = tmp_path / "log"
    program = "import warnings; warnings.simplefilter('ignore')\n" + THREAD  # NNI cannot be imported otherwise
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(free_port())], cwd=tmp_path, env=environment, stdout=file, stderr=file
        )
    try:
        wait_for(lambda: "stays up" in log.read_text() or process.poll() is not None, "the search to end")
        text = log.read_text()
        assert "done: 1 trial, 0 failed" in text and "until this program ends" in text, text
        assert "NNI_PLATFORM, NNI_TRIAL_JOB_ID, NNI_OUTPUT_DIR, left of an outer NNI trial" in text
        assert "one by one" not in text and not (tmp_path / "outer").exists()
        (tmp_path / "stop").touch()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


# --- outer trials, strict warnings ---


def test_variables_of_an_outer_trial_are_put_aside_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in OF_A_TRIAL:
        monkeypatch.delenv(name, raising=False)
    put_outer_trial_aside()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("NNI_PLATFORM", "local")
    monkeypatch.setenv("NNI_TRIAL_JOB_ID", "abc")
    put_outer_trial_aside()
    (line,) = capsys.readouterr().err.splitlines()
    assert "NNI_PLATFORM, NNI_TRIAL_JOB_ID" in line and "NNI_PLATFORM" not in os.environ


def test_warnings_that_are_to_be_errors_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error::DeprecationWarning")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        show_warnings()
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert [str(one.message) for one in caught] == ["old"] and os.environ["PYTHONWARNINGS"] == "default"


def test_filters_of_a_users_own_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        before = list(warnings.filters)
        show_warnings()
        assert list(warnings.filters) == before and os.environ["PYTHONWARNINGS"] == "ignore"


# --- configurations of NNI's own ---


@pytest.mark.parametrize("command", ["search", "measure"])
@pytest.mark.parametrize(
    "content",
    [
        {"experimentName": "x", "trialCommand": "python t.py", "searchSpaceFile": "s.json"},
        {"trial_command": "python t.py"},
        {"authorName": "x", "trialConcurrency": 1, "trainingServicePlatform": "local", "searchSpacePath": "s.json"},
    ],
)
def test_a_configuration_of_nnictl_is_recognised(
    command: str, content: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yml"
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    assert main([command, str(config)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "config.yml" in line and "nni-privacy nnictl create" in line and "NNI's own" in line
