"""Label-only by robustness (Choquette-Choo et al., ICML 2021, arXiv 2007.14321): members survive more augmentations.

Cheap next to the boundary distance: as many queries a record as there are views.
"""

from __future__ import annotations

import numpy as np

from nni_privacy.attacks.registry import AttackScores, register_attack
from nni_privacy.attacks.signals import TargetSignals
from nni_privacy.errors import AuditError

__all__ = ["attack_by_robustness"]

MIN_VIEWS = 2


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
