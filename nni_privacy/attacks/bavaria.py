"""BaVarIA, LiRA with Bayesian means and variances (Brännvall, arXiv 2603.11799), as a function of arrays.

With a handful of reference models a record's own variance is hardly known, and one variance for all records is wrong
for most. Between the two stands a prior: a record's mean and variance are drawn from a normal-inverse-gamma
distribution whose parameters are estimated from all records, and what the target's confidence is compared with is the
posterior predictive, a Student t. Records with few models lean on the others, those with many on themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.lira import shadow_mode, target_views
from nni_privacy.attacks.registry import AttackScores, register_attack
from nni_privacy.attacks.signals import TargetSignals, finite_confidences, logit_confidence
from nni_privacy.errors import AuditError

__all__ = ["Prior", "Summary", "attack_bavaria", "bavaria_scores", "estimate_prior", "predictive", "summarise"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_TINY_VARIANCE = 1e-12  # reference models that agree to the last bit
_MOST_FREEDOM = 1e6
"""A prior with so many degrees of freedom is one variance for all records: a Gaussian."""
_NEWTON_STEPS = 50


@register_attack("bavaria", requires={"logits", "shadows"}, reference_models=4)
def attack_bavaria(signals: TargetSignals, *, seed: int = 0, mode: str = "auto") -> AttackScores:
    """Likelihood ratio as LiRA's, with means and variances that records share by a prior (BaVarIA): for few references.

    Attacks the records with a shadow of each kind that the mode needs.

    Args:
        signals: with shadows; where these have several views, the target's ``view_logits`` must have as many.
        seed: not used: nothing is drawn.
        mode: ``online``, ``offline`` (OUT shadows only), or ``auto``: online if any shadow was trained on a record.

    Raises:
        AuditError: if views do not agree, or members or non-members have no record with the shadows needed.
        ConfigError: if the mode is unknown.
    """
    shadows = signals.shadows
    assert shadows is not None  # noqa: S101 - required
    target = logit_confidence(target_views(signals, shadows), signals.labels)
    references = np.stack(
        [logit_confidence(shadows.logits[:, s], signals.labels) for s in range(shadows.shadows)], axis=1
    )
    target, references = finite_confidences(target, references)
    chosen = shadow_mode(mode, shadows.keep)
    scores = bavaria_scores(target, references, shadows.keep, mode=chosen)
    records = np.flatnonzero(np.isfinite(scores))
    if len(np.unique(signals.is_member[records])) < 2:
        raise AuditError(f"bavaria ({chosen}): {len(records)} of {len(signals)} records have the shadows that it needs")
    return AttackScores(scores[records], signals.is_member[records], records)


def bavaria_scores(target: npt.ArrayLike, references: npt.ArrayLike, keep: npt.ArrayLike, *, mode: str) -> Floats:
    """BaVarIA's score of each record; higher = more likely a member.

    Online, the logarithm of the ratio of two predictive densities of the target's confidence: under the shadows that
    were trained with the record, and under those that were not, each with a prior of its own. Offline, how many scales
    of the predictive of the latter it lies above the centre. Several views: the mean of the views' scores.

    Args:
        target: ``(n, V)``, the target's :func:`~nni_privacy.attacks.logit_confidence`.
        references: ``(n, S, V)``, the shadows'.
        keep: ``(n, S)`` booleans: record i was in the training set of shadow s.
        mode: ``online`` or ``offline``.

    Returns:
        ``(n,)``; NaN for a record without an OUT shadow, or, online, without an IN shadow.

    Raises:
        AuditError: if no record has two shadows of a kind, from which a variance could be learned.
    """
    own, others, inside = np.asarray(target, np.float64), np.asarray(references, np.float64), np.asarray(keep, bool)
    outside = predictive(summarise(others, ~inside))
    if mode == "offline":
        return np.asarray(((own - outside.centre) / outside.scale).mean(axis=1))
    return np.asarray((predictive(summarise(others, inside)).log_density(own) - outside.log_density(own)).mean(axis=1))


@dataclass(frozen=True, eq=False)
class Summary:
    """What is left of the chosen shadows of each record.

    Attributes:
        count: ``(n, 1)``, how many they are.
        mean: ``(n, V)``, NaN without any.
        squares: ``(n, V)``, the sum of their squared deviations from the mean.
    """

    count: Floats
    mean: Floats
    squares: Floats


@dataclass(frozen=True, eq=False)
class Prior:
    """A normal-inverse-gamma distribution of a record's mean and variance, for each view ``(V,)``.

    The variance is ``freedom * variance`` over a chi-squared number with ``freedom`` degrees; given the variance s the
    mean is normal around ``mean`` with variance ``s / weight``.
    """

    freedom: Floats
    variance: Floats
    mean: Floats
    weight: Floats


@dataclass(frozen=True, eq=False)
class StudentT:
    """Student t distributions: degrees of freedom, centre and scale, each ``(n, V)``."""

    freedom: Floats
    centre: Floats
    scale: Floats

    def log_density(self, values: Floats) -> Floats:
        """The logarithm of the density at ``values`` ``(n, V)``."""
        from scipy.stats import t

        return np.asarray(t.logpdf(values, self.freedom, self.centre, self.scale))


def summarise(references: Floats, chosen: Flags) -> Summary:
    """Count, mean and squares of the shadows ``(n, S, V)`` that are chosen ``(n, S)``."""
    weight = chosen.astype(np.float64)
    count = weight.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        mean = np.einsum("nsv,ns->nv", references, weight) / np.where(count > 0, count, np.nan)
    squares = np.einsum("nsv,ns->nv", (references - np.nan_to_num(mean)[:, None]) ** 2, weight)
    return Summary(count, mean, squares)


def estimate_prior(found: Summary) -> Prior:
    """The prior that the records themselves suggest, by moments.

    Variances: mean and variance of the logarithms of the records' sample variances, which for this prior are known in
    digamma and trigamma functions (Smyth 2004, section 6.2). Means: their variance over records, less what it owes to
    their being means of few shadows.

    Raises:
        AuditError: if no record has two shadows.
    """
    from scipy.special import digamma, polygamma

    several = found.count[:, 0] >= 2  # a variance needs two
    if not several.any():
        raise AuditError("bavaria: no record has two shadows of a kind: train more of them")
    freedom = found.count[several] - 1
    half = freedom / 2
    sample = np.maximum(found.squares[several] / freedom, _TINY_VARIANCE)
    logs = np.log(sample) - digamma(half) + np.log(half)
    excess = logs.var(axis=0) - polygamma(1, half).mean(axis=0)
    prior_half = np.minimum(_inverse_trigamma(np.maximum(excess, 1 / _MOST_FREEDOM)), _MOST_FREEDOM / 2)
    variance = np.exp(logs.mean(axis=0) + digamma(prior_half) - np.log(prior_half))
    known = found.count[:, 0] > 0
    within = found.squares[several].sum(axis=0) / freedom.sum()
    spread = found.mean[known].var(axis=0) / np.maximum(within, _TINY_VARIANCE)
    weight = 1 / np.maximum(spread - (1 / found.count[known]).mean(), 1 / _MOST_FREEDOM)
    return Prior(2 * prior_half, variance, found.mean[known].mean(axis=0), weight)


def predictive(found: Summary, prior: Prior | None = None) -> StudentT:
    """What one more shadow would say of each record: the posterior predictive.

    Args:
        found: of the shadows.
        prior: by default the one that :func:`estimate_prior` finds.

    Returns:
        NaN for a record without shadows.
    """
    prior = prior or estimate_prior(found)
    count = np.where(found.count > 0, found.count, np.nan)
    weight = prior.weight + count
    centre = (prior.weight * prior.mean + count * found.mean) / weight
    freedom = prior.freedom + count
    apart = prior.weight * count / weight * (found.mean - prior.mean) ** 2
    variance = (prior.freedom * prior.variance + found.squares + apart) / freedom
    return StudentT(freedom, centre, np.sqrt(variance * (1 + 1 / weight)))


def _inverse_trigamma(values: Floats) -> Floats:
    """Where the trigamma function has these values, above 0: Newton's method on its reciprocal, which is nearly linear.

    From a start below the root it climbs to it (Smyth 2004, appendix).
    """
    from scipy.special import polygamma

    found = 0.5 + 1 / values
    for _ in range(_NEWTON_STEPS):
        trigamma = polygamma(1, found)
        step = trigamma * (1 - trigamma / values) / polygamma(2, found)
        found = found + step
        if (np.abs(step) < 1e-9 * found).all():
            break
    return np.asarray(found)
