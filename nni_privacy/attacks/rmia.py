"""RMIA, the robust membership inference attack (Zarifzadeh et al., ICML 2024, arXiv 2312.03262), as array functions.

A record x is compared with population records z: ``LR(x, z) = (p(x|target) / p(x)) / (p(z|target) / p(z))``, where p(.)
is the mean confidence of reference models. The score is the share of z with ``LR(x, z) >= gamma``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.lira import shadow_mode, target_views
from nni_privacy.attacks.metrics import roc_curve
from nni_privacy.attacks.registry import AttackScores, register_attack
from nni_privacy.attacks.signals import TargetSignals, true_and_others
from nni_privacy.errors import AuditError, ConfigError, nearest

__all__ = ["CONFIDENCES", "GAMMA", "OFFLINE_A", "TEMPERATURE", "ConfidenceName", "attack_rmia", "choose_setting"]
__all__ += ["Temperature", "rmia_confidence", "rmia_counts", "rmia_ratios", "rmia_scores"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
ConfidenceName = Literal["softmax", "sm_taylor"]

GAMMA = 2.0
"""The paper's threshold for image data. With the raw ratio as tie-breaker it moves the scores, not their order."""

OFFLINE_A = 0.3
"""The paper's value for CIFAR-10 of a in p(x) = ((1 + a) p_out(x) + 1 - a) / 2; 1: no correction."""

Temperature = float | tuple[float, ...]
"""By which logits are divided; the confidences of several are averaged."""

TEMPERATURE: Temperature = (1.0, 2.0)
"""Best in most pools of ``benchmarks/attack_scores.py``; ``auto`` chooses it or the other."""

TEMPERATURES: tuple[Temperature, ...] = (TEMPERATURE, 2.0)
OFFLINE_AS, LIKELY_A = (0.0, 0.3, 0.6, 0.8, 0.9, 1.0), 0.9
"""What ``auto`` chooses a from, and what it is where no reference model can be attacked to choose it."""

AUC_UNIT, TPR_UNIT, CHOSEN_AT = 0.005, 0.05, (0.01, 0.02)
"""Shortfalls of AUC and, relative, of the mean TPR at these FPRs that weigh the same when a setting is chosen."""

CHOSEN_ON = 8
"""Reference models that are attacked to choose; more tell little more."""

MARGIN, TAYLOR_DEGREE = 0.6, 4
"""The paper's m and n of the Taylor softmax with a soft margin (even: the polynomial is above 0 everywhere)."""

_TINY = np.finfo(np.float64).tiny


@register_attack("rmia", requires={"logits", "shadows"}, answers={"confidence"})
def attack_rmia(
    signals: TargetSignals,
    *,
    seed: int = 0,
    mode: str = "auto",
    gamma: float = GAMMA,
    offline_a: float | Literal["auto"] = "auto",
    confidence: ConfidenceName = "softmax",
    temperature: Temperature | Literal["auto"] = "auto",
) -> AttackScores:
    """Share of population records that a record's relative confidence beats by gamma (RMIA).

    Confidences are averaged over views. Without a population every record is compared with all other audited records,
    members included: a conservative stand-in, as members among the z are harder to beat.

    Args:
        signals: with shadows; where these have several views, the target's ``view_logits`` must have as many.
        seed: not used: nothing is drawn.
        mode: ``online`` (records with an IN and an OUT shadow), ``offline`` (with an OUT shadow), or ``auto``: online
            if any shadow was trained on a record.
        gamma: above 0.
        offline_a: 0 to 1; used offline, and (0.3 if ``auto``) online for population records, which no shadow was
            trained on. ``auto``: chosen by :func:`choose_setting`, else 0.9.
        confidence: what p(.) is, see :func:`rmia_confidence` and docs/attacks.md, "Views and scores".
        temperature: by which logits are divided, above 0, or several, whose confidences are averaged. ``auto``: 1 and
            2, or 2 alone, chosen by :func:`choose_setting`.

    Raises:
        AuditError: if views do not agree, or members or non-members have no record with the shadows needed.
        ConfigError: if an option is out of its range.
    """
    shadows = signals.shadows
    assert shadows is not None  # noqa: S101 - required
    chosen = shadow_mode(mode, shadows.keep)
    offline = chosen == "offline"
    temperatures = _choices("temperature", temperature, TEMPERATURES)
    candidates = _choices("offline_a", offline_a, OFFLINE_AS if offline else (OFFLINE_A,))
    measures = [partial(rmia_confidence, confidence=confidence, temperature=one) for one in temperatures]
    references = [_reference_confidences(measure, shadows.logits, signals.labels) for measure in measures]
    best, offline_a = choose_setting(references, shadows.keep, mode=chosen, offline_as=candidates) or (
        0,
        LIKELY_A if LIKELY_A in candidates else candidates[0],
    )
    measure = measures[best]
    own = measure(target_views(signals, shadows), signals.labels)
    ratios = rmia_ratios(own, references[best], shadows.keep, mode=chosen, offline_a=offline_a)
    records = np.flatnonzero(np.isfinite(ratios))
    if len(np.unique(signals.is_member[records])) < 2:
        raise AuditError(f"rmia ({chosen}): {len(records)} of {len(signals)} records have the shadows that it needs")
    scores = rmia_scores(ratios[records], _population_ratios(signals, measure, chosen, offline_a), gamma=gamma)
    return AttackScores(scores, signals.is_member[records], records)


_Choice = TypeVar("_Choice")


def _choices(name: str, value: _Choice | str, several: tuple[_Choice, ...]) -> tuple[_Choice, ...]:
    if isinstance(value, str) and value != "auto":
        raise ConfigError(f"{name} is {value!r}: allowed are numbers and 'auto'")
    return several if isinstance(value, str) else (value,)


def choose_setting(
    references: Sequence[Floats], keep: Flags, *, mode: str, offline_as: Sequence[float]
) -> tuple[int, float] | None:
    """Which confidence and which a find the members of the reference models best, each attacked by the others.

    So the paper chooses a. The target has no part in it, and what is chosen is as good as a constant. AUC and TPR (mean
    of 1% and 2% FPR) are averaged over the references, 8 at most; the best setting is the one whose larger shortfall,
    of AUC in units of 0.005 or of TPR in units of 5%, is smallest. The complement of the attacked reference, which
    would tell who its members are, is left out.

    Args:
        references: the references' confidences ``(n, S)``, for each confidence that is compared.
        keep: ``(n, S)`` booleans: record i was in the training set of reference s.
        mode: ``online`` or ``offline``.
        offline_as: the a that are compared.

    Returns:
        The position of the confidence, and a; ``None`` if no reference can be attacked.
    """
    if len(references) * len(offline_as) == 1:
        return 0, offline_as[0]
    found: list[npt.NDArray[np.float64]] = []
    inside = np.count_nonzero(keep, axis=0)
    for target in np.flatnonzero((inside > 0) & (inside < len(keep)))[:CHOSEN_ON]:
        others = np.flatnonzero((keep == keep[:, target, None]).any(axis=0) & (np.arange(keep.shape[1]) != target))
        curves = np.full((len(references), len(offline_as), 2), np.nan)
        for place in np.ndindex(curves.shape[:2]) if len(others) else ():
            values, a = references[place[0]], offline_as[place[1]]
            ratios = rmia_ratios(values[:, target], values[:, others], keep[:, others], mode=mode, offline_a=a)
            known, member = np.isfinite(ratios), keep[:, target]
            if 0 < np.count_nonzero(member[known]) < np.count_nonzero(known):
                curve = roc_curve(ratios[known], member[known])
                curves[place] = curve.auc, np.mean([curve.tpr_at(rate) or 0.0 for rate in CHOSEN_AT])
        found += [] if np.isnan(curves).any() else [curves]
    if not found:
        return None
    auc, tpr = np.moveaxis(np.mean(found, axis=0), -1, 0)
    missing = np.maximum((auc.max() - auc) / AUC_UNIT, (1 - tpr / max(tpr.max(), _TINY)) / TPR_UNIT)
    best, a_place = divmod(int(missing.argmin()), len(offline_as))
    return best, offline_as[a_place]


def rmia_ratios(
    target: npt.ArrayLike,
    references: npt.ArrayLike,
    keep: npt.ArrayLike,
    *,
    mode: str = "offline",
    offline_a: float = OFFLINE_A,
) -> Floats:
    """A record's confidence under the target, relative to reference models: p(x|target) / p(x).

    Online, p(x) = (mean of IN + mean of OUT) / 2; offline, p(x) = ((1 + a) mean of OUT + 1 - a) / 2: models trained on
    x would be surer of it, which the correction adds. 0 / 0, where nobody gives the true class any chance, is 1.

    Args:
        target: ``(n,)``, 0 to 1.
        references: ``(n, S)``, 0 to 1.
        keep: ``(n, S)`` booleans: record i was in the training set of reference s.
        mode: ``online`` or ``offline``.
        offline_a: a, 0 to 1.

    Returns:
        ``(n,)`` ``float64``; NaN for a record without an OUT reference, or, online, without an IN reference.

    Raises:
        AuditError: if shapes do not fit.
        ConfigError: if ``mode`` or ``offline_a`` is out of its range.
    """
    own, others, inside = np.asarray(target, np.float64), np.asarray(references, np.float64), np.asarray(keep)
    if own.ndim != 1 or others.ndim != 2 or len(own) != len(others) or inside.shape != others.shape:
        shapes = f"target {own.shape}, references {others.shape}, keep {inside.shape}"
        raise AuditError(f"{shapes}: expected (n,), (n, S) and (n, S)")
    if inside.dtype != np.bool_:
        raise AuditError(f"keep is {inside.dtype}, expected booleans")
    if not 0 <= offline_a <= 1:
        raise ConfigError(f"offline_a is {offline_a}: allowed are numbers from 0 to 1")
    outside = _mean_where(others, ~inside)
    if shadow_mode(mode, inside) == "online":
        prior = (_mean_where(others, inside) + outside) / 2
    else:
        prior = ((1 + offline_a) * outside + 1 - offline_a) / 2
    return np.where((own == 0) & (prior == 0), 1.0, own / np.maximum(prior, _TINY))


def rmia_counts(ratios: npt.ArrayLike, population: npt.ArrayLike, *, gamma: float = GAMMA) -> npt.NDArray[np.int64]:
    """How many population ratios z each ratio x beats: the count of ``x / z >= gamma``, without an n x m matrix.

    Sorted once and searched once. Division rounds, but it keeps order; so a result that is off by a rounding is put
    right by looking at its neighbours, and counts equal those of the n x m definition exactly.

    Args:
        ratios: ``(n,)``, 0 or more.
        population: ``(m,)``, above 0.
        gamma: above 0.

    Returns:
        ``(n,)``, 0 to m.

    Raises:
        AuditError: if there is no population, or a ratio is negative, NaN or infinite.
        ConfigError: if gamma is not above 0.
    """
    own, others = np.asarray(ratios, np.float64), np.asarray(population, np.float64)
    if own.ndim != 1 or others.ndim != 1 or not len(others):
        raise AuditError(f"ratios {own.shape}, population {others.shape}: expected (n,) and (m,), m >= 1")
    if not (np.isfinite(own).all() and np.isfinite(others).all() and (own >= 0).all() and (others > 0).all()):
        raise AuditError("ratios must be finite and not negative, the population's above 0")
    if not (np.isfinite(gamma) and gamma > 0):
        raise ConfigError(f"gamma is {gamma}: allowed are numbers above 0")
    values, repeats = np.unique(others, return_counts=True)
    padded = np.concatenate([values, [np.inf]])  # x / inf = 0 is never gamma
    with np.errstate(over="ignore"):
        beaten = np.searchsorted(values, own / gamma, side="right")
        while (more := own / padded[beaten] >= gamma).any():
            beaten = beaten + more
        while (fewer := (beaten > 0) & (own / values[beaten - 1] < gamma)).any():
            beaten = beaten - fewer
    return np.concatenate([[0], np.cumsum(repeats)])[beaten].astype(np.int64)


def rmia_scores(ratios: npt.ArrayLike, population: npt.ArrayLike | None = None, *, gamma: float = GAMMA) -> Floats:
    """RMIA's score of each record, ties broken by the raw ratio; higher = more likely a member.

    The share of the population that the record beats by gamma, plus less than one further record's worth: the rank of
    its ratio. For one target the count grows with the ratio, so the order of the scores is the order of the ratios,
    whatever gamma and the population are; these set the scale, on which 0.5 means "beats half the population".

    Args:
        ratios: ``(n,)``, of :func:`rmia_ratios`.
        population: ``(m,)``, the same of the population; ``None``: the other n - 1 records.
        gamma: above 0.

    Returns:
        ``(n,)`` ``float64``, 0 or more and below 1 + 1 / m.

    Raises:
        AuditError: as :func:`rmia_counts`.
        ConfigError: if gamma is not above 0.
    """
    own = np.asarray(ratios, np.float64)
    if population is None:
        positive = np.maximum(own, _TINY)
        itself = int(gamma <= 1)  # its ratio to itself is 1
        counts, size = rmia_counts(positive, positive, gamma=gamma) - itself, max(1, len(own) - 1)
    else:
        counts, size = rmia_counts(own, population, gamma=gamma), np.size(population)
    values, rank = np.unique(own, return_inverse=True)
    return np.asarray((counts + rank / len(values)) / size)


def _population_ratios(
    signals: TargetSignals, measure: Callable[..., Floats], mode: str, offline_a: float
) -> Floats | None:
    """Ratios of the population, ``None`` without one; records that no shadow was trained on are taken offline."""
    shadows = signals.shadows
    if shadows is None or shadows.population_logits is None:
        return None
    assert shadows.population_labels is not None  # noqa: S101 - ShadowSignals checks it
    assert shadows.target_population_logits is not None  # noqa: S101
    labels = shadows.population_labels
    references = _reference_confidences(measure, shadows.population_logits, labels)
    keep = np.zeros(references.shape, dtype=np.bool_) if shadows.population_keep is None else shadows.population_keep
    confidence = measure(shadows.target_population_logits, labels)
    ratios = rmia_ratios(confidence, references, keep, mode="offline", offline_a=offline_a)
    if mode == "online" and keep.any():
        both = rmia_ratios(confidence, references, keep, mode="online")
        ratios = np.where(np.isnan(both), ratios, both)
    found = ratios[np.isfinite(ratios)]
    if not len(found):
        raise AuditError("rmia: every population record was in the training set of every shadow")
    return np.maximum(found, _TINY)


def _reference_confidences(
    measure: Callable[..., Floats], logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> Floats:
    """``(n, S)`` of ``(n, S, V, K)``, a shadow at a time."""
    return np.stack([measure(logits[:, s], labels) for s in range(logits.shape[1])], axis=1)


def rmia_confidence(
    logits: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    *,
    confidence: ConfidenceName = "softmax",
    temperature: Temperature = TEMPERATURE,
) -> Floats:
    r"""The true class's confidence p(x), averaged over views.

    ``softmax`` of the logits divided by the temperature. ``sm_taylor``, the paper's Taylor softmax with a soft margin:
    :math:`P(c_y - m) / (P(c_y - m) + \sum_{k \ne y} P(c_k))`, where P is the exponential's Taylor polynomial of degree
    4, c the logits divided by the temperature, and m = 0.6.

    Args:
        logits: ``(n, V, K)``; ``-inf``: a probability of 0.
        labels: ``(n,)``.
        confidence: ``softmax`` or ``sm_taylor``.
        temperature: above 0, or several, whose confidences are averaged; with 1 ``softmax`` is the plain one.

    Returns:
        ``(n,)`` ``float64``, 0 to 1.

    Raises:
        ConfigError: if there is no such confidence, or the temperature is not above 0.
    """
    if confidence not in CONFIDENCES:
        raise ConfigError(f"confidence is {confidence!r}: {nearest(str(confidence), CONFIDENCES)}")
    several = (temperature,) if isinstance(temperature, int | float) else tuple(temperature)
    if not (several and all(np.isfinite(one) and one > 0 for one in several)):
        raise ConfigError(f"temperature is {temperature}: allowed are numbers above 0")
    return np.asarray(np.mean([CONFIDENCES[confidence](logits, labels, one).mean(axis=1) for one in several], axis=0))


def _softmax(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], temperature: float) -> Floats:
    values = np.exp((logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)) / temperature)
    own = np.take_along_axis(values, labels[:, None, None], axis=-1)[..., 0]
    return np.asarray(own / values.sum(axis=-1))


def _soft_margin_taylor(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], temperature: float) -> Floats:
    own, others = (values / temperature for values in true_and_others(logits, labels))
    part = _taylor(own - MARGIN)
    return np.asarray(part / (part + _taylor(others).sum(axis=-1)))


def _taylor(values: Floats) -> Floats:
    """1 + x + ... + x^4 / 4!, above 0; 0 for ``-inf``, as of the exponential."""
    total = np.ones_like(values)
    known = np.where(np.isneginf(values), 0.0, values)
    for power in range(TAYLOR_DEGREE, 0, -1):
        total = 1.0 + known / power * total
    return np.where(np.isneginf(values), 0.0, total)


CONFIDENCES: Mapping[str, Callable[..., Floats]] = MappingProxyType(
    {"softmax": _softmax, "sm_taylor": _soft_margin_taylor}
)


def _mean_where(values: Floats, chosen: npt.NDArray[np.bool_]) -> Floats:
    """Row means of the chosen entries; NaN where there are none."""
    counts = np.count_nonzero(chosen, axis=1)
    sums = np.where(chosen, values, 0.0).sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
