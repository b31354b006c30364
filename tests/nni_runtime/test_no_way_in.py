"""Code of others is run neither in the search nor in its trials, whatever they send to NNI's real manager."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from attacker import API, THINGS, Attacker, metric, pickled
from support_manager import HERE, REPOSITORY, free_port, run_manager

from nni_privacy.nni_runtime.message_repairs import READING
from nni_privacy.nni_runtime.patches.access import TOKEN_HEADER

pytestmark = pytest.mark.slow

NOBODY_ASKED = ("manager_token", "access")
"""Left out: everybody is let in. What is sent then must be harmless all the same."""

AS_PUBLISHED = (*NOBODY_ASKED, "routes", "careful_trials", *(repair.name for repair in READING))


@dataclass
class Victim:
    """A search with a trial that waits."""

    port: int
    work: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.work / "log.txt").read_text()

    @property
    def channels(self) -> dict[str, str]:
        """Trial -> the address that it was told to talk to."""
        return {path.name.removeprefix("trial-"): path.read_text() for path in self.work.glob("trial-*")}

    @property
    def token(self) -> str:
        return (self.log.partition("?token=")[2].split() or [""])[0]

    @property
    def running(self) -> list[str]:
        """The trials that the manager knows to run."""
        address = f"http://127.0.0.1:{self.port}{API}/trial-jobs?status=RUNNING"
        answer = requests.get(address, headers={TOKEN_HEADER: self.token}, timeout=20)
        return [job["trialJobId"] for job in answer.json()]

    def attacker(self, *, with_key: bool = False) -> Attacker:
        """Somebody who knows the running trial and, if so said, the key of its channel."""
        trial, address = next(iter(self.channels.items()))
        key = "?" + address.partition("?")[2] if with_key else ""
        return Attacker(self.port, trial, key)

    def finish(self) -> list[dict[str, Any]]:
        """Lets the trials go on; what the run directory says of them."""
        (self.work / "go").touch()
        assert self.process.wait(120) == 0, self.log
        return [json.loads(line) for line in (self.work / "run" / "trials.jsonl").read_text().splitlines()]


@contextmanager
def victim(work: Path, *words: str, without: tuple[str, ...] = ()) -> Iterator[Victim]:
    port = free_port()
    paths = os.pathsep.join([str(HERE), str(HERE.parent), str(REPOSITORY)])
    environment = dict(os.environ, HOME=str(work), TEST_WORK=str(work), PYTHONPATH=paths, PYTHONUNBUFFERED="1")
    command = [
        sys.executable,
        "-m",
        "victim",
        f"--port={port}",
        f"--work={work}",
        f"--without={','.join(without)}",
        *words,
    ]
    with (work / "log.txt").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=work, stdout=log, stderr=log)
    try:
        found = Victim(port, work, process)
        wait_for(lambda: found.channels or process.poll() is not None)
        assert process.poll() is None, found.log
        # A metric of a trial that the manager does not know to run yet is thrown away: an attack would prove nothing.
        wait_for(lambda: set(found.running) >= set(found.channels))
        time.sleep(1)
        yield found
    finally:
        (work / "go").touch()
        if process.poll() is None:
            process.terminate()
        process.wait(60)


def wait_for(question: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


def attack(attacker: Attacker, work: Path) -> dict[tuple[str, str], int]:
    """Every way with every thing: the manager's answers."""
    return {
        (way, kind): send(make(work / f"pwned-{way}-{kind}"))
        for way, send in attacker.ways.items()
        for kind, make in THINGS.items()
    }


def pwned(work: Path) -> list[str]:
    return sorted(path.name.removeprefix("pwned-") for path in work.glob("pwned-*"))


def test_without_a_token_nothing_is_let_in(tmp_path: Path) -> None:
    with victim(tmp_path) as search:
        assert all(address.startswith("http://127.0.0.1:") for address in search.channels.values())
        attacker = search.attacker()
        assert set(attack(attacker, tmp_path).values()) == {401}
        assert attacker.by_second_start(f"mkdir {tmp_path}/pwned-start") == 401
        records = search.finish()
    assert [record["status"] for record in records] == ["succeeded"] * 2
    assert pwned(tmp_path) == []


def test_with_a_stolen_channel_key_a_trial_can_spoil_its_own_result_only(tmp_path: Path) -> None:
    with victim(tmp_path) as search:
        attacker = search.attacker(with_key=True)
        answers = attack(attacker, tmp_path)
        # The key opens the channel of this trial; what comes through it is read as plain data.
        let_in = {way for (way, _), status in answers.items() if status != 401}
        assert let_in == {"metric", "metric_within_a_mapping", "whole_metric"}
        other = attacker.channel("another")
        assert attacker.send("PUT", other, metric(0.9, "another")) == 401
        attacker.send("PUT", attacker.channel(), metric(0.9, attacker.trial, speaks_for="another"))
        for malformed in (None, [], {"type": 3}, {"type": "metric"}, {"type": "metric", "metric": "{"}, {"type": "x"}):
            attacker.send("PUT", attacker.channel(), malformed)
        for value in WRONG:
            for kind in ("PERIODICAL", "FINAL"):
                attacker.send("PUT", attacker.channel(), metric(value, attacker.trial, kind=kind))
        records = search.finish()
    assert [record["status"] for record in records] == ["succeeded"] * 2
    assert all(record["metrics"]["mia_auc"] == 0.6 for record in records)
    assert all("key=" not in path.read_text() for path in tmp_path.glob("run/nni/*/environments/*/trials/*/trial.log"))
    folders = [path for path in tmp_path.glob("run/nni/*") if not path.is_symlink()]
    assert folders and all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in folders)
    assert pwned(tmp_path) == []
    assert "a message from NNI's manager is refused" in search.log or "refused" in experiment_log(tmp_path)


WRONG: tuple[Any, ...] = (
    {},
    {"a": "x"},
    {"default": "x"},
    [],
    None,
    "x",
    {"default": None},
    {"default": 0.5, "mia_auc": {"__fraction__": 1, "numerator": 1, "denominator": 0}},
    {"default": 0.5, "seconds": {"__set__": [1]}},
    {"default": 10**400},
    {"default": 0.5, "mia_auc": {"__ndarray__": ["a"] * 6, "dtype": "S2000000000", "shape": [6]}},
)
"""Results that end a strategy, or whoever writes them down, where they get so far."""


def experiment_log(work: Path) -> str:
    return "".join(path.read_text() for path in work.glob("run/nni/*/log/*.log"))


def test_where_the_page_is_open_channels_and_starts_are_not(tmp_path: Path) -> None:
    with victim(tmp_path, "--no-token") as search:
        attacker = search.attacker()
        answers = attack(attacker, tmp_path)
        assert {status for (way, _), status in answers.items() if "metric" in way or way == "websocket"} == {401}
        assert {status for (way, _), status in answers.items() if way in ("custom_trial", "imported_data")} == {409}
        assert {status for (way, _), status in answers.items() if way == "search_space"} == {400}
        assert attacker.by_search_space({"x": {"_type": "choice", "_value": [1]}}) == 409
        assert attacker.by_second_start(f"mkdir {tmp_path}/pwned-start") == 401
        assert attacker.send("PUT", f"{API}/experiment/cluster-metadata", {"local_config": {}}) == 401
        for kind, value in {"TRIAL_CONCURRENCY": -1, "MAX_TRIAL_NUM": "9", "MAX_EXEC_DURATION": "`id`"}.items():
            name = {"TRIAL_CONCURRENCY": "trialConcurrency", "MAX_TRIAL_NUM": "maxTrialNumber"}.get(kind, "x")
            path = f"{API}/experiment?update_type={kind}"
            assert attacker.send("PUT", path, {"params": {name: value, "maxExperimentDuration": value}}) == 400
        assert attacker.send("GET", f"{API}/check-status", None) == 200
        records = search.finish()
    assert [record["status"] for record in records] == ["succeeded"] * 2
    assert pwned(tmp_path) == []


def test_what_gets_as_far_as_the_search_is_read_as_plain_data(tmp_path: Path) -> None:
    with victim(tmp_path, without=(*NOBODY_ASKED, "routes")) as search:
        answers = attack(search.attacker(), tmp_path)
        assert set(answers.values()) <= {101, 200}
        time.sleep(3)  # the search and the proposed trial have read what they were sent
        (tmp_path / "go").touch()
        search.process.wait(120)
    assert pwned(tmp_path) == []


def test_as_published_two_of_the_ways_run_code_in_the_search(tmp_path: Path) -> None:
    with victim(tmp_path, without=(*AS_PUBLISHED, "metric_messages", "unknown_commands")) as search:
        attacker = search.attacker()
        for way in ("metric", "search_space"):
            marker = tmp_path / f"pwned-{way}"
            attacker.ways[way](pickled(marker))  # once: the second folder of that name would end the listening thread
            assert wait_for(marker.exists, 20), search.log


@pytest.mark.parametrize("left_out", ["", "careful_tuner"])
def test_a_malicious_trial_runs_nothing_in_the_tuner_and_does_not_end_it(
    tmp_path: Path, left_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_TRIAL", "malicious_trial.py")
    monkeypatch.setenv("TEST_WORK", str(tmp_path))
    if not left_out:
        monkeypatch.setenv("TEST_NONSENSE", "1")
    with run_manager("hpo", tmp_path / "run", trials=2, concurrency=1, without=left_out) as manager:
        finished = manager.succeeded
        log = (tmp_path / "run" / "experiments" / manager.experiment / "log" / "dispatcher.log").read_text()
    if left_out:  # as published
        assert pwned(tmp_path) != []
    else:
        assert pwned(tmp_path) == []
        # Two objects, a fraction of nothing and a text that is no JSON of each: none has ended the tuner.
        assert log.count("of NNI's manager is refused") == 8
        assert "999" not in log
        assert [trial["status"] for trial in finished] == ["SUCCEEDED"] * 2


def test_data_that_is_imported_runs_nothing_in_the_tuner(tmp_path: Path) -> None:
    with run_manager("hpo", tmp_path / "run", trials=1, concurrency=1) as manager:
        attacker = Attacker(manager.port, "none")
        for kind, make in THINGS.items():
            assert attacker.by_custom_trial({"x": make(tmp_path / f"pwned-custom-{kind}")}) == 400
            assert attacker.by_search_space(make(tmp_path / f"pwned-space-{kind}")) == 400
            # What is plain JSON to the manager: the object is within a text, which the tuner reads once more.
            assert attacker.by_imported_data(make(tmp_path / f"pwned-import-{kind}")) == 200
        time.sleep(2)
        assert json.loads(manager.request(f"{API}/check-status")[1])["status"] in ("DONE", "TUNER_NO_MORE_TRIAL")
        trial = manager.succeeded[0]["trialJobId"]
        assert "?key=" in (manager.trial_folder(trial) / "trial.log").read_text()  # only its owner may read that
        assert b"?key=..." in manager.request(f"{API}/trial-file/{trial}/trial.log")[1]
        log = (tmp_path / "run" / "experiments" / manager.experiment / "log" / "dispatcher.log").read_text()
    assert log.count("of NNI's manager is refused") == 2
    assert pwned(tmp_path) == []
