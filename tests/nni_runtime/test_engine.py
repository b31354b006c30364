"""The engine's check of every result, with a made-up manager: swapped parameters, foreign architectures, failures."""

from __future__ import annotations

import json
import shutil
import types
from pathlib import Path
from typing import Any

import nni
import numpy as np
import pytest
from nni.nas.execution.event import ModelEventType
from nni.nas.space import ModelStatus, SimplifiedModelSpace
from nni.runtime.tuner_command_channel import command_type

from nni_privacy.errors import RunStoppedError
from nni_privacy.nni_runtime import manager as manager_module
from nni_privacy.nni_runtime.engine import AuditedEngine
from nni_privacy.nni_runtime.manager import ManagerClient
from nni_privacy.nni_runtime.trial_results import proposed_architecture
from nni_privacy.runs.epochs import TrialEpoch
from nni_privacy.runs.journal import JOURNAL, Journal
from nni_privacy.runs.records import TrialRecord
from nni_privacy.runs.replay import Replay
from nni_privacy.runs.stopping import Stopping, stop_rule
from nni_privacy.search_spaces import DARTS

INTENDED = {"first": 0, "second": 1}
"""Which parameter set the manager recorded for which trial."""


class Channel:
    """Takes the place of the websocket to the manager."""

    def __init__(self, url: str) -> None:
        self.sent: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None

    def send_trial(self, parameter_id: int, **_: Any) -> None:
        self.sent.append(parameter_id)


class Experiment:
    tuner_command_channel, port, url_prefix = "ws://127.0.0.1:1/tuner", 1, None
    limit = 10

    def list_trial_jobs(self) -> list[Any]:
        return []

    def update_max_trial_number(self, value: int) -> None:
        self.limit = value


@pytest.fixture
def records() -> list[TrialRecord]:
    return []


@pytest.fixture
def files() -> dict[str, bytes]:
    """What there is in the folder of every trial."""
    return {"stderr": b"...\nValueError: too bad\n", "exit.json": b'{"code": 1, "signal": null, "asked": false}'}


@pytest.fixture
def engine(
    monkeypatch: pytest.MonkeyPatch, records: list[TrialRecord], files: dict[str, bytes], tmp_path: Path
) -> AuditedEngine:
    monkeypatch.setattr("nni.nas.execution.training_service.TunerCommandChannel", Channel)
    monkeypatch.setattr("nni_privacy.nni_runtime.engine.WAIT_SECONDS", 0.0)  # nothing happens while one waits
    experiment = Experiment()

    def answer(_port: int, path: str, _prefix: object) -> Any:
        if path.startswith("/trial-jobs/"):
            number = INTENDED.get(path.rpartition("/")[2], 99)
            return {"hyperParameters": [json.dumps({"parameter_id": number})]}
        return {
            "/check-status": {"status": "RUNNING"},
            "/experiment": {"params": {"maxTrialNumber": experiment.limit}},
        }[path]

    monkeypatch.setattr(manager_module.rest, "get", answer)
    monkeypatch.setattr(ManagerClient, "file", lambda _self, _trial, name: files.get(name))
    replay = Replay(Journal(tmp_path / JOURNAL))
    made = AuditedEngine(experiment, replay=replay, on_trial=records.append, on_scores=lambda *_: None, folder=tmp_path)
    space = SimplifiedModelSpace.from_model(DARTS(channels=2, cells=3))
    state = np.random.RandomState(0)
    made.models = [space.random(random_state=state) for _ in INTENDED]  # type: ignore[attr-defined]
    made.submit_models(*made.models)  # type: ignore[attr-defined]
    return made


def report(engine: AuditedEngine, trial: str, *, ran: int, architecture: str | None = None) -> None:
    architecture = architecture or proposed_architecture(engine.models[ran])  # type: ignore[attr-defined]
    metrics = {"default": 0.9, "accuracy": 0.9, "mia_auc": 0.6, "x": None}
    send(engine, trial, ran, {**metrics, "seconds": 3.0, "architecture": architecture})


def send(engine: AuditedEngine, trial: str, ran: int, value: Any) -> None:
    engine._report_metric_data_callback(
        command_type.ReportMetricData(parameter_id=ran, trial_job_id=trial, type="FINAL", sequence=0, value=value)
    )


def end(engine: AuditedEngine, trial: str, event: str = "SUCCEEDED", *, ran: int | None = None) -> None:
    parameter = INTENDED[trial] if ran is None else ran
    engine._trial_end_callback(command_type.TrialEnd(trial_job_id=trial, parameter_ids=[parameter], event=event))


def ask(engine: AuditedEngine) -> None:
    """The strategy asks, as it does every second, and hears then of what has happened."""
    engine.idle_worker_available()


def test_a_result_of_the_right_architecture_is_passed_on(engine: AuditedEngine, records: list[TrialRecord]) -> None:
    events: list[Any] = []
    for kind in ModelEventType:
        engine.register_model_event_callback(kind, events.append)
    report(engine, "first", ran=0)
    end(engine, "first")
    assert events == []  # the strategy is told in its own thread
    ask(engine)
    (record,) = records
    assert (record.trial, record.sequence, record.status) == ("first", 0, "succeeded")
    assert record.architecture == proposed_architecture(engine.models[0])
    assert record.metrics == {"accuracy": 0.9, "mia_auc": 0.6} and record.unresolved == ("x",)
    assert record.seconds == 3.0
    assert engine.models[0].metric == 0.9 and engine.models[0].status == ModelStatus.Trained
    assert [type(event).__name__ for event in events] == ["FinalMetricEvent", "TrainingEndEvent"]


def test_what_is_no_accuracy_but_maximised_is_recorded(engine: AuditedEngine, records: list[TrialRecord]) -> None:
    send(engine, "first", 0, 0.5)
    send(engine, "second", 1, {"default": 0.25, "accuracy": 0.5})
    for trial in INTENDED:
        end(engine, trial)
    assert [record.metrics for record in records] == [{"default": 0.5}, {"default": 0.25, "accuracy": 0.5}]


def test_a_final_result_that_is_refused_fails_its_trial(engine: AuditedEngine, records: list[TrialRecord]) -> None:
    engine._on_refused(json.dumps({"type": "FINAL", "trial_job_id": "first"}), "'x' was reported; allowed is ...")
    engine._on_refused(json.dumps({"type": "PERIODICAL", "trial_job_id": "second"}), "'x' was reported")
    send(engine, "second", 1, float("nan"))
    for trial in INTENDED:
        end(engine, trial)
    ask(engine)
    assert [record.status for record in records] == ["failed"] * 2
    assert records[0].error == "the final result 'x' was reported; allowed is ..."
    assert str(records[1].error).startswith("the final result nan was reported; allowed is")
    assert all(model.status == ModelStatus.Failed for model in engine.models)  # type: ignore[attr-defined]


def test_a_good_result_after_a_refused_one_counts(engine: AuditedEngine, records: list[TrialRecord]) -> None:
    engine._on_refused(json.dumps({"type": "FINAL", "trial_job_id": "first"}), "'x' was reported")
    engine._on_refused("{", "no JSON")
    report(engine, "first", ran=0)
    end(engine, "first")
    assert [record.status for record in records] == ["succeeded"]


def test_an_intermediate_result_is_told_at_once_and_to_the_strategy_when_it_asks(engine: AuditedEngine) -> None:
    value = {"default": 0.5, "loss": 0.5}
    told: list[TrialEpoch] = []
    events: list[Any] = []
    engine._on_epoch = told.append
    engine.register_model_event_callback(ModelEventType.IntermediateMetric, events.append)
    for model, epochs in zip(engine.models, (30, None), strict=False):  # type: ignore[attr-defined]
        model.evaluator = types.SimpleNamespace(recipe=types.SimpleNamespace(epochs=epochs)) if epochs else None
    for trial, ran, sequence in (("first", 0, 11), ("second", 1, 0)):
        command = command_type.ReportMetricData(ran, "PERIODICAL", sequence, value, trial)  # type: ignore[arg-type]
        engine._report_metric_data_callback(command)
    assert told == [TrialEpoch(0, 12, 30, value), TrialEpoch(1, 1, None, value)]
    assert events == []
    ask(engine)
    assert len(events) == 2


def test_swapped_parameters_fail_both_trials(engine: AuditedEngine, records: list[TrialRecord]) -> None:
    report(engine, "first", ran=1)
    report(engine, "second", ran=0)
    end(engine, "first")
    end(engine, "second")
    ask(engine)
    assert [record.status for record in records] == ["failed", "failed"]
    assert "ran parameter set 1, but 0 was meant for it" in str(records[0].error)
    for model in engine.models:
        assert model.metric is None and model.status == ModelStatus.Failed


def test_a_foreign_architecture_fails_the_trial(engine: AuditedEngine, records: list[TrialRecord]) -> None:
    other = proposed_architecture(engine.models[1])
    report(engine, "first", ran=0, architecture=other)
    end(engine, "first")
    assert records[0].status == "failed"
    assert other in str(records[0].error) and "was proposed" in str(records[0].error)
    assert records[0].architecture == proposed_architecture(engine.models[0])
    assert engine.models[0].metric is None


@pytest.mark.parametrize(
    ("event", "words"), [("FAILED", "ValueError: too bad"), ("SUCCEEDED", "without a final result")]
)
def test_a_trial_without_a_result_fails(
    engine: AuditedEngine, records: list[TrialRecord], event: str, words: str
) -> None:
    end(engine, "first", event)
    ask(engine)
    assert records[0].status == "failed" and words in str(records[0].error)
    assert engine.models[0].status == ModelStatus.Failed


def test_models_that_the_strategy_forgets_are_kept_until_their_trial_ends(engine: AuditedEngine) -> None:
    import gc
    import weakref

    ended: list[Any] = []
    engine.register_model_event_callback(ModelEventType.TrainingEnd, lambda event: ended.append(event.status))
    reference = weakref.ref(engine.models.pop(0))
    gc.collect()
    send(engine, "first", 0, 0.5)
    end(engine, "first")
    ask(engine)
    gc.collect()
    assert ended == [ModelStatus.Trained]
    assert reference() is None


def test_a_handler_that_raises_does_not_stop_the_listener(engine: AuditedEngine) -> None:
    def broken(_record: TrialRecord) -> None:
        raise RuntimeError("a bug")

    engine._on_trial = broken
    report(engine, "first", ran=0)
    end(engine, "first")  # would raise in the thread that listens to the manager


def test_a_result_that_cannot_be_written_stops_the_run_and_is_not_counted(
    engine: AuditedEngine, records: list[TrialRecord]
) -> None:
    def full(_record: TrialRecord) -> None:
        raise OSError(28, "No space left on device", "trials.jsonl")

    engine._on_trial = full
    report(engine, "first", ran=0)
    end(engine, "first")
    with pytest.raises(RunStoppedError, match=r"trials\.jsonl: No space left on device; all that is finished is kept"):
        ask(engine)
    assert engine.models[0].metric is None  # type: ignore[attr-defined]
    engine._on_trial = records.append
    report(engine, "second", ran=1)
    end(engine, "second", "USER_CANCELED")  # stopped with the run
    assert records == []


def test_weights_are_offered_before_the_trial_is_recorded_and_read_only_if_they_are_wanted(
    engine: AuditedEngine, records: list[TrialRecord], files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    files["model.safetensors"] = b"weights"
    asked: list[str] = []
    monkeypatch.setattr(ManagerClient, "file", lambda _self, _trial, name: (asked.append(name), files.get(name))[1])
    seen: list[Any] = []

    def take(record: TrialRecord, read: Any) -> None:
        seen.append((record.trial, len(records), read() if record.trial == "first" else None))

    engine._on_model = take
    report(engine, "first", ran=0)
    end(engine, "first")
    report(engine, "second", ran=1)
    end(engine, "second")
    assert seen == [("first", 0, b"weights"), ("second", 1, None)]
    assert asked.count("model.safetensors") == 1 and [record.trial for record in records] == ["first", "second"]


def test_weights_that_cannot_be_written_stop_the_run_and_the_trial_is_run_again(
    engine: AuditedEngine, records: list[TrialRecord], tmp_path: Path
) -> None:
    def full(_record: TrialRecord, _read: Any) -> None:
        raise OSError(28, "No space left on device", "model.safetensors")

    engine._on_model = full
    report(engine, "first", ran=0)
    end(engine, "first")
    with pytest.raises(
        RunStoppedError, match=r"model\.safetensors: No space left on device; all that is finished is kept"
    ):
        ask(engine)
    assert records == []
    assert not Journal(tmp_path / JOURNAL).read().results  # else a start after this one would take it for finished


def test_a_trial_that_fails_on_a_full_disk_stops_the_run(
    engine: AuditedEngine, records: list[TrialRecord], files: dict[str, bytes]
) -> None:
    files["stderr"] = b"OSError: [Errno 28] No space left on device: 'scores.npz'\n"
    end(engine, "first", "FAILED")
    with pytest.raises(RunStoppedError, match="No space left on device"):
        engine.budget_available()
    assert records == []


def test_a_trial_whose_error_finds_no_room_stops_the_run_too(
    engine: AuditedEngine, records: list[TrialRecord], files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    files["stderr"] = b""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(total=1, used=1, free=200))
    end(engine, "first", "FAILED")
    with pytest.raises(RunStoppedError, match="No space left on device"):
        engine.budget_available()
    assert records == []


KILLED = [
    (b'{"code": null, "signal": "SIGKILL", "asked": false}', "killed by SIGKILL (likely out of memory)"),
    (b'{"code": 137, "signal": null, "asked": false}', "killed by SIGKILL (likely out of memory)"),
    (b'{"code": null, "signal": "SIGSEGV", "asked": false}', "killed by SIGSEGV"),
    (None, "lost with its machine, or killed"),
]


@pytest.mark.parametrize(("exit_file", "words"), KILLED)
def test_a_killed_trial_is_run_again_twice_and_then_fails(
    engine: AuditedEngine,
    records: list[TrialRecord],
    files: dict[str, bytes],
    exit_file: bytes | None,
    words: str,
) -> None:
    files.pop("exit.json")
    if exit_file is not None:
        files["exit.json"] = exit_file
    for parameter in (0, 2, 3):
        assert records == []
        end(engine, "first", "USER_CANCELED", ran=parameter)
        ask(engine)
    assert [record.error for record in records] == [f"{words}, 3 times in a row"]
    assert engine._channel.sent == [0, 1, 2, 3]
    assert engine.nodejs_binding.limit == 10 + 2  # NNI counts each of them as a trial
    assert records[0].sequence == 0


def test_a_trial_that_a_user_stops_in_the_web_ui_fails(
    engine: AuditedEngine, records: list[TrialRecord], files: dict[str, bytes]
) -> None:
    files["exit.json"] = b'{"code": null, "signal": "SIGINT", "asked": true}'
    files["stderr"] = b""
    end(engine, "first", "USER_CANCELED")
    ask(engine)
    assert [record.error for record in records] == ["the trial ended as USER_CANCELED"]


def test_trials_that_end_with_the_run_are_not_recorded(engine: AuditedEngine, records: list[TrialRecord]) -> None:
    engine.close()
    end(engine, "first", "USER_CANCELED")
    report(engine, "second", ran=1)
    end(engine, "second")
    assert [record.trial for record in records] == ["second"]  # it was whole


def test_other_spaces_are_described_by_their_sample() -> None:
    model = types.SimpleNamespace(sample={"b": 2, "a": [1]})
    assert proposed_architecture(model) == nni.dump({"a": [1], "b": 2})  # type: ignore[arg-type]


def epoch(engine: AuditedEngine, trial: str, number: int, **values: Any) -> None:
    value = {"default": values["accuracy"], **values}
    command = command_type.ReportMetricData(INTENDED[trial], "PERIODICAL", number - 1, value, trial)  # type: ignore[arg-type]
    engine._report_metric_data_callback(command)


@pytest.fixture
def stopped(engine: AuditedEngine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the channel was told to stop; trials below an accuracy of 0.5 after two of four epochs are."""
    told: list[str] = []

    def send(kind: Any, content: str) -> None:
        assert kind.value == "KI"
        told.append(json.loads(content))

    monkeypatch.setattr(engine._channel, "_send", send, raising=False)
    known = [TrialRecord(str(n), n, "succeeded", "", curves={"accuracy": (0.5,) * 4}) for n in range(5)]
    engine._stopping = Stopping(stop_rule({"after": 2}), 4, known)
    return told


def test_a_trial_that_is_behind_is_stopped_and_is_no_failure(
    engine: AuditedEngine, records: list[TrialRecord], stopped: list[str]
) -> None:
    finals: list[Any] = []
    engine.register_model_event_callback(ModelEventType.FinalMetric, finals.append)
    epoch(engine, "first", 1, accuracy=0.1, loss=2.3)
    epoch(engine, "second", 1, accuracy=0.1)
    assert stopped == []
    epoch(engine, "first", 2, accuracy=0.4, loss=float("nan"))
    epoch(engine, "second", 2, accuracy=0.6)
    epoch(engine, "first", 3, accuracy=0.4)  # it was on its way: NNI is asked once
    assert stopped == ["first"]
    end(engine, "first", "EARLY_STOPPED")
    report(engine, "second", ran=1)
    end(engine, "second")
    ask(engine)
    first, second = records
    assert (first.status, first.error, dict(first.metrics), first.succeeded) == ("stopped", None, {}, False)
    assert first.stopped == "accuracy 0.400 after 2 of 4 epochs, the median of 5 is 0.500"
    assert dict(first.curves) == {"accuracy": (0.1, 0.4, 0.4), "loss": (2.3, None, None)}
    assert second.succeeded and second.curves == {"accuracy": (0.1, 0.6)} and second.stopped is None
    models = engine.models  # type: ignore[attr-defined]
    assert [model.status for model in models] == [ModelStatus.Failed, ModelStatus.Trained] and len(finals) == 1
    assert [TrialRecord.from_row(json.loads(one.to_json()), line=1) for one in records] == records


def test_a_trial_that_ended_before_it_could_be_stopped_succeeds(
    engine: AuditedEngine, records: list[TrialRecord], stopped: list[str]
) -> None:
    for number in (1, 2):
        epoch(engine, "first", number, accuracy=0.1)
    report(engine, "first", ran=0)
    end(engine, "first", "EARLY_STOPPED" if not stopped else "SUCCEEDED")
    assert stopped == ["first"] and records[0].succeeded and records[0].stopped is None


def test_a_killed_trial_that_runs_again_begins_its_curve_anew(
    engine: AuditedEngine, records: list[TrialRecord], files: dict[str, bytes], stopped: list[str]
) -> None:
    files["exit.json"] = b'{"code": null, "signal": "SIGKILL", "asked": false}'
    epoch(engine, "first", 1, accuracy=0.9)
    end(engine, "first", "FAILED")
    ask(engine)
    assert not records and not stopped and not engine._stopping._running  # type: ignore[union-attr]
