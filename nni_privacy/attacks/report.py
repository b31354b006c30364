"""One attack's result as plain info objects: curve, metrics, intervals, classes, histograms. Drawn elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.intervals import auc_interval, nonmembers_for, rate_interval
from nni_privacy.attacks.metrics import FPR_TARGETS, RocCurve, curve_metrics, roc_curve, warn_of_bootstrap
from nni_privacy.attacks.registry import AttackScores
from nni_privacy.errors import AuditError

__all__ = ["MIN_PER_CLASS", "AttackReport", "ClassMetrics", "RateAtFpr", "ScoreHistogram", "per_class_metrics"]
__all__ += ["report_attack", "score_histogram"]


@dataclass(frozen=True)
class RateAtFpr:
    """The true positive rate at a low false positive rate, with its interval.

    Attributes:
        target_fpr: the rate asked for.
        tpr: largest TPR of a ROC point with an FPR of at most ``target_fpr``; ``None`` if not resolvable, as the next
            four. With few non-members it is too high on average: the threshold's true FPR is above ``target_fpr``.
        low: lower end of the interval of the TPR at a true FPR of ``target_fpr``; it allows for the threshold's being
            chosen on the same records (:func:`~nni_privacy.attacks.intervals.rate_interval`).
        high: upper end.
        threshold: the score from which a record is called a member; infinite where not even one may be.
        reason: why there is no number; empty where there is.
        corrected: the TPR with most of that bias taken off.
        note: what to mind where so few non-members hardly fix the threshold; else empty.
    """

    target_fpr: float
    tpr: float | None
    low: float | None
    high: float | None
    threshold: float | None
    reason: str = ""
    corrected: float | None = None
    note: str = ""

    def __str__(self) -> str:
        if self.tpr is None:
            return "not resolvable"
        return f"{self.tpr:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True, eq=False)
class AttackReport:
    """Everything about one attack on one model.

    Attributes:
        name: the attack's name.
        scores: ``(m,)`` ``float64``; higher = more likely a member.
        is_member: ``(m,)`` booleans.
        records: ``(m,)`` ``int64`` positions in the audited records: members first (0..M-1), then non-members (M..).
        metrics: the flat dictionary of :func:`attack_metrics`.
        roc: the curve.
        rates: TPR at 1% and 0.1% FPR with intervals, by the names of :data:`FPR_TARGETS`.
        confidence: of all intervals.
    """

    name: str
    scores: npt.NDArray[np.float64]
    is_member: npt.NDArray[np.bool_]
    records: npt.NDArray[np.int64]
    metrics: dict[str, float | None]
    roc: RocCurve
    rates: dict[str, RateAtFpr]
    confidence: float

    def __repr__(self) -> str:
        auc, low, high = (self.metrics[key] for key in ("mia_auc", "mia_auc_low", "mia_auc_high"))
        return f"AttackReport({self.name!r}, mia_auc={auc:.4f} [{low:.4f}, {high:.4f}], records={len(self.records)})"


def report_attack(
    name: str,
    result: AttackScores,
    *,
    confidence: float = 0.95,
    bootstrap: int | None = None,
    seed: int | None = None,
) -> AttackReport:
    """Measures an attack's scores; arguments and errors as :func:`attack_metrics`."""
    warn_of_bootstrap(bootstrap, seed)
    curve = roc_curve(result.scores, result.is_member)
    metrics = curve_metrics(curve, confidence=confidence)
    rates = {key: _rate(curve, target, confidence) for key, target in FPR_TARGETS.items()}
    return AttackReport(name, result.scores, result.is_member, result.records, metrics, curve, rates, confidence)


def _rate(curve: RocCurve, target: float, confidence: float) -> RateAtFpr:
    point = curve.point_at(target)
    if point is None:
        reason = f"not resolvable: {curve.nonmembers} non-members, an FPR of {target:g} needs {1 / target:.0f}"
        return RateAtFpr(target, None, None, None, None, reason)
    tpr = float(curve.tpr[point])
    low, corrected, high = rate_interval(curve, target, confidence=confidence)
    needed, note = nonmembers_for(target, confidence=confidence), ""
    if curve.nonmembers < needed:
        note = f"{curve.nonmembers} non-members hardly fix the threshold (that takes {needed}): TPR too high on average"
    return RateAtFpr(
        target, tpr, min(low, tpr), max(high, tpr), float(curve.thresholds[point]), corrected=corrected, note=note
    )


MIN_PER_CLASS = 10
"""Members, and non-members, of a class below which its AUC would be noise."""


@dataclass(frozen=True)
class ClassMetrics:
    """How well an attack does on the records of one class.

    Attributes:
        label: the class.
        members: number of attacked members of the class.
        nonmembers: number of attacked non-members.
        auc: of the class alone, 0.5 = guessing; ``None`` where it has too few records, as the next two.
        auc_low: lower end of its interval.
        auc_high: upper end.
        reason: why there is no number; empty where there is.
    """

    label: int
    members: int
    nonmembers: int
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """How often members and non-members got which score.

    Attributes:
        edges: ``(bins + 1,)``, ascending, equally wide; the last bin includes its upper edge.
        members: ``(bins,)`` counts.
        nonmembers: ``(bins,)`` counts.
        outside: records below the first or above the last edge (they are counted in the first and the last bin).
    """

    edges: npt.NDArray[np.float64]
    members: npt.NDArray[np.int64]
    nonmembers: npt.NDArray[np.int64]
    outside: int


def per_class_metrics(
    scores: npt.ArrayLike,
    is_member: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    minimum: int = MIN_PER_CLASS,
    confidence: float = 0.95,
    bootstrap: int | None = None,
    seed: int | None = None,
) -> tuple[ClassMetrics, ...]:
    """The AUC of each class that occurs among the attacked records, in the order of the labels.

    Args:
        scores: ``(n,)``, finite; higher = more likely a member.
        is_member: ``(n,)`` booleans.
        labels: ``(n,)`` integers, the true classes.
        minimum: members and non-members that a class needs.
        confidence: of the intervals, which hold for each class by itself.
        bootstrap: deprecated, as ``seed``; see :func:`attack_metrics`.
        seed: deprecated.

    Raises:
        AuditError: if lengths differ, a score is not finite, or labels are not integers.
    """
    warn_of_bootstrap(bootstrap, seed)
    classes = np.asarray(labels)
    values, member = np.asarray(scores, dtype=np.float64), np.asarray(is_member).astype(np.bool_)
    if classes.shape != values.shape or member.shape != values.shape or values.ndim != 1:
        raise AuditError(f"scores {values.shape}, is_member {member.shape}, labels {classes.shape}: expected (n,)")
    if not np.issubdtype(classes.dtype, np.integer):
        raise AuditError(f"labels are {classes.dtype}, expected integers")
    if not np.isfinite(values).all():
        raise AuditError(f"{np.count_nonzero(~np.isfinite(values))} of {len(values)} scores are NaN or infinite")
    found = []
    for label in np.unique(classes):
        chosen = classes == label
        members = int(np.count_nonzero(member[chosen]))
        others = int(np.count_nonzero(chosen)) - members
        if min(members, others) < max(1, minimum):
            reason = f"{members} members and {others} non-members: at least {max(1, minimum)} of each are needed"
            found.append(ClassMetrics(int(label), members, others, None, None, None, reason))
            continue
        curve = roc_curve(values[chosen], member[chosen])
        low, high = auc_interval(curve, confidence=confidence)
        found.append(ClassMetrics(int(label), members, others, curve.auc, low, high))
    return tuple(found)


def score_histogram(
    scores: npt.ArrayLike, is_member: npt.ArrayLike, *, bins: int = 50, trim: float = 0.0
) -> ScoreHistogram:
    """Histograms of members' and non-members' scores over the same bins.

    Args:
        scores: ``(n,)``, finite, n >= 1.
        is_member: ``(n,)`` booleans.
        bins: 1 or more.
        trim: fraction of the records at either end, 0 to below 0.5, that the bins need not reach: some attacks' scores
            have few but very long tails.

    Raises:
        AuditError: if lengths differ, there are no scores, one is not finite, or an option is out of its range.
    """
    values, member = np.asarray(scores, dtype=np.float64), np.asarray(is_member).astype(np.bool_)
    if values.ndim != 1 or member.shape != values.shape or not len(values) or not np.isfinite(values).all():
        raise AuditError(f"scores {values.shape}, is_member {member.shape}: expected (n,), finite, n >= 1")
    if bins < 1 or not 0 <= trim < 0.5:
        raise AuditError(f"bins is {bins}, trim {trim}: allowed are 1 or more, and 0 to below 0.5")
    low, high = np.quantile(values, [trim, 1 - trim])
    edges = np.histogram_bin_edges(values, bins=bins, range=(float(low), float(high)))
    within = np.clip(values, edges[0], edges[-1])
    inside, outside = (np.histogram(within[side], bins=edges)[0].astype(np.int64) for side in (member, ~member))
    return ScoreHistogram(edges, inside, outside, int(np.count_nonzero(within != values)))
