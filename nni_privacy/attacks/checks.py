"""Checks of the arrays that signals are made of: each returns the array in its proper type, or raises AuditError."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nni_privacy.errors import AuditError

__all__ = [
    "MIN_CLASSES",
    "check_block",
    "check_both_sides",
    "check_distances",
    "check_flags",
    "check_labels",
    "check_logits",
    "check_shape",
]

MIN_CLASSES = 2

Shape = tuple[int | None, ...]


def check_logits(values: npt.NDArray[Any]) -> npt.NDArray[np.floating]:
    """Finite floats ``(records, classes)``; half precision becomes ``float32``."""
    if values.ndim != 2 or values.shape[1] < MIN_CLASSES:
        raise AuditError(f"logits have shape {values.shape}, expected (records, classes) with 2 classes or more")
    if not np.issubdtype(values.dtype, np.floating):
        raise AuditError(f"logits are {values.dtype}, expected floats")
    if not np.isfinite(values).all():
        bad = np.count_nonzero(~np.isfinite(values).all(axis=1))
        raise AuditError(f"the logits of {bad} of {len(values)} records are NaN or infinite: the model has diverged")
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)


def check_labels(values: npt.NDArray[Any], records: int, classes: int) -> npt.NDArray[np.int64]:
    """Integers ``(records,)`` in ``0..classes-1``."""
    if values.shape != (records,):
        raise AuditError(f"labels have shape {values.shape}, expected ({records},)")
    if not np.issubdtype(values.dtype, np.integer):
        raise AuditError(f"labels are {values.dtype}, expected integers")
    if len(values) and (values.min() < 0 or values.max() >= classes):
        limits = f"{values.min()} to {values.max()}"
        raise AuditError(f"labels run from {limits}, but the model has classes 0..{classes - 1}")
    return values.astype(np.int64, copy=False)


def check_flags(name: str, values: Any, shape: Shape) -> npt.NDArray[np.bool_]:
    """Booleans of that shape."""
    flags = np.asarray(values)
    if flags.dtype != np.bool_:
        raise AuditError(f"{name} is {flags.dtype}, expected booleans")
    check_shape(name, flags, shape)
    return flags


def check_block(name: str, values: Any, shape: Shape) -> npt.NDArray[np.float32]:
    """Finite floats of that shape, as ``float32``."""
    block = np.asarray(values)
    if not np.issubdtype(block.dtype, np.floating):
        raise AuditError(f"{name}: {block.dtype}, expected floats")
    check_shape(name, block, shape)
    if 0 in block.shape[1:]:
        raise AuditError(f"{name}: shape {block.shape} has no values in a record")
    if not all(np.isfinite(part).all() for part in np.array_split(block, max(1, block.size // 2**22))):
        raise AuditError(f"{name}: there are NaN or infinite values")
    return block.astype(np.float32, copy=False)


def check_distances(values: Any, records: int) -> npt.NDArray[np.float64]:
    """Distances ``(records,)``, 0 or more; NaN where a record was not attacked."""
    try:
        distances = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise AuditError(f"distances must be numbers ({error})") from error
    check_shape("distances", distances, (records,))
    if np.isinf(distances).any() or (distances < 0).any():
        raise AuditError("distances: there are negative or infinite values (NaN: not attacked)")
    return distances


def check_shape(name: str, values: npt.NDArray[Any], shape: Shape) -> None:
    """Raises AuditError unless the array has that shape; ``None`` stands for any length."""
    fits = values.ndim == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, values.shape, strict=True)
    )
    if not fits:
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise AuditError(f"{name}: shape {values.shape}, expected ({expected})")


def check_both_sides(name: str, is_member: npt.NDArray[np.bool_]) -> None:
    """Raises AuditError unless both members and non-members are there to learn from."""
    if is_member.all() or not is_member.any():
        raise AuditError(f"{name}: {np.count_nonzero(is_member)} of {len(is_member)} records are members: both needed")
