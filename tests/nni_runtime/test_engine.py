"""The engine's check of every result, with a made-up manager: swapped parameters, foreign architectures, failures."""

from __future__ import annotations

import json
import types
from typing import Any

import nni
import numpy as np
import pytest
from nni.nas.execution.event import ModelEventType
from nni.nas.space import ModelStatus, SimplifiedModelSpace
from nni.runtime.tuner_command_channel import command_type

from nni_privacy.nni_runtime import engine as engine_module
from nni_privacy.nni_runtime.engine import AuditedEngine, proposed_architecture
from nni_privacy.nni_runtime.run_directory import TrialRecord
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

    def list_trial_jobs(self) -> list[Any]:
        return []


@pytest.fixture
def records() -> list[TrialRecord]:
    return []


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, records: list[TrialRecord]) -> AuditedEngine:
    monkeypatch.setattr("nni.nas.execution.training_service.TunerCommandChannel", Channel)

    def job(_port: int, path: str, _prefix: object) -> dict[str, Any]:
        number = INTENDED[path.rpartition("/")[2]]
        return {"sequenceId": number, "hyperParameters": [json.dumps({"parameter_id": number})]}

    files = {"stderr": b"...\nValueError: too bad\n"}
    monkeypatch.setattr(engine_module.rest, "get", job)
    monkeypatch.setattr(AuditedEngine, "_file", lambda _self, _trial, name: files.get(name))
    made = AuditedEngine(Experiment(), on_trial=records.append, on_scores=lambda *_: None)
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


def end(engine: AuditedEngine, trial: str, event: str = "SUCCEEDED") -> None:
    engine._trial_end_callback(command_type.TrialEnd(trial_job_id=trial, parameter_ids=[INTENDED[trial]], event=event))


def test_a_result_of_the_right_architecture_is_passed_on(engine: AuditedEngine, records: list[TrialRecord]) -> None:
    events: list[Any] = []
    for kind in ModelEventType:
        engine.register_model_event_callback(kind, events.append)
    report(engine, "first", ran=0)
    end(engine, "first")
    (record,) = records
    assert (record.trial, record.sequence, record.status) == ("first", 0, "succeeded")
    assert record.architecture == proposed_architecture(engine.models[0])
    assert record.metrics == {"accuracy": 0.9, "mia_auc": 0.6, "x": None}
    assert record.seconds == 3.0
    assert engine.models[0].metric == 0.9 and engine.models[0].status == ModelStatus.Trained
    assert [type(event).__name__ for event in events] == ["FinalMetricEvent", "TrainingEndEvent"]


def test_swapped_parameters_fail_both_trials(engine: AuditedEngine, records: list[TrialRecord]) -> None:
    report(engine, "first", ran=1)
    report(engine, "second", ran=0)
    end(engine, "first")
    end(engine, "second")
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
    gc.collect()
    assert ended == [ModelStatus.Trained]
    assert reference() is None


def test_an_observer_that_raises_does_not_stop_the_listener(engine: AuditedEngine) -> None:
    def broken(_record: TrialRecord) -> None:
        raise RuntimeError("disk full")

    engine._on_trial = broken
    report(engine, "first", ran=0)
    end(engine, "first")  # would raise in the thread that listens to the manager


def test_other_spaces_are_described_by_their_sample() -> None:
    model = types.SimpleNamespace(sample={"b": 2, "a": [1]})
    assert proposed_architecture(model) == nni.dump({"a": [1], "b": 2})  # type: ignore[arg-type]
