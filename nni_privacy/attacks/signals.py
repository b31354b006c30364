"""What an attack sees of a trained model, computed once and shared by all attacks. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nni_privacy.errors import AuditError

__all__ = ["ShadowSignals", "TargetSignals", "check_both_sides", "logit_confidence"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

MIN_CLASSES = 2
Shape = tuple[int | None, ...]
_POPULATION = ("population_logits", "population_labels", "target_population_logits")


@dataclass(frozen=True, eq=False)
class ShadowSignals:
    """Answers of S shadow models on the same n records as the target's signals, and who was trained on what.

    Query 0 of V is the plain image; the others are the augmented views of the target's ``view_logits``, in that order.

    Attributes:
        logits: ``(n, S, V, K)`` ``float32``, finite.
        keep: ``(n, S)`` booleans: record i was in the training set of shadow s. All false: shadows that never saw a
            record (offline attacks).
        population_logits: ``(m, S, V, K)`` or ``None``: answers on m more records z, which the target was not trained
            on and which are not attacked.
        population_labels: ``(m,)`` ``int64`` or ``None``: their true classes.
        population_keep: ``(m, S)`` booleans or ``None``, as ``keep``; ``None``: no shadow was trained on them.
        target_population_logits: ``(m, V, K)`` or ``None``: the target's answers on them.

    Raises:
        AuditError: if shapes do not fit, a logit is not finite, or a population is there only in part.
    """

    logits: Singles
    keep: Flags
    population_logits: Singles | None = None
    population_labels: npt.NDArray[np.int64] | None = None
    population_keep: Flags | None = None
    target_population_logits: Singles | None = None

    def __post_init__(self) -> None:
        logits = _check_block("shadow logits", self.logits, (None, None, None, None))
        records, shadows, views, classes = logits.shape
        if shadows < 1 or views < 1 or classes < MIN_CLASSES:
            raise AuditError(f"shadow logits have shape {logits.shape}, expected (records, shadows, views, classes)")
        _set(self, logits=logits, keep=_check_flags("keep", self.keep, (records, shadows)))
        if not self.has_population:
            return
        missing = [name for name in _POPULATION if getattr(self, name) is None]
        if missing:
            raise AuditError(f"the population lacks {', '.join(missing)}")
        population = _check_block("population_logits", self.population_logits, (None, shadows, views, classes))
        size = len(population)
        if not size:
            raise AuditError("the population has no records")
        answers = _check_block("target_population_logits", self.target_population_logits, (size, views, classes))
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
        logits: ``(n, K)``, finite ``float32`` or ``float64``.
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

    Raises:
        AuditError: if a value is NaN or infinite, a label is out of range, or shapes do not fit.
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

    def __post_init__(self) -> None:
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
                _set(self, **{name: _check_block(name, getattr(self, name), (records, *shape))})
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
            AuditError: if a logit is NaN or infinite, a label is out of range, or shapes do not fit.
        """
        return cls(np.asarray(logits), np.asarray(labels), np.asarray(is_member), **extras)

    @property
    def available(self) -> frozenset[str]:
        """What is there for an attack to require.

        ``logits`` always; ``gradients`` with features or explicit gradients; ``view_logits``, ``distances``,
        ``shadows``, ``black_box_shadow``, ``white_box_shadow``, ``outsider`` and ``loss_trace`` where the attribute is
        set.
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
        return frozenset(found | {"logits"})

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return int(self.logits.shape[1])

    @cached_property
    def log_posteriors(self) -> Floats:
        """Log-softmax of the logits, ``(n, K)``: exact where the softmax itself would round to 0 or 1."""
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
        """:func:`logit_confidence` of each record, ``(n,)``."""
        return logit_confidence(self.logits, self.labels)

    @cached_property
    def correct(self) -> Flags:
        """Whether the predicted class (the first of equal logits) is the true one, ``(n,)``."""
        return np.asarray(self.logits.argmax(axis=1) == self.labels)

    @cached_property
    def residuals(self) -> Singles:
        """Gradient of each record's loss with respect to its logits: softmax - one-hot, ``(n, K)`` ``float32``."""
        residuals = self.posteriors.astype(np.float32)
        # expm1: of a record that is fitted almost perfectly, 1 - p would round to 0.
        np.put_along_axis(residuals, self.labels[:, None], np.expm1(-self.losses)[:, None].astype(np.float32), axis=1)
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
        ``(n, ...)`` ``float64``.
    """
    values = logits.astype(np.float64)
    index = labels.reshape(-1, *[1] * (values.ndim - 1))
    own = np.take_along_axis(values, index, axis=-1)
    np.put_along_axis(values, index, -np.inf, axis=-1)
    highest = values.max(axis=-1, keepdims=True)
    others = highest[..., 0] + np.log(np.exp(values - highest).sum(axis=-1))
    return np.asarray(own[..., 0] - others)


def _set(frozen: object, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(frozen, name, value)


def _check_logits(values: npt.NDArray[Any]) -> npt.NDArray[np.floating]:
    """Finite floats ``(records, classes)``; half precision becomes ``float32``."""
    if values.ndim != 2 or values.shape[1] < MIN_CLASSES:
        raise AuditError(f"logits have shape {values.shape}, expected (records, classes) with 2 classes or more")
    if not np.issubdtype(values.dtype, np.floating):
        raise AuditError(f"logits are {values.dtype}, expected floats")
    if not np.isfinite(values).all():
        bad = np.count_nonzero(~np.isfinite(values).all(axis=1))
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


def _check_block(name: str, values: Any, shape: Shape) -> npt.NDArray[np.float32]:
    """Finite floats of that shape, as ``float32``."""
    block = np.asarray(values)
    if not np.issubdtype(block.dtype, np.floating):
        raise AuditError(f"{name}: {block.dtype}, expected floats")
    _check_shape(name, block, shape)
    if 0 in block.shape[1:]:
        raise AuditError(f"{name}: shape {block.shape} has no values in a record")
    if not all(np.isfinite(part).all() for part in np.array_split(block, max(1, block.size // 2**22))):
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
