"""An execution engine for tests: it records what a strategy submits, and answers with made-up metrics."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any

from nni.nas.execution import ExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, TrainingEndEvent
from nni.nas.space import ExecutableModelSpace, ModelStatus

__all__ = ["RecordingEngine"]


def made_up_metrics(sample: dict[str, Any]) -> dict[str, float]:
    """Metrics that depend on the sample only."""
    values = [zlib.crc32(f"{salt}{sorted(sample.items())}".encode()) / 2**32 for salt in ("accuracy", "auc")]
    return {"default": values[0], "accuracy": values[0], "mia_auc": 0.5 + values[1] / 2}


class RecordingEngine(ExecutionEngine):
    """Ends every trial at once.

    Args:
        budget: how many trials there may be.
        evaluate: sample to metrics; by default numbers that depend on the sample only.
    """

    def __init__(self, budget: int, evaluate: Callable[[dict[str, Any]], Any] = made_up_metrics) -> None:
        super().__init__()
        self.budget, self.evaluate = budget, evaluate
        self.models: list[ExecutableModelSpace] = []

    @property
    def samples(self) -> list[dict[str, Any]]:
        """What was submitted, in order."""
        return [dict(model.sample or {}) for model in self.models]

    def submit_models(self, *models: ExecutableModelSpace) -> None:
        """Takes note of ``models`` and reports their metrics."""
        for model in models:
            self.models.append(model)
            model.status = ModelStatus.Training
            self.dispatch_model_event(FinalMetricEvent(model, self.evaluate(dict(model.sample or {}))))
            self.dispatch_model_event(TrainingEndEvent(model, ModelStatus.Trained))

    def list_models(self, status: ModelStatus | None = None) -> Iterable[ExecutableModelSpace]:
        """All models, or those of one status."""
        return [model for model in self.models if status is None or model.status == status]

    def idle_worker_available(self) -> bool:
        """Always: nothing takes time."""
        return True

    def budget_available(self) -> bool:
        """Whether more trials may be submitted."""
        return len(self.models) < self.budget
