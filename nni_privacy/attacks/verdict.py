"""Verdict on a model over all attacks: whether one beats guessing, which leads, and whether a threshold is kept.

The p-values are corrected for the number of attacks: of ten attacks that all guess, one has a 95% interval without 0.5
in four of ten audits. See docs/auditing.md, "The verdict".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nni_privacy.attacks.report import AttackReport
from nni_privacy.errors import AuditError

__all__ = ["LEVEL", "Outcome", "Threshold", "Verdict", "check_max_auc", "holm", "judge"]

LEVEL = 0.05
"""At most this share of models that leak nothing is said to leak, however many attacks are made."""

Outcome = Literal["evidence of a leak", "no evidence of a leak", "no evidence of a leak, but an AUC below guessing"]


@dataclass(frozen=True)
class Threshold:
    """Highest AUC that was allowed, and what came of it.

    Attributes:
        max_auc: the highest that was allowed, 0.5 to 1.
        passed: whether no attack's AUC is above it.
        shown: whether no attack's interval reaches above it either; if not, more records may exceed it.
    """

    max_auc: float
    passed: bool
    shown: bool

    def __str__(self) -> str:
        if not self.passed:
            return f"exceeded: an AUC of at most {self.max_auc:g} was allowed"
        return f"kept: at most {self.max_auc:g}" + ("" if self.shown else ", but an interval reaches above it")


@dataclass(frozen=True)
class Verdict:
    """What all attacks on a model say together.

    Attributes:
        outcome: whether an AUC above 0.5 is more than chance, at :data:`LEVEL`, corrected for the number of attacks.
        leading: the attack of the highest AUC, of those that tell more than guessing if there are any.
        auc: of the leading attack, as its interval.
        low: lower end.
        high: upper end.
        p_values: of each attack, two-sided against an AUC of 0.5 (Mann and Whitney), corrected (Holm).
        threshold: the highest AUC that was allowed, if one was given.
    """

    outcome: Outcome
    leading: str
    auc: float
    low: float
    high: float
    p_values: Mapping[str, float]
    threshold: Threshold | None = None

    @property
    def leak(self) -> bool:
        """Whether there is evidence of a leak."""
        return self.outcome == "evidence of a leak"

    def __str__(self) -> str:
        count, p = len(self.p_values), self.p_values[self.leading]
        shown = "p < 0.0001" if p < 1e-4 else f"p = {p:.4f}"
        over = f"{shown} (corrected for {count} attacks)" if count > 1 else shown
        text = f"{self.outcome}: {self.leading} leads, AUC {self.auc:.4f} [{self.low:.4f}, {self.high:.4f}], {over}"
        return text if self.threshold is None else f"{text}; threshold {self.threshold}"


def judge(attacks: Sequence[AttackReport], *, max_auc: float | None = None) -> Verdict:
    """The verdict over all attacks on one model.

    Args:
        attacks: at least one; their names differ.
        max_auc: the highest AUC that is allowed to any of them, 0.5 to 1; None: no threshold.

    Raises:
        AuditError: if there is no attack, or ``max_auc`` is out of its range.
    """
    if not attacks:
        raise AuditError("attacks is []: expected one or more")
    check_max_auc(max_auc)
    adjusted = holm([_p_value(attack) for attack in attacks])
    certain = [attack for attack, p in zip(attacks, adjusted, strict=True) if p <= LEVEL]
    above = [attack for attack in certain if attack.roc.auc > 0.5]
    leading = max(above or attacks, key=lambda attack: attack.roc.auc)
    ends = [_interval(attack) for attack in attacks]
    low, high = _interval(leading)
    threshold = None
    if max_auc is not None:
        passed = max(attack.roc.auc for attack in attacks) <= max_auc
        threshold = Threshold(max_auc, passed, all(end <= max_auc for _, end in ends))
    return Verdict(
        outcome=(
            "evidence of a leak"
            if above
            else "no evidence of a leak, but an AUC below guessing"
            if certain
            else "no evidence of a leak"
        ),
        leading=leading.name,
        auc=leading.roc.auc,
        low=low,
        high=high,
        p_values={attack.name: p for attack, p in zip(attacks, adjusted, strict=True)},
        threshold=threshold,
    )


def check_max_auc(max_auc: float | None) -> None:
    """Raises AuditError unless it is a threshold, or None."""
    if max_auc is not None and not 0.5 <= max_auc <= 1:
        raise AuditError(f"max_auc is {max_auc}: allowed are numbers from 0.5 (guessing) to 1")


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


def _p_value(attack: AttackReport) -> float:
    from scipy.stats import mannwhitneyu  # here, because the attacks themselves need numpy only

    scores, member = attack.scores, attack.is_member
    p = float(mannwhitneyu(scores[member], scores[~member], method="asymptotic").pvalue)
    return p if math.isfinite(p) else 1.0  # all scores are equal


def _interval(attack: AttackReport) -> tuple[float, float]:
    low, high = attack.metrics["mia_auc_low"], attack.metrics["mia_auc_high"]
    return (attack.roc.auc if low is None else low), (attack.roc.auc if high is None else high)
