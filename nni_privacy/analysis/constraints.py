"""Constraints of a search: conditions on metrics that a trial has to keep, or it is infeasible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nni_privacy.analysis.conditions import Condition
from nni_privacy.errors import ConfigError

__all__ = ["COSTS", "Constraints", "shown"]

COSTS = ("parameters", "multiply_adds")
"""Metrics of a network that are known before it is trained."""


@dataclass(frozen=True)
class Constraints:
    """Conditions, all of which a feasible trial keeps.

    Attributes:
        conditions: in the order in which they were given.
    """

    conditions: tuple[Condition, ...] = ()

    @classmethod
    def of(cls, bounds: Mapping[str, Any] | Constraints | None) -> Constraints:
        """Constraints as a configuration writes them: ``{"mia_auc": "<= 0.6", "parameters": [">= 1e5", "<= 1e6"]}``.

        Raises:
            ConfigError: if a metric's bound is neither a comparison with a number nor a list of them.

        >>> print(Constraints.of({"mia_auc": "<= 0.6", "parameters": "<= 1e6"}))
        mia_auc <= 0.6, parameters <= 1000000
        """
        if bounds is None or isinstance(bounds, Constraints):
            return cls() if bounds is None else bounds
        if not isinstance(bounds, Mapping):
            raise ConfigError(f"{bounds!r:.80}; allowed is a mapping of metrics to bounds, as {{mia_auc: '<= 0.6'}}")
        for name, given in bounds.items():
            if _is_list(given) and not given:
                raise ConfigError(f"{name}: []; expected a bound, as '<= 0.6', or a list of them")
        pairs = [(name, text) for name, given in bounds.items() for text in (given if _is_list(given) else [given])]
        return cls(tuple(Condition.of(str(name), text) for name, text in pairs))

    def to_dict(self) -> dict[str, list[str]]:
        """Plain texts; :meth:`of` reads them back."""
        plain: dict[str, list[str]] = {}
        for one in self.conditions:
            plain.setdefault(one.metric, []).append(f"{one.sign} {one.bound!r}")
        return plain

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that they are on, each once."""
        return tuple(dict.fromkeys(one.metric for one in self.conditions))

    @property
    def known(self) -> Constraints:
        """Those that an architecture breaks or keeps before it is trained."""
        return Constraints(tuple(one for one in self.conditions if one.metric in COSTS))

    @property
    def measured(self) -> Constraints:
        """The others."""
        return Constraints(tuple(one for one in self.conditions if one.metric not in COSTS))

    def violation(self, metrics: Mapping[str, Any]) -> float:
        """How far a trial is off, 0 if it is feasible: the sum over conditions, each as a share of its bound.

        Infinite where a metric is missing or no finite number. Source: K. Deb, "An efficient constraint handling method
        for genetic algorithms", Computer Methods in Applied Mechanics and Engineering 186, 2000, section 3.
        """
        return sum(one.violation(metrics) for one in self.conditions)

    def broken(self, metrics: Mapping[str, Any]) -> list[str]:
        """The broken ones as texts: ``mia_auc 0.631 (<= 0.6)``."""
        return [
            f"{one.metric} {shown(metrics.get(one.metric))} ({one.sign} {one.bound:.12g})"
            for one in self.conditions
            if not one.holds(metrics)
        ]

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def __str__(self) -> str:
        return ", ".join(map(str, self.conditions))


def shown(value: Any) -> str:
    """A metric in a sentence: whole numbers by thousands, others to four digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "unknown"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _is_list(given: Any) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str)
