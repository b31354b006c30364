"""Several attacks together: how far they agree record by record, and the score of an attacker who combines them all.

The combination is a logistic regression on the attacks' scores, cross-fitted on the same circle of three folds as the
attacks that learn (see :mod:`nni_privacy.attacks.cross_fitting`): the model that knows the membership of one fold
scores the next, and a score is a rank within a fold. With the same seed its folds are theirs, so that nothing that a
record's score is made of has seen whether the record is a member. It is no attack of the registry, as it reads scores
and not signals; and it has no part in the verdict, whose error holds for the attacks that were named beforehand. See
docs/attacks.md, "Attacks together".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.cross_fitting import FOLDS, draw_folds, fold_ranks
from nni_privacy.attacks.exposure import found_members
from nni_privacy.attacks.registry import COMBINED, AttackScores
from nni_privacy.attacks.report import AttackReport, report_attack
from nni_privacy.attacks.signals import TargetSignals

__all__ = ["Agreement", "agreement", "combine", "cross_fitted_ranks", "deal_folds", "normal_scores"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

LEAST = 2
"""Members, and non-members, of a fold that a regression needs."""

ROUNDS, TOLERANCE = 50, 1e-8
"""Of Newton's method: most of them, and the step that is none."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far k attacks say the same of the same records.

    Attributes:
        attacks: their names.
        records: positions in the signals of those that all of them attacked.
        rank_correlation: ``(k, k)``, Spearman's over these records, -1 to 1; NaN of an attack with one score for all.
        overlap: ``(k, k)``, of the members that either attack finds at 1% FPR the share that both find (Jaccard), 0 to
            1; NaN where neither finds one, or too few non-members are there for such a rate.
    """

    attacks: tuple[str, ...]
    records: Indices
    rank_correlation: Floats
    overlap: Floats


def agreement(attacks: Sequence[AttackReport]) -> Agreement:
    """The agreement of two or more attacks on one model."""
    from scipy.stats import rankdata

    records, scores, member = _common(attacks)
    count = len(attacks)
    correlation = np.full((count, count), np.nan)
    overlap = np.full((count, count), np.nan)
    if len(records):
        ranks = rankdata(scores, axis=0) - (len(records) + 1) / 2
        lengths = np.sqrt((ranks**2).sum(axis=0))
        varies = np.outer(lengths, lengths) > 0
        np.divide(ranks.T @ ranks, np.outer(lengths, lengths), out=correlation, where=varies)
        np.clip(correlation, -1, 1, out=correlation)
    found = [found_members(one, member) if _both(member) else None for one in scores.T]
    for row, first in enumerate(found):
        for column, second in enumerate(found):
            if first is not None and second is not None and (either := np.count_nonzero(first | second)):
                overlap[row, column] = np.count_nonzero(first & second) / either
    return Agreement(tuple(attack.name for attack in attacks), records, correlation, overlap)


def combine(attacks: Sequence[AttackReport], signals: TargetSignals, *, seed: int = 0) -> AttackReport | None:
    """The report of the combined score, on the records that all attacks attacked.

    Its attacker makes all the attacks and knows the membership of the third of the records that it learns from.

    Args:
        attacks: on one model.
        signals: of that model; ``records`` of the attacks are positions in them.
        seed: that the attacks were made with: of the folds, and of the bootstrap.

    Returns:
        None for fewer than two attacks, or where a fold has fewer than two common members or non-members.
    """
    if len(attacks) < 2:
        return None
    records, scores, member = _common(attacks)
    folds = draw_folds(signals, seed=seed)[records]
    if any(np.bincount(folds[side], minlength=FOLDS).min() < LEAST for side in (member, ~member)):
        return None
    ranks = cross_fitted_ranks(normal_scores(scores), member, folds)
    return report_attack(COMBINED, AttackScores(ranks, member, records))


def cross_fitted_ranks(inputs: Floats, is_member: Flags, folds: Indices) -> Floats:
    """Scores of a logistic regression of membership, each by the model that learned from the fold before.

    Args:
        inputs: ``(n, f)``, finite, of one scale: there is a penalty on their weights.
        is_member: ``(n,)`` booleans; each fold has both.
        folds: ``(n,)`` in 0..2.

    Returns:
        ``(n,)`` ranks within folds, between 0 and 1, which can be compared across folds.
    """
    scores = np.empty(len(inputs))
    for fold in range(FOLDS):
        known, attacked = folds == fold, folds == (fold + 1) % FOLDS
        scores[attacked] = inputs[attacked] @ _logistic_weights(inputs[known], is_member[known])
    return fold_ranks(scores, folds)


def _logistic_weights(inputs: Floats, is_member: Flags) -> Floats:
    """Weights of a logistic regression with an intercept and a penalty of half their squares, by Newton's method.

    Scikit-learn's, written out: importing that takes a tenth of a short audit. In a fold the intercept orders nothing.
    """
    from scipy.special import expit

    design = np.column_stack([inputs, np.ones(len(inputs))])
    penalty = np.append(np.ones(inputs.shape[1]), 1e-6)
    weights = np.zeros(len(penalty))
    for _ in range(ROUNDS):
        found = expit(design @ weights)
        curvature = (design.T * (found * (1 - found))) @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, design.T @ (found - is_member) + penalty * weights)
        weights -= step
        if np.abs(step).max() < TOLERANCE:
            break
    return np.asarray(weights[:-1])


def normal_scores(features: Floats) -> Floats:
    """Each column's ranks as quantiles of the normal distribution: no scale and no long tail is left, ties stay ties.

    Args:
        features: ``(n, f)``, finite.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    return np.asarray(ndtri((rankdata(features, axis=0) - 0.5) / len(features)))


def deal_folds(is_member: Flags, *, seed: int) -> Indices:
    """Random folds, ``(n,)`` in 0..2, with members as non-members in equal numbers, give or take one."""
    generator = np.random.default_rng(seed)
    folds = np.empty(len(is_member), dtype=np.int64)
    for side in (is_member, ~is_member):
        order = generator.permutation(np.flatnonzero(side))
        folds[order] = np.arange(len(order)) % FOLDS
    return folds


def _common(attacks: Sequence[AttackReport]) -> tuple[Indices, Floats, Flags]:
    """Records that all attacks attacked, in ascending order, their scores ``(n, k)`` and who is a member."""
    first, *others = attacks
    records = np.sort(first.records)
    for attack in others:
        records = np.intersect1d(records, attack.records, assume_unique=True)
    places = []
    for attack in attacks:
        order = np.argsort(attack.records)
        places.append(order[np.searchsorted(attack.records, records, sorter=order)])
    scores = np.column_stack([attack.scores[place] for attack, place in zip(attacks, places, strict=True)])
    return records, scores, first.is_member[places[0]]


def _both(is_member: Flags) -> bool:
    return bool(is_member.any() and not is_member.all())
