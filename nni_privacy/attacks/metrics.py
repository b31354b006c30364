"""How well an attack tells members from non-members: ROC curves, AUC, rates. Intervals are in :mod:`.intervals`.

Higher scores mean "more likely a member". Records with equal scores form one *tie group*: the ROC steps through whole
groups, and a tied pair of a member and a non-member counts one half in the AUC, as in scikit-learn. See
docs/measured.md, "Numbers".
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.intervals import auc_interval, clopper_pearson
from nni_privacy.errors import AuditError

__all__ = ["FPR_TARGETS", "RocCurve", "attack_metrics", "clopper_pearson", "roc_auc", "roc_curve"]

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

FPR_TARGETS = {"1pct": 0.01, "01pct": 0.001}
"""False positive rates at which the true positive rate is reported, by their name in ``mia_tpr_at_<name>_fpr``."""

_ROUNDING = 1e-9  # 0.001 * 3000 must count as 3


@dataclass(frozen=True, eq=False)
class RocCurve:
    """A receiver operating characteristic through whole tie groups, from (0, 0) to (1, 1).

    Equals ``sklearn.metrics.roc_curve(is_member, scores, drop_intermediate=False)``. All arrays have one entry a point,
    that is the number of different scores plus one.

    Attributes:
        thresholds: descending; a record is called a member when its score is at least the threshold. The first is
            infinite.
        true_positives: number of members called members at each threshold.
        false_positives: number of non-members called members.
    """

    thresholds: Floats
    true_positives: Counts
    false_positives: Counts

    def __repr__(self) -> str:
        return f"RocCurve({self.members} members, {self.nonmembers} non-members: auc={self.auc:.4f})"

    @property
    def members(self) -> int:
        """Number of members."""
        return int(self.true_positives[-1])

    @property
    def nonmembers(self) -> int:
        """Number of non-members; a false positive rate below ``1 / nonmembers`` cannot be resolved."""
        return int(self.false_positives[-1])

    @cached_property
    def tpr(self) -> Floats:
        """True positive rates, 0 to 1."""
        return self.true_positives / self.members

    @cached_property
    def fpr(self) -> Floats:
        """False positive rates, 0 to 1."""
        return self.false_positives / self.nonmembers

    @cached_property
    def auc(self) -> float:
        """Area under the curve: P(member's score > non-member's) + P(equal) / 2. 0.5 = guessing, 1 = always right."""
        above = self.true_positives[:-1] + self.true_positives[1:]
        doubled = int(np.dot(np.diff(self.false_positives), above))  # whole numbers: no rounding before the division
        return doubled / (2 * self.members * self.nonmembers)

    @property
    def balanced_accuracy(self) -> float:
        """The largest (TPR + TNR) / 2 over all thresholds, 0.5 to 1; chosen on the same records, so optimistic."""
        return float(np.max(self.tpr + (1 - self.fpr)) / 2)

    def point_at(self, target_fpr: float) -> int | None:
        """Index of the point with the largest TPR whose FPR is at most ``target_fpr``, never interpolated.

        ``None`` where the target is below one non-member (``1 / nonmembers``): such a rate cannot be resolved.
        """
        allowed = math.floor(target_fpr * self.nonmembers + _ROUNDING)
        if allowed < 1:
            return None
        return int(np.searchsorted(self.false_positives, allowed, side="right")) - 1

    def tpr_at(self, target_fpr: float) -> float | None:
        """The largest TPR at an FPR of at most ``target_fpr``; ``None`` where that is not resolvable."""
        point = self.point_at(target_fpr)
        return None if point is None else float(self.tpr[point])


def roc_curve(scores: npt.ArrayLike, is_member: npt.ArrayLike) -> RocCurve:
    """The ROC of an attack's scores.

    Args:
        scores: ``(n,)``, finite; higher = more likely a member.
        is_member: ``(n,)``, booleans (or 0 and 1); both must occur.

    Raises:
        AuditError: if a score is NaN or infinite, lengths or dimensions are wrong, or only one of the two classes is
            there.
    """
    values, member = _check(scores, is_member)
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    last_of_group = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    true_positives = np.cumsum(member[order], dtype=np.int64)[last_of_group]
    return RocCurve(
        thresholds=np.concatenate([[np.inf], ordered[last_of_group]]),
        true_positives=np.concatenate([[0], true_positives]),
        false_positives=np.concatenate([[0], last_of_group + 1 - true_positives]),
    )


def roc_auc(scores: npt.ArrayLike, is_member: npt.ArrayLike) -> float:
    """The AUC alone, without its interval (cheap enough for every epoch). Arguments and errors as :func:`roc_curve`."""
    return roc_curve(scores, is_member).auc


def attack_metrics(
    scores: npt.ArrayLike,
    is_member: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    bootstrap: int | None = None,
    seed: int | None = None,
) -> dict[str, float | None]:
    """The metrics of one attack under the names used everywhere; all are fractions.

    Args:
        scores: ``(n,)``, finite; higher = more likely a member.
        is_member: ``(n,)``, booleans (or 0 and 1); both must occur.
        confidence: of the AUC's interval (:func:`~nni_privacy.attacks.intervals.auc_interval`), above 0 and below 1. It
            says how much the AUC varies with the records, not with the training's seed.
        bootstrap: deprecated, as ``seed``: the interval was a bootstrap once and is a closed form now.
        seed: deprecated.

    Returns:
        ``mia_auc`` with ``mia_auc_low <= mia_auc <= mia_auc_high``; ``mia_balanced_accuracy``, the largest (TPR + TNR)
        / 2 over all thresholds; ``mia_tpr_at_1pct_fpr`` and ``mia_tpr_at_01pct_fpr``, the largest TPR of a ROC point
        whose FPR is at most 1% or 0.1%, ``None`` where there are fewer than 100 or 1,000 non-members (not resolvable).

    Raises:
        AuditError: as :func:`roc_curve`, or if ``confidence``, ``bootstrap`` or ``seed`` is out of its range.

    >>> round(attack_metrics([1, 1, 0, 1, 0, 0], [1, 1, 1, 0, 0, 0])["mia_auc"], 4)
    0.6667
    """
    warn_of_bootstrap(bootstrap, seed)
    return curve_metrics(roc_curve(scores, is_member), confidence=confidence)


def curve_metrics(curve: RocCurve, *, confidence: float = 0.95) -> dict[str, float | None]:
    """The metrics of :func:`attack_metrics` for a curve that is there already."""
    low, high = auc_interval(curve, confidence=confidence)
    return {
        "mia_auc": curve.auc,
        "mia_auc_low": low,
        "mia_auc_high": high,
        "mia_balanced_accuracy": curve.balanced_accuracy,
        **{f"mia_tpr_at_{name}_fpr": curve.tpr_at(target) for name, target in FPR_TARGETS.items()},
    }


def warn_of_bootstrap(bootstrap: int | None, seed: int | None) -> None:
    """Says of options of earlier versions that they do nothing any more, and refuses what they never could be."""
    for name, value, least in (("bootstrap", bootstrap, 1), ("seed", seed, 0)):
        if value is None:
            continue
        if value < least:
            raise AuditError(f"{name} is {value}: allowed are integers of {least} or more")
        warnings.warn(f"{name} has no effect: intervals are closed forms", DeprecationWarning, stacklevel=3)


def _check(scores: Any, is_member: Any) -> tuple[Floats, npt.NDArray[np.bool_]]:
    try:
        values = np.asarray(scores, dtype=np.float64)
        member = np.asarray(is_member)
    except (TypeError, ValueError) as error:
        raise AuditError(f"scores and is_member must be arrays of numbers ({error})") from error
    if values.ndim != 1 or member.ndim != 1:
        raise AuditError(f"scores have shape {values.shape}, is_member {member.shape}: expected two of shape (n,)")
    if len(values) != len(member):
        raise AuditError(f"{len(values)} scores but {len(member)} entries in is_member")
    if not np.isfinite(values).all():
        raise AuditError(f"{np.count_nonzero(~np.isfinite(values))} of {len(values)} scores are NaN or infinite")
    if not np.isin(member, (0, 1)).all():
        raise AuditError("is_member has values other than booleans, 0 and 1")
    member = member.astype(np.bool_)
    if member.all() or not member.any():
        found = "no records" if not len(member) else "only members" if member.all() else "only non-members"
        raise AuditError(f"{found} among the scores: both members and non-members are needed")
    return values, member
