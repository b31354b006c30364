"""How exposed each member is to an attack: where its score stands among the non-members'. Needs numpy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.metrics import FPR_TARGETS, roc_curve

__all__ = ["found_members", "score_percentiles"]


def score_percentiles(scores: npt.ArrayLike, is_member: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The share of the non-members that each member's score is above, equal scores counting one half.

    Their mean is the attack's AUC.

    Args:
        scores: ``(n,)``, finite; higher = more likely a member.
        is_member: ``(n,)``, booleans; both must occur.

    Returns:
        ``(members,)`` fractions, in the order of the members.
    """
    values, member = np.asarray(scores, dtype=np.float64), np.asarray(is_member, dtype=bool)
    others = np.sort(values[~member])
    below, up_to = (np.searchsorted(others, values[member], side=side) for side in ("left", "right"))
    return np.asarray((below + up_to) / (2.0 * len(others)), dtype=np.float64)


def found_members(
    scores: npt.ArrayLike, is_member: npt.ArrayLike, *, target_fpr: float = FPR_TARGETS["1pct"]
) -> npt.NDArray[np.bool_] | None:
    """Whether an attack finds each member at the threshold at which it accuses a share of the non-members wrongly.

    The mean is the TPR at that FPR of :func:`~nni_privacy.attacks.attack_metrics`.

    Args:
        scores: as :func:`score_percentiles`.
        is_member: likewise.
        target_fpr: the share, at most.

    Returns:
        ``(members,)`` booleans, in the order of the members; None where there are too few non-members for such a rate.

    Raises:
        AuditError: as :func:`~nni_privacy.attacks.metrics.roc_curve`.
    """
    curve = roc_curve(scores, is_member)
    point = curve.point_at(target_fpr)
    if point is None:
        return None
    member = np.asarray(is_member, dtype=bool)
    return np.asarray(np.asarray(scores, dtype=np.float64)[member] >= curve.thresholds[point])
