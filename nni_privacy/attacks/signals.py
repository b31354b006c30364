"""What an attack sees of a trained model, computed once and shared by all attacks. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from nni_privacy.errors import AuditError

__all__ = ["Answers", "ShadowSignals", "TargetSignals", "check_both_sides", "finite_confidences", "logit_confidence"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

MIN_CLASSES = 2

Answers = Literal["logits", "prediction", "confidence", "statistic"]
"""What is known of a model's answers: the logits of all classes, or only the predicted class, the confidence in the
true one, or one number a record of whatever kind, for which logits then stand (see ``auditing.predictions``)."""

Shape = tuple[int | None, ...]
_LOG_2 = float(np.log(2))
_POPULATION = ("population_logits", "population_labels", "target_population_logits")


@dataclass(frozen=True, eq=False)
class ShadowSignals:
    """Answers of S shadow models on the same n records as the target's signals, and who was trained on what.

    Query 0 of V is the plain image; the others are the augmented views of the target's ``view_logits``, in that order.

    Attributes:
        logits: ``(n, S, V, K)`` ``float32``, as the target's.
        keep: ``(n, S)`` booleans: record i was in the training set of shadow s. All false: shadows that never saw a
            record (offline attacks).
        population_logits: ``(m, S, V, K)`` or ``None``: answers on m more records z, which the target was not trained
            on and which are not attacked.
        population_labels: ``(m,)`` ``int64`` or ``None``: their true classes.
        population_keep: ``(m, S)`` booleans or ``None``, as ``keep``; ``None``: no shadow was trained on them.
        target_population_logits: ``(m, V, K)`` or ``None``: the target's answers on them.

    Raises:
        AuditError: if shapes do not fit, a value is no logit, or a population is there only in part.
    """

    logits: Singles
    keep: Flags
    population_logits: Singles | None = None
    population_labels: npt.NDArray[np.int64] | None = None
    population_keep: Flags | None = None
    target_population_logits: Singles | None = None

    def __post_init__(self) -> None:
        logits = _check_block("shadow logits", self.logits, (None, None, None, None), logits=True)
        records, shadows, views, classes = logits.shape
        if shadows < 1 or views < 1 or classes < MIN_CLASSES:
            raise AuditError(f"shadow logits have shape {logits.shape}, expected (records, shadows, views, classes)")
        _set(self, logits=logits, keep=_check_flags("keep", self.keep, (records, shadows)))
        if not self.has_population:
            return
        missing = [name for name in _POPULATION if getattr(self, name) is None]
        if missing:
            raise AuditError(f"the population lacks {', '.join(missing)}")
        population = _check_block(
            "population_logits", self.population_logits, (None, shadows, views, classes), logits=True
        )
        size = len(population)
        if not size:
            raise AuditError("the population has no records")
        answers = self.target_population_logits
        answers = _check_block("target_population_logits", answers, (size, views, classes), logits=True)
        labels = _check_labels(np.asarray(self.population_labels), size, classes)
        _set(self, population_logits=population, target_population_logits=answers, population_labels=labels)
        if self.population_keep is not None:
            _set(self, population_keep=_check_flags("population_keep", self.population_keep, (size, shadows)))

    def __len__(self) -> int:
        return len(self.keep)

    def __repr__(self) -> str:
        return f"ShadowSignals({len(self)} records, {self.shadows} shadow models, {self.views} views)"

    @property
    def shadows(self) -> int:
        """Number of shadow models S."""
        return self.logits.shape[1]

    @property
    def views(self) -> int:
        """Number of queries a record V; 1 without augmentation."""
        return self.logits.shape[2]

    @property
    def has_population(self) -> bool:
        """Whether there are records z."""
        return any(getattr(self, name) is not None for name in (*_POPULATION, "population_keep"))


@dataclass(frozen=True, eq=False)
class TargetSignals:
    """The answers of one trained model on members and non-members, record by record.

    Arrays are checked when the object is made, by :meth:`from_logits`, the constructor or ``dataclasses.replace``.
    What follows from them is computed when it is first asked for, and kept.

    Attributes:
        logits: ``(n, K)``, ``float32`` or ``float64``; or log-probabilities. ``-inf`` is a probability of exactly 0,
            which not all classes of a record can have.
        labels: ``(n,)`` ``int64`` in ``0..K-1``, the true classes.
        is_member: ``(n,)`` booleans, true for the records that the model was trained on.
        features: ``(n, F)`` ``float32``, the input of the linear classifier that makes the logits; with the logits they
            give every record's gradient.
        gradients: ``(n, P)`` ``float32``, explicit gradients of each record's loss with respect to one layer's weight,
            row by row: for models without a linear classifier.
        view_logits: ``(n, V, K)`` ``float32``, answers on V versions of the image; view 0 is the plain one.
        distances: ``(n,)`` ``float64``, L2 distance to the decision boundary; 0: misclassified, NaN: not attacked.
        queries: how many predictions the distances took, of all records together.
        shadows: answers of shadow models on these records.
        black_box_shadow: answers of the small CNN on shadow-train (members) and shadow-test (non-members).
        white_box_shadow: answers of a shadow of the target's architecture on the same, with ``features``.
        outsider: answers of one small network that was trained on none of these records; its population are records of
            the attacker's own, on which it was not trained either.
        loss_trace: ``(E, n)`` ``float32``, 0 or more: the losses after E epochs of the target's own training, in order;
            the last row is the trained model's.
        answers: what of the logits is known; the rest of them is made up where it is less than all.

    Raises:
        AuditError: if a value is NaN or infinite (logits may be ``-inf``), a label is out of range, or shapes do not
            fit.
    """

    logits: npt.NDArray[np.floating]
    labels: npt.NDArray[np.int64]
    is_member: Flags
    features: Singles | None = None
    gradients: Singles | None = None
    view_logits: Singles | None = None
    distances: Floats | None = None
    queries: int | None = None
    shadows: ShadowSignals | None = None
    black_box_shadow: TargetSignals | None = None
    white_box_shadow: TargetSignals | None = None
    outsider: ShadowSignals | None = None
    loss_trace: Singles | None = None
    answers: Answers = "logits"

    def __post_init__(self) -> None:
        if self.answers not in get_args(Answers):
            raise AuditError(f"answers is {self.answers!r}: allowed are {', '.join(get_args(Answers))}")
        logits = _check_logits(np.asarray(self.logits))
        records, classes = logits.shape
        labels, member = np.asarray(self.labels), np.asarray(self.is_member)
        if labels.shape != (records,) or member.shape != (records,):
            shapes = f"labels {labels.shape}, is_member {member.shape}"
            raise AuditError(f"{shapes}: expected one entry for each of the {records} rows of logits")
        labels = _check_labels(labels, records, classes)
        _set(self, logits=logits, labels=labels, is_member=_check_flags("is_member", member, (records,)))
        for name, shape in (("features", (None,)), ("gradients", (None,)), ("view_logits", (None, classes))):
            if getattr(self, name) is not None:
                block = _check_block(name, getattr(self, name), (records, *shape), logits=name == "view_logits")
                _set(self, **{name: block})
        if self.distances is not None:
            _set(self, distances=_check_distances(self.distances, records))
        for name, shadows in (("shadows", self.shadows), ("outsider", self.outsider)):
            if shadows is not None:
                _check_shape(f"{name}: logits", shadows.logits, (records, None, None, classes))
        if self.loss_trace is not None:
            _set(self, loss_trace=_check_block("loss_trace", self.loss_trace, (None, records)))
            if (self.loss_trace < 0).any():
                raise AuditError("loss_trace: there are negative values")
        for name in ("black_box_shadow", "white_box_shadow"):
            shadow = getattr(self, name)
            if shadow is not None and shadow.num_classes != classes:
                raise AuditError(f"{name} has {shadow.num_classes} classes, the target {classes}")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        members, there = int(self.is_member.sum()), ", ".join(sorted(self.available))
        return (
            f"TargetSignals({members} members, {len(self) - members} non-members, {self.num_classes} classes: {there})"
        )

    @classmethod
    def from_logits(
        cls, logits: npt.ArrayLike, labels: npt.ArrayLike, is_member: npt.ArrayLike, **extras: Any
    ) -> TargetSignals:
        """Checks the arrays and makes the signals of them.

        Args:
            logits: as the attribute, and so on.
            labels: integers.
            is_member: booleans.
            **extras: further attributes by name.

        Raises:
            AuditError: as the constructor.
        """
        return cls(np.asarray(logits), np.asarray(labels), np.asarray(is_member), **extras)

    @property
    def available(self) -> frozenset[str]:
        """What is there for an attack to require.

        ``logits``, or what is known of them (:attr:`answers`); ``gradients`` with features or explicit gradients;
        ``view_logits``, ``distances``, ``shadows``, ``black_box_shadow``, ``white_box_shadow``, ``outsider`` and
        ``loss_trace`` where the attribute is set.
        """
        names = (
            "view_logits",
            "distances",
            "shadows",
            "black_box_shadow",
            "white_box_shadow",
            "outsider",
            "loss_trace",
        )
        found = {name for name in names if getattr(self, name) is not None}
        if self.features is not None or self.gradients is not None:
            found.add("gradients")
        return frozenset({*found, self.answers})

    @property
    def tells_class(self) -> bool:
        """Whether the answers tell which class the model names, so that :attr:`correct` does, too."""
        return self.answers in ("logits", "prediction")

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return int(self.logits.shape[1])

    @cached_property
    def log_posteriors(self) -> Floats:
        """Log-softmax of the logits, ``(n, K)``: exact where the softmax would round to 0 or 1; ``-inf`` is 0."""
        shifted = self.logits.astype(np.float64)
        shifted -= shifted.max(axis=1, keepdims=True)
        shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return shifted

    @cached_property
    def posteriors(self) -> Floats:
        """Softmax of the logits, ``(n, K)``; each row sums to 1."""
        return np.exp(self.log_posteriors)

    @cached_property
    def losses(self) -> Floats:
        """Cross-entropy of each record, ``(n,)``, 0 or more and finite; not rounded to 0 where p rounds to 1."""
        return np.asarray(np.logaddexp(0.0, -self.confidences))

    @cached_property
    def confidences(self) -> Floats:
        """:func:`logit_confidence` of each record, ``(n,)``, made finite by :func:`finite_confidences`."""
        return finite_confidences(self._confidences)[0]

    @cached_property
    def _confidences(self) -> Floats:
        return logit_confidence(self.logits, self.labels)

    @cached_property
    def correct(self) -> Flags:
        """Whether the predicted class (the first of equal logits) is the true one, ``(n,)``."""
        return np.asarray(self.logits.argmax(axis=1) == self.labels)

    @cached_property
    def residuals(self) -> Singles:
        """Gradient of each record's loss with respect to its logits: softmax - one-hot, ``(n, K)`` ``float32``."""
        residuals = self.posteriors.astype(np.float32)
        # expm1: of a record that is fitted almost perfectly, 1 - p would round to 0. Of 0 and 1 p - 1 is -1 and 0.
        own = np.expm1(-np.logaddexp(0.0, -self._confidences)).astype(np.float32)
        np.put_along_axis(residuals, self.labels[:, None], own[:, None], axis=1)
        return residuals

    @property
    def gradient_shape(self) -> tuple[int, int]:
        """Rows and columns of a record's gradient: K and F; or of explicit gradients K and P / K, or 1 and P.

        Raises:
            AuditError: if there are neither features nor gradients.
        """
        if self.features is not None:
            return self.num_classes, int(self.features.shape[1])
        if self.gradients is None:
            raise AuditError("these signals have neither features nor gradients")
        size, classes = int(self.gradients.shape[1]), self.num_classes
        return (classes, size // classes) if size % classes == 0 else (1, size)

    def weight_gradients(self, index: Sequence[int] | npt.NDArray[np.integer] | slice) -> Singles:
        """Gradients of chosen records' losses with respect to the classifier's weight, made on the spot.

        For logits ``W h + b`` the gradient of the cross-entropy is ``(softmax - onehot) outer h``: no backward pass.

        Args:
            index: b records; ask for a batch at a time, n x K x F numbers may not fit into memory.

        Returns:
            ``(b, K, F)`` ``float32``, or explicit gradients ``(b, *gradient_shape)``.

        Raises:
            AuditError: if there are neither features nor gradients.
        """
        if self.features is None:
            rows, columns = self.gradient_shape
            assert self.gradients is not None  # noqa: S101 - gradient_shape has checked it
            return self.gradients[index].reshape(-1, rows, columns)
        return self.residuals[index][:, :, None] * self.features[index][:, None, :]


def logit_confidence(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> Floats:
    """Logit-scaled confidence, log(p / (1 - p)) of the true class's probability p (LiRA, arXiv 2112.03570).

    Equal to the true class's logit minus the log-sum-exp of the others', so it neither overflows nor saturates.

    Args:
        logits: ``(n, ..., K)``.
        labels: ``(n,)``.

    Returns:
        ``(n, ...)`` ``float64``; ``-inf`` and ``inf`` where p is exactly 0 and 1 (logits of ``-inf``).
    """
    own, values = true_and_others(logits, labels)
    highest = values.max(axis=-1, keepdims=True)
    highest[np.isneginf(highest)] = 0.0
    with np.errstate(divide="ignore"):
        others = highest[..., 0] + np.log(np.exp(values - highest).sum(axis=-1))
    return np.asarray(own - others)


def true_and_others(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The true class's logits ``(n, ...)``, and all ``(n, ..., K)`` with ``-inf`` in place of them, in ``float64``."""
    values = logits.astype(np.float64)
    index = labels.reshape(-1, *[1] * (values.ndim - 1))
    own = np.take_along_axis(values, index, axis=-1)[..., 0]
    np.put_along_axis(values, index, -np.inf, axis=-1)
    return own, values


def finite_confidences(*confidences: Floats) -> tuple[Floats, ...]:
    """Arrays of :func:`logit_confidence` (of a target and its shadows, say) in which a p of exactly 0 or 1 is finite.

    Who counts votes (a random forest) says 0 where the odds are too small to be told: half the smallest odds that any
    of the arrays has are put there, and twice the largest for a p of 1. Order and ties stay as they are.
    """
    known = [np.isfinite(part) for part in confidences]
    if all(one.all() for one in known):
        return confidences
    finite = np.concatenate([part[one] for part, one in zip(confidences, known, strict=True)])
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    return tuple(np.clip(part, low - _LOG_2, high + _LOG_2) for part in confidences)


def _set(frozen: object, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(frozen, name, value)


def _check_logits(values: npt.NDArray[Any]) -> npt.NDArray[np.floating]:
    """Floats ``(records, classes)`` that are logits; half precision becomes ``float32``."""
    if values.ndim != 2 or values.shape[1] < MIN_CLASSES:
        raise AuditError(f"logits have shape {values.shape}, expected (records, classes) with 2 classes or more")
    if not np.issubdtype(values.dtype, np.floating):
        raise AuditError(f"logits are {values.dtype}, expected floats")
    if bad := np.count_nonzero(_not_logits(values)):
        raise AuditError(f"the logits of {bad} of {len(values)} records are NaN or infinite: the model has diverged")
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)


def _check_labels(values: npt.NDArray[Any], records: int, classes: int) -> npt.NDArray[np.int64]:
    """Integers ``(records,)`` in ``0..classes-1``."""
    if values.shape != (records,):
        raise AuditError(f"labels have shape {values.shape}, expected ({records},)")
    if not np.issubdtype(values.dtype, np.integer):
        raise AuditError(f"labels are {values.dtype}, expected integers")
    if len(values) and (values.min() < 0 or values.max() >= classes):
        limits = f"{values.min()} to {values.max()}"
        raise AuditError(f"labels run from {limits}, but the model has classes 0..{classes - 1}")
    return values.astype(np.int64, copy=False)


def _check_flags(name: str, values: Any, shape: Shape) -> npt.NDArray[np.bool_]:
    """Booleans of that shape."""
    flags = np.asarray(values)
    if flags.dtype != np.bool_:
        raise AuditError(f"{name} is {flags.dtype}, expected booleans")
    _check_shape(name, flags, shape)
    return flags


def _not_logits(values: npt.NDArray[np.floating]) -> Flags:
    """Which rows have a NaN, plus infinity, or minus infinity (a probability of 0) for every class."""
    if np.isfinite(values).all():
        return np.zeros(values.shape[:-1], dtype=np.bool_)
    return np.asarray((np.isnan(values) | np.isposinf(values)).any(axis=-1) | np.isneginf(values).all(axis=-1))


def _check_block(name: str, values: Any, shape: Shape, *, logits: bool = False) -> npt.NDArray[np.float32]:
    """Floats of that shape, finite or such as :func:`_not_logits` lets pass, as ``float32``."""
    block = np.asarray(values)
    if not np.issubdtype(block.dtype, np.floating):
        raise AuditError(f"{name}: {block.dtype}, expected floats")
    _check_shape(name, block, shape)
    if 0 in block.shape[1:]:
        raise AuditError(f"{name}: shape {block.shape} has no values in a record")
    parts = np.array_split(block, max(1, block.size // 2**22))
    if any(_not_logits(part).any() if logits else not np.isfinite(part).all() for part in parts):
        raise AuditError(f"{name}: there are NaN or infinite values")
    return block.astype(np.float32, copy=False)


def _check_distances(values: Any, records: int) -> npt.NDArray[np.float64]:
    """Distances ``(records,)``, 0 or more; NaN where a record was not attacked."""
    try:
        distances = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise AuditError(f"distances must be numbers ({error})") from error
    _check_shape("distances", distances, (records,))
    if np.isinf(distances).any() or (distances < 0).any():
        raise AuditError("distances: there are negative or infinite values (NaN: not attacked)")
    return distances


def _check_shape(name: str, values: npt.NDArray[Any], shape: Shape) -> None:
    """Raises AuditError unless the array has that shape; ``None`` stands for any length."""
    if values.ndim != len(shape) or any(
        wanted not in (None, found) for wanted, found in zip(shape, values.shape, strict=True)
    ):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise AuditError(f"{name}: shape {values.shape}, expected ({expected})")


def check_both_sides(name: str, is_member: npt.NDArray[np.bool_]) -> None:
    """Raises AuditError unless both members and non-members are there to learn from."""
    if is_member.all() or not is_member.any():
        raise AuditError(f"{name}: {np.count_nonzero(is_member)} of {len(is_member)} records are members: both needed")
