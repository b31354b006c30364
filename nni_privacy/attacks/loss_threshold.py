"""The loss-threshold attack (Yeom et al., CSF 2018): members tend to have a lower loss. Free, and needs no training."""

from __future__ import annotations

import numpy as np

from nni_privacy.attacks.registry import AttackScores, register_attack
from nni_privacy.attacks.signals import TargetSignals

__all__ = ["attack_by_loss"]


@register_attack("loss_threshold", requires={"logits"})
def attack_by_loss(signals: TargetSignals, *, seed: int = 0) -> AttackScores:
    """Score = minus the cross-entropy of the record; attacks every record and learns from none."""
    return AttackScores(-signals.losses, signals.is_member, np.arange(len(signals)))
