"""Objectives of a multi-objective search: metrics with directions, and the costs of a trial's report."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from nni_privacy.analysis.constraints import COSTS
from nni_privacy.analysis.pareto import non_dominated
from nni_privacy.errors import ConfigError, nearest

__all__ = ["DEFAULT_OBJECTIVES", "DIRECTIONS", "Direction", "Objectives", "check_metric_name", "check_metrics_given"]

_logger = logging.getLogger(__name__)

Direction = Literal["maximize", "minimize"]

DIRECTIONS: Mapping[str, float] = {"maximize": -1.0, "minimize": 1.0}
"""Directions, and the sign that makes a cost of a metric."""

DEFAULT_OBJECTIVES: Mapping[str, Direction] = {"accuracy": "maximize", "mia_auc": "minimize"}


LATENCIES = ("latency_ms", "batch_latency_ms")
METRICS = ("default", "accuracy", "train_accuracy", "overfitting", "balanced_accuracy", *COSTS)
ATTACK_METRICS = (
    "mia_auc",
    "mia_auc_low",
    "mia_auc_high",
    "mia_balanced_accuracy",
    "mia_tpr_at_1pct_fpr",
    "mia_tpr_at_01pct_fpr",
)
"""What a PrivacyEvaluator reports: once a trial (and the latencies and epsilon where they are asked for), and (further
attacks' with the attack's name before it) an attack."""

PREDICTED_METRICS = ("default", "predicted_mia_auc", "predicted_mia_auc_sd")
"""What a PredictedEvaluator reports."""


def check_metric_name(name: str) -> None:
    """Raises ConfigError unless an evaluator of ours reports ``name``, given the attacks for it."""
    known = (*METRICS, *LATENCIES, "epsilon", *ATTACK_METRICS, *PREDICTED_METRICS[1:])
    if name not in known and not name.endswith(tuple(f"_{metric}" for metric in ATTACK_METRICS)):
        raise ConfigError(f"objectives: unknown metric {name!r}; {nearest(name, known)}")


def check_metrics_given(
    names: Iterable[str],
    attacks: Sequence[str] | None,
    *,
    option: str = "strategy.objectives",
    further: Collection[str] = (),
) -> None:
    """Raises ConfigError unless a PrivacyEvaluator reports all of ``names`` with these attacks, the primary one first.

    Without it such a search would run to its end, and each of its trials would count as failed.
    With ``None`` instead of attacks, it is a PredictedEvaluator that has to report them. ``option`` is where the names
    stand in a configuration, and ``further`` is what is known of a trial besides.
    """
    if attacks is None:
        given: tuple[str, ...] = (*PREDICTED_METRICS, *further)
        why = "it is predicted only; "
    else:
        others = [f"{attack}_{metric}" for attack in attacks[1:] for metric in ATTACK_METRICS]
        given = (*METRICS, *ATTACK_METRICS, *others, *further)
        why = f"with evaluator.attacks {', '.join(attacks)} "
    for name in names:
        if name in given:
            continue
        plain = name.removeprefix(f"{attacks[0]}_") if attacks else ""
        if plain in ATTACK_METRICS:
            told = f"the metrics of the first attack have no prefix, write {plain!r}"
        else:
            told = (_ASKED_FOR if attacks else {}).get(name) or f"{why}{nearest(name, given)}"
        raise ConfigError(f"{option}: no trial would report {name!r}; {told}")


_ASKED_FOR: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(LATENCIES, "it is measured with evaluator: {latency: true}"),
        "epsilon": "it is that of evaluator: {recipe: {dp: ...}}",
    }
)
"""Metrics that are reported where something else is set, to what that is."""


@dataclass(frozen=True)
class Objectives:
    """Metrics and their directions.

    Attributes:
        directions: metric to ``"maximize"`` or ``"minimize"``.

    Raises:
        ConfigError: if there is no metric, a name is no text, or a direction is another.
    """

    directions: Mapping[str, str]

    def __post_init__(self) -> None:
        if not isinstance(self.directions, Mapping) or not self.directions:
            raise ConfigError(
                f"objectives: {self.directions!r}; name at least one metric, as {dict(DEFAULT_OBJECTIVES)}"
            )
        for name, direction in self.directions.items():
            if not isinstance(name, str) or not name:
                raise ConfigError(f"objectives: {name!r} is not the name of a metric")
            if direction not in DIRECTIONS:
                raise ConfigError(
                    f"objectives.{name}: unknown direction {direction!r}; {nearest(str(direction), DIRECTIONS)}"
                )

    @classmethod
    def of(cls, directions: Mapping[str, str] | None) -> Objectives:
        """Objectives as given; by default accuracy up and ``mia_auc`` down."""
        return cls(dict(DEFAULT_OBJECTIVES) if directions is None else directions)

    def costs(self, report: Any) -> tuple[float, ...] | None:
        """What a trial's final report costs, one number an objective, lower is better.

        Args:
            report: a mapping of metrics; a bare number stands for ``{"default": number}``.

        Returns:
            The costs; None, with a warning that names the metric, if one is missing or not a finite number.
        """
        metrics = report if isinstance(report, Mapping) else {"default": report}
        costs = []
        for name, direction in self.directions.items():
            value = metrics.get(name)
            number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if value is None or not number or not math.isfinite(value):
                found = f"reported {name} = {value!r}" if name in metrics else f"did not report {name!r}"
                known = "" if name in metrics else f" ({nearest(name, map(str, metrics))})"
                _logger.warning("a trial %s%s: it counts as failed", found, known)
                return None
            costs.append(DIRECTIONS[direction] * float(metrics[name]))
        return tuple(costs)

    def values(self, costs: Sequence[float]) -> dict[str, float]:
        """The metrics that have these costs."""
        pairs = zip(self.directions.items(), costs, strict=True)
        return {name: DIRECTIONS[direction] * cost for (name, direction), cost in pairs}

    def front(self, costs: Sequence[Sequence[float]]) -> list[int]:
        """Positions of the points that no other point dominates."""
        points = np.array(costs, dtype=float).reshape(len(costs), len(self.directions))
        return [int(index) for index in np.flatnonzero(non_dominated(points))]
