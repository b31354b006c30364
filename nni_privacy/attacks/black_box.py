"""Black-box attacks of the paper: Black-Box/Partial and Black-Box/Shadow, on sorted posteriors and correctness.

Partial: the attacker knows the membership of a third of the members and of a third of the non-members, and sees
posteriors only. The attack model learns from the target's answers on these thirds and is tested on a disjoint third of
each, as the paper's text says and its code does not. Shadow: nothing of the target's records is known. The attack model
learns from the answers of one small CNN, the attacker's own, on shadow-train (members) and shadow-test (non-members),
whatever the target's architecture is; it is tested on all of the target's members and non-members.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.registry import AttackScores, register_attack
from nni_privacy.attacks.signals import TargetSignals, check_both_sides
from nni_privacy.errors import AuditError

__all__ = ["attack_black_box_partial", "attack_black_box_shadow", "black_box_features", "split_known_third"]

Indices = npt.NDArray[np.int64]

THIRDS = 3


@register_attack("black_box_partial", requires={"logits"})
def attack_black_box_partial(signals: TargetSignals, *, seed: int = 0) -> AttackScores:
    """Attack model on sorted posteriors and correctness, trained on a known third of the target's own records.

    The score is the logit of the member probability: the same order as the probability, without its saturation.

    Raises:
        AuditError: if there are fewer than three members or non-members.
    """
    from nni_privacy.attacks.attack_models import BlackBoxAttackModel, member_logits, train_attack_model

    known, attacked = split_known_third(signals.is_member, seed=seed)
    features = black_box_features(signals)
    model = train_attack_model(
        lambda: BlackBoxAttackModel(signals.num_classes),
        [feature[known] for feature in features],
        signals.is_member[known],
        seed=seed,
    )
    scores = member_logits(model, [feature[attacked] for feature in features])
    return AttackScores(scores, signals.is_member[attacked], attacked)


def black_box_features(signals: TargetSignals) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What a black-box attacker learns from: descending posteriors ``(n, K)`` and correctness ``(n, 1)`` as 0 or 1."""
    descending = np.sort(signals.posteriors, axis=1)[:, ::-1]
    return descending.astype(np.float32), signals.correct[:, None].astype(np.float32)


def split_known_third(is_member: npt.NDArray[np.bool_], *, seed: int) -> tuple[Indices, Indices]:
    """Draws the known and the attacked records: a third of the members and of the non-members each, disjoint.

    Args:
        is_member: ``(n,)`` booleans.
        seed: of the draw.

    Returns:
        Two sorted ``int64`` index arrays, ``m // 3 + k // 3`` long for m members and k non-members.

    Raises:
        AuditError: if there are fewer than three members or non-members.
    """
    generator = np.random.default_rng(seed)
    known, attacked = [], []
    for group, name in ((is_member, "members"), (~is_member, "non-members")):
        order = generator.permutation(np.flatnonzero(group))
        third = len(order) // THIRDS
        if not third:
            raise AuditError(f"{len(order)} {name}: a third of them must be one record or more")
        known.append(order[:third])
        attacked.append(order[third : 2 * third])
    return np.sort(np.concatenate(known)), np.sort(np.concatenate(attacked))


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
