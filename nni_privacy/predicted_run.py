"""A search from a configuration whose evaluator predicts: in this process, without NNI's manager and its web UI.

A prediction takes milliseconds and a trial of NNI's manager seconds, so thousands of them would take hours there.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import nni
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, ModelEventType, TrainingEndEvent
from nni.nas.space import SimplifiedModelSpace

from nni_privacy import search_spaces
from nni_privacy.config import SearchConfig
from nni_privacy.errors import PrivacyError
from nni_privacy.nni_runtime.run_directory import RunDirectory, TrialRecord, describe_environment
from nni_privacy.predicted_evaluator import PredictedEvaluator
from nni_privacy.report import write_report
from nni_privacy.search import EXIT_INTERRUPTED, build_search_strategy, interruptible

__all__ = ["run_predicted"]


def run_predicted(settings: SearchConfig, directory: Path) -> int:
    """Runs the search and writes its run directory, in which every AUC is called predicted.

    Args:
        settings: a configuration with ``evaluator: {kind: predicted}``.
        directory: the run directory.

    Returns:
        The exit code: 0, or 130 if interrupted.

    Raises:
        PrivacyError: if the surrogate cannot be read or cannot predict the space; nothing has been written then.
    """
    evaluator = PredictedEvaluator(settings.evaluator.surrogate)
    section = settings.search_space
    space = getattr(search_spaces, search_spaces.SPACES[section.name])(**section.options)
    executable = SimplifiedModelSpace.from_model(space, evaluator)
    evaluator.check_space(executable)
    strategy: Any = build_search_strategy(settings, folder=directory / "search")
    fixed = strategy.fit_to(space).as_lists() if hasattr(strategy, "fit_to") else {}
    if hasattr(strategy, "check"):
        strategy.check(executable)
    recorder = _Recorder(RunDirectory(directory), settings.trials)
    recorder.run.create(settings.resolved(), describe_environment(seed=settings.seed, fixed_edges=fixed))
    print(
        f"{settings.name}: {settings.trials} trials are PREDICTED, none is trained; results in {directory}", flush=True
    )
    finished = _search(strategy, executable, recorder)
    report = write_report(directory)
    lowest = "-" if recorder.lowest is None else f"{recorder.lowest:.4f}"
    word = "done" if finished else "interrupted"
    print(
        f"{word}: {recorder.count} trials, lowest PREDICTED AUC {lowest} (not measured); report: {report}", flush=True
    )
    return 0 if finished else EXIT_INTERRUPTED


def _search(strategy: Any, executable: SimplifiedModelSpace, recorder: _Recorder) -> bool:
    """Whether the search ran to its end."""
    nni.silence_stdout()
    logging.getLogger("nni").addHandler(logging.NullHandler())  # else its warnings, a page long, end on the screen
    engine = SequentialExecutionEngine(max_model_count=recorder.trials)
    engine.register_model_event_callback(ModelEventType.FinalMetric, recorder.on_metric)
    engine.register_model_event_callback(ModelEventType.TrainingEnd, recorder.on_end)
    try:
        with interruptible():
            strategy(executable, engine)
    except KeyboardInterrupt:
        return False
    except PrivacyError:
        write_report(recorder.run.path)  # what there is before a filter lets nothing through
        raise
    return True


class _Recorder:
    """Writes every prediction to the run directory, and shows how far the search is where there is a screen."""

    def __init__(self, run: RunDirectory, trials: int) -> None:
        self.count = 0
        self.lowest: float | None = None
        self.run = run
        self.trials = trials
        self._reported: dict[str, Any] = {}

    def on_metric(self, event: FinalMetricEvent) -> None:
        """Keeps what a trial reports until it ends; the engine itself keeps only one number of it."""
        self._reported = dict(event.metric)

    def on_end(self, event: TrainingEndEvent) -> None:
        """Appends the trial, unless it was interrupted before it could report."""
        reported, self._reported = self._reported, {}
        if not reported:
            return
        metrics = {key: reported[key] for key in ("predicted_mia_auc", "predicted_mia_auc_sd")}
        name, architecture = f"predicted-{self.count:05}", reported["architecture"]
        record = TrialRecord(name, self.count, "succeeded", architecture, metrics, reported["seconds"])
        self.run.append(record)
        self.count += 1
        auc = metrics["predicted_mia_auc"]
        self.lowest = auc if self.lowest is None else min(self.lowest, auc)
        if sys.stderr.isatty():
            line = f"{self.count}/{self.trials} trials  lowest PREDICTED AUC {self.lowest:.4f}"
            print(f"\r\x1b[K{line}", end="" if self.count < self.trials else "\n", file=sys.stderr, flush=True)
