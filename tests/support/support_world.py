"""A made-up manager that runs trials in no time, in the strategy's own thread, and can be killed at any write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nni.nas.space import SimplifiedModelSpace
from nni.nas.strategy import Strategy
from nni.runtime.tuner_command_channel import command_type

from nni_privacy import files
from nni_privacy.nni_runtime import manager as manager_module
from nni_privacy.nni_runtime.engine import AuditedEngine
from nni_privacy.nni_runtime.manager import ManagerClient
from nni_privacy.nni_runtime.trial_results import proposed_architecture
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.replay import Replay
from nni_privacy.runs.stopping import Stopping, StopRule


class Kill(BaseException):
    """What kill -9 is to a process."""


class Cut:
    """Ends everything at one write of a run's files: before it, in its middle, or after it.

    Args:
        at: the number of the write, from 1; 0: never.
        how: ``before``, ``torn`` or ``after``.
    """

    def __init__(self, at: int = 0, how: str = "before") -> None:
        self.at, self.how, self.count = at, how, 0
        self.append: Callable[[Any, str], None] = files.LineFile.append

    def __call__(self, file: Any, line: str) -> None:
        self.count += 1
        if self.count == self.at and self.how != "after":
            if self.how == "torn":
                with file.path.open("a") as opened:
                    opened.write(line[: len(line) // 2])
            raise Kill
        self.append(file, line)
        if self.count == self.at:
            raise Kill


class World:
    """One start of a run: NNI's side of the engine. Trials end in the order of ``pick``, one at each look.

    Args:
        run: the run directory.
        trials: how many there are to be in all.
        concurrency: trials at a time.
        metrics: of a sample.
        pick: index of the running trial that ends next, given how many run.
        hurry: whether a trial ends while the strategy asks whether a worker is idle, too.
        curve: what a trial of a sample reports after each epoch.
        rule: by which trials are stopped early.
    """

    tuner_command_channel, port, url_prefix = "ws://127.0.0.1:1/tuner", 1, None

    def __init__(
        self,
        run: RunDirectory,
        *,
        trials: int,
        concurrency: int,
        metrics: Callable[[dict[str, Any]], dict[str, Any]],
        pick: Callable[[int], int] = lambda _: 0,
        hurry: Callable[[], bool] = lambda: False,
        curve: Callable[[dict[str, Any]], list[dict[str, float]]] = lambda _: [],
        rule: StopRule | None = None,
    ) -> None:
        self.curve, self.rule, self.epochs_run = curve, rule, 0
        self.killed: set[str] = set()
        self.before = records = run.records()
        self.run, self.metrics, self.pick, self.concurrency = run, metrics, pick, concurrency
        self.name = f"start-{len(list(run.path.glob('start-*')))}"
        (run.path / self.name).touch()
        self.hurry = hurry
        self.limit = trials - len(records)
        self.finished = {record.trial for record in records}
        self.sent: list[tuple[int, Any]] = []
        self.waiting: list[tuple[int, Any]] = []
        self.ended = 0

    def search(self, strategy: Strategy, space: SimplifiedModelSpace, monkeypatch: pytest.MonkeyPatch) -> AuditedEngine:
        """Runs ``strategy`` to its end, or until something kills it."""
        monkeypatch.setattr("nni.nas.execution.training_service.TunerCommandChannel", self._channel)
        monkeypatch.setattr("nni_privacy.nni_runtime.engine.WAIT_SECONDS", 0.0)  # this world moves while one sleeps
        monkeypatch.setattr("nni.nas.strategy.base.time", SimpleNamespace(sleep=self.step))
        monkeypatch.setattr("nni.nas.strategy.hpo.time", SimpleNamespace(sleep=self.step))
        monkeypatch.setattr("nni_privacy.strategies.tpe.time", SimpleNamespace(sleep=self.step))
        monkeypatch.setattr(manager_module.rest, "get", self._answer)
        monkeypatch.setattr(ManagerClient, "file", lambda *_: None)
        replay = Replay(self.run.journal, self.finished)
        epochs = len(self.curve({}))
        self.engine = AuditedEngine(
            self,
            replay=replay,
            on_trial=self.run.append,
            on_scores=lambda *_: None,
            folder=self.run.path,
            stopping=None if self.rule is None else Stopping(self.rule, epochs, self.before),
        )
        self.engine._awake = SimpleNamespace(set=lambda: None, clear=lambda: None, wait=self.step)  # type: ignore[assignment]
        asked = self.engine.idle_worker_available

        def idle_worker_available() -> bool:
            if self.hurry():
                self.step(0)
            return asked()

        monkeypatch.setattr(self.engine, "idle_worker_available", idle_worker_available)
        self.engine._request_trial_jobs_callback(command_type.RequestTrialJobs(self.concurrency))
        strategy.initialize(space, self.engine)
        strategy.run()
        self.engine.wait_models()
        return self.engine

    def step(self, _seconds: float) -> None:
        """Somebody waits: NNI goes on by one trial."""
        running = self.waiting[: self.concurrency]
        if not running:
            return
        parameter_id, model = running[self.pick(len(running))]
        self.waiting.remove((parameter_id, model))
        value = {**self.metrics(model.sample), "architecture": proposed_architecture(model)}
        trial = f"{self.name}-{parameter_id}"
        for number, epoch in enumerate(self.curve(model.sample)):
            self._report(trial, parameter_id, "PERIODICAL", number, epoch)
            self.epochs_run += 1
            if trial in self.killed:
                break
        else:
            self._report(trial, parameter_id, "FINAL", 0, value)
        event = "EARLY_STOPPED" if trial in self.killed else "SUCCEEDED"
        self.engine._trial_end_callback(command_type.TrialEnd(trial, [parameter_id], event))
        self.ended += 1
        if len(self.sent) < self.limit:
            self.engine._request_trial_jobs_callback(command_type.RequestTrialJobs(1))

    def _report(self, trial: str, parameter_id: int, kind: str, number: int, value: Any) -> None:
        command = command_type.ReportMetricData(parameter_id, kind, number, value, trial)  # type: ignore[arg-type]
        self.engine._report_metric_data_callback(command)

    def list_trial_jobs(self) -> list[Any]:
        return []

    def get_status(self) -> str:
        return self._status()

    def _status(self) -> str:
        if len(self.sent) < self.limit:
            return "RUNNING"
        return "NO_MORE_TRIAL" if self.ended < self.limit else "DONE"

    def _channel(self, _url: str) -> Any:
        world = self

        class Channel:
            def __getattr__(self, _name: str) -> Any:
                return lambda *args, **kwargs: None

            def _send(self, kind: command_type.CommandType, content: str) -> None:
                assert kind is command_type.CommandType.KillTrialJob
                world.killed.add(json.loads(content))

            def send_trial(self, parameter_id: int, parameters: Any, **_: Any) -> None:
                world.sent.append((parameter_id, parameters))
                world.waiting.append((parameter_id, parameters))

        return Channel()

    def _answer(self, _port: int, path: str, _prefix: object) -> Any:
        if path == "/check-status":
            return {"status": self._status()}
        if path == "/experiment":
            return {"params": {"maxTrialNumber": self.limit}}
        return {"hyperParameters": [json.dumps({"parameter_id": int(path.rpartition("-")[2])})]}


def make_run(path: Path) -> RunDirectory:
    """A run directory as a start makes it."""
    run = RunDirectory(path)
    run.create({"name": "x"}, {})
    return run


def open_run(path: Path) -> RunDirectory:
    """The same one as a later start finds it."""
    run = RunDirectory(path, resumable=True)
    run.open_again({})
    return run
