"""Members and non-members that somebody gives to an audit: their types and ranges, and whether both are scaled alike.

An attack tells the two sides apart by whatever differs between them. Where that is how they were scaled, it finds a
leak in a model that has none, so such records are refused, and what is odd about others is said.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nni_privacy.errors import AuditError

__all__ = ["RecordsWarning", "check_records", "check_scale", "count_shared", "record_tensors"]

Records = tuple[Any, Any]
Tensors = tuple[Tensor, Tensor]

UINT8_MAX = 255
SAMPLE = 2**22
"""Values whose mean and deviation are looked at, at most twice as many."""

CERTAIN = 8.0
"""Times that deviations differ by in no two samples of the same images."""
RATIO, SHIFT = 1.5, 0.75
"""Of deviations, and of means in deviations: further apart than samples of 20 images of one kind."""


class RecordsWarning(UserWarning):
    """Images that an audit takes, though they may not be what was meant."""


def check_records(members: Records, nonmembers: Records, *, scaled: bool) -> tuple[Tensors, Tensors]:
    """Images and labels of both sides as tensors, see :func:`record_tensors`.

    Args:
        members: ``(images, labels)``.
        nonmembers: the same.
        scaled: integers are levels 0..255 and become ``uint8``; else images of integers are left as they are.

    Raises:
        AuditError: if they differ in shape or type, or are no images and labels.
    """
    first = record_tensors("members", members, scaled=scaled)
    second = record_tensors("nonmembers", nonmembers, scaled=scaled)
    if first[0].shape[1:] != second[0].shape[1:] or first[0].dtype != second[0].dtype:
        found = " and ".join(f"{images.dtype} {tuple(images.shape[1:])}" for images, _ in (first, second))
        raise AuditError(f"images of members and nonmembers differ in shape or type: {found}")
    return first, second


def record_tensors(name: str, records: Records, *, scaled: bool) -> Tensors:
    """Images ``(n, C, H, W)`` of ``uint8`` or ``float32`` and labels ``(n,)`` of ``int64``.

    Raises:
        AuditError: with ``name``, if lengths or types are others, a float is NaN or infinite, or an integer is not in
            0..255.
    """
    if not isinstance(records, (tuple, list)) or len(records) != 2:
        raise AuditError(f"{name} is a {type(records).__name__}, expected a pair (images, labels)")
    try:
        images, labels = (_tensor(part) for part in records)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AuditError(f"{name}: images and labels must be tensors or arrays of numbers ({error})") from error
    if labels.ndim != 1 or images.ndim < 2 or len(images) != len(labels):
        shapes = f"images {tuple(images.shape)}, labels {tuple(labels.shape)}"
        raise AuditError(f"{name}: {shapes}: expected (n, C, H, W) and (n,) with the same n")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise AuditError(f"{name}: labels are {labels.dtype}, expected integers")
    return _pixels(name, images, scaled=scaled), labels.cpu().to(torch.int64)


def _tensor(values: Any) -> Tensor:
    if isinstance(values, np.ndarray) and not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))  # which torch does not do
    return torch.as_tensor(values).detach()


def _pixels(name: str, images: Tensor, *, scaled: bool) -> Tensor:
    if images.is_complex():
        raise AuditError(f"{name}: images are {images.dtype}, expected uint8 or floats")
    if images.is_floating_point() or images.dtype == torch.bool:
        floats = images.float()
        if not bool(torch.isfinite(floats).all()):
            raise AuditError(f"{name}: images contain NaN or infinite values")
        return floats
    if images.dtype == torch.uint8 or not scaled or not images.numel():
        return images
    levels = images.cpu().numpy()
    low, high = int(levels.min()), int(levels.max())
    if low < 0 or high > UINT8_MAX:
        raise AuditError(f"{name}: images of {levels.dtype} run from {low} to {high}; allowed are integers in 0..255, "
                         "which are divided by 255, and floats, which are taken as they are")  # fmt: skip
    if high == 1:
        raise AuditError(f"{name}: images of {levels.dtype} are 0 and 1 only, but integers are divided by 255: give "
                         "floats if 1 is the brightest, uint8 if 255 is")  # fmt: skip
    return torch.from_numpy(levels.astype(np.uint8))


@dataclass(frozen=True)
class _Scale:
    """Range of all values, and mean and deviation of a sample of them, in the units of ``to_float``."""

    low: float
    high: float
    mean: float
    deviation: float

    @classmethod
    def of(cls, images: Tensor) -> _Scale:
        unit = 1 if images.is_floating_point() else UINT8_MAX
        some = images.reshape(-1)[:: images.numel() // SAMPLE | 1].double() / unit
        low, high = (float(one) / unit for one in images.aminmax())
        return cls(low, high, float(some.mean()), float(some.std(unbiased=False)))

    @property
    def is_unit(self) -> bool:
        return self.low >= 0 and self.high <= 1

    def __str__(self) -> str:
        return f"from {self.low:.3g} to {self.high:.3g} (mean {self.mean:.3g}, deviation {self.deviation:.3g})"


def check_scale(first: Tensor, second: Tensor, *, names: tuple[str, str] = ("members", "nonmembers")) -> None:
    """Compares how two sides' images are scaled, and says it of floats beyond 0..1 and of sides that differ.

    Args:
        first: images of one type.
        second: more of them.
        names: of the two.

    Raises:
        AuditError: if they are scaled in two ways: one within 0..1 and the other not, or one many times the other.
    """
    one, other = _Scale.of(first), _Scale.of(second)
    least, most = sorted((one.deviation, other.deviation))
    if most == 0:
        return  # of images without contrast nothing can be told
    ratio = most / least if least else float("inf")
    shift = abs(one.mean - other.mean) / (least or most)
    found = f"{names[0]}' images run {one}, {names[1]}' {other}"
    differ = ratio >= RATIO or shift >= SHIFT
    if ratio >= CERTAIN or (differ and one.is_unit != other.is_unit):
        raise AuditError(
            f"{found}: they are scaled in two ways, which an attack would take for a leak: scale both alike"
        )
    if differ:
        told = "are they scaled alike, and from one source? An attack tells apart what differs, membership or not"
        warnings.warn(f"{found}: {told}", RecordsWarning, stacklevel=3)
    elif first.is_floating_point() and not (one.is_unit and other.is_unit):
        told = "beyond 0..1, and are taken as they are: right if the model was trained on values scaled like this"
        warnings.warn(f"{found}: {told}", RecordsWarning, stacklevel=3)


def count_shared(images: Tensor, others: Tensor) -> int:
    """Number of ``images`` that are among ``others``: each makes every attack look weaker than it is."""
    digests = [
        [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in part.contiguous().cpu().numpy()]
        for part in (images, others)
    ]
    known = set(digests[1])
    return sum(digest in known for digest in digests[0])
