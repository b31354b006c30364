"""What an audit says of differential privacy: lower bounds on epsilon from its attacks, beside what is claimed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks import AttackReport, TargetSignals, attack_names, get_attack
from nni_privacy.attacks.epsilon import DELTA, EpsilonBounds, epsilon_bounds
from nni_privacy.errors import AuditError

__all__ = ["CanaryScores", "PrivacyClaim", "known_epsilon"]

LOSS = "loss_threshold"
"""Always among the attacks that bound epsilon: it needs nothing that an audit does not have."""


@dataclass(frozen=True)
class PrivacyClaim:
    """What is said of a training's privacy.

    Attributes:
        epsilon: at most this, for adding or removing a record; None: nothing is claimed.
        delta: at which it is meant, and at which lower bounds are.

    Raises:
        AuditError: if epsilon is negative, or delta not between 0 and 1.
    """

    epsilon: float | None = None
    delta: float = DELTA

    def __post_init__(self) -> None:
        if self.epsilon is not None and not self.epsilon >= 0:
            raise AuditError(f"epsilon is {self.epsilon}: allowed are numbers of 0 or more")
        if not 0 < self.delta < 1:
            raise AuditError(f"delta is {self.delta}: allowed are numbers between 0 and 1")


@dataclass(frozen=True, eq=False)
class CanaryScores:
    """An attack's scores of planted records, each of which was trained on by the toss of a coin.

    Attributes:
        scores: ``(n,)`` ``float64``; higher = more likely trained on.
        included: ``(n,)`` booleans, the coins.
    """

    scores: npt.NDArray[np.float64]
    included: npt.NDArray[np.bool_]


def known_epsilon(
    signals: TargetSignals,
    attacks: Mapping[str, AttackReport],
    *,
    delta: float = DELTA,
    canaries: CanaryScores | None = None,
) -> EpsilonBounds:
    """Lower bounds on the epsilon of the training of an audited model.

    Of canaries, whose membership coins decided, where there are some; else of the audited records, dealt to members and
    non-members. Attacks that know the membership of a third of these records say nothing valid here and are left out;
    the loss always counts.

    Args:
        signals: of the model.
        attacks: on it, by name.
        delta: at which epsilon is meant.
        canaries: scores of the planted records.
    """
    if canaries is not None:
        return epsilon_bounds({LOSS: (canaries.scores, canaries.included)}, delta=delta, drawn="coins")
    blind = {name: (one.scores, one.is_member) for name, one in attacks.items() if not _knows_members(name)}
    return epsilon_bounds({LOSS: (-signals.losses, signals.is_member), **blind}, delta=delta)


def _knows_members(name: str) -> bool:
    return name in attack_names() and "protocol" in get_attack(name).options
