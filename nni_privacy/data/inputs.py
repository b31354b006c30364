"""What a model is fed of n records: images, a table, token ids, or several tensors that it takes together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nni_privacy.errors import DataError

__all__ = ["Inputs", "dense_tensor"]

IMAGE_DIMS = 4


@dataclass(frozen=True, eq=False)
class Inputs:
    """The inputs of n records: one tensor, or several of one first dimension, by place or by name.

    What integers mean follows from type and shape: ``uint8``, and any integers ``(n, C, H, W)``, are levels of
    brightness, which a model gets as floats; other integers are ids, which it gets as they are.

    Attributes:
        tensors: each ``(n, ...)``; one or more.
        names: of the tensors, where they came as a mapping; else empty.

    Raises:
        DataError: if there is no tensor, or their first dimensions differ.
    """

    tensors: tuple[Tensor, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.tensors or len({tensor.shape[:1] for tensor in self.tensors}) != 1 or not self.tensors[0].ndim:
            raise DataError(f"inputs {self.shapes}: expected one tensor or more, with the same first dimension")

    @classmethod
    def of(cls, values: Any) -> Inputs:
        """The inputs that ``values`` stand for; those that are there already are returned as they are.

        Args:
            values: a tensor or an array ``(n, ...)``, a tuple or list of such, or a mapping of names to such.

        Raises:
            DataError: if one is not made of numbers, is not dense, or lengths differ.
        """
        if isinstance(values, Inputs):
            return values
        if isinstance(values, Mapping):
            return cls(tuple(map(dense_tensor, values.values())), tuple(map(str, values)))
        if isinstance(values, tuple | list) and values and all(getattr(part, "ndim", 0) for part in values):
            return cls(tuple(map(dense_tensor, values)))
        return cls((dense_tensor(values),))

    @classmethod
    def cat(cls, parts: Sequence[Inputs]) -> Inputs:
        """The records of all parts, one after the other.

        Raises:
            DataError: if they differ in names, types or shapes.
        """
        if len({part.kind for part in parts}) > 1:
            raise DataError(f"{parts[0].noun} differ in shape or type: {' and '.join(map(str, parts))}")
        return cls(tuple(map(torch.cat, zip(*(part.tensors for part in parts), strict=True))), parts[0].names)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, rows: Any) -> Inputs:
        return Inputs(tuple(tensor[rows] for tensor in self.tensors), self.names)

    def __str__(self) -> str:
        if not self.several:
            return f"{self.tensors[0].dtype} {self.noun} {self.shapes}"
        return f"records ({', '.join(f'{name}: {one.dtype} {tuple(one.shape)}' for name, one in self.items())})"

    @property
    def several(self) -> bool:
        """Whether there is more than one tensor, or one with a name."""
        return len(self.tensors) > 1 or bool(self.names)

    @property
    def value(self) -> Any:
        """The tensor itself; of several a tuple, or a dictionary by name."""
        if self.names:
            return dict(self.items())
        return self.tensors if self.several else self.tensors[0]

    @property
    def images(self) -> Tensor | None:
        """The images, where that is what the records are: one tensor ``(n, C, H, W)``, or levels ``(n, H, W)``."""
        one = self.tensors[0]
        grey = one.dtype == torch.uint8 and one.ndim == IMAGE_DIMS - 1
        return one if not self.several and (one.ndim >= IMAGE_DIMS or grey) else None

    @property
    def numbers(self) -> Tensor | None:
        """The only tensor, where its values can be scaled and moved: images, or floats of any shape."""
        one = self.tensors[0]
        return one if not self.several and (one.is_floating_point() or self.images is not None) else None

    @property
    def noun(self) -> str:
        """What messages call the records."""
        return "records" if self.images is None else "images"

    @property
    def shapes(self) -> str:
        """Shapes as messages tell them."""
        shapes = [str(tuple(tensor.shape)) for tensor in self.tensors]
        return shapes[0] if len(shapes) == 1 else f"({', '.join(shapes)})"

    @property
    def kind(self) -> tuple[Any, ...]:
        """What inputs of one model have in common: names, types and all of the shapes but the number of records."""
        return tuple((name, tensor.dtype, tensor.shape[1:]) for name, tensor in self.items())

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors; the names of those without one are their places, from 0."""
        return zip(self.names or map(str, range(len(self.tensors))), self.tensors, strict=False)

    def map(self, change: Callable[[Tensor], Tensor]) -> Inputs:
        """The inputs with every tensor changed."""
        return Inputs(tuple(map(change, self.tensors)), self.names)

    def to(self, device: torch.device) -> Inputs:
        """The inputs on a device."""
        return self.map(lambda tensor: tensor.to(device))

    def split(self, size: int) -> list[Inputs]:
        """Batches of ``size`` records, in their order; the last may be smaller."""
        return [self[start : start + size] for start in range(0, len(self), size)]

    @cached_property
    def digests(self) -> list[bytes]:
        """A digest of each record; equal ones are of equal records."""
        parts = (tensor.contiguous().cpu() for tensor in self.tensors)
        arrays = [part.reshape(len(part), part.shape[1:].numel()).view(torch.uint8).numpy() for part in parts]
        found = []
        for record in zip(*arrays, strict=True):
            digest = hashlib.blake2b(digest_size=16)
            for part in record:
                digest.update(part)
            found.append(digest.digest())
        return found


def dense_tensor(values: Any) -> Tensor:
    """A tensor of what can be read as an array of numbers, detached.

    Raises:
        DataError: if it cannot, or is sparse or nested.
    """
    try:
        if not isinstance(values, Tensor | np.ndarray) and hasattr(values, "__array__"):
            values = np.array(values)  # a copy: what pandas shows cannot be written to
        if isinstance(values, np.ndarray):
            values = values.astype(values.dtype.newbyteorder("="), copy=False)  # torch knows no other
        tensor = torch.as_tensor(values)
        tensor = tensor.detach() if tensor.requires_grad else tensor
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"expected tensors or arrays of numbers, all records of one length ({error})") from error
    if tensor.is_nested or tensor.layout != torch.strided:
        raise DataError("expected dense tensors, found a sparse or nested one: pad it, or use to_dense()")
    return tensor
