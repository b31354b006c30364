"""DeLong's test: whether attacks on several models, asked about the same records, have different AUCs.

AUCs of the same records are correlated: a record that is hard to tell for one attack often is for the other. The test
(DeLong, DeLong and Clarke-Pearson, Biometrics, 1988, https://doi.org/10.2307/2531595) takes that from the records'
*placement values*: of a member, the share of non-members that score lower (equal ones count one half); of a non-member,
the share of members that score higher. The AUC is the mean of either, and the variance of a difference of two AUCs that
of the mean differences of placement values. Ranks give all of them in O(n log n) (Sun and Xu, 2014).

The interval of a difference is made of the intervals of the two AUCs and of their correlation (Zou and Donner,
Statistics in Medicine, 2008, https://doi.org/10.1002/sim.3095), so that it is right near AUCs of 1, too, where DeLong's
is too narrow: docs/measured.md, "Intervals".

It covers the choice of records, not the randomness of training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from nni_privacy.attacks.intervals import auc_interval
from nni_privacy.attacks.metrics import roc_curve
from nni_privacy.attacks.verdict import holm
from nni_privacy.errors import DataError

__all__ = ["MIN_SIDE", "AucDifference", "compare_aucs", "placement_values"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MIN_SIDE = 2
"""Members, and non-members, below which there is no variance."""
LEVEL = 0.95


@dataclass(frozen=True)
class AucDifference:
    """Difference of two models' AUCs on the same records.

    Attributes:
        first: place of the one model.
        second: place of the other, a later one.
        value: AUC of the first less that of the second.
        low: lower end of the 95% interval of this difference by itself.
        high: upper end.
        p: two-sided, of equal AUCs.
        p_holm: adjusted for all pairs that were compared.
    """

    first: int
    second: int
    value: float
    low: float
    high: float
    p: float
    p_holm: float


def placement_values(scores: npt.ArrayLike, is_member: Flags) -> tuple[Floats, Floats]:
    """The placement values of k models' scores.

    Args:
        scores: ``(k, n)``, finite; higher = more likely a member.
        is_member: ``(n,)``.

    Returns:
        ``(k, m)`` of the members and ``(k, n - m)`` of the non-members, 0 to 1; the mean of either is the AUC.

    Raises:
        DataError: if shapes do not fit, a score is not finite, or there are fewer than two members or non-members.
    """
    values, member = np.asarray(scores, dtype=np.float64), np.asarray(is_member, dtype=np.bool_)
    if values.ndim != 2 or member.shape != values.shape[1:]:
        raise DataError(f"scores {values.shape}, is_member {member.shape}: expected (models, records) and (records,)")
    if not np.isfinite(values).all():
        raise DataError(f"{np.count_nonzero(~np.isfinite(values))} scores are NaN or infinite")
    members = int(np.count_nonzero(member))
    others = len(member) - members
    if min(members, others) < MIN_SIDE:
        raise DataError(f"{members} members and {others} non-members: a comparison needs {MIN_SIDE} or more of each")
    # A record's rank among all, less that among its own side, counts the records of the other side below it.
    ranks = rankdata(values, axis=1)
    below = (ranks[:, side] - rankdata(values[:, side], axis=1) for side in (member, ~member))
    return next(below) / others, 1 - next(below) / members


def compare_aucs(scores: npt.ArrayLike, is_member: Flags) -> tuple[AucDifference, ...]:
    """Compares each pair of models by DeLong's test.

    Args:
        scores: ``(k, n)``, k models' scores of the same records; those of one model can be compared with each other.
        is_member: ``(n,)``.

    Returns:
        The pairs (0, 1), (0, 2), ..., (k - 2, k - 1). Without any variance, as for two attacks that are always right,
        p is 1 for equal AUCs, and else 0.

    Raises:
        DataError: as :func:`placement_values`.
    """
    placements = placement_values(scores, is_member)
    aucs = placements[0].mean(axis=1)
    variance = sum(np.atleast_2d(np.cov(side)) / side.shape[1] for side in placements)
    ends = [auc_interval(roc_curve(row, is_member), confidence=LEVEL) for row in np.asarray(scores)]
    found = []
    for first, second in combinations(range(len(aucs)), 2):
        value = float(aucs[first] - aucs[second])
        spread = variance[first, first] + variance[second, second] - 2 * variance[first, second]
        error = float(np.sqrt(max(spread, 0.0)))
        if error < 1e-12:  # rounding of the same scores twice
            error, p = 0.0, float(abs(value) < 1e-12)
        else:
            p = 2 * NormalDist().cdf(-abs(value) / error)
        scale = np.sqrt(variance[first, first] * variance[second, second])
        correlation = variance[first, second] / scale if scale else 0.0
        low, high = _ends(aucs, ends, first, second, correlation) if error else (value, value)
        found.append((first, second, value, low, high, p))
    adjusted = holm([pair[-1] for pair in found])
    return tuple(AucDifference(*pair, p_holm) for pair, p_holm in zip(found, adjusted, strict=True))


def _ends(
    aucs: Floats, ends: list[tuple[float, float]], first: int, second: int, correlation: float
) -> tuple[float, float]:
    """Ends of a difference's interval from those of its parts, by their distances as if these were standard errors."""

    def reach(up: float, down: float) -> float:
        return math.sqrt(max(up**2 + down**2 - 2 * correlation * up * down, 0.0))

    value = float(aucs[first] - aucs[second])
    (low, high), (other_low, other_high) = ends[first], ends[second]
    below = reach(aucs[first] - low, other_high - aucs[second])
    above = reach(high - aucs[first], aucs[second] - other_low)
    return max(value - below, -1.0), min(value + above, 1.0)
