"""Checkpoints of one-shot searches: killed and resumed, a search ends in the same cell as an uninterrupted one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import spoiled_bytes
from one_shot_spaces import SPACES, LayerSpace, images_and_labels, prepared

from nni_privacy.errors import ConfigError
from nni_privacy.runs.epochs import SearchLog, read_epochs
from nni_privacy.strategies.darts import DARTSFirstOrder, DARTSSecondOrder

EPOCHS = 4
OPTIONS: dict[str, Any] = {"batch_size": 8, "epochs": EPOCHS, "seed": 3}


def strategy_for(folder: Path | None = None, **options: Any) -> DARTSFirstOrder:
    return DARTSFirstOrder(**{"data": images_and_labels(), "folder": folder, **OPTIONS, **options})


SEARCH = """
import sys, time
from pathlib import Path
from one_shot_spaces import SPACES, images_and_labels, prepared
from nni_privacy.strategies.darts import DARTSFirstOrder

name, folder, pause = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
strategy = prepared(
    DARTSFirstOrder(data=images_and_labels(), folder=folder, batch_size=8, epochs=4, seed=3,
                    on_epoch=lambda record: time.sleep(pause)),
    SPACES[name]())
print(strategy.epoch, strategy.search())
"""


@pytest.mark.slow
def test_killed_and_started_again_it_ends_in_the_same_cell(tmp_path: Path) -> None:
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).resolve().parents[1] / "support"), OMP_NUM_THREADS="1")
    environment["HOME"] = str(tmp_path)
    command = [sys.executable, "-c", SEARCH, "nasbench201", str(tmp_path / "search"), "60"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (tmp_path / "search" / "checkpoint.pt").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()

    killed = prepared(strategy_for(tmp_path / "search"), SPACES["nasbench201"]())
    assert killed.epoch == 1
    uninterrupted = prepared(strategy_for(tmp_path / "whole"), SPACES["nasbench201"]())
    assert killed.search() == uninterrupted.search()
    ours, theirs = killed.state_dict()["search"], uninterrupted.state_dict()["search"]
    assert all(torch.equal(ours["supernet"][key], theirs["supernet"][key]) for key in theirs["supernet"])
    assert all(torch.equal(ours["architecture"][key], theirs["architecture"][key]) for key in theirs["architecture"])
    logs = [read_epochs(tmp_path / name) for name in ("search", "whole")]
    assert [record.epoch for record in logs[0]] == list(range(1, EPOCHS + 1))
    assert [(record.architecture, record.metrics) for record in logs[0]] == [
        (record.architecture, record.metrics) for record in logs[1]
    ]


@pytest.mark.parametrize("place", ["log", "checkpoint"])
def test_stopped_while_an_epoch_is_written_it_still_has_one_line_an_epoch(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = prepared(strategy_for(tmp_path / "whole"), LayerSpace()).search()
    strategy = prepared(strategy_for(tmp_path / "search"), LayerSpace())
    where, name = (SearchLog, "write") if place == "log" else (DARTSFirstOrder, "_save")
    original, calls = getattr(where, name), []

    def stopped(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(where, name, stopped)
    with pytest.raises(KeyboardInterrupt):
        strategy.search()
    monkeypatch.setattr(where, name, original)
    resumed = prepared(strategy_for(tmp_path / "search"), LayerSpace())
    assert resumed.epoch == 1
    assert resumed.search() == expected
    lines = (tmp_path / "search" / "epochs.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, EPOCHS + 1))


def test_a_finished_search_started_again_gives_its_result_at_once(tmp_path: Path) -> None:
    first = prepared(strategy_for(tmp_path, top_k=1), LayerSpace()).search()
    again = prepared(strategy_for(tmp_path, top_k=2), LayerSpace())
    assert again.epoch == EPOCHS
    found = again.search()
    assert found[:1] == first
    assert len(found) == 2


@pytest.mark.parametrize(
    ("options", "named"), [({"seed": 4}, "seed"), ({"epochs": 9}, "options"), ({"learning_rate": 0.1}, "options")]
)
def test_a_checkpoint_of_another_search_is_refused(options: dict[str, Any], named: str, tmp_path: Path) -> None:
    prepared(strategy_for(tmp_path, epochs=1), LayerSpace()).search()
    with pytest.raises(ConfigError, match=f"of another search; {named} differ"):
        prepared(strategy_for(tmp_path, **{"epochs": 1, **options}), LayerSpace())


def test_a_checkpoint_of_another_algorithm_space_or_pattern_is_refused(tmp_path: Path) -> None:
    prepared(strategy_for(tmp_path, epochs=1), SPACES["darts"]()).search()
    other = DARTSSecondOrder(data=images_and_labels(), folder=tmp_path, batch_size=8, epochs=1, seed=3)
    with pytest.raises(ConfigError, match="algorithm"):
        prepared(other, SPACES["darts"]())
    with pytest.raises(ConfigError, match=r"choices.*space"):
        prepared(strategy_for(tmp_path, epochs=1), SPACES["nasbench201"]())
    with pytest.raises(ConfigError, match="choices"):
        prepared(strategy_for(tmp_path, epochs=1), SPACES["darts"](), budget=4)


@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "list", "foreign", "half", "shapes"])
def test_a_damaged_or_foreign_checkpoint_is_refused(damage: str, tmp_path: Path) -> None:
    prepared(strategy_for(tmp_path, epochs=1), LayerSpace()).search()
    path = tmp_path / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    if damage in ("text", "empty", "truncated"):
        content = {"text": b"these are notes", "empty": b"", "truncated": path.read_bytes()[:2000]}
        path.write_bytes(content[damage])
    elif damage == "half":
        del state["search"]["architecture"]
        torch.save(state, path)
    elif damage == "shapes":
        state["search"]["supernet"] = {key: torch.zeros(7) for key in state["search"]["supernet"]}
        torch.save(state, path)
    else:
        torch.save([1, 2] if damage == "list" else {"model": torch.zeros(3)}, path)
    with pytest.raises(ConfigError, match=r"checkpoint\.pt: not a checkpoint of a search"):
        prepared(strategy_for(tmp_path, epochs=1), LayerSpace())


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_spoiled_checkpoint_is_one_line_before_anything_starts_or_the_same_cell(tmp_path: Path, data: Any) -> None:
    folder = tmp_path / "search"
    if not (tmp_path / "valid").exists():
        first = prepared(strategy_for(folder, epochs=1), SPACES["nasbench201"]())
        (tmp_path / "cell").write_text(str(first.search()))
        (tmp_path / "valid").write_bytes((folder / "checkpoint.pt").read_bytes())
    (folder / "checkpoint.pt").write_bytes(data.draw(spoiled_bytes((tmp_path / "valid").read_bytes())))
    strategy = strategy_for(folder, epochs=1)
    try:
        prepared(strategy, SPACES["nasbench201"]())
    except ConfigError as error:
        said = str(error)
    else:
        assert str(strategy.search()) == (tmp_path / "cell").read_text()
        return
    assert "checkpoint.pt: " in said and "\n" not in said
