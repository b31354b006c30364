"""Black-Box/Shadow, the paper's setting (reference/paper.md, section 3): nothing of the target's records is known.

The attack model learns from the answers of one small CNN, the attacker's own, on shadow-train (members) and shadow-test
(non-members), whatever the target's architecture is; it is tested on all of the target's members and non-members.
"""

from __future__ import annotations

import numpy as np

from nni_privacy.attacks.black_box_partial import black_box_features
from nni_privacy.attacks.checks import check_both_sides
from nni_privacy.attacks.registry import AttackScores, register_attack
from nni_privacy.attacks.signals import TargetSignals

__all__ = ["attack_black_box_shadow"]


@register_attack("black_box_shadow", requires={"logits", "black_box_shadow"})
def attack_black_box_shadow(signals: TargetSignals, *, seed: int = 0) -> AttackScores:
    """Attack model on sorted posteriors and correctness, trained on a shadow model's records; attacks every record.

    The score is the logit of the member probability.

    Raises:
        AuditError: if the shadow's records are only members or only non-members.
    """
    from nni_privacy.attacks.attack_models import BlackBoxAttackModel, member_logits, train_attack_model

    shadow = signals.black_box_shadow
    assert shadow is not None  # noqa: S101 - required
    check_both_sides("black_box_shadow", shadow.is_member)
    model = train_attack_model(
        lambda: BlackBoxAttackModel(signals.num_classes), black_box_features(shadow), shadow.is_member, seed=seed
    )
    scores = member_logits(model, black_box_features(signals))
    return AttackScores(scores, signals.is_member, np.arange(len(signals)))
