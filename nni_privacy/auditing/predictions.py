"""Audits of answers that are there already, whatever gave them: scikit-learn, ONNX, TensorFlow, an API.

What a model answers about a record may be known in full (logits or probabilities of all classes) or in part: only the
class that it names, its confidence in the true class, or one number. The attacks that this allows are run, and the
report names the others with what they lack. See docs/auditing.md, "Predictions only".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks import (
    AttackReport,
    AttackScores,
    ShadowSignals,
    TargetSignals,
    attack_names,
    get_attack,
    report_attack,
)
from nni_privacy.attacks.registry import REQUIREMENTS
from nni_privacy.attacks.signals import Answers
from nni_privacy.attacks.verdict import check_max_auc
from nni_privacy.auditing.audit import AuditReport, audit_signals
from nni_privacy.auditing.provenance import environment_facts
from nni_privacy.errors import AuditError, ConfigError, nearest

if TYPE_CHECKING:
    from nni_privacy.auditing.options import Effort

__all__ = ["OUTPUTS", "SCORE", "OutputKind", "Place", "audit_answers", "audit_predictions", "prediction_signals"]
__all__ += ["runnable"]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Place = Callable[..., str]
"""What a message calls a number of an array, by its indices."""

SCORE = "score"
"""The name, among the attacks of a report, of a score that was given as it is."""

FIRST = ("black_box_partial", "loss_threshold", SCORE, "gap")
"""Attacks that stand first by default: the primary one does not depend on reference models."""

ROUNDING = 1e-6
"""How far a number may be off its range; one that is, is put back."""
TOTAL = 0.05
"""How far probabilities may be from one together: they may have been rounded to two digits."""

SHAPES = {1: ("(n,)", "(n, K)"), 2: ("(n, S)", "(n, S, K)")}

MOST_CLASSES = 10_000
"""Of answers in part, for which logits of all classes are made up."""


@dataclass(frozen=True)
class OutputKind:
    """A kind of numbers that a model may have answered with.

    Attributes:
        answers: what they tell, of :data:`~nni_privacy.attacks.signals.Answers`.
        low: the least of them.
        high: the largest.
        allowed: both in words.
        convert: makes logits of them; of one number a record the logit-scaled confidence or the score that it stands
            for.
        both: where there is a number for each class, makes both of the number of the second of two classes.
        total: makes of them what adds up to one, where something must.
    """

    answers: Answers
    low: float
    high: float
    allowed: str
    convert: Callable[[Floats], Floats]
    both: Callable[[Floats], Floats] | None = None
    total: Callable[[Floats], Floats] | None = None


def _same(numbers: Floats) -> Floats:
    return numbers


def _log_of_rest(log: Floats) -> Floats:
    """log(1 - p) of log(p)."""
    return np.asarray(np.log(-np.expm1(log)))


def _second_of(first: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    return lambda second: np.stack([first(second), second], axis=-1)


OUTPUTS: Mapping[str, OutputKind] = MappingProxyType(
    {
        "logits": OutputKind("logits", -np.inf, np.inf, "numbers", _same, _second_of(np.zeros_like)),
        "log_probabilities": OutputKind(
            "logits", -np.inf, 0.0, "0 or less", _same, _second_of(_log_of_rest), total=np.exp
        ),
        "probabilities": OutputKind("logits", 0.0, 1.0, "0 to 1", np.log, _second_of(lambda p: 1 - p), total=_same),
        "confidence": OutputKind("confidence", 0.0, 1.0, "0 to 1", lambda p: np.log(p) - np.log1p(-p)),
        "loss": OutputKind("confidence", 0.0, np.inf, "0 or more", lambda loss: -loss - _log_of_rest(-loss)),
        "score": OutputKind("statistic", np.finfo(float).min, np.finfo(float).max, "finite numbers", _same),
        "predicted": OutputKind("prediction", 0.0, np.finfo(float).max, "classes 0, 1, 2, ...", np.floor),
    }
)
"""What answers may be, those first that tell most.

``confidence`` is the probability of the true class, ``loss`` its cross-entropy in nats, ``score`` any number that is
higher for members, ``predicted`` the class that the model names.
"""


def audit_predictions(
    answers: npt.ArrayLike,
    labels: npt.ArrayLike | None,
    is_member: npt.ArrayLike,
    *,
    outputs: str = "probabilities",
    references: npt.ArrayLike | None = None,
    reference_members: npt.ArrayLike | None = None,
    attacks: str | Sequence[str] | None = None,
    effort: Effort | None = None,
    seed: int = 0,
    max_auc: float | None = None,
) -> AuditReport:
    """Attacks a model by what it has answered about members and non-members; the model itself is not needed.

    Args:
        answers: ``(n, K)``, a number for each class; ``(n,)`` for ``outputs`` of one number a record, or where of two
            classes only the second one's is known.
        labels: ``(n,)`` integers in 0..K-1, the true classes; None where ``outputs`` needs none (``confidence``,
            ``loss``, ``score``).
        is_member: ``(n,)`` booleans, or 0 and 1: true for the records that the model was trained on; 20 or more of
            each.
        outputs: what the answers are, of :data:`OUTPUTS`: ``probabilities``, ``logits``, ``log_probabilities``,
            ``confidence``, ``loss``, ``score`` or ``predicted``.
        references: ``(n, S, K)`` or ``(n, S)``, what S reference models answer about the same records, of the same
            kind: for ``lira`` and ``rmia``.
        reference_members: ``(n, S)`` booleans, or 0 and 1: record i was in the training data of reference model s; all
            false for models that saw none of the records (offline attacks).
        attacks: names of attacks, the primary one first; by default all that the answers allow.
        effort: protocol and options of the attacks; there is no model to be asked more.
        seed: of the attacks and the bootstrap.
        max_auc: the highest AUC that is allowed to any attack, 0.5 to 1: a threshold of the verdict.

    Raises:
        AuditError: if shapes do not fit, a number is out of its range, there are fewer than 20 members or non-members,
            or an attack that was named needs more than these answers.
        ConfigError: if an attack or ``outputs`` is unknown.
    """
    signals = prediction_signals(
        answers, labels, is_member, outputs=outputs, references=references, reference_members=reference_members
    )
    return audit_answers(signals, attacks=attacks, effort=effort, seed=seed, max_auc=max_auc)


def audit_answers(
    signals: TargetSignals,
    *,
    attacks: str | Sequence[str] | None = None,
    effort: Effort | None = None,
    seed: int = 0,
    max_auc: float | None = None,
    shared: int = 0,
    facts: Mapping[str, str] = MappingProxyType({}),
) -> AuditReport:
    """Attacks :func:`prediction_signals`; a record's place in the report is its place in them.

    Args:
        signals: of the model.
        attacks: as in :func:`audit_predictions`, as the next three.
        effort: of the attacks.
        seed: of the attacks.
        max_auc: a threshold.
        shared: members that are among the non-members, too.
        facts: what else the report's provenance names.

    Raises:
        AuditError: as :func:`audit_predictions`.
        ConfigError: likewise.
    """
    check_max_auc(max_auc)
    named, skipped = runnable(signals) if attacks is None else (attacks, {})
    names = (named,) if isinstance(named, str) else tuple(named)
    if not names or len(set(names)) != len(names):
        raise AuditError(f"attacks is {list(names)}: expected one or more different names")
    reports = {}
    for name in names:
        try:
            reports[name] = _attacked(name, signals, effort=effort, seed=seed)
        except AuditError as error:
            if attacks is not None or (name == names[-1] and not reports):
                raise
            skipped[name] = str(error)
    provenance = {**environment_facts(), **facts}
    places = np.arange(len(signals), dtype=np.int64)
    return AuditReport(reports, signals, shared, max_auc, provenance, skipped=skipped, places=places, seed=seed)


def runnable(signals: TargetSignals) -> tuple[tuple[str, ...], dict[str, str]]:
    """The attacks that signals allow, the primary one first, and what each of the others lacks."""
    lacks = {name: get_attack(name).missing(signals) for name in attack_names()}
    found = [name for name, missing in lacks.items() if not missing] + [SCORE] * (signals.answers == "statistic")
    ordered = sorted(found, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    skipped = {
        name: f"needs {', '.join(missing)} ({'; '.join(REQUIREMENTS[one] for one in missing)})"
        for name, missing in lacks.items()
        if missing
    }
    return tuple(ordered), skipped


def _attacked(name: str, signals: TargetSignals, *, effort: Effort | None, seed: int) -> AttackReport:
    if name == SCORE and signals.answers == "statistic":
        given = AttackScores(signals.confidences, signals.is_member, np.arange(len(signals)))
        return report_attack(SCORE, given)
    return audit_signals(signals, attacks=name, effort=effort, seed=seed).primary


def _named(name: str) -> Place:
    return lambda *index: f"{name}[{', '.join(map(str, index))}]"


ANSWERS, REFERENCES = _named("answers"), _named("references")


def prediction_signals(
    answers: npt.ArrayLike,
    labels: npt.ArrayLike | None,
    is_member: npt.ArrayLike,
    *,
    outputs: str = "probabilities",
    references: npt.ArrayLike | None = None,
    reference_members: npt.ArrayLike | None = None,
    place: Place = ANSWERS,
    reference_place: Place = REFERENCES,
) -> TargetSignals:
    """Answers as the signals that attacks read.

    Args:
        answers: as in :func:`audit_predictions`, as the next five.
        labels: true classes.
        is_member: membership.
        outputs: what the answers are.
        references: answers of reference models.
        reference_members: who was trained on what.
        place: of the answers, for messages.
        reference_place: of the references.

    Raises:
        AuditError: as :func:`audit_predictions`.
        ConfigError: likewise.
    """
    if outputs not in OUTPUTS:
        raise ConfigError(f"outputs: {outputs!r}; {nearest(str(outputs), OUTPUTS)}")
    kind = OUTPUTS[outputs]
    numbers = _read(outputs, answers, place, dimensions=1)
    classes = _classes(labels, len(numbers), outputs)
    logits = numbers if kind.both else _STAND_INS[kind.answers](numbers, classes, _count(classes, numbers, kind))
    shadows = None
    if references is not None:
        others = _reference_logits(_read(outputs, references, reference_place, dimensions=2), classes, logits, kind)
        if reference_members is None:
            raise AuditError("reference_members: missing; all false for reference models that saw none of the records")
        keep = _flags("reference_members", reference_members)
        shadows = ShadowSignals(others[:, :, None].astype(np.float32), keep)
    elif reference_members is not None:
        raise AuditError("reference_members: given without references")
    return TargetSignals(logits, classes, _flags("is_member", is_member), shadows=shadows, answers=kind.answers)


def _reference_logits(numbers: Floats, labels: Labels, logits: Floats, kind: OutputKind) -> Floats:
    """``(n, S, K)``, with the classes of the model."""
    if kind.answers == "prediction":
        raise AuditError("references: no attack reads predicted classes of reference models; give what says more")
    if len(numbers) != len(labels):
        raise AuditError(f"references: {len(numbers)} records, but there are answers about {len(labels)}")
    return numbers if kind.both else _STAND_INS[kind.answers](numbers, labels, logits.shape[1])


def _read(outputs: str, values: npt.ArrayLike, place: Place, *, dimensions: int) -> Floats:
    """Answers that are in their range, converted: ``(n, ..., K)`` where there is a number for each class."""
    kind = OUTPUTS[outputs]
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise AuditError(f"{outputs}: expected an array of numbers ({error})") from None
    if kind.both and numbers.ndim > dimensions and numbers.shape[-1] == 1:
        numbers = numbers[..., 0]
    shapes = SHAPES[dimensions][: 2 if kind.both else 1]
    if not dimensions <= numbers.ndim < dimensions + len(shapes) or 0 in numbers.shape:
        raise AuditError(f"{outputs}: shape {numbers.shape}, expected {' or '.join(shapes)}")
    wrong = ~((numbers >= kind.low - ROUNDING) & (numbers <= kind.high + ROUNDING))
    if wrong.any():
        index = tuple(np.argwhere(wrong)[0])
        raise AuditError(f"{place(*index)}: {numbers[index]:g}; {outputs} are {kind.allowed}")
    with np.errstate(divide="ignore"):
        numbers = np.clip(numbers, kind.low, kind.high)
        if kind.both and numbers.ndim == dimensions:
            numbers = kind.both(numbers)
        if kind.total:
            _check_total(kind.total(numbers).sum(axis=-1), outputs, place)
        return np.asarray(kind.convert(numbers))


def _check_total(totals: Floats, outputs: str, place: Place) -> None:
    wrong = np.abs(totals - 1) > TOTAL
    if wrong.any():
        index = tuple(np.argwhere(wrong)[0])
        raise AuditError(
            f"{place(*index)}: the {outputs} of all classes add up to {totals[index]:g}, not 1; are they logits?"
        )


def _classes(labels: npt.ArrayLike | None, records: int, outputs: str) -> Labels:
    """The true classes; one for all where they are unknown."""
    if labels is None:
        if OUTPUTS[outputs].answers in ("logits", "prediction"):
            raise AuditError(f"labels: missing; {outputs} say nothing without the true classes")
        return np.zeros(records, dtype=np.int64)
    classes = np.asarray(labels)
    if classes.shape != (records,) or not np.issubdtype(classes.dtype, np.integer):
        found = f"{classes.dtype} of shape {classes.shape}"
        raise AuditError(f"labels: {found}; expected an integer for each of the {records} answers")
    if classes.min() < 0:
        raise AuditError(f"labels run from {classes.min()}; allowed are integers of 0 or more")
    return classes.astype(np.int64)


def _count(labels: Labels, numbers: Floats, kind: OutputKind) -> int:
    """The number of classes that answers in part are about."""
    named = int(numbers.max()) if kind.answers == "prediction" else 0
    count = 1 + max(1, int(labels.max()), named)
    if count > MOST_CLASSES:
        raise AuditError(f"labels run to {count - 1}; allowed are classes below {MOST_CLASSES:,}, numbered from 0")
    return count


def _flags(name: str, values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    flags = np.asarray(values)
    if flags.dtype != np.bool_ and not np.isin(flags, (0, 1)).all():
        raise AuditError(f"{name}: {flags[~np.isin(flags, (0, 1))][0]!s:.40}; allowed are booleans, 0 and 1")
    return flags.astype(np.bool_)


def _of_one_number(numbers: Floats, labels: Labels, classes: int) -> Floats:
    """Logits ``(..., K)`` whose logit-scaled confidence in the true class is exactly the given number."""
    logits = np.full((*numbers.shape, classes), -np.inf)
    own = labels.reshape(-1, *[1] * numbers.ndim)
    sure = np.isposinf(numbers)
    np.put_along_axis(logits, own, np.where(sure, 0.0, numbers)[..., None], axis=-1)
    np.put_along_axis(logits, (own + 1) % classes, np.where(sure, -np.inf, 0.0)[..., None], axis=-1)
    return logits


def _of_predictions(numbers: Floats, labels: Labels, classes: int) -> Floats:
    """Logits ``(n, K)`` that are largest for the class that was named."""
    return np.asarray(np.arange(classes) == numbers[:, None], dtype=np.float64)


_STAND_INS: Mapping[Answers, Callable[[Floats, Labels, int], Floats]] = MappingProxyType(
    {"confidence": _of_one_number, "statistic": _of_one_number, "prediction": _of_predictions}
)
"""What logits stand for answers in part."""
