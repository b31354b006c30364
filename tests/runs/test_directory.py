"""The run directory: what is written can be read with pandas, and nothing of the user's is overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from nni_privacy.errors import ConfigError
from nni_privacy.runs.directory import RunDirectory, describe_environment
from nni_privacy.runs.records import TrialRecord, read_trials


def test_trials_are_lines_that_pandas_reads(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.create({"name": "x"}, describe_environment(seed=3))
    run.append(TrialRecord("a", 0, "succeeded", "G", {"accuracy": 0.9}, 1.5, unresolved=("mia_tpr_at_01pct_fpr",)))
    run.append(TrialRecord("b", 1, "failed", "H", error="ValueError: no"))
    frame = pandas.read_json(run.path / "trials.jsonl", lines=True)
    assert list(frame["status"]) == ["succeeded", "failed"]
    assert frame["metrics"][0] == {"accuracy": 0.9, "mia_tpr_at_01pct_fpr": None}
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["seed"] == 3 and environment["versions"]["nni"] == "3.0"


def test_whatever_a_run_was_started_with_is_written_as_plain_data(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    itself: dict[str, Any] = {}
    itself["itself"] = itself
    strange = {"path": Path("a/b"), "rate": np.float64(0.5), "sizes": (np.int64(1), 2), "names": {"x"}, "call": print}
    strange |= {"array": np.zeros((50, 50)), "object": object(), "nan": float("nan"), "odd": itself, 3: None}
    run.create(strange, describe_environment(seed=np.int64(3), device=object()))
    recorded = run.config()
    assert "..." in recorded.pop("odd")
    assert recorded == {
        "path": "a/b",
        "rate": 0.5,
        "sizes": [1, 2],
        "names": ["x"],
        "call": "builtins.print",
        "array": "ndarray (50, 50)",
        "object": "builtins.object",
        "nan": "NaN",
        "3": None,
    }
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["seed"] == 3 and environment["device"] == "builtins.object"


def test_scores_appear_whole(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.create({}, {})
    run.save_scores("abc", b"bytes")
    assert (run.path / "scores" / "abc.npz").read_bytes() == b"bytes"
    assert len(list((run.path / "scores").iterdir())) == 1


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match="not empty"):
        RunDirectory(tmp_path)
    with pytest.raises(ConfigError, match="not empty"):
        RunDirectory(tmp_path / "mine.txt")
    with pytest.raises(ConfigError, match="output"):
        RunDirectory(tmp_path / "mine.txt" / "run")


def test_numbers_that_json_lacks_never_reach_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        TrialRecord("a", 0, "succeeded", "G", {"accuracy": float("nan")}).to_json()


def test_a_corrupt_line_is_skipped_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = RunDirectory(tmp_path / "run")
    run.create({}, {})
    records = [TrialRecord("a", 0, "succeeded", "G", {"accuracy": 0.9}, 1.5), TrialRecord("b", 1, "failed", "H")]
    run.append(records[0])
    with (run.path / "trials.jsonl").open("a") as file:
        file.write('{"trial": "c", "seq\n')
    run.append(records[1])
    assert run.open_again({}) == records
    assert "trials.jsonl: skipped, as no whole JSON object: line 2" in caplog.text


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = TrialRecord(
        "a", 3, "succeeded", "G", {"accuracy": 0.9}, 1.5, factors={"seed": 1, "size": None}, unresolved=("epsilon",)
    )
    (tmp_path / "trials.jsonl").write_text(written.to_json() + "\n")
    assert read_trials(tmp_path / "trials.jsonl") == ((written,), ())
