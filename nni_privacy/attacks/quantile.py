"""Quantile regression on the scores of non-members (QMIA: Bertran et al., NeurIPS 2023, arXiv 2307.03694), as arrays.

How confident a model would be of a record that it was not trained on is predicted from the record itself: a regression
learns it from records of the attacker's own. A record of which the target is surer than that is taken for a member.
What the regression sees of a record are the answers of a small network that was trained on none of these records: one
for all targets, in place of LiRA's many for each. As in the paper's Gaussian variant, mean and deviation are predicted:
the score, how many deviations the confidence lies above the mean, orders records by the quantile that they reach.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.registry import AttackScores, register_attack
from nni_privacy.attacks.signals import TargetSignals, logit_confidence
from nni_privacy.errors import AuditError

__all__ = ["MIN_POPULATION", "attack_by_quantile", "outsider_features", "standardised"]

Floats = npt.NDArray[np.float64]

MIN_POPULATION = 20
"""Records of the attacker's own that the regression needs at least."""
_PENALTIES = np.logspace(-2, 4, 13)
_LOG_CHI_SQUARED = -1.2703628454614782
"""The expected logarithm of a chi-squared number with one degree of freedom: digamma(1/2) + log(2)."""
_TINY = 1e-12


@register_attack("quantile", requires={"logits", "outsider"})
def attack_by_quantile(signals: TargetSignals, *, seed: int = 0) -> AttackScores:
    """Confidence above what a regression on the attacker's own non-members predicts of the record (QMIA); no shadows.

    Attacks every record. The null is honest: members and non-members are alike to the small network and to the
    regression, which have seen neither.

    Raises:
        AuditError: if the attacker has fewer than 20 records of its own.
    """
    outsider = signals.outsider
    assert outsider is not None  # noqa: S101 - required
    labels, answers, targets = outsider.population_labels, outsider.population_logits, outsider.target_population_logits
    if labels is None or answers is None or targets is None or len(labels) < MIN_POPULATION:
        found = 0 if labels is None else len(labels)
        raise AuditError(f"quantile: {found} records of the attacker's own to learn from, {MIN_POPULATION} are needed")
    scores = standardised(
        outsider_features(outsider.logits[:, 0, 0], signals.labels),
        signals.confidences,
        known=outsider_features(answers[:, 0, 0], labels),
        known_values=logit_confidence(targets[:, 0], labels),
    )
    return AttackScores(scores, signals.is_member, np.arange(len(signals)))


def outsider_features(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> Floats:
    """What the regression sees of a record, ``(n, 2 K + 2)``.

    The small network's confidence in the true class and its square, its log-posteriors, and the class.
    """
    centred = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    posteriors = centred - np.log(np.exp(centred).sum(axis=1, keepdims=True))
    confidence = logit_confidence(logits, labels)[:, None]
    return np.concatenate([confidence, confidence**2, posteriors, np.eye(logits.shape[1])[labels]], axis=1)


def standardised(features: Floats, values: Floats, *, known: Floats, known_values: Floats) -> Floats:
    """How many deviations each value lies above its expectation, both predicted from its features.

    Ridge regression of the value, and of the logarithm of the squared residual (Harvey 1976): the deviation depends on
    the record, too. Residuals are of leave-one-out predictions, so that they are as large as those of new records.

    Args:
        features: ``(n, F)``.
        values: ``(n,)``.
        known: ``(m, F)``, features of the records to learn from.
        known_values: ``(m,)``.

    Returns:
        ``(n,)``.
    """
    mean, residuals = _ridge(known, known_values, features)
    spread, _ = _ridge(known, np.log(residuals**2 + _TINY) - _LOG_CHI_SQUARED, features)
    return (values - mean) / np.exp(spread / 2)


def _ridge(known: Floats, values: Floats, features: Floats) -> tuple[Floats, Floats]:
    """Ridge regression with the penalty of the smallest leave-one-out error, which has a closed form.

    Returns:
        Predictions for ``features``, and the leave-one-out residuals of the known records.
    """
    centre, scale, mean = known.mean(axis=0), known.std(axis=0), values.mean()
    scale[scale < _TINY] = 1.0  # a class that none of the known records has
    left, singular, right = np.linalg.svd((known - centre) / scale, full_matrices=False)
    best: tuple[float, Floats, Floats] | None = None
    for penalty in _PENALTIES:
        shrunk = singular**2 / (singular**2 + penalty)
        leverage = 1 / len(known) + (left**2 * shrunk).sum(axis=1)
        residuals = (values - mean - left @ (shrunk * (left.T @ values))) / np.maximum(1 - leverage, _TINY)
        error = float((residuals**2).mean())
        if best is None or error < best[0]:
            best = error, residuals, right.T @ (singular / (singular**2 + penalty) * (left.T @ values))
    assert best is not None  # noqa: S101 - there are penalties
    return mean + (features - centre) / scale @ best[2], best[1]
