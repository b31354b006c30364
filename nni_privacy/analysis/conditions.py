"""Conditions on metrics, as constraints of a search and gates of a command write them: ``mia_auc <= 0.6``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from nni_privacy.errors import ConfigError

__all__ = ["OPERATORS", "Condition"]

OPERATORS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}
)
"""How a metric can be compared with a bound."""

_BOUND = re.compile(r"\s*(<=|>=|<|>)\s*([-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(%?)\s*")
_NAMED = re.compile(r"\s*([A-Za-z_]\w*)\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """A metric compared with a bound.

    Attributes:
        metric: its name.
        sign: one of :data:`OPERATORS`.
        bound: a finite number.
    """

    metric: str
    sign: str
    bound: float

    def __post_init__(self) -> None:
        if self.sign not in OPERATORS or not math.isfinite(self.bound):
            raise ConfigError(
                f"{self.metric}: {self.sign} {self.bound}; allowed is {', '.join(OPERATORS)} and a number"
            )

    @classmethod
    def parse(cls, text: Any) -> Condition:
        """A condition written as ``"mia_auc_low > 0.6"``.

        Raises:
            ConfigError: if it is none.

        >>> Condition.parse("rmia_mia_tpr_at_1pct_fpr > 5%")
        Condition(metric='rmia_mia_tpr_at_1pct_fpr', sign='>', bound=0.05)
        """
        found = _NAMED.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ConfigError(f"{text!r:.80}; expected a metric, one of {', '.join(OPERATORS)} and a number")
        return cls.of(found[1], found[2])

    @classmethod
    def of(cls, metric: str, text: Any) -> Condition:
        """The condition that ``text``, such as ``"<= 1e6"``, is for ``metric``.

        Raises:
            ConfigError: if it is none.
        """
        found = _BOUND.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ConfigError(
                f"{metric}: {text!r:.80}; expected one of {', '.join(OPERATORS)} and a number, as '<= 0.6'"
            )
        number = float(found[2].replace("_", "")) / (100.0 if found[3] else 1.0)
        return cls(metric, found[1], number)

    def holds(self, metrics: Mapping[str, Any]) -> bool | None:
        """Whether it holds for a trial's metrics; None if they have no finite number of that name."""
        value = metrics.get(self.metric)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return OPERATORS[self.sign](float(value), self.bound)

    def violation(self, metrics: Mapping[str, Any]) -> float:
        """How far metrics are from it, as a share of the bound (or absolute, where that is 0); 0 where it holds.

        Infinite where they have no such number. On the bound itself, which ``<`` and ``>`` do not allow, it is the
        least positive number.
        """
        held = self.holds(metrics)
        if held is None:
            return math.inf
        if held:
            return 0.0
        distance = abs(float(metrics[self.metric]) - self.bound) / (abs(self.bound) or 1.0)
        return max(distance, math.ulp(0.0))

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.bound:.12g}"
