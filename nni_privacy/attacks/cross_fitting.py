"""Which records an attack that knows a third of them learns from, and which it attacks: cross-fitting, or one split.

With cross-fitting the records fall into three folds, and a circle of three attack models is trained: the one that knows
fold k attacks fold k + 1. Each knows what the paper's attacker knows, a third, and every record is scored once, by a
model that did not see it.

The obvious other way, training on the two other folds, is not taken: two of its models share a fold that each of them
is tested against, so on records that leak nothing their AUCs are correlated, and an interval over records is too
narrow. In the circle, of any two models one attacks a fold that is not in the other's business at all: given everything
else, its expected AUC is one half where nothing leaks, so the three AUCs are uncorrelated there, whatever is learned.

Raw scores of different models have no common scale: pooled as they are, a fold whose scores are higher as a whole costs
AUC, and where folds differ in their share of members it falls below one half. A score is therefore the record's rank
within its own fold, which takes no knowledge of membership. As members have the same share in every fold, the AUC of
all ranks is the mean of the folds' AUCs (for two folds, the two areas that compare members of one with non-members of
the other add up to their AUCs), and curve, rates, intervals and tests over records need not know of folds. See
docs/attacks.md, "Cross-fitting".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.registry import AttackScores
from nni_privacy.attacks.signals import TargetSignals
from nni_privacy.errors import AuditError, ConfigError, nearest

__all__ = ["FOLDS", "Learner", "ProtocolName", "draw_folds", "fold_ranks", "learn_and_attack"]
__all__ += ["split_known_third"]

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
ProtocolName = Literal["cross_fit", "paper"]

FOLDS = 3


class Learner(Protocol):
    """What learns from known records and scores others."""

    def __call__(self, known: Indices, attacked: Indices, *, epochs: int) -> Floats:
        """Scores of the ``attacked`` records, ``(a,)``, higher = more likely a member."""


class _Run(Protocol):
    def __call__(self, signals: TargetSignals, learner: Learner, *, seed: int) -> AttackScores: ...


def learn_and_attack(protocol: str, signals: TargetSignals, learner: Learner, *, seed: int) -> AttackScores:
    """Lets an attack learn from a third of the records, and attack others, by a protocol.

    Args:
        protocol: ``cross_fit``: every record is attacked; a score is a rank within a fold, see :func:`fold_ranks`.
            ``paper``: a disjoint third is attacked; scores are those of the learner.
        signals: of all records.
        learner: of the attack.
        seed: of the draw.

    Raises:
        AuditError: if there are fewer than three members or non-members.
        ConfigError: if there is no such protocol.
    """
    if protocol not in _PROTOCOLS:
        raise ConfigError(f"protocol: {protocol!r}; {nearest(str(protocol), _PROTOCOLS)}")
    return _PROTOCOLS[protocol](signals, learner, seed=seed)


def draw_folds(signals: TargetSignals, *, seed: int) -> Indices:
    """Draws the fold of each record, ``(n,)`` in 0..2: members as non-members in equal numbers, give or take one.

    Where members and non-members hold all classes in equal shares, the folds do, too: else the shares of a class in two
    folds would deviate to opposite sides, and a model learn the opposite of what holds. Where chance has dealt more
    records of a class to one side, they fall as they may: dealt out evenly, that chance would be found again in every
    fold, and taken for a leak.

    Args:
        signals: labels and membership of the records.
        seed: of the draw.

    Raises:
        AuditError: if there are fewer than three members or non-members.
    """
    generator = np.random.default_rng(seed)
    folds = np.empty(len(signals), dtype=np.int64)
    alike = _equal_shares(signals)
    for side in (signals.is_member, ~signals.is_member):
        order = _shuffled(side, generator, "members" if side is signals.is_member else "non-members")
        if alike:
            order = order[np.argsort(signals.labels[order], kind="stable")]
        folds[order] = np.arange(len(order)) % FOLDS
    return folds


def fold_ranks(scores: Floats, folds: Indices) -> Floats:
    """Ranks of scores within their folds, ``(n,)`` between 0 and 1, which can be compared across folds.

    Equal scores of a fold share their mean rank. Equal ranks of two folds are told apart by a third of a rank, always
    in the same order: who is a member has no part in it, and a false-positive rate can be resolved to one record.

    Args:
        scores: ``(n,)``, each comparable with those of its fold only.
        folds: ``(n,)`` in 0..2.
    """
    ranks = np.empty(len(scores))
    for fold in range(FOLDS):
        inside = folds == fold
        _, group, counts = np.unique(scores[inside], return_inverse=True, return_counts=True)
        before = np.cumsum(counts) - (counts + 1) / 2  # mean rank of a group of equal scores, from 0
        ranks[inside] = (before[group] + (fold + 0.5) / FOLDS) / np.count_nonzero(inside)
    return ranks


def _cross_fit(signals: TargetSignals, learner: Learner, *, seed: int) -> AttackScores:
    from nni_privacy.attacks.attack_models import epochs_of_a_fold

    folds = draw_folds(signals, seed=seed)
    scores = np.empty(len(signals))
    for fold in range(FOLDS):
        known, attacked = np.flatnonzero(folds == fold), np.flatnonzero(folds == (fold + 1) % FOLDS)
        scores[attacked] = learner(known, attacked, epochs=epochs_of_a_fold(len(known)))
    return AttackScores(fold_ranks(scores, folds), signals.is_member, np.arange(len(signals)))


def _single_split(signals: TargetSignals, learner: Learner, *, seed: int) -> AttackScores:
    from nni_privacy.attacks.attack_models import EPOCHS

    known, attacked = split_known_third(signals.is_member, seed=seed)
    return AttackScores(learner(known, attacked, epochs=EPOCHS), signals.is_member[attacked], attacked)


_PROTOCOLS: Mapping[str, _Run] = MappingProxyType({"cross_fit": _cross_fit, "paper": _single_split})


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
        order = _shuffled(group, generator, name)
        third = len(order) // FOLDS
        known.append(order[:third])
        attacked.append(order[third : 2 * third])
    return np.sort(np.concatenate(known)), np.sort(np.concatenate(attacked))


def _shuffled(side: npt.NDArray[np.bool_], generator: np.random.Generator, name: str) -> Indices:
    order = generator.permutation(np.flatnonzero(side))
    if len(order) < FOLDS:
        raise AuditError(f"{len(order)} {name}: a third of them must be one record or more")
    return order


def _equal_shares(signals: TargetSignals) -> bool:
    """Whether each class has the same share of the members as of the non-members, to within one record."""
    sides = (signals.is_member, ~signals.is_member)
    counts = [np.bincount(signals.labels[side], minlength=signals.num_classes) for side in sides]
    sizes = [max(int(count.sum()), 1) for count in counts]
    apart = np.abs(counts[0] / sizes[0] - counts[1] / sizes[1]) * min(sizes)
    return bool(apart.max() <= 1 + 1e-9)
