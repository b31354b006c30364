"""The gap attack (Yeom et al., CSF 2018): whoever is classified right is called a member. One query, labels only.

The baseline of all label-only attacks: its AUC is 1/2 plus half of the gap between the accuracies on the two sides.
"""

from __future__ import annotations

import numpy as np

from nni_privacy.attacks.registry import AttackScores, register_attack
from nni_privacy.attacks.signals import TargetSignals

__all__ = ["attack_by_gap"]


@register_attack("gap", requires={"logits"})
def attack_by_gap(signals: TargetSignals, *, seed: int = 0) -> AttackScores:
    """Score = 1 for records that are classified right, else 0; attacks every record and learns from none."""
    return AttackScores(signals.correct.astype(np.float64), signals.is_member, np.arange(len(signals)))
