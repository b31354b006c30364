"""Trials on another machine by SSH, against a real sshd on 127.0.0.1 with keys and a home folder of its own."""

from __future__ import annotations

import functools
import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from support_sshd import SshServer, generate_key, ssh_server

from nni_privacy import load_model
from nni_privacy.analysis.model_choice import kept_trials
from nni_privacy.commands.main import main
from nni_privacy.nni_runtime import experiment, install
from nni_privacy.nni_runtime.probe import free_port
from nni_privacy.runs.records import TrialRecord
from nni_privacy.search_spaces import DARTS

pytestmark = pytest.mark.slow


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    """Another machine, and a folder on this one to start from: with data, which trials read by a relative path."""
    home, code = tmp_path / "home", tmp_path / "code"
    # NNI's Python side noted another home folder when it was imported; its manager wants this one to be there.
    (home / "nni-experiments").mkdir(parents=True)
    code.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(code)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (160, 8, 8), dtype=np.uint8)
    np.savez(code / "records.npz", images=images, labels=rng.integers(0, 3, 160))
    with ssh_server(tmp_path / "machine", free_port()) as server:
        yield server


def search(machine: SshServer, *, trials: int, concurrency: int = 2) -> tuple[int, Path]:
    """Runs a search on the machine; its exit code and its run directory."""
    access = {"host": "127.0.0.1", "port": machine.port, "user": machine.user, "ssh_key_file": str(machine.key)}
    content = {
        "name": "ssh",
        "seed": 3,
        "dataset": {"name": "npz", "path": "records.npz"},
        "search_space": {"name": "darts", "channels": 4, "cells": 3, "nodes": 2},
        "strategy": {"name": "random"},
        "evaluator": {"recipe": {"epochs": 1}, "attacks": ["loss_threshold"]},
        "trials": trials,
        "concurrency": concurrency,
        "training_service": {
            "platform": "remote",
            "machine_list": [{**access, "python_path": str(Path(sys.executable).parent)}],
        },
    }
    here = machine.folder.parent
    (here / "search.yaml").write_text(yaml.safe_dump(content))
    words = ["search", str(here / "search.yaml"), "--output", str(here / "run"), "--port", str(free_port())]
    return main([*words, "--exit-when-done"]), here / "run"


def finished(run: Path) -> list[dict[str, Any]]:
    path = run / "trials.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def proposed(run: Path) -> dict[str, str]:
    """Trial -> the architecture that the manager recorded for it, in NNI's own database."""
    database = next(path for path in run.glob("nni/*/db/*.sqlite") if "_latest" not in path.parts)
    space = DARTS(channels=4, cells=3, nodes=2, in_channels=1, num_classes=3)
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT trialJobId, data FROM TrialJobEvent WHERE data IS NOT NULL").fetchall()
    return {trial: str(space.genotype_of(json.loads(data)["parameters"]["sample"])) for trial, data in rows}


def meanwhile(run: Path, *, after: int, act: Callable[[], None]) -> threading.Thread:
    """Does something once ``after`` trials are done."""

    def wait() -> None:
        deadline = time.monotonic() + 300
        while len(finished(run)) < after and time.monotonic() < deadline:
            time.sleep(0.2)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_eight_of_eight_are_paired_and_code_data_and_scores_travel(machine: SshServer) -> None:
    listening: list[str] = []

    def look() -> None:
        for keeper in machine.keepers():
            connections = keeper.net_connections(kind="inet")
            listening.extend(item.laddr.ip for item in connections if item.status == psutil.CONN_LISTEN)

    looking = meanwhile(machine.folder.parent / "run", after=2, act=look)
    code, run = search(machine, trials=8)
    looking.join(60)
    records = finished(run)
    assert code == 0
    assert [record["status"] for record in records] == ["succeeded"] * 8
    assert {record["trial"]: record["architecture"] for record in records} == proposed(run)
    assert len({record["architecture"] for record in records}) == 8
    for record in records:
        with np.load(run / "scores" / f"{record['trial']}.npz", allow_pickle=False) as scores:
            assert any(name.endswith("/scores") and len(scores[name]) > 0 for name in scores.files)
    kept = kept_trials([TrialRecord.from_row(record, line=1) for record in records], "front")
    assert {path.name for path in (run / "models").iterdir()} == kept
    assert all(load_model(run / "models" / trial).record.num_classes == 3 for trial in kept)
    assert not list((run / "nni").rglob("model.safetensors"))
    # Files went there, the trials ran there, and the trial keeper was open to nobody else.
    uploaded = [path.name for path in machine.home.rglob("upload/trial_code/*")]
    assert uploaded == ["records.npz"]
    assert listening and set(listening) == {"127.0.0.1"}
    keys = list(machine.home.rglob("trial_keeper_config.json"))
    assert keys and all(path.parent.stat().st_mode & 0o077 == 0 for path in keys)


@pytest.mark.parametrize("all_of_it", [True, False], ids=["with its trials", "its sshd only"])
def test_a_machine_that_vanishes_costs_its_trials_and_not_the_run(machine: SshServer, all_of_it: bool) -> None:
    def vanish() -> None:
        time.sleep(3)
        machine.kill(all_of_it=all_of_it)
        time.sleep(5)
        machine.start()

    vanishing = meanwhile(machine.folder.parent / "run", after=2, act=vanish)
    code, run = search(machine, trials=6)
    vanishing.join(60)
    records = finished(run)
    assert code == 0
    assert len({record["trial"] for record in records}) == len(records) == 6
    lost = [record for record in records if record["status"] == "failed"]
    assert len(lost) <= (2 if all_of_it else 0)
    expected = proposed(run)
    assert all(record["architecture"] == expected[record["trial"]] for record in records)


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(experiment, "install", functools.partial(install, without=names))


def test_without_the_repair_no_scores_and_no_weights_come_back(
    machine: SshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "remote_scores")
    code, run = search(machine, trials=1)
    assert code == 0
    assert list((run / "scores").iterdir()) == [] and not (run / "models").exists()


@pytest.mark.parametrize("left_out", [(), ("remote_host_key",)], ids=["repaired", "as published"])
def test_a_server_with_another_key_than_the_known_one_is_refused(
    machine: SshServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], left_out: tuple[str, ...]
) -> None:
    without(monkeypatch, *left_out)
    generate_key(machine.folder / "another_key", "ed25519")
    kind, key, *_ = (machine.folder / "another_key.pub").read_text().split()
    known = Path.home() / ".ssh" / "known_hosts"
    known.parent.mkdir()
    known.write_text(f"[127.0.0.1]:{machine.port} {kind} {key}\n")
    code, run = search(machine, trials=1)
    if left_out:
        assert code == 0
        return
    assert code not in (0, 1)
    assert "nni-privacy: NNI's manager " in capfd.readouterr().err
    assert finished(run) == [] and machine.keepers() == []
    logs = "".join(path.read_text() for path in run.glob("nni/*/log/nnimanager.log"))
    assert "shows another key than the one that is known" in logs


def test_a_server_with_the_known_key_is_trusted(machine: SshServer) -> None:
    kind, key, *_ = (machine.folder / "host_key.pub").read_text().split()
    known = Path.home() / ".ssh" / "known_hosts"
    known.parent.mkdir()
    known.write_text(f"[127.0.0.1]:{machine.port} {kind} {key}\n")
    code, run = search(machine, trials=1)
    assert code == 0 and len(finished(run)) == 1
