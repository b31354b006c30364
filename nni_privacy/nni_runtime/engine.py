"""NNI's training-service engine, with every result checked to belong to the architecture that was proposed."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import requests
from nni.experiment import rest
from nni.nas.execution import TrainingServiceExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, IntermediateMetricEvent, TrainingEndEvent
from nni.nas.space import ExecutableModelSpace, ModelStatus
from nni.runtime.tuner_command_channel import command_type
from nni.utils import MetricType

from nni_privacy.evaluator import SCORES_FILE, factors_text
from nni_privacy.nni_runtime.access import manager_headers
from nni_privacy.nni_runtime.run_directory import TrialRecord

__all__ = ["AuditedEngine", "proposed_architecture"]

_logger = logging.getLogger(__name__)

TrialObserver = Callable[[TrialRecord], None]
ScoresObserver = Callable[[str, bytes], None]

_NOT_METRICS = ("default", "seconds", "architecture", "factors")
"""What a trial reports besides its metrics."""

_TIMEOUT = 60


class AuditedEngine(TrainingServiceExecutionEngine):
    """Runs trials on NNI's training service and tells observers of each that ended.

    NNI's own manager may hand a trial another trial's parameters (microsoft/nni #5693). The repaired one does not,
    and this engine makes sure: it compares the parameter id and the architecture that a trial reports with those that
    the manager recorded for it. Where they differ, the result is withheld from the strategy, and the trial counts as
    failed.

    It also keeps hold of every model until its trial ends, so that the events of a strategy that forgets its models (as
    NNI's random search does) are not lost.

    Args:
        experiment: the running experiment.
        on_trial: called with the record of each finished trial, from a thread of its own.
        on_scores: called before with the trial's id and the content of its ``scores.npz``, if it wrote one.
    """

    def __init__(self, experiment: Any, *, on_trial: TrialObserver, on_scores: ScoresObserver) -> None:
        self._on_trial = on_trial
        self._on_scores = on_scores
        self._proposed: dict[int, ExecutableModelSpace] = {}
        self._finals: dict[str, dict[str, Any]] = {}
        self._faults: dict[str, str] = {}
        self._intended: dict[str, int] = {}
        super().__init__(experiment)

    def submit_models(self, *models: ExecutableModelSpace) -> None:
        """Submits ``models`` and keeps them until their trials end."""
        for model in models:
            super().submit_models(model)
            self._proposed[self._current_parameter_id] = model

    def _report_metric_data_callback(self, command: command_type.ReportMetricData) -> None:
        self._guarded(self._on_metric, command)

    def _trial_end_callback(self, command: command_type.TrialEnd) -> None:
        self._guarded(self._on_end, command)

    def _guarded(self, callback: Callable[[Any], None], command: Any) -> None:
        # Callbacks run in the one thread that listens to the manager. If it died, the run would wait for ever.
        try:
            callback(command)
        except Exception:
            _logger.exception("while handling %s", command)

    def _on_metric(self, command: command_type.ReportMetricData) -> None:
        trial = command.trial_job_id
        intended = self._intended_parameter(trial)
        model = self._proposed.get(intended)
        if model is None:
            return
        if intended != command.parameter_id:
            self._faults[trial] = f"it ran parameter set {command.parameter_id}, but {intended} was meant for it"
            return
        if command.type == MetricType.PERIODICAL:
            self.dispatch_model_event(IntermediateMetricEvent(model, command.value))
            return
        final = command.value if isinstance(command.value, dict) else {"default": command.value}
        mismatch = _mismatch(model, final)
        if mismatch is not None:
            self._faults[trial] = mismatch
            return
        self._finals[trial] = final
        self.dispatch_model_event(FinalMetricEvent(model, command.value))

    def _on_end(self, command: command_type.TrialEnd) -> None:
        trial, (parameter_id, *_) = command.trial_job_id, command.parameter_ids
        model = self._proposed.pop(parameter_id, None)
        self._invalidate_submitted_cache(parameter_id)
        if model is None:
            return
        status = self._interpret_trial_job_status(command.event)
        final, fault = self._finals.pop(trial, None), self._faults.pop(trial, None)
        self._intended.pop(trial, None)
        if fault is not None:
            fault = f"trial {trial} was given another trial's architecture: {fault}"
            _logger.error(fault)
        elif status != ModelStatus.Trained:
            fault = self._last_words(trial) or f"the trial ended as {command.event}"
        elif final is None:
            fault = "the trial ended without a final result"
        if fault is not None:
            status = ModelStatus.Failed
        self.dispatch_model_event(TrainingEndEvent(model, status))
        self._tell(trial, model, final, fault)

    def _tell(self, trial: str, model: ExecutableModelSpace, final: dict[str, Any] | None, fault: str | None) -> None:
        sequence = int(self._job(trial).get("sequenceId", -1))
        proposed, factors = proposed_architecture(model), _factors(model)
        if fault is not None or final is None:
            self._on_trial(TrialRecord(trial, sequence, "failed", proposed, error=fault, factors=factors))
            return
        scores = self._file(trial, SCORES_FILE)
        if scores is not None:
            self._on_scores(trial, scores)
        metrics = {key: _number(value) for key, value in final.items() if key not in _NOT_METRICS}
        seconds = final.get("seconds")
        architecture = final.get("architecture", proposed)
        self._on_trial(TrialRecord(trial, sequence, "succeeded", architecture, metrics, seconds, factors=factors))

    def _intended_parameter(self, trial: str) -> int:
        """The parameter id that the manager recorded when it created the trial."""
        if trial not in self._intended:
            self._intended[trial] = int(json.loads(self._job(trial)["hyperParameters"][0])["parameter_id"])
        return self._intended[trial]

    def _job(self, trial: str) -> dict[str, Any]:
        binding = self.nodejs_binding
        return dict(rest.get(binding.port, f"/trial-jobs/{quote(trial, safe='')}", binding.url_prefix))

    def _file(self, trial: str, name: str) -> bytes | None:
        """A file of the trial's output folder, through the manager, which reaches every training service."""
        binding = self.nodejs_binding
        prefix = f"/{binding.url_prefix}" if binding.url_prefix else ""
        url = f"http://127.0.0.1:{binding.port}{prefix}/api/v1/nni/trial-file/{quote(trial, safe='')}/{name}"
        try:
            response = requests.get(url, headers=manager_headers(), timeout=_TIMEOUT)
        except requests.RequestException as error:
            _logger.warning("cannot read %s of trial %s: %s", name, trial, error)
            return None
        return response.content if response.ok else None

    def _last_words(self, trial: str) -> str | None:
        """The last line that a failed trial wrote to its standard error."""
        content = self._file(trial, "stderr") or b""
        lines = [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else None


def _factors(model: ExecutableModelSpace) -> dict[str, Any] | None:
    """What a trial of a study is set to; None of a trial of a search."""
    factors = getattr(getattr(model, "evaluator", None), "factors", None)
    return None if factors is None else dict(factors)


def _mismatch(model: ExecutableModelSpace, final: dict[str, Any]) -> str | None:
    """What a trial that was to evaluate ``model`` did instead; None if it did as proposed."""
    proposed, factors = proposed_architecture(model), _factors(model)
    if factors is not None and final.get("factors") != factors_text(factors):
        return f"it measured {final.get('factors')}, but {factors} was proposed"
    searched = getattr(getattr(model, "evaluator", None), "searches", False)  # only the trial can tell then
    if not searched and proposed != final.get("architecture", proposed):
        return f"it trained {final['architecture']}, but {proposed} was proposed"
    return None


def proposed_architecture(model: ExecutableModelSpace) -> str:
    """The architecture of a proposed model, written as :func:`nni_privacy.evaluator.architecture_text` writes it."""
    told = getattr(getattr(model, "evaluator", None), "architecture_text", None)
    if told is not None:
        return str(told)
    space = getattr(getattr(model, "model", None), "trace_symbol", None)
    genotype_of = getattr(space, "genotype_of", None)
    if genotype_of is not None:
        return str(genotype_of(model.sample))
    return json.dumps(model.sample, sort_keys=True, default=str)


def _number(value: Any) -> float | None:
    """JSON has no NaN; what is not a finite number is written as null."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None
