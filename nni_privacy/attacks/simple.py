"""Attacks that need no attack model: by loss, by correctness (gap), and by robustness to augmentation.

Loss threshold and gap: Yeom et al., CSF 2018; members tend to have a lower loss, and to be classified right. The gap
attack is the baseline of all label-only attacks: its AUC is 1/2 plus half of the gap between the accuracies on the two
sides. Robustness: Choquette-Choo et al., ICML 2021, arXiv 2007.14321; members survive more augmentations. It is cheap
next to the boundary distance: as many queries per record as there are views.
"""

from __future__ import annotations

import numpy as np

from nni_privacy.attacks.registry import AttackScores, register_attack
from nni_privacy.attacks.signals import TargetSignals
from nni_privacy.errors import AuditError

__all__ = ["attack_by_gap", "attack_by_loss", "attack_by_robustness"]

MIN_VIEWS = 2


@register_attack("loss_threshold", requires={"logits"}, answers={"confidence"})
def attack_by_loss(signals: TargetSignals, *, seed: int = 0) -> AttackScores:
    """Score = minus the cross-entropy of the record; attacks every record and learns from none."""
    return AttackScores(-signals.losses, signals.is_member, np.arange(len(signals)))


@register_attack("gap", requires={"logits"}, answers={"prediction"})
def attack_by_gap(signals: TargetSignals, *, seed: int = 0) -> AttackScores:
    """Score = 1 for records that are classified right, else 0; attacks every record and learns from none."""
    return AttackScores(signals.correct.astype(np.float64), signals.is_member, np.arange(len(signals)))


@register_attack("label_only_augmentation", requires={"view_logits"})
def attack_by_robustness(signals: TargetSignals, *, seed: int = 0) -> AttackScores:
    """Score = fraction of a record's views (the plain image is one) that are classified right; labels only.

    With V views there are at most V + 1 different scores, so records tie heavily.

    Raises:
        AuditError: if there is only one view: that would be the gap attack.
    """
    views = signals.view_logits
    if views is None or views.shape[1] < MIN_VIEWS:
        raise AuditError("label_only_augmentation needs augmented views besides the plain image")
    right = views.argmax(axis=2) == signals.labels[:, None]
    return AttackScores(right.mean(axis=1), signals.is_member, np.arange(len(signals)))
