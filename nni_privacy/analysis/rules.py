"""When a claim holds: rules on an estimate's 95% interval, and what many claims at once do to p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from nni_privacy.analysis.bootstrap import Estimate

__all__ = ["FAILS", "HOLDS", "UNDECIDED", "AtLeast", "Lowers", "Raises", "Rule", "StaysWithin", "Verdict"]
__all__ += ["holm", "judge_all"]

Verdict = Literal["holds", "does not hold", "undecided at this size"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
UNDECIDED: Verdict = "undecided at this size"


class Rule(Protocol):
    """What an interval must be for a claim to hold."""

    def judge(self, estimate: Estimate) -> Verdict:
        """The verdict."""

    def p_value(self, estimate: Estimate) -> float:
        """Two-sided p against the border between holding and not holding."""

    def __str__(self) -> str:
        """The rule in words."""


@dataclass(frozen=True)
class Lowers:
    """The change is negative."""

    def judge(self, estimate: Estimate) -> Verdict:
        """By the side of 0 on which the interval wholly lies."""
        return _side(estimate.high < 0, estimate.low > 0)

    def p_value(self, estimate: Estimate) -> float:
        """Against no change."""
        return estimate.p_value()

    def __str__(self) -> str:
        return "below 0"


@dataclass(frozen=True)
class Raises:
    """The change is positive."""

    def judge(self, estimate: Estimate) -> Verdict:
        """By the side of 0 on which the interval wholly lies."""
        return _side(estimate.low > 0, estimate.high < 0)

    def p_value(self, estimate: Estimate) -> float:
        """Against no change."""
        return estimate.p_value()

    def __str__(self) -> str:
        return "above 0"


@dataclass(frozen=True)
class AtLeast:
    """The change is no worse than ``-margin``: a test of non-inferiority.

    Args:
        margin: what may be lost, positive, in units of the metric.
    """

    margin: float

    def judge(self, estimate: Estimate) -> Verdict:
        """By the side of ``-margin`` on which the interval wholly lies."""
        return _side(estimate.low > -self.margin, estimate.high < -self.margin)

    def p_value(self, estimate: Estimate) -> float:
        """Against a loss of just the margin."""
        return estimate.p_value(-self.margin)

    def __str__(self) -> str:
        return f"above -{self.margin:g}"


@dataclass(frozen=True)
class StaysWithin:
    """The change is smaller than ``margin`` either way: two one-sided tests (Schuirmann, 1987).

    Args:
        margin: positive, in units of the metric.
    """

    margin: float

    def judge(self, estimate: Estimate) -> Verdict:
        """Whether the interval lies wholly within the margins, or wholly outside on one side."""
        inside = -self.margin < estimate.low and estimate.high < self.margin
        return _side(inside, estimate.low > self.margin or estimate.high < -self.margin)

    def p_value(self, estimate: Estimate) -> float:
        """Against the nearer of the two margins."""
        return max(estimate.p_value(-self.margin), estimate.p_value(self.margin))

    def __str__(self) -> str:
        return f"within ±{self.margin:g}"


def _side(holds: bool, fails: bool) -> Verdict:
    return HOLDS if holds else FAILS if fails else UNDECIDED


def judge_all(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a conjunction: it holds if all its parts hold, and fails with any of them."""
    return _side(all(verdict == HOLDS for verdict in verdicts), any(verdict == FAILS for verdict in verdicts))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm, Scandinavian Journal of Statistics, 1979), in the order given.

    With all claims whose adjusted p is below .05 taken as decided, the chance that any one of them is decided wrongly
    is at most 5%.
    """
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    factors = np.arange(len(p_values), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors))
    return [float(value) for value in adjusted]
