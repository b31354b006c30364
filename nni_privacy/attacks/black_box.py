"""Black-box attacks of the paper: Black-Box/Partial and Black-Box/Shadow, on sorted posteriors and correctness.

Partial: the attacker knows the membership of a third of the members and of a third of the non-members, and sees
posteriors only. The attack model learns from the target's answers on these thirds and is tested on a disjoint third of
each, as the paper's text says and its code does not, or on every record by three such models (cross-fitting). Shadow:
nothing of the target's records is known. The attack model learns from the answers of one small CNN, the attacker's own,
on shadow-train (members) and shadow-test (non-members), whatever the target's architecture is; it is tested on all of
the target's members and non-members.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.cross_fitting import ProtocolName, learn_and_attack
from nni_privacy.attacks.registry import AttackScores, register_attack
from nni_privacy.attacks.signals import TargetSignals, check_both_sides

__all__ = ["attack_black_box_partial", "attack_black_box_shadow", "black_box_features"]

Indices = npt.NDArray[np.int64]


@register_attack("black_box_partial", requires={"logits"})
def attack_black_box_partial(
    signals: TargetSignals, *, seed: int = 0, protocol: ProtocolName = "cross_fit"
) -> AttackScores:
    """Attack model on sorted posteriors and correctness, trained on a known third of the target's own records.

    Cross-fitted, every record is attacked, and its score is its rank in its fold. By the paper's protocol the score is
    the logit of the member probability: the same order as the probability, without its saturation.

    Raises:
        AuditError: if there are fewer than three members or non-members.
        ConfigError: if there is no such protocol.
    """
    from nni_privacy.attacks.attack_models import BlackBoxAttackModel, member_logits, train_attack_model

    features = black_box_features(signals)

    def learner(known: Indices, attacked: Indices, *, epochs: int) -> npt.NDArray[np.float64]:
        model = train_attack_model(
            lambda: BlackBoxAttackModel(signals.num_classes),
            [feature[known] for feature in features],
            signals.is_member[known],
            seed=seed,
            epochs=epochs,
        )
        return member_logits(model, [feature[attacked] for feature in features])

    return learn_and_attack(protocol, signals, learner, seed=seed)


def black_box_features(signals: TargetSignals) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What a black-box attacker learns from: descending posteriors ``(n, K)`` and correctness ``(n, 1)`` as 0 or 1."""
    descending = np.sort(signals.posteriors, axis=1)[:, ::-1]
    return descending.astype(np.float32), signals.correct[:, None].astype(np.float32)


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
