"""Rules by which a claim holds, on an estimate's 95% interval, and p-values adjusted for many claims at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nni_privacy.analysis.bootstrap import Estimate
from nni_privacy.attacks.verdict import holm

__all__ = ["FAILS", "HOLDS", "LOWERS", "RAISES", "UNDECIDED", "Rule", "Verdict", "holm", "judge_all"]

Verdict = Literal["holds", "does not hold", "undecided at this size"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
UNDECIDED: Verdict = "undecided at this size"


@dataclass(frozen=True)
class Rule:
    """A claim's rule: the change lies between two borders, of which one may be infinite.

    One border at 0 asks for a fall or a rise, one at ``-margin`` is a test of non-inferiority, and two at ``±margin``
    are two one-sided tests of equivalence (Schuirmann, 1987).

    Attributes:
        low: the change must be above it, in units of the metric.
        high: the change must be below it.
    """

    low: float = -math.inf
    high: float = math.inf

    def judge(self, estimate: Estimate) -> Verdict:
        """The verdict: whether the estimate's interval lies wholly between the borders, or wholly beyond one."""
        inside = self.low < estimate.low and estimate.high < self.high
        return _side(inside, estimate.low > self.high or estimate.high < self.low)

    def p_value(self, estimate: Estimate) -> float:
        """Two-sided p against the nearer border between holding and not holding."""
        return max(estimate.p_value(border) for border in (self.low, self.high) if math.isfinite(border))

    def __str__(self) -> str:
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f"within ±{self.high:g}"
        return f"above {self.low:g}" if math.isfinite(self.low) else f"below {self.high:g}"


LOWERS = Rule(high=0)
RAISES = Rule(low=0)


def _side(holds: bool, fails: bool) -> Verdict:
    return HOLDS if holds else FAILS if fails else UNDECIDED


def judge_all(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a conjunction: it holds if all its parts hold, and fails with any of them."""
    return _side(all(verdict == HOLDS for verdict in verdicts), any(verdict == FAILS for verdict in verdicts))
