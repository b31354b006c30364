"""NAS against human-designed networks at equal accuracy.

Attacks find more where a network overfits, and that goes along with accuracy; so a difference of two mean AUCs may be
one of accuracy. Here the AUC is regressed on accuracy and kind (analysis of covariance), among the architectures that
have a counterpart of the other kind within ``CALIPER`` of their accuracy: beyond, a number would be extrapolation.

One architecture is one unit, with the means over its seeds: seeds of one architecture are no independent evidence.
The test permutes the residuals of the regression without kind (Freedman and Lane, 1983), exactly where architectures
are few, with a statistic that does not take the two kinds to scatter alike (HC3 standard error; DiCiccio and Romano,
2017). The interval holds the differences that this test does not reject at 5%. Simulated with 3 to 10 architectures of
a kind, it rejects 4% to 6% where there is no difference; about 10% in the worst case tried, where five scatter three
times as much as ten others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nni_privacy.analysis.rules import holm
from nni_privacy.analysis.statistics import DRAWS, orders
from nni_privacy.analysis.study import ACCURACY, HUMAN, NAS, StudyInfo

__all__ = ["CALIPER", "LEAST", "Adjusted", "MatchedInfo", "adjusted_difference", "common_support", "matched_infos"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CALIPER = 0.03
"""Difference in accuracy up to which two architectures count as similar."""
LEAST = 3
"""Architectures of each kind that a comparison needs."""
LEVEL = 0.05
STEPS = 24
"""Halvings in the search for an end of an interval: AUCs differ by at most 1, so it is found to within 1e-7."""
HIGHEST_LEVERAGE = 0.98


@dataclass(frozen=True)
class Adjusted:
    """AUC of NAS less that of human-designed networks at equal accuracy, with a 95% interval and a p-value."""

    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class MatchedInfo:
    """The comparison on one data set under one attack.

    Attributes:
        dataset: its label.
        attack: its name.
        unadjusted: mean AUC of all NAS architectures less that of all human-designed ones; None if a kind is missing.
        nas: number of NAS architectures compared.
        human: number of human-designed ones compared.
        left_out: labels of those without a counterpart of similar accuracy.
        adjusted: the difference at equal accuracy; None if it cannot be told.
        p_holm: its p-value adjusted for all comparisons of the study.
        reason: why there is no number; empty if there is one.
    """

    dataset: str
    attack: str
    unadjusted: float | None
    nas: int
    human: int
    left_out: tuple[str, ...]
    adjusted: Adjusted | None
    p_holm: float | None
    reason: str


def matched_infos(study: StudyInfo) -> tuple[MatchedInfo, ...]:
    """One comparison for every data set and attack."""
    infos = [_matched(study, dataset, attack) for dataset in study.measured_datasets for attack in study.attacks]
    adjusted = iter(holm([info.adjusted.p_value for info in infos if info.adjusted]))
    return tuple(replace(info, p_holm=next(adjusted)) if info.adjusted else info for info in infos)


def common_support(accuracy: Floats, is_nas: Bools, *, caliper: float = CALIPER) -> Bools:
    """``(n,)`` whether an architecture has one of the other kind within ``caliper`` of its accuracy."""
    close = np.abs(accuracy[:, None] - accuracy[None, :]) <= caliper + 1e-12
    return np.asarray((close & (is_nas[:, None] != is_nas[None, :])).any(axis=1))


def adjusted_difference(
    accuracy: Floats, auc: Floats, is_nas: Bools, *, seed: int = 0, draws: int = DRAWS, interval: bool = True
) -> Adjusted:
    """The difference in AUC at equal accuracy.

    Args:
        accuracy: ``(n,)``, one an architecture.
        auc: ``(n,)``.
        is_nas: ``(n,)``; both kinds are there.
        seed: of the permutations.
        draws: number of permutations, where there are too many for all.
        interval: whether to look for it; if not, its ends are -1 and 1, the widest that can be.
    """
    base = np.column_stack([np.ones(len(auc)), accuracy - accuracy.mean()])
    residual_of = np.eye(len(auc)) - base @ np.linalg.pinv(base)  # what is left beside an intercept and the accuracy
    kind = residual_of @ is_nas.astype(float)
    estimate = float(kind @ auc / (kind @ kind))
    p_value = _test(residual_of, kind, auc, estimate, orders(len(auc), seed=seed, draws=draws))
    low, high = (_end(p_value, estimate, bound) if interval else bound for bound in (-1.0, 1.0))
    return Adjusted(estimate, low, high, p_value(0.0))


def _test(
    residual_of: Floats, kind: Floats, auc: Floats, estimate: float, places: NDArray[np.intp]
) -> Callable[[float], float]:
    """The p-value of a supposed difference.

    The permuted residuals are a sum of two parts, one of them times the supposed difference; so what the statistic
    takes from them is found once, and every further difference costs a few operations an order (a row of ``places``).
    """
    size = kind @ kind
    leverage = np.clip(1 - np.diag(residual_of) + kind**2 / size, 0, HIGHEST_LEVERAGE)
    weights = (kind / size / (1 - leverage)) ** 2
    parts = [(residual_of @ auc - estimate * kind)[places], kind[places]]
    slopes = [part @ kind / size for part in parts]
    rests = [part @ residual_of - slope[:, None] * kind for part, slope in zip(parts, slopes, strict=True)]
    fixed, mixed, squared = rests[0] ** 2 @ weights, (rests[0] * rests[1]) @ weights, rests[1] ** 2 @ weights

    def p_value(supposed: float) -> float:
        beyond = supposed - estimate
        slope = np.abs(slopes[0] - beyond * slopes[1])
        variance = np.maximum(fixed - 2 * beyond * mixed + beyond**2 * squared, 0)
        values = slope / (np.sqrt(variance) + 1e-12 * (1 + slope))
        return float(np.mean(values >= values[0] * (1 - 1e-7)))

    return p_value


def _end(p_value: Callable[[float], float], estimate: float, bound: float) -> float:
    """Where, between the estimate and ``bound``, the test begins to reject."""
    if p_value(bound) > LEVEL:
        return bound
    kept, rejected = estimate, bound
    for _ in range(STEPS):
        middle = (kept + rejected) / 2
        kept, rejected = (middle, rejected) if p_value(middle) > LEVEL else (kept, middle)
    return kept


def _matched(study: StudyInfo, dataset: str, attack: str) -> MatchedInfo:
    labels, accuracy, auc, is_nas = _means(study, dataset, attack)
    if is_nas.all() or not is_nas.any():
        missing = "NAS" if not is_nas.any() else HUMAN
        reason = f"no {missing} architecture has an accuracy and an AUC"
        return MatchedInfo(dataset, attack, None, 0, 0, (), None, None, reason)
    keep = common_support(accuracy, is_nas)
    nas, human = int((keep & is_nas).sum()), int((keep & ~is_nas).sum())
    unadjusted = float(auc[is_nas].mean() - auc[~is_nas].mean())
    left_out = tuple(label for label, kept in zip(labels, keep, strict=True) if not kept)
    info = MatchedInfo(dataset, attack, unadjusted, nas, human, left_out, None, None, "")
    if not keep.any():
        return replace(info, reason=f"no two of different kind are within {CALIPER:g} in accuracy")
    if min(nas, human) < LEAST:
        return replace(info, reason=f"too few of similar accuracy: needs {LEAST} of each kind")
    return replace(info, adjusted=adjusted_difference(accuracy[keep], auc[keep], is_nas[keep]))


def _means(study: StudyInfo, dataset: str, attack: str) -> tuple[Sequence[str], Floats, Floats, Bools]:
    """Means over the seeds, of the architectures of the two kinds that have both numbers."""
    metric, rows = study.attacks[attack], []
    for architecture in study.architectures:
        pairs = [(one.metric(ACCURACY), one.metric(metric)) for one in study.of(dataset, architecture.label)]
        known = [(x, y) for x, y in pairs if x is not None and y is not None]
        if known and architecture.kind in (HUMAN, NAS):
            rows.append((architecture.label, *np.mean(known, axis=0), architecture.kind == NAS))
    labels, accuracy, auc, is_nas = zip(*rows, strict=True) if rows else ((), (), (), ())
    return labels, np.array(accuracy, dtype=float), np.array(auc, dtype=float), np.array(is_nas, dtype=bool)
