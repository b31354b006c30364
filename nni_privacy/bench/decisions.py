"""One number a cell, and what it decides: the mean over cells with its 95% interval, p-value, and verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nni_privacy.analysis.bootstrap import Estimate, clustered_estimate
from nni_privacy.analysis.rules import Rule, Verdict, holm
from nni_privacy.errors import DataError

__all__ = ["Decision", "adjusted", "decide", "estimated"]


@dataclass(frozen=True)
class Decision:
    """A claim about a mean over cells, judged.

    Attributes:
        estimate: the mean with its interval over cells; None where the cells are too few.
        verdict: by the claim's rule; None without an estimate.
        p_value: two-sided, against the border of the rule; None without an estimate.
        p_holm: adjusted for all decisions that were made together; None without an estimate.
        reason: why there is no estimate; else empty.
    """

    estimate: Estimate | None
    verdict: Verdict | None
    p_value: float | None
    p_holm: float | None
    reason: str


def estimated(by_cell: Mapping[str, float], *, seed: int = 0) -> tuple[Estimate | None, str]:
    """The mean over cells with its 95% interval, cells being the clusters; or None, and why.

    Args:
        by_cell: label of each cell to its number, one a cell.
        seed: of the bootstrap.
    """
    try:
        return clustered_estimate(list(by_cell.values()), list(by_cell), seed=seed), ""
    except DataError as error:
        return None, str(error)


def decide(by_cell: Mapping[str, float], rule: Rule, *, seed: int = 0) -> Decision:
    """The verdict of a rule on the mean over cells; ``p_holm`` is that of this decision alone.

    Args:
        by_cell: label of each cell to its number.
        rule: when the claim holds.
        seed: of the bootstrap.
    """
    estimate, reason = estimated(by_cell, seed=seed)
    if estimate is None:
        return Decision(None, None, None, None, reason)
    p_value = rule.p_value(estimate)
    return Decision(estimate, rule.judge(estimate), p_value, p_value, "")


def adjusted(decisions: Sequence[Decision]) -> list[Decision]:
    """The same decisions, with p-values adjusted for their number (Holm, 1979)."""
    values = iter(holm([one.p_value for one in decisions if one.p_value is not None]))
    return [one if one.p_value is None else replace(one, p_holm=next(values)) for one in decisions]
