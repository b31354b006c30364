"""Members and non-members that somebody gives to an audit: what they are, their types, and whether both are alike.

An attack tells the two sides apart by whatever differs between them. Where that is how they were scaled, it finds a
leak in a model that has none, so such records are refused, and what is odd about others is said.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler
from torch.utils.data import Dataset as TorchDataset

from nni_privacy.data import Dataset
from nni_privacy.data.inputs import Inputs, dense_tensor
from nni_privacy.data.normalize import is_levels
from nni_privacy.errors import AuditError, DataError

__all__ = ["LABELS", "RecordsWarning", "check_records", "check_scale", "count_shared", "in_order", "is_map_style"]
__all__ += ["record_tensors", "warn_of_probabilities"]

Labelled = tuple[Inputs, Tensor]

LABELS = ("labels", "label", "y", "target", "class")
"""Names of the labels among several arrays; the first that is there."""

UINT8_MAX = 255
SUM_TOLERANCE = 0.01
SAMPLE = 2**22
"""Values whose mean and deviation are looked at, at most twice as many."""
LOADED = 256
"""Records that a data set is asked for at once."""

CERTAIN = 8.0
"""Times that deviations differ by in no two samples of the same images."""
RATIO, SHIFT = 1.5, 0.75
"""Of deviations, and of means in deviations: further apart than samples of 20 images of one kind."""


class RecordsWarning(UserWarning):
    """Records, or answers on them, that an audit takes, though they may not be what was meant."""


def check_records(members: Any, nonmembers: Any, *, scaled: bool) -> tuple[Labelled, Labelled]:
    """Inputs and labels of both sides as tensors, see :func:`record_tensors`.

    Args:
        members: ``(inputs, labels)``, or what else :func:`record_tensors` takes.
        nonmembers: the same.
        scaled: integers of images are levels 0..255 and become ``uint8``; else they are left as they are.

    Raises:
        AuditError: if they differ in names, shape or type, or are no inputs and labels.
    """
    first = record_tensors("members", members, scaled=scaled)
    second = record_tensors("nonmembers", nonmembers, scaled=scaled)
    if first[0].kind != second[0].kind:
        found = " and ".join(str(inputs) for inputs, _ in (first, second))
        raise AuditError(f"{first[0].noun} of members and nonmembers differ in shape or type: {found}")
    return first, second


def record_tensors(name: str, records: Any, *, scaled: bool) -> Labelled:
    """Inputs of n records, and labels ``(n,)`` of ``int64``.

    Images become ``uint8`` or ``float32``, other floats ``float32``, and other integers, which are ids, ``int64``.

    Args:
        name: of the records, for messages.
        records: a pair of inputs (see :class:`~nni_privacy.data.Inputs`) and labels; a mapping that holds the labels,
            too (see :data:`LABELS`); or a data set (of torch, or what has a length and items, as those of Hugging Face)
            or loader of torch whose items or batches are such.
        scaled: see :func:`check_records`.

    Raises:
        AuditError: with ``name``, if lengths or types are others, a float is NaN or infinite, or a level is not in
            0..255.
    """
    found, labels = _pair(name, records)
    try:
        inputs, truth = Inputs.of(found), dense_tensor(labels)
    except DataError as error:
        raise AuditError(f"{name}: {error}") from error
    if truth.ndim != 1 or len(inputs) != len(truth):
        shapes = f"{inputs.noun} {inputs.shapes}, labels {tuple(truth.shape)}"
        raise AuditError(f"{name}: {shapes}: expected (n, ...) and (n,) with the same n")
    if truth.is_floating_point() or truth.is_complex() or truth.dtype == torch.bool:
        raise AuditError(f"{name}: labels are {truth.dtype}, expected integers")
    typed = [
        _typed(f"{name}: values of {key!r}" if inputs.several else f"{name}: {inputs.noun}", tensor, inputs, scaled)
        for key, tensor in inputs.items()
    ]
    return Inputs(tuple(typed), inputs.names), truth.cpu().to(torch.int64)


def _pair(name: str, records: Any) -> tuple[Any, Any]:
    """Inputs and labels, whatever they came in."""
    if isinstance(records, Dataset):
        return records.images, records.labels
    if isinstance(records, DataLoader) or is_map_style(records):
        return _loaded(name, in_order(records))
    if isinstance(records, Mapping) or (isinstance(records, tuple | list) and len(records) == 2):
        return _apart(name, records)
    raise AuditError(
        f"{name} is a {type(records).__name__}, expected a pair (inputs, labels), a mapping with labels, or a data set "
        "or loader of torch"
    )


def _apart(name: str, batch: Any) -> tuple[Any, Any]:
    """Inputs and labels of a batch: the last one of several, or by name of a mapping."""
    if isinstance(batch, Mapping):
        label = next((known for known in LABELS if known in batch), None)
        inputs = {key: value for key, value in batch.items() if key != label}
        if label is None or not inputs:
            found = ", ".join(map(str, batch)) or "nothing"
            raise AuditError(f"{name}: found {found}: expected inputs and one of {', '.join(LABELS)}")
        return (inputs if len(inputs) > 1 else next(iter(inputs.values()))), batch[label]
    if isinstance(batch, tuple | list) and len(batch) > 1:
        return (tuple(batch[:-1]) if len(batch) > 2 else batch[0]), batch[-1]
    raise AuditError(f"{name}: records come as a {type(batch).__name__}, expected inputs and a label each")


def is_map_style(records: Any) -> bool:
    """Whether ``records`` is a data set of torch, or what a loader takes for one: a length, and items by number."""
    if isinstance(records, TorchDataset):
        return True
    kinds = (Mapping, list, tuple, str, bytes, Dataset)
    sized = hasattr(records, "__len__") and hasattr(records, "__getitem__")
    return sized and not isinstance(records, kinds) and not hasattr(records, "__array__")


def in_order(records: Any) -> DataLoader[Any]:
    """Batches of a data set; of a loader that takes all of one, in the order of the set, not in a shuffled one."""
    if not isinstance(records, DataLoader):
        items: Any = records
        return DataLoader(items, batch_size=LOADED)
    sampler = records.sampler
    whole = type(sampler) is SequentialSampler or (type(sampler) is RandomSampler and not sampler.replacement)
    if records.batch_size is None or isinstance(records.dataset, IterableDataset) or not whole:
        return records
    return DataLoader(
        records.dataset, records.batch_size, collate_fn=records.collate_fn, num_workers=records.num_workers
    )


def _loaded(name: str, batches: Iterable[Any]) -> tuple[Inputs, Tensor]:
    parts, labels = [], []
    try:
        for batch in batches:
            inputs, truth = _apart(name, batch)
            parts.append(Inputs.of(inputs))
            labels.append(torch.as_tensor(truth))
        if not parts:
            raise AuditError(f"{name}: there are no records")
        return Inputs.cat(parts), torch.cat(labels)
    except AuditError:
        raise
    except Exception as error:  # a user's data set may raise anything
        reason = " ".join(str(error).split())[:200]
        raise AuditError(f"{name}: the records cannot be loaded: {type(error).__name__}: {reason}") from error


def _typed(what: str, values: Tensor, inputs: Inputs, scaled: bool) -> Tensor:
    if values.is_complex():
        raise AuditError(f"{what} are {values.dtype}, expected uint8 or floats")
    if values.is_floating_point() or (values.dtype == torch.bool and not inputs.several):
        floats = values.float()
        if not bool(torch.isfinite(floats).all()):
            raise AuditError(f"{what} contain NaN or infinite values")
        return floats
    levels = is_levels(values) and values.ndim > 2
    if not scaled or values.dtype == torch.bool or not values.numel() or (levels and values.dtype == torch.uint8):
        return values
    return _levels(what, values) if levels else values.to(torch.int64)


def _levels(what: str, images: Tensor) -> Tensor:
    levels = images.cpu().numpy()
    low, high = int(levels.min()), int(levels.max())
    if low < 0 or high > UINT8_MAX:
        raise AuditError(f"{what} of {levels.dtype} run from {low} to {high}; allowed are integers in 0..255, "
                         "which are divided by 255, and floats, which are taken as they are")  # fmt: skip
    if high == 1:
        raise AuditError(f"{what} of {levels.dtype} are 0 and 1 only, but integers are divided by 255: give "
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


def check_scale(first: Inputs, second: Inputs, *, names: tuple[str, str] = ("members", "nonmembers")) -> None:
    """Compares how two sides' images are scaled, and says it of floats beyond 0..1 and of sides that differ.

    Records that are no images have no scale of their own, and are not looked at.

    Args:
        first: records of one kind.
        second: more of them.
        names: of the two.

    Raises:
        AuditError: if they are scaled in two ways: one within 0..1 and the other not, or one many times the other.
    """
    images, others = first.images, second.images
    if images is None or others is None:
        return
    one, other = _Scale.of(images), _Scale.of(others)
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
    elif images.is_floating_point() and not (one.is_unit and other.is_unit):
        told = "beyond 0..1, and are taken as they are: right if the model was trained on values scaled like this"
        warnings.warn(f"{found}: {told}", RecordsWarning, stacklevel=3)


def count_shared(first: Any, second: Any) -> int:
    """Number of ``first``'s records that are among ``second``'s: each makes every attack look weaker than it is.

    Args:
        first: inputs, see :meth:`~nni_privacy.data.Inputs.of`.
        second: more of them.
    """
    known = set(Inputs.of(second).digests)
    return sum(digest in known for digest in Inputs.of(first).digests)


def warn_of_probabilities(answers: np.ndarray) -> None:
    """Says it where what was taken for logits looks like probabilities: all within 0..1, with rows that sum to 1.

    Args:
        answers: ``(n, K)``, finite.
    """
    whole = np.abs(answers.sum(axis=1, dtype=np.float64) - 1).max() < SUM_TOLERANCE
    single = answers.shape[1] == 2 and not answers[:, 0].any()  # one answer a record, which was put beside a zero
    if answers.min() >= 0 and answers.max() <= 1 and (whole or single):
        told = "the model's answers look like probabilities, and are taken for logits, which weakens attacks"
        warnings.warn(f"{told}: say outputs='probabilities' if that is what they are", RecordsWarning, stacklevel=3)
