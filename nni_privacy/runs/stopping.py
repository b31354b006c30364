"""Rules by which a search stops trials early, on what they report after every epoch; pure functions of curves.

A trial is stopped where it is behind in *every* metric that the rule looks at, so that with accuracy and leakage
together none is lost that may be on the front of both. See docs/configuration.md, "Early stopping".
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Strict, model_validator

from nni_privacy.errors import ConfigError, nearest
from nni_privacy.runs.records import Curves, TrialRecord, finite_number
from nni_privacy.schema import Count, OpenFraction, Options, options

__all__ = ["METRICS", "RULES", "Halving", "MedianRule", "StopRule", "Stopping", "stop_rule"]


Worth = Mapping[str, tuple[float, ...]]
"""Name of a metric to what a trial was worth after each epoch."""


@dataclass(frozen=True)
class _Metric:
    """What an epoch's value is worth: higher is better, and whether the best of all so far counts, not the last one."""

    sign: float
    best: bool

    def worth(self, values: Iterable[float]) -> tuple[float, ...]:
        signed = (self.sign * value for value in values)
        return tuple(accumulate(signed, max) if self.best else signed)


METRICS: Mapping[str, _Metric] = MappingProxyType(
    {
        # Of what an epoch tells on few records the best so far is the steadier sign of what will come of it. A leak
        # grows with the epochs: its least is that of a network that has learned nothing yet.
        "accuracy": _Metric(1.0, best=True),
        "loss": _Metric(-1.0, best=True),
        "loss_threshold_mia_auc": _Metric(-1.0, best=False),
    }
)
"""Metrics of an epoch that a rule can look at."""


def _several(names: Any) -> Any:
    return (names,) if isinstance(names, str) else names


@options(section="stop")
class StopRule(Options):
    """What all rules have.

    Attributes:
        metric: names of :data:`METRICS`; a single one is enough.
    """

    rule: ClassVar[str] = ""
    metric: Annotated[tuple[str, ...], Strict(False), BeforeValidator(_several)] = ("accuracy",)

    @model_validator(mode="after")
    def _knows_metrics(self) -> StopRule:
        if not self.metric:
            raise ConfigError("metric: (); name one or more")
        for name in self.metric:
            if name not in METRICS:
                raise ConfigError(f"metric: no epoch reports {name!r}; {nearest(name, METRICS)}")
        return self

    def check_epochs(self, epochs: int) -> None:
        """Raises ConfigError if no trial of so many epochs could be stopped."""
        raise NotImplementedError

    def behind(self, curve: Sequence[float], ended: Sequence[Sequence[float]], running: Any, epochs: int) -> str | None:
        """Why a trial is behind in one metric, after its last epoch; None if it is not.

        Args:
            curve: what the trial was worth after each of its epochs.
            ended: the same of the trials that have ended, stopped ones included.
            running: of those that run, this one not included.
            epochs: of a whole trial.
        """
        raise NotImplementedError

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for a YAML file; :func:`stop_rule` reads them back."""
        return {"rule": self.rule, **self.to_dict()}


@options(section="stop")
class MedianRule(StopRule):
    """Stops a trial that is worse than the median of the ended trials that came as far (Golovin et al., KDD 2017).

    Attributes:
        after: epochs that every trial may have; None: a third of all.
        trials: that have come as far before any is stopped.
    """

    rule: ClassVar[str] = "median"
    after: Count | None = None
    trials: Count = 5

    def check_epochs(self, epochs: int) -> None:
        """As the base."""
        if self.after is not None and self.after >= epochs:
            raise ConfigError(f"stop.after: {self.after}; a trial has {epochs} epochs: allowed is less")

    def behind(self, curve: Sequence[float], ended: Sequence[Sequence[float]], running: Any, epochs: int) -> str | None:
        """As the base."""
        epoch = len(curve)
        others = [other[epoch - 1] for other in ended if len(other) >= epoch]
        if epoch < (self.after or math.ceil(epochs / 3)) or len(others) < self.trials:
            return None
        median = statistics.median(others)
        return f"the median of {len(others)} is {abs(median):.3f}" if curve[-1] < median else None


@options(section="stop")
class Halving(StopRule):
    """Lets a share of the trials pass each rung, those that are best there so far (Li et al., MLSys 2020).

    Asynchronous: a trial is judged as soon as it is there, by those that were there before it.

    Attributes:
        rungs: epochs, ascending.
        keep: the share that goes on.
    """

    rule: ClassVar[str] = "halving"
    rungs: Annotated[tuple[Count, ...], Strict(False)] = ()
    keep: OpenFraction = 0.5

    @model_validator(mode="after")
    def _ascends(self) -> Halving:
        if not self.rungs or list(self.rungs) != sorted(set(self.rungs)):
            raise ConfigError(f"rungs: {list(self.rungs)}; allowed are one or more epochs, ascending, as [3, 9]")
        return self

    def check_epochs(self, epochs: int) -> None:
        """As the base."""
        if self.rungs[-1] >= epochs:
            raise ConfigError(f"stop.rungs: {self.rungs[-1]}; a trial has {epochs} epochs: allowed is less")

    def behind(self, curve: Sequence[float], ended: Sequence[Sequence[float]], running: Any, epochs: int) -> str | None:
        """As the base."""
        epoch = len(curve)
        if epoch not in self.rungs:
            return None
        there = [other[epoch - 1] for other in (*ended, *running) if len(other) >= epoch]
        better, places = sum(other > curve[-1] for other in there), max(1, int(self.keep * (len(there) + 1)))
        return (
            f"{better} of {len(there)} others were better there, and {places} may go on" if better >= places else None
        )


RULES: Mapping[str, type[StopRule]] = MappingProxyType({kind.rule: kind for kind in (MedianRule, Halving)})


def stop_rule(content: Any) -> StopRule:
    """The rule of a section ``stop``; one with ``rungs`` is ``halving``, any other by default ``median``.

    Raises:
        ConfigError: if a value is not valid.
    """
    if isinstance(content, StopRule):
        return content
    if isinstance(content, str):
        content = {"rule": content}
    if not isinstance(content, Mapping):
        raise ConfigError(f"stop: {content!r:.80}; allowed is a mapping, as {{rule: median, after: 10}}")
    others = {key: value for key, value in content.items() if key != "rule"}
    name = content.get("rule", Halving.rule if "rungs" in others else MedianRule.rule)
    if not isinstance(name, str) or name not in RULES:
        raise ConfigError(f"stop.rule: unknown rule {name!r}; {nearest(str(name), RULES)}")
    return RULES[name].from_mapping(others)


class Stopping:
    """A search's curves so far, and which trial its rule stops.

    What it decides depends on the order in which trials report and end only: with one trial at a time, a resumed search
    stops those that it would have stopped without the interruption.

    Args:
        rule: of the configuration.
        epochs: of a whole trial.
        finished: the trials that ended before this start.
    """

    def __init__(self, rule: StopRule, epochs: int, finished: Iterable[TrialRecord] = ()) -> None:
        self.rule, self.epochs = rule, epochs
        self._ended = [curves for record in finished if (curves := _worth(rule, record.curves))]
        self._running: dict[str, Worth] = {}

    def reported(self, trial: str, curves: Curves) -> str | None:
        """A trial has reported an epoch.

        Args:
            trial: its id.
            curves: all that it has reported so far, by metric.

        Returns:
            Why it is to be stopped, in one line; None: it goes on.
        """
        mine = self._running[trial] = _worth(self.rule, curves)
        epoch = max((len(curve) for curve in mine.values()), default=0)
        if not epoch or epoch >= self.epochs or len(mine) < len(self.rule.metric):
            return None
        why = []
        for metric in self.rule.metric:
            ended = [curves[metric] for curves in self._ended if metric in curves]
            others = (curves for name, curves in self._running.items() if name != trial)
            running = [curves[metric] for curves in others if metric in curves]
            reason = self.rule.behind(mine[metric], ended, running, self.epochs)
            if reason is None:
                return None
            why.append(f"{metric} {abs(mine[metric][-1]):.3f} after {epoch} of {self.epochs} epochs, {reason}")
        return "; ".join(why)

    def ended(self, trial: str) -> None:
        """A trial has ended, in whatever way."""
        curves = self._running.pop(trial, None)
        if curves:
            self._ended.append(curves)

    def forget(self, trial: str) -> None:
        """A trial is run again, from its first epoch."""
        self._running.pop(trial, None)


def _worth(rule: StopRule, curves: Curves) -> Worth:
    """What a trial was worth after each epoch, in the rule's metrics; a curve ends before what is no number."""
    found = {}
    for metric in rule.metric:
        numbers: list[float] = []
        for value in curves.get(metric, ()):
            if (number := finite_number(value)) is None:
                break
            numbers.append(number)
        if numbers:
            found[metric] = METRICS[metric].worth(numbers)
    return found
