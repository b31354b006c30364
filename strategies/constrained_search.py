"""Constraints around any strategy: what breaks one for sure is never trained, and what is measured ranks behind."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import torch
from nni.mutable import Categorical, Sample, SampleValidationError
from nni.nas.execution import ExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, ModelEventType
from nni.nas.space import ExecutableModelSpace, SimplifiedModelSpace
from nni.nas.strategy import Strategy

from nni_privacy.analysis.constraints import Constraints
from nni_privacy.errors import ConfigError
from nni_privacy.files import atomic_write, writing_run
from nni_privacy.runs.journal import sample_key
from nni_privacy.schema import Count, checked
from nni_privacy.search_spaces.space import architecture_of, size_of
from nni_privacy.strategies.objectives import LATENCIES, check_metrics_given
from nni_privacy.strategies.one_shot import OneShotStrategy
from nni_privacy.strategies.proposal_filter import ProposalFilter
from nni_privacy.training.costs import multiply_adds, parameters

__all__ = ["ConstrainedSearch", "KnownCosts", "image_shape_of"]

_logger = logging.getLogger(__name__)

BEHIND = -1e9
"""What strategies are told of an infeasible trial is at most this: behind whatever a feasible one reports."""

RUN = 50_000_000
"""Networks of at most so many weights are run to be counted; of larger ones shapes are computed only."""

LOOKED_AT = 2000
"""The most architectures that are looked at, before a search starts, for a feasible one."""


class KnownCosts:
    """What an architecture costs, computed without training it, each once.

    Args:
        metrics: ``parameters``, ``multiply_adds`` or both.
        image_shape: channels, height and width; for ``multiply_adds``.
    """

    def __init__(self, metrics: tuple[str, ...], image_shape: tuple[int, ...] | None = None) -> None:
        self.metrics, self.image_shape = metrics, image_shape
        self._known: dict[str, dict[str, int]] = {}

    def of(self, model: ExecutableModelSpace) -> Mapping[str, int]:
        """The costs of a frozen model."""
        if not isinstance(model, SimplifiedModelSpace):
            return self._compute(model)  # built already; NNI's grid search goes on changing the sample of a raw model
        key = sample_key(model.sample)
        if key not in self._known:
            self._known[key] = self._compute(model)
        return self._known[key]

    def _compute(self, model: ExecutableModelSpace) -> dict[str, int]:
        if not self.metrics:
            return {}
        # On the meta device there are shapes only: nothing is allocated or drawn, however large the network is.
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network: Any = model.executable_model()
        costs = {"parameters": parameters(network)}
        if "multiply_adds" in self.metrics and self.image_shape is not None:
            if costs["parameters"] <= RUN:
                network.to_empty(device="cpu")  # a quarter of the time; what the weights are does not matter
            costs["multiply_adds"] = multiply_adds(network, self.image_shape)
        return costs


def image_shape_of(model_space: ExecutableModelSpace, *, option: str) -> tuple[int, ...]:
    """Channels, height and width of the images of a space's evaluator, for the multiply-adds that ``option`` asks for.

    Raises:
        ConfigError: if the evaluator has no data of ours.
    """
    evaluator: Any = getattr(model_space, "evaluator", None)
    if not hasattr(evaluator, "load_data"):
        raise ConfigError(
            f"{option}: multiply_adds: a {type(evaluator).__name__} does not say how large the images are; "
            "give image_shape=(channels, height, width)"
        )
    shape: tuple[int, ...] = evaluator.load_data()[0].image_shape
    return shape


@dataclass(frozen=True)
class _Rejected:
    """An architecture that breaks a constraint for sure."""

    model: ExecutableModelSpace
    costs: Mapping[str, int]
    violation: float


class ConstrainedSearch(ProposalFilter):
    """Lets ``strategy`` search for architectures that keep ``constraints``.

    What is known before training (``parameters``, ``multiply_adds``) is computed for every proposal; one that breaks
    such a constraint is skipped before it reaches the engine, and takes none of the experiment's trials. What is
    measured makes a trial infeasible: strategies that see one number of a trial, ``default``, are handed
    ``-1e9 (1 + v / (1 + v))`` in its place, v being the violation (:meth:`Constraints.violation`), so that it ranks
    behind all feasible ones, and the further off the further behind. This happens between the engine and the strategy:
    what the trial reported, and what is recorded and shown of it, stays as it is. Strategies with an attribute
    ``constraints``, such as :class:`~nni_privacy.strategies.ParetoEvolution`, get the constraints instead, and one-shot
    searches choose their ``top_k`` among feasible architectures.

    Before the search it is asked whether there is any feasible architecture: from the space's default, one choice after
    another takes the value that comes nearest, until none comes nearer. If that finds none, nothing is proposed, and
    the search ends. It also ends after ``max_rejections`` skipped proposals in a row. Both are no errors: see
    :attr:`ended`.

    Works around any strategy, and inside :class:`~nni_privacy.strategies.FixedPattern` as well as around it.

    Args:
        strategy: the strategy that proposes.
        constraints: metric to bound, as :meth:`Constraints.of` takes them.
        image_shape: channels, height and width of the images, for ``multiply_adds``; by default those of the
            evaluator's data.
        max_rejections: after how many skipped proposals in a row the search ends.
        log: a JSON file that is written when the search ends: what was skipped, and which came nearest.

    Raises:
        ConfigError: if a constraint cannot be read; at the start of the search, if the image shape is not known.

    Attributes:
        ended: why the search ended early, in a sentence; None if it did not.
    """

    def __init__(
        self,
        strategy: Strategy,
        constraints: Mapping[str, Any] | Constraints,
        *,
        image_shape: tuple[int, ...] | None = None,
        max_rejections: int = 1000,
        log: Path | None = None,
    ) -> None:
        super().__init__(strategy)
        self.constraints = Constraints.of(constraints)
        self.image_shape = image_shape
        self.max_rejections = checked(Count, max_rejections, "max_rejections")
        self.log = log
        self.ended: str | None = None
        self._nearest: _Rejected | None = None

    def extra_repr(self) -> str:
        """For ``repr``."""
        return f"{self.strategy!r}, {self.constraints}"

    def check(self, model_space: ExecutableModelSpace) -> None:
        """Raises what the search would raise at its start, if anything; changes and writes nothing.

        Raises:
            ConfigError: if the inner strategy cannot search ``model_space``, the image shape is not known, or a
                PrivacyEvaluator would not report a metric.
        """
        self._costs_in(model_space)
        evaluator: Any = getattr(model_space, "evaluator", None)
        attacks = getattr(evaluator, "attacks", None)
        if attacks:
            private = bool(getattr(getattr(evaluator, "recipe", None), "dp", None))
            further = (*(LATENCIES if getattr(evaluator, "latency", False) else ()), *(("epsilon",) if private else ()))
            check_metrics_given(self.constraints.metrics, attacks, option="constraints", further=further)
        super().check(model_space)

    def _costs_in(self, model_space: ExecutableModelSpace) -> KnownCosts:
        metrics, shape = self.constraints.known.metrics, self.image_shape
        if "multiply_adds" in metrics and shape is None:
            shape = image_shape_of(model_space, option="constraints")
        return KnownCosts(metrics, shape)

    def _initialize(self, model_space: ExecutableModelSpace, engine: ExecutionEngine) -> ExecutableModelSpace:
        self._costs = self._costs_in(model_space)
        self._filtering = self.filtered(engine)
        inner = _innermost(self.strategy)
        self._one_shot = isinstance(inner, OneShotStrategy)
        self._ranks = not self._one_shot and not hasattr(inner, "constraints")
        if self._one_shot:
            inner.feasible = lambda sample: not self._off(inner.model_space.freeze(sample)).violation
        elif not self._ranks:
            inner.constraints = inner.constraints or self.constraints.measured
        else:
            engine.register_model_event_callback(ModelEventType.FinalMetric, self._rank)  # before the strategy hears it
        return self.strategy.initialize(model_space, self._filtering)

    def _cleanup(self) -> None:
        if self._ranks:
            self.engine.unregister_model_event_callback(ModelEventType.FinalMetric, self._rank)

    def _run(self) -> None:
        looked_at = self._look_for_one() if self.constraints.known else 0
        self._filtering.closed = self.ended is not None  # the strategy runs all the same, and leaves the engine tidy
        if not (self._one_shot and self._filtering.closed):
            super()._run()
        if self._one_shot and not self.accepted:
            self.ended = self.ended or f"no architecture among the best that were found keeps {self.constraints.known}"
        if self.ended is not None:
            _logger.warning("%s", self.ended)
        if self.log is not None:
            with writing_run():
                self.log.parent.mkdir(parents=True, exist_ok=True)
                atomic_write(self.log, json.dumps(self._summary(looked_at), indent=2).encode())

    def admits(self, model: ExecutableModelSpace) -> bool:
        """Whether ``model`` keeps the constraints that are known before training."""
        found = self._off(model)
        if not found.violation:
            return self.count(admitted=True)
        self.count(admitted=False)
        if self._in_a_row >= self.max_rejections and not self._filtering.closed:
            self._filtering.closed = True
            self.ended = f"{self._in_a_row:,} proposals in a row break {self.constraints.known}: the search ends early"
        return False

    def _off(self, model: ExecutableModelSpace) -> _Rejected:
        costs = self._costs.of(model)
        found = _Rejected(model, costs, self.constraints.known.violation(costs))
        if found.violation and (self._nearest is None or found.violation < self._nearest.violation):
            self._nearest = found
        return found

    def _rank(self, event: FinalMetricEvent) -> None:
        """Replaces what strategies are told of an infeasible trial; the event is theirs, the record is another."""
        told: Any = event.metric
        metrics = told if isinstance(told, Mapping) else {"default": told}
        violation = self.constraints.measured.violation(metrics)
        if violation:
            share = 1.0 if violation == inf else violation / (1.0 + violation)
            behind = BEHIND * (1.0 + share)
            event.metric = {**told, "default": behind} if isinstance(told, Mapping) else behind

    def _look_for_one(self) -> int:
        """Looks for a feasible architecture, and ends the search if there is none; returns how many were looked at."""
        looked_at = 0
        for found in _descend(self.model_space, self._off):
            looked_at += 1
            if not found.violation:
                return looked_at
        if looked_at:
            self.ended = f"no architecture of the space was found that keeps {self.constraints.known}: none is trained"
        return looked_at

    def _summary(self, looked_at: int) -> dict[str, Any]:
        nearest = self._nearest
        return {
            "ended": self.ended,
            "accepted": self.accepted,
            "skipped": self.skipped,
            "looked_at": looked_at,
            "nearest": None
            if nearest is None
            else {
                "architecture": architecture_of(nearest.model),
                "metrics": dict(nearest.costs),
                "factors": size_of(nearest.model),
            },
        }


def _innermost(strategy: Any) -> Any:
    while hasattr(strategy, "strategy"):
        strategy = strategy.strategy
    return strategy


def _descend(
    model_space: ExecutableModelSpace, off: Callable[[ExecutableModelSpace], _Rejected]
) -> Iterator[_Rejected]:
    """Architectures ever nearer to a feasible one; of spaces with other choices than categorical ones, none.

    Costs are sums over a network's parts, so that to choose each part by itself comes as near as can be where there is
    one constraint.
    """
    choices: dict[str, Any] = dict(model_space.simplify())
    if not all(isinstance(choice, Categorical) for choice in choices.values()):
        return
    sample: Sample = {label: choice.default() for label, choice in choices.items()}
    best, looked_at, better = inf, 0, True
    while better:
        better = False
        for label, choice in choices.items():
            for value in choice.values:
                if looked_at >= LOOKED_AT:
                    return
                if looked_at and value == sample[label]:
                    continue
                tried = {**sample, label: value} if looked_at else sample
                looked_at += 1
                try:
                    found = off(model_space.freeze(tried))
                except SampleValidationError:
                    continue
                yield found
                if found.violation < best:
                    best, sample, better = found.violation, tried, True
