"""One attack's result as a plain info object: scores, curve, metrics and intervals. Drawn and printed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.metrics import FPR_TARGETS, RocCurve, attack_metrics, clopper_pearson, roc_curve
from nni_privacy.attacks.registry import AttackScores

__all__ = ["AttackReport", "RateAtFpr", "report_attack"]


@dataclass(frozen=True)
class RateAtFpr:
    """The true positive rate at a low false positive rate, with its Clopper-Pearson interval.

    Attributes:
        target_fpr: the rate asked for.
        tpr: largest TPR of a ROC point with an FPR of at most ``target_fpr``; ``None`` if not resolvable, as the next
            three.
        low: lower end of the interval of the TPR at that threshold (the threshold is taken as given).
        high: upper end.
        threshold: the score from which a record is called a member; infinite where not even one may be.
        reason: why there is no number; empty where there is.
    """

    target_fpr: float
    tpr: float | None
    low: float | None
    high: float | None
    threshold: float | None
    reason: str = ""


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
    name: str, result: AttackScores, *, confidence: float = 0.95, bootstrap: int = 1000, seed: int = 0
) -> AttackReport:
    """Measures an attack's scores; arguments and errors as :func:`attack_metrics`."""
    metrics = attack_metrics(result.scores, result.is_member, confidence=confidence, bootstrap=bootstrap, seed=seed)
    curve = roc_curve(result.scores, result.is_member)
    rates = {key: _rate(curve, target, confidence) for key, target in FPR_TARGETS.items()}
    return AttackReport(name, result.scores, result.is_member, result.records, metrics, curve, rates, confidence)


def _rate(curve: RocCurve, target: float, confidence: float) -> RateAtFpr:
    point = curve.point_at(target)
    if point is None:
        reason = f"not resolvable: {curve.nonmembers} non-members, an FPR of {target:g} needs {1 / target:.0f}"
        return RateAtFpr(target, None, None, None, None, reason)
    low, high = clopper_pearson(int(curve.true_positives[point]), curve.members, confidence=confidence)
    return RateAtFpr(target, float(curve.tpr[point]), low, high, float(curve.thresholds[point]))
