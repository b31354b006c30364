"""Problems with two objectives over the DARTS space that cost nothing to evaluate, and an engine that does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from nni.nas.execution import ExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, TrainingEndEvent
from nni.nas.space import ExecutableModelSpace, ModelStatus

from nni_privacy.analysis.pareto import hypervolume
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, Genotype

Evaluate = Callable[[dict[str, Any]], Any]

FAILS = object()
"""What an evaluation returns whose trial shall fail."""


class FakeEngine(ExecutionEngine):
    """Evaluates samples at once, in this thread; with ``concurrency`` above 1 results come late and in random order."""

    def __init__(self, evaluate: Evaluate, *, budget: int, concurrency: int = 1, seed: int = 0) -> None:
        super().__init__()
        self.evaluate, self.budget, self.concurrency = evaluate, budget, concurrency
        self.models: list[ExecutableModelSpace] = []
        self.waiting: list[ExecutableModelSpace] = []
        self._rng = np.random.default_rng(seed)

    @property
    def samples(self) -> list[dict[str, Any]]:
        return [model.sample for model in self.models]

    def submit_models(self, *models: ExecutableModelSpace) -> None:
        for model in models:
            assert self.budget_available() and self.idle_worker_available()
            model.status = ModelStatus.Training
            self.models.append(model)
            self.waiting.append(model)
        if len(self.waiting) >= self.concurrency:
            self._finish_one()

    def _finish_one(self) -> None:
        model = self.waiting.pop(int(self._rng.integers(len(self.waiting))))
        report = self.evaluate(model.sample)
        if report is not FAILS:
            self.dispatch_model_event(FinalMetricEvent(model, report))
        status = ModelStatus.Failed if report is FAILS else ModelStatus.Trained
        self.dispatch_model_event(TrainingEndEvent(model, status))

    def list_models(self, status: ModelStatus | None = None) -> list[ExecutableModelSpace]:
        return [model for model in self.models if status is None or model.status == status]

    def idle_worker_available(self) -> bool:
        return len(self.waiting) < self.concurrency

    def budget_available(self) -> bool:
        return len(self.models) < self.budget

    def wait_models(self, *models: ExecutableModelSpace) -> None:
        while self.waiting:
            self._finish_one()


def trade_off(seed: int, *, digits: int | None = None) -> Evaluate:
    """A random problem: convolutions bring accuracy, less with each further one, and leak; poolings keep secrets.

    Edges matter differently, late nodes feed on early ones, and some pairs of operations only work together.

    Args:
        seed: of the problem.
        digits: round both metrics, as test sets of a finite size do.
    """
    rng = np.random.default_rng(seed)
    strength = np.array(["conv" in op for op in DARTS_OPERATIONS]) * rng.uniform(0.5, 1.5, len(DARTS_OPERATIONS))
    strength += np.array(["skip" in op for op in DARTS_OPERATIONS]) * 0.4
    pooling = np.array(["pool" in op for op in DARTS_OPERATIONS]) * rng.uniform(0.5, 1.5, len(DARTS_OPERATIONS))
    weight = {cell: rng.uniform(0.2, 1.0, (7, 6)) for cell in CELL_TYPES}
    pairs = {cell: rng.normal(0, 1, (6, len(DARTS_OPERATIONS), len(DARTS_OPERATIONS))) for cell in CELL_TYPES}

    def evaluate(sample: dict[str, Any]) -> dict[str, float]:
        capacity = secrecy = harmony = 0.0
        genotype = Genotype.from_sample(sample)
        for cell in CELL_TYPES:
            for target in range(2, 6):
                first, second = genotype.cell(cell).into(target)
                codes = [DARTS_OPERATIONS.index(edge.op) for edge in (first, second)]
                for edge, code in zip((first, second), codes, strict=True):
                    capacity += weight[cell][edge.source, target] * strength[code]
                    secrecy += weight[cell][target, edge.source] * pooling[code]
                harmony += pairs[cell][target, codes[0], codes[1]]
        accuracy = 0.98 - 0.35 * np.exp(-capacity / 3) + 0.006 * np.tanh(harmony / 3)
        auc = 0.52 + 0.16 * np.exp(-secrecy / 2.5) + 0.01 * capacity - 0.004 * np.tanh(harmony / 3)
        report = {"default": float(accuracy), "accuracy": float(accuracy), "mia_auc": float(auc)}
        return report if digits is None else {name: round(value, digits) for name, value in report.items()}

    return evaluate


def volume_of(engine: FakeEngine, evaluate: Evaluate) -> float:
    """The hypervolume of all that an engine has evaluated."""
    reports = [evaluate(sample) for sample in engine.samples]
    return hypervolume([report["accuracy"] for report in reports], [report["mia_auc"] for report in reports])
