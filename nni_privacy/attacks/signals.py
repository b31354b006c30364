"""What an attack sees of a trained model, computed once and shared by all attacks. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nni_privacy.errors import AuditError

__all__ = ["TargetSignals"]

Floats = npt.NDArray[np.float64]

MIN_CLASSES = 2


@dataclass(frozen=True, eq=False)
class TargetSignals:
    """The answers of one trained model on members and non-members, record by record; made by :meth:`from_logits`.

    What follows from logits and labels is computed in ``float64`` when it is first asked for, and kept.

    Attributes:
        logits: ``(n, K)``, finite ``float32`` or ``float64``.
        labels: ``(n,)`` ``int64`` in ``0..K-1``, the true classes.
        is_member: ``(n,)`` booleans, true for the records that the model was trained on.
    """

    logits: npt.NDArray[np.floating]
    labels: npt.NDArray[np.int64]
    is_member: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def from_logits(cls, logits: npt.ArrayLike, labels: npt.ArrayLike, is_member: npt.ArrayLike) -> TargetSignals:
        """Checks the arrays and makes the signals of them.

        Raises:
            AuditError: if a logit is NaN or infinite, a label is out of range, or shapes do not fit.
        """
        values, truth, member = np.asarray(logits), np.asarray(labels), np.asarray(is_member)
        if values.ndim != 2 or values.shape[1] < MIN_CLASSES:
            raise AuditError(f"logits have shape {values.shape}, expected (records, classes) with 2 classes or more")
        if truth.shape != values.shape[:1] or member.shape != values.shape[:1]:
            shapes = f"labels {truth.shape}, is_member {member.shape}"
            raise AuditError(f"{shapes}: expected one entry for each of the {len(values)} rows of logits")
        if not np.issubdtype(values.dtype, np.floating):
            raise AuditError(f"logits are {values.dtype}, expected floats")
        if not np.isfinite(values).all():
            bad = np.count_nonzero(~np.isfinite(values).all(axis=1))
            raise AuditError(
                f"the logits of {bad} of {len(values)} records are NaN or infinite: the model has diverged"
            )
        if not np.issubdtype(truth.dtype, np.integer):
            raise AuditError(f"labels are {truth.dtype}, expected integers")
        if len(truth) and (truth.min() < 0 or truth.max() >= values.shape[1]):
            limits = f"{truth.min()} to {truth.max()}"
            raise AuditError(f"labels run from {limits}, but the model has classes 0..{values.shape[1] - 1}")
        if member.dtype != np.bool_:
            raise AuditError(f"is_member is {member.dtype}, expected booleans")
        floats = values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)
        return cls(floats, truth.astype(np.int64), member)

    @property
    def available(self) -> frozenset[str]:
        """What is there for an attack to require; gradients, augmented queries and shadows will add their names."""
        return frozenset({"logits"})

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
        """Cross-entropy of each record, ``(n,)``, 0 or more and finite."""
        return np.maximum(0.0, -np.take_along_axis(self.log_posteriors, self.labels[:, None], axis=1)[:, 0])

    @cached_property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether the predicted class (the first of equal logits) is the true one, ``(n,)``."""
        return np.asarray(self.logits.argmax(axis=1) == self.labels)
