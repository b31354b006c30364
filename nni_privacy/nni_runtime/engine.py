"""NNI's training-service engine, with every result checked to belong to the architecture that was proposed."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import requests
from nni.nas.execution import TrainingServiceExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, IntermediateMetricEvent, TrainingEndEvent
from nni.nas.space import ExecutableModelSpace, ModelStatus
from nni.runtime.tuner_command_channel import command_type
from nni.runtime.tuner_command_channel.command_type import CommandType
from nni.utils import MetricType

from nni_privacy.errors import RunStoppedError
from nni_privacy.evaluator import SCORES_FILE
from nni_privacy.files import full_disk, unwritten, writing_run
from nni_privacy.nni_runtime.manager import ManagerClient
from nni_privacy.nni_runtime.metrics import final_fault
from nni_privacy.nni_runtime.trial_ends import Timeouts, TrialEnd, end_of_trial
from nni_privacy.nni_runtime.trial_results import identity_of, mismatch, proposed_architecture, record_of
from nni_privacy.runs.epochs import TrialEpoch, longer
from nni_privacy.runs.journal import Result, sample_key
from nni_privacy.runs.models import MODEL_FILE
from nni_privacy.runs.records import Curves, TrialRecord
from nni_privacy.runs.replay import Replay
from nni_privacy.runs.stopping import Stopping

__all__ = ["AuditedEngine", "proposed_architecture"]

_logger = logging.getLogger(__name__)

TrialObserver = Callable[[TrialRecord], None]
ScoresObserver = Callable[[str, bytes], None]
ModelObserver = Callable[[TrialRecord, Callable[[], bytes | None]], None]
EpochObserver = Callable[[TrialEpoch], None]
StartObserver = Callable[[int], None]

POLL_SECONDS = 1.0
"""Interval at which the engine polls for what has happened."""

WAIT_SECONDS = 5.0
"""How long the engine waits for an idle worker before it says that there is none."""

_GRACE_SECONDS = 0.5
"""How long after the end of the last trial the manager may take to say that there is an idle worker."""

_RETRIES = 2
"""Times that a trial that was killed is run again."""

_GOING_ON = ("INITIALIZED", "RUNNING", "TUNER_NO_MORE_TRIAL")

_QUIET_POLLS = 10
"""After how many looks without news an experiment that NNI calls done is taken to be."""


@dataclass
class _Trial:
    """A trial that was handed to NNI's manager and has not ended.

    Attributes:
        number: of the proposal.
        model: the very object that the strategy proposed.
        interruptions: how often it was killed.
    """

    number: int
    model: ExecutableModelSpace
    interruptions: int = 0


@dataclass(frozen=True)
class _Told:
    """What a trial told while it ran: its curves, and why it was stopped early, if it was."""

    curves: Curves
    stopped: str | None


class AuditedEngine(TrainingServiceExecutionEngine):
    """Runs trials on NNI's training service and tells observers of each that ended.

    NNI's own manager may hand a trial another trial's parameters (microsoft/nni #5693). The repaired one does not,
    and this engine makes sure: it compares the parameter id and the architecture that a trial reports with those that
    the manager recorded for it. Where they differ, the result is withheld from the strategy, and the trial counts as
    failed.

    The strategy hears of results in its own thread, when it asks whether a worker is idle or budget is left, lists
    models or waits for them; a result is on disk before. In which order it proposes and hears is taken down, see
    :class:`~nni_privacy.runs.replay.Replay`: where an interrupted run is resumed, finished trials are answered
    from the record, and only what was under way is run again.

    A trial that is killed from outside is run again, twice at most; one that is stopped with the run is not recorded.

    It also keeps hold of every model until its trial ends, so that the events of a strategy that forgets its models (as
    NNI's random search does) are not lost.

    Args:
        experiment: the running experiment.
        replay: of the search so far.
        on_trial: called with the record of each finished trial, from a thread of its own. A result that it cannot write
            (OSError) stops the run.
        on_scores: called before with the trial's id and the content of its ``scores.npz``, if it wrote one.
        on_model: called then with the record of a trial that succeeded, and with what reads its ``model.safetensors``.
        on_start: called with the number of each proposal that is handed to the manager, also of one that is run again.
        on_epoch: called with each intermediate result, from that thread, too.
        folder: of the run; a trial that fails while its disk is full is run again when the run goes on.
        trial_timeout: seconds after which a running trial is stopped; None: never.
        stopping: which trials are stopped early, by what they report of their epochs; None: none. The strategy is told
            of such a trial as of a failed one: what it has is no result that compares with others.

    Raises, wherever the strategy asks it something:
        RunStoppedError: if the manager has ended, or a result could not be written.
    """

    def __init__(
        self,
        experiment: Any,
        *,
        replay: Replay,
        on_trial: TrialObserver,
        on_scores: ScoresObserver,
        on_model: ModelObserver = lambda record, read: None,
        on_start: StartObserver = lambda number: None,
        on_epoch: EpochObserver = lambda epoch: None,
        folder: Path,
        trial_timeout: float | None = None,
        stopping: Stopping | None = None,
    ) -> None:
        self._stopping = stopping
        self._curves: dict[str, Curves] = {}
        self._stopped_early: dict[str, str] = {}
        self._replay = replay
        self._on_trial, self._on_scores, self._on_model = on_trial, on_scores, on_model
        self._on_start, self._on_epoch = on_start, on_epoch
        self._manager = ManagerClient(experiment)
        self._folder = folder
        self._timeouts = Timeouts(trial_timeout)
        self._trials: dict[int, _Trial] = {}
        self._open: dict[int, ExecutableModelSpace] = {}
        self._answered: list[ExecutableModelSpace] = []
        self._finals: dict[str, Any] = {}
        self._faults: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._intended: dict[str, int] = {}
        self._parameter_ids = count()
        self._submitted = 0
        self._news: deque[Callable[[], None]] = deque()
        self._awake = threading.Event()
        self._fault: Exception | None = None
        self._closing = False
        super().__init__(experiment)
        channel: Any = self._channel
        channel.on_refused = self._on_refused  # called by the repair metric_messages

    # --- what the strategy asks, in its own thread ---

    def submit_models(self, *models: ExecutableModelSpace) -> None:
        """Submits ``models`` and keeps them until their trials end; finished ones are answered from the record."""
        self._check_running()
        for model in models:
            with writing_run():
                proposal = self._replay.propose(sample_key(model.sample), identity_of(model))
            self._open[proposal.number] = model
            if proposal.finished:
                model.status = ModelStatus.Training
                self._answered.append(model)
            else:
                self._send(_Trial(proposal.number, model))

    def idle_worker_available(self) -> bool:
        """Whether to propose now; waits for a worker, since strategies sleep for a second before they ask again."""
        until = time.monotonic() + WAIT_SECONDS
        while True:
            self._awake.clear()
            self._advance()
            if not self._trials and self._submitted:  # at the end there will be none
                until = min(until, time.monotonic() + _GRACE_SECONDS)
            left = until - time.monotonic()
            if self._replay.replaying or self._workers > 0 or left <= 0:
                break
            self._manager.check_alive()
            self._awake.wait(min(POLL_SECONDS, left))
        idle = self._replay.replaying or self._workers > 0
        self._replay.told_idle(idle)
        return idle

    def budget_available(self) -> bool:
        """Whether more trials may be proposed."""
        self._check_running()
        self._advance()
        limit = None if self._replay.replaying else self._manager.max_trials()
        available = self._replay.replaying or (
            self._manager.status() in _GOING_ON and (limit is None or self._submitted < limit)
        )
        if available:
            self._replay.told_budget()
        return available

    def wait_models(self, *models: ExecutableModelSpace) -> None:
        """Waits for ``models``, by default for all, to end."""
        self._check_running()
        quiet = 0
        while True:
            self._awake.clear()
            self._advance()
            if not (any(not model.status.completed() for model in models) if models else self._open):
                return
            if self._replay.replaying:
                with writing_run():
                    self._replay.abandon()  # before the interruption it proposed something here
                continue
            done = self._manager.status() == "DONE"
            quiet = quiet + 1 if done and not self._news else 0
            if quiet > _QUIET_POLLS:
                return  # what is open now was proposed beyond the number of trials
            self._awake.wait(POLL_SECONDS)

    def list_models(self, status: ModelStatus | None = None) -> Iterable[ExecutableModelSpace]:
        """The models that were submitted, those answered from the record first."""
        self._advance()
        yield from (model for model in self._answered if status is None or model.status == status)
        yield from super().list_models(status)

    def close(self) -> None:
        """From now on a trial that ends has been stopped with the run: only results that are whole are recorded."""
        self._closing = True

    def _advance(self) -> None:
        """Tells the strategy what has happened since it asked last."""
        while True:
            if self._fault is not None:
                raise self._fault
            number = self._replay.due()
            if number is not None:
                self._tell(number)
            elif self._news and not self._replay.replaying:
                self._news.popleft()()
            else:
                break
        for trial in self._timeouts.overdue(self._manager.running):
            self._manager.cancel(trial)

    def _tell(self, number: int) -> None:
        with writing_run():
            result = self._replay.tell(number)
        model = self._open.pop(number)
        if result.trained:
            self.dispatch_model_event(FinalMetricEvent(model, result.value))
        self.dispatch_model_event(
            TrainingEndEvent(model, ModelStatus.Trained if result.trained else ModelStatus.Failed)
        )

    def _send(self, trial: _Trial) -> None:
        self._sending = trial
        self._submitted += 1
        self._on_start(trial.number)
        super().submit_models(trial.model)

    def _next_parameter_id(self) -> int:
        # Before it is sent: a quick trial may end before submit_models() returns.
        parameter_id = next(self._parameter_ids)
        self._trials[parameter_id] = self._sending
        return parameter_id

    def _send_again(self, trial: _Trial) -> None:
        self._manager.allow_one_more()
        self._send(trial)

    # --- what the manager says, in the thread that listens to it ---

    def _request_trial_jobs_callback(self, command: command_type.RequestTrialJobs) -> None:
        def more_workers() -> None:
            self._workers += command.count

        self._take(more_workers)

    def _report_metric_data_callback(self, command: command_type.ReportMetricData) -> None:
        self._guarded(self._on_metric, command)

    def _trial_end_callback(self, command: command_type.TrialEnd) -> None:
        self._guarded(self._on_end, command)

    def _guarded(self, callback: Callable[[Any], None], command: Any) -> None:
        # If the thread that listens to the manager died, the run would wait for ever.
        try:
            callback(command)
        except requests.RequestException as error:
            self._stop(RunStoppedError(f"NNI's manager does not answer: {' '.join(str(error).split()):.200}"))
        except Exception:
            _logger.exception("while handling %s", command)

    def _on_metric(self, command: command_type.ReportMetricData) -> None:
        trial_id = str(command.trial_job_id)
        if trial_id not in self._intended:
            self._intended[trial_id] = self._manager.intended_parameter(trial_id)
        intended = self._intended[trial_id]
        trial = self._trials.get(intended)
        if trial is None:
            return
        if intended != command.parameter_id:
            self._faults[trial_id] = f"it ran parameter set {command.parameter_id}, but {intended} was meant for it"
        elif command.type == MetricType.PERIODICAL:
            event, number = IntermediateMetricEvent(trial.model, command.value), trial.number
            self._take(lambda: self.dispatch_model_event(event) if number in self._open else None)
            recipe = getattr(getattr(trial.model, "evaluator", None), "recipe", None)
            epoch = TrialEpoch(number, command.sequence + 1, getattr(recipe, "epochs", None), command.value)
            self._on_epoch(epoch)
            self._judge(trial_id, epoch)
        else:
            fault, refused = mismatch(trial.model, command.value), final_fault(command.value)
            if fault is not None:
                self._faults[trial_id] = fault
            elif refused is not None:
                self._refused[trial_id] = refused
            else:
                self._finals[trial_id] = command.value

    def _judge(self, trial_id: str, epoch: TrialEpoch) -> None:
        """Adds an epoch to a trial's curves, and has NNI stop the trial early where the rule says so."""
        curves = self._curves[trial_id] = longer(self._curves.get(trial_id, {}), epoch.numbers)
        if self._stopping is None or trial_id in self._stopped_early:
            return
        why = self._stopping.reported(trial_id, curves)
        if why is not None:
            self._stopped_early[trial_id] = why
            channel: Any = self._channel
            channel._send(CommandType.KillTrialJob, json.dumps(trial_id))  # what NNI's assessors send

    def _on_refused(self, message: str, why: str) -> None:
        """Keeps why the final result of a trial was refused: it is the trial's error, if no other comes."""
        with suppress(ValueError, TypeError, KeyError, RecursionError):
            metric = json.loads(message)
            if metric["type"] == MetricType.FINAL:
                self._refused[str(metric["trial_job_id"])] = f"the final result {why}"

    def _on_end(self, command: command_type.TrialEnd) -> None:
        trial_id, (parameter_id, *_) = command.trial_job_id, command.parameter_ids
        trial = self._trials.pop(parameter_id, None)
        self._invalidate_submitted_cache(parameter_id)
        self._intended.pop(trial_id, None)
        final, fault = self._finals.pop(trial_id, None), self._faults.pop(trial_id, None)
        refused = self._refused.pop(trial_id, None)
        told = _Told(self._curves.pop(trial_id, {}), self._stopped_early.pop(trial_id, None) if final is None else None)
        if trial is None or (self._closing and (command.event != "SUCCEEDED" or final is None)):
            return
        if fault is not None:
            end = TrialEnd(fault=f"trial {trial_id} was given another trial's architecture: {fault}")
            _logger.error(end.fault)
        elif refused is not None and final is None and command.event == "SUCCEEDED":
            end = TrialEnd(fault=refused)
        elif told.stopped is not None:
            end = TrialEnd()
        else:
            end = self._how_it_ended(trial_id, command.event, final)
        if end.machine_fault is not None:
            self._stop(RunStoppedError(f"trial {trial_id}: {end.machine_fault}; it is run again when the run goes on"))
        elif end.killed_by is not None and trial.interruptions < _RETRIES:
            _logger.warning("trial %s was %s; it is run again", trial_id, end.killed_by)
            trial.interruptions += 1
            self._forget(trial_id)
            self._take(lambda: self._send_again(trial))
        else:
            if end.killed_by is not None:
                end = TrialEnd(fault=f"{end.killed_by}, {trial.interruptions + 1} times in a row")
            self._finish(trial_id, trial, final, end.fault, told)

    def _how_it_ended(self, trial_id: str, event: str, final: Any) -> TrialEnd:
        timeout = self._timeouts.seconds if self._timeouts.ended(trial_id) else None
        end = end_of_trial(event, final, timeout, lambda name: self._manager.file(trial_id, name))
        if end.fault is not None and timeout is None:
            full = full_disk(self._folder)  # then not even the error of a trial could be written
            return end if full is None else TrialEnd(machine_fault=full)
        return end

    def _forget(self, trial_id: str) -> None:
        """The trial is run again, from its first epoch."""
        if self._stopping is not None:
            self._stopping.forget(trial_id)

    def _finish(self, trial_id: str, trial: _Trial, final: Any, fault: str | None, told: _Told) -> None:
        """Writes a result to disk and then hands it to the strategy; what cannot be written stops the run."""
        trained = fault is None and told.stopped is None
        scores = self._manager.file(trial_id, SCORES_FILE) if trained else None
        record = record_of(trial_id, trial.number, trial.model, final, fault, curves=told.curves, stopped=told.stopped)
        result = Result(trial_id, trained, final if trained else None, record)
        if self._stopping is not None:
            self._stopping.ended(trial_id)
        try:
            if record.succeeded:  # first: with the journal and the scores a trial is finished, and never run again
                self._on_model(record, lambda: self._manager.file(trial_id, MODEL_FILE))
            self._replay.ended(trial.number, result)
            if scores is not None:
                self._on_scores(trial_id, scores)
            self._on_trial(record)
        except OSError as error:
            self._stop(RunStoppedError(unwritten(error)))
            return
        self._replay.finished(trial.number)
        self._awake.set()

    def _take(self, news: Callable[[], None]) -> None:
        self._news.append(news)
        self._awake.set()

    def _stop(self, fault: Exception) -> None:
        """Lets the strategy's thread raise ``fault``; whatever ends from now on is not finished."""
        self._closing, self._fault = True, self._fault or fault
        self._awake.set()
