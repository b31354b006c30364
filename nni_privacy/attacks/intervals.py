"""Confidence intervals over records of an attack's AUC and of its TPR at a fixed FPR, in closed form: no resampling.

**A TPR at a fixed FPR** depends on a threshold that the non-members' scores set, and with few of them chance sets it:
of 200 non-members, the third highest score has an FPR of 1.5% on average, and from .3% to 3.6% in 95% of samples. What
is known for certain is how many of n non-members lie above the true threshold: K of a binomial distribution (n, FPR).
So the TPR's distribution is a mixture over K of beta distributions, those of the members found if K non-members are
accused (Jeffreys' for each), and its quantiles are the interval's ends. That is the Bayesian bootstrap of a
ROC curve (Gu, Ghosal and Roy, Statistics in Medicine, 2008, https://doi.org/10.1002/sim.3366) without its draws; Huang
et al. (Statistica Sinica, 2023) write out the ordinary bootstrap so.

Between two non-members the curve is taken to be straight, and so it is from the origin to the first one, but at the
lower end, where it is a parabola: few non-members do not tell how a curve begins. Below about 3.7 / FPR non-members
(:func:`nonmembers_for`) the threshold may well lie above all of them, and the lower end rests on that. Of equal scores
the true threshold takes all or none, and whether it takes the last ones that this sample's took is open: the lower end
leaves them out.

**An AUC** has DeLong's variance (Biometrics, 1988), on the logit scale (Qin and Hotilovac, Statistical Methods in
Medical Research, 2008), with z^2 = 3.84 records of the largest variance more on the smaller side (as many as Agresti
and Coull add to a rate's, The American Statistician, 1998), as few records may all be much alike by chance; and with
Student's quantile, as the variance is itself estimated (its degrees of freedom by Satterthwaite's rule, from the fourth
moments of the placement values: near an AUC of 1 a handful of records make all of it). It is never wider than that of
as many independent pairs as the smaller side has records (no AUC has more variance: Birnbaum and Klose, Annals of
Mathematical Statistics, 1957). An AUC of 1 has the lower end of n wins in n.

docs/measured.md, "Intervals", has the measured coverage.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nni_privacy.errors import AuditError

if TYPE_CHECKING:
    from nni_privacy.attacks.metrics import RocCurve

__all__ = ["auc_interval", "auc_standard_error", "clopper_pearson", "nonmembers_for", "rate_interval"]
__all__ += ["rate_standard_error", "roc_band"]

Floats = npt.NDArray[np.float64]

NODES = 24
"""Counts of accused non-members that a rate's distribution is made of, at most: if more, neighbours share one."""
PLACES = np.array([[1, 5], [3, 1], [5, 7], [7, 3]]) / 8
"""Of a threshold between two non-members: levels of its distances to the one and to the other."""
ORIGIN_PLACES = (np.arange(16) + 0.5) / 16
"""Of a threshold above all non-members: levels of its distance to the first."""
ORIGIN_BEND = 2
"""Exponent of the curve from the origin to the first non-member at an interval's lower end; straight would be 1."""
REACH = 6.0
"""Standard deviations of that count that are looked at."""
HALVINGS = 24
"""In the search for a quantile, which is found to within 1e-7."""
_ONE_DEVIATION = math.erf(math.sqrt(0.5))


def check_confidence(confidence: float) -> None:
    """Raises AuditError unless it lies between 0 and 1."""
    if not 0 < confidence < 1:
        raise AuditError(f"confidence is {confidence}: allowed are numbers between 0 and 1")


def clopper_pearson(successes: float, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact (conservative) confidence interval of a binomial rate (Clopper and Pearson, 1934), within 0..1.

    Right where the trials are given beforehand, as at a threshold that is known; see :func:`rate_interval` for one that
    is chosen on the same records.

    Raises:
        AuditError: unless ``0 <= successes <= trials``, ``trials >= 1`` and ``0 < confidence < 1``.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise AuditError(f"{successes} successes of {trials} trials: expected 0 <= successes <= trials and trials >= 1")
    check_confidence(confidence)
    from scipy.special import betaincinv  # here, as in this whole module: who only trains needs no scipy

    tail, failures = (1 - confidence) / 2, trials - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    return low, float(betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0


def auc_interval(curve: RocCurve, *, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a curve's AUC, within 0..1 and around the AUC; never without width.

    It covers the choice of records, not the randomness of training. O(points of the curve).
    """
    check_confidence(confidence)
    auc, pairs = curve.auc, min(curve.members, curve.nonmembers)
    largest = auc * (1 - auc)  # no placement value has more variance
    level = (1 + confidence) / 2
    variance, noise = _delong(curve)
    variance += NormalDist().inv_cdf(level) ** 2 * largest / pairs**2
    low, high = 0.0, 1.0
    if largest > 0:
        freedom = 2 * variance**2 / noise if noise > 0 else math.inf
        margin = _student(level, freedom) * math.sqrt(variance) / largest
        odds = math.log(auc / (1 - auc))
        low, high = ((1 + math.tanh(end / 2)) / 2 for end in (odds - margin, odds + margin))
    floor, ceiling = clopper_pearson(min(auc * pairs, pairs), pairs, confidence=confidence)
    return min(max(low, floor), auc), max(min(high, ceiling), auc)


def auc_standard_error(curve: RocCurve) -> float:
    """Standard error of a curve's AUC over records by DeLong's variance; 0 where all placement values are equal."""
    return math.sqrt(_delong(curve)[0])


def _delong(curve: RocCurve) -> tuple[float, float]:
    """DeLong's variance of the AUC, and the variance of that estimate."""
    auc, members, others = curve.auc, curve.members, curve.nonmembers
    found, accused = curve.true_positives, curve.false_positives
    # Placement values: the share of the other side that a record of each tie group beats, ties as halves.
    of_members = 1 - (accused[:-1] + accused[1:]) / (2 * others)
    of_others = (found[:-1] + found[1:]) / (2 * members)
    variance = noise = 0.0
    for counts, placements, size in ((found, of_members, members), (accused, of_others, others)):
        squares, times = (placements - auc) ** 2, np.diff(counts) / size
        spread = float(np.dot(times, squares))
        variance += spread / size
        noise += (float(np.dot(times, squares**2)) - spread**2) / size**3
    return variance, noise


def _student(level: float, freedom: float) -> float:
    """Quantile of Student's t distribution, of 2 degrees of freedom at least."""
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 2.0), level)) if freedom < 1e6 else NormalDist().inv_cdf(level)


def nonmembers_for(target_fpr: float, *, confidence: float = 0.95) -> int:
    """Number of non-members from which one of them lies above the threshold of an FPR as surely as an interval's end.

    >>> nonmembers_for(0.01)
    368
    """
    return math.ceil(math.log((1 - confidence) / 2) / math.log1p(-target_fpr))


def rate_interval(curve: RocCurve, target_fpr: float, *, confidence: float = 0.95) -> tuple[float, float, float]:
    """The TPR at a fixed FPR, the threshold being chosen on the same records.

    Args:
        curve: of the records.
        target_fpr: above 0, at most 1.
        confidence: of the interval.

    Returns:
        Lower end, median and upper end of the TPR's distribution, within 0..1. The median is less biased than the
        curve's own TPR, which is found at an FPR of ``(k + 1) / (n + 1)`` on average where k of n are allowed.
    """
    check_confidence(confidence)
    tail = (1 - confidence) / 2
    low, median, high = (float(ends[0]) for ends in _quantiles(curve, np.array([target_fpr]), (tail, 0.5, 1 - tail)))
    return low, median, high


def rate_standard_error(curve: RocCurve, target_fpr: float) -> float:
    """Standard error over records of the TPR at a fixed FPR, the threshold being chosen on the same records.

    Half of the width of the interval of :func:`rate_interval` that a normal distribution has within one deviation.
    """
    low, _, high = rate_interval(curve, target_fpr, confidence=_ONE_DEVIATION)
    return (high - low) / 2


def roc_band(curve: RocCurve, grid: npt.ArrayLike, *, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """The interval of :func:`rate_interval` at each of many false positive rates, all at once: a pointwise band.

    Args:
        curve: of the records.
        grid: ``(g,)`` rates, above 0, at most 1; at 1 the TPR is 1.
        confidence: at each rate by itself.

    Returns:
        Lower and upper ends, each ``(g,)``.
    """
    check_confidence(confidence)
    tail = (1 - confidence) / 2
    low, high = _quantiles(curve, np.asarray(grid, dtype=np.float64), (tail, 1 - tail))
    return low, high


def _quantiles(curve: RocCurve, fprs: Floats, levels: tuple[float, ...]) -> list[Floats]:
    """Quantiles of the TPR's distribution at each FPR, by bisection."""
    from scipy.special import betainc

    weights, found, fewest = _mixture(curve, fprs)
    ends = []
    for level in levels:
        a = (fewest if level == min(levels) else found) + 0.5
        b = curve.members + 1 - a
        low, high = np.zeros(len(fprs)), np.ones(len(fprs))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = (weights * betainc(a, b, middle[:, None])).sum(axis=1) < level
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        ends.append(np.where(fprs >= 1, 1.0, (low + high) / 2))
    return ends


def _mixture(curve: RocCurve, fprs: Floats) -> tuple[Floats, Floats, Floats]:
    """Weights of where the true threshold may lie, the members found there, and the fewest, each ``(g, q)``."""
    n, target = curve.nonmembers, fprs[:, None]
    reach = REACH * np.sqrt(n * fprs * (1 - fprs)) + 3
    first = np.maximum(np.floor(n * fprs - reach), 1)
    last = np.minimum(np.ceil(n * fprs + reach), n)
    step = np.maximum(np.ceil((last - first + 1) / NODES), 1)
    blocks = np.arange(int(np.max((last - first + 1) / step)) + 2, dtype=np.float64)
    edges: Floats = first[:, None] + step[:, None] * blocks
    weights = -np.diff(_at_least(edges, n, target), axis=1)
    # FPRs of the non-members' scores are uniform numbers in order: those beside the target are the largest of so many
    # below it, and the smallest of the others above it.
    counts, width = edges[:, :-1, None], step[:, None, None]
    below = np.minimum(counts + (width - 1) / 2, n)
    before = target[..., None] * (1 - PLACES[:, 0] ** (1 / below))
    after = (1 - target[..., None]) * (1 - PLACES[:, 1] ** (1 / np.maximum(n - below, 1e-3)))
    places = np.minimum(counts - 1 + width * before / (before + after), n).reshape(len(fprs), -1)
    whole = np.floor(places)
    found = _found(curve, whole)
    found = found + (_found(curve, whole + 1) - found) * (places - whole)
    weights = np.repeat(weights / len(PLACES), len(PLACES), axis=1)
    fewest = np.minimum(found, _found_without_ties(curve, whole))
    # None above the threshold: the first non-member lies below it, and the curve is straight from the origin to it.
    highest = 1 - (1 - target) * ORIGIN_PLACES ** (1 / n)
    none = np.repeat(1 - _at_least(np.ones_like(target), n, target), len(ORIGIN_PLACES), axis=1) / len(ORIGIN_PLACES)
    weights, nobody = np.hstack([none, weights]), np.zeros(1)
    found = np.hstack([_found(curve, nobody) * target / highest, found])
    first = np.minimum(_found_without_ties(curve, nobody), _found(curve, nobody))
    fewest = np.hstack([first * (target / highest) ** ORIGIN_BEND, fewest])
    return weights / weights.sum(axis=1, keepdims=True), found, fewest


def _at_least(counts: Floats, trials: int, rate: Floats) -> Floats:
    """The probability of so many successes or more; counts are 1 or more."""
    from scipy.special import betainc

    within = np.minimum(counts, trials)
    return np.where(counts > trials, 0.0, betainc(within, trials - within + 1, rate))


def _found(curve: RocCurve, accused: Floats) -> Floats:
    """Members called members where at most so many non-members are."""
    points = np.searchsorted(curve.false_positives, accused, side="right") - 1
    return curve.true_positives[points].astype(np.float64)


def _found_without_ties(curve: RocCurve, accused: Floats) -> Floats:
    """The same without the records that share the score of the last one; all members where none shares it."""
    last = np.searchsorted(curve.false_positives, accused, side="right") - 1
    ends = np.where(accused > 0, np.searchsorted(curve.false_positives, accused, side="left"), last)
    before = np.maximum(ends - 1, 0)
    records = curve.true_positives + curve.false_positives
    shared = records[ends] - records[before] > 1
    return np.where(shared, curve.true_positives[before], curve.members).astype(np.float64)
