"""One data set: all images and labels as two tensors in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from nni_privacy.data.split import FourWaySplit, split_four_ways
from nni_privacy.errors import DataError

__all__ = ["Dataset", "resize_images"]

IMAGE_DIMS = 4
MIN_CLASSES = 2
_LARGEST_IMAGE = 4096
CHUNK = 1024  # images that are resized at once


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels of a classification task, held in memory and indexed, never streamed.

    Attributes:
        name: what the data set is called in reports.
        images: ``(N, C, H, W)``, ``uint8`` in 0..255 or ``float32`` (finite, any range). Those of CelebA are a file
            that is mapped into memory.
        labels: ``(N,)`` ``int64`` in ``0..num_classes - 1``.
        num_classes: number of classes K, at least 2.
        stratified: whether :meth:`split` deals out class by class.
        classes: names of the K classes, where the data set has some; else empty.

    Raises:
        DataError: if a shape or type is another, lengths differ, a label is out of range or a pixel is not finite.
    """

    name: str
    images: torch.Tensor
    labels: torch.Tensor
    num_classes: int
    stratified: bool = False
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = tuple(self.images.shape)
        if self.images.ndim != IMAGE_DIMS or 0 in shape:
            raise DataError(f"{self.name}: images have shape {shape}, expected a non-empty (N, C, H, W)")
        if self.images.dtype not in (torch.uint8, torch.float32):
            raise DataError(f"{self.name}: images are {self.images.dtype}, expected torch.uint8 or torch.float32")
        if self.images.dtype == torch.float32 and not bool(torch.isfinite(self.images).all()):
            raise DataError(f"{self.name}: images contain NaN or infinite values")
        if self.labels.ndim != 1 or self.labels.dtype != torch.int64:
            found = f"{self.labels.dtype} of shape {tuple(self.labels.shape)}"
            raise DataError(f"{self.name}: labels are {found}, expected torch.int64 of shape (N,)")
        if len(self.labels) != len(self.images):
            raise DataError(f"{self.name}: {len(self.images)} images but {len(self.labels)} labels")
        if self.num_classes < MIN_CLASSES:
            raise DataError(f"{self.name}: num_classes is {self.num_classes}, expected {MIN_CLASSES} or more")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= self.num_classes:
            raise DataError(f"{self.name}: labels run from {low} to {high}, expected 0..{self.num_classes - 1}")
        if len(self.classes) not in (0, self.num_classes):
            raise DataError(f"{self.name}: {len(self.classes)} names of classes, expected {self.num_classes}")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        kind = str(self.images.dtype).removeprefix("torch.")
        return f"Dataset({self.name!r}, images={tuple(self.images.shape)} {kind}, num_classes={self.num_classes})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def subset(self, limit: int, *, seed: int = 0) -> Dataset:
        """A random subset of at most ``limit`` records, drawn without replacement and kept in the original order.

        Raises:
            DataError: if ``limit`` is below 1.
        """
        if limit < 1:
            raise DataError(f"{self.name}: limit is {limit}: allowed are integers of 1 or more")
        if limit >= len(self):
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self), size=limit, replace=False))
        index = torch.from_numpy(chosen)
        return replace(self, images=self.images[index], labels=self.labels[index])

    def resized(self, image_size: int) -> Dataset:
        """The same records at ``image_size`` x ``image_size`` pixels; itself if they are that large.

        Raises:
            DataError: if ``image_size`` is below 1 or above 4096.
        """
        if not 1 <= image_size <= _LARGEST_IMAGE:
            raise DataError(f"{self.name}: image_size is {image_size}: allowed are integers from 1 to {_LARGEST_IMAGE}")
        if self.image_shape[1:] == (image_size, image_size):
            return self
        return replace(self, images=resize_images(self.images, image_size))

    def split(self, *, seed: int) -> FourWaySplit:
        """The paper's four parts, see :func:`~nni_privacy.data.split_four_ways`; class by class if ``stratified``.

        Raises:
            DataError: if there are fewer than 4 records (of a class, if stratified), or the seed is negative.
        """
        return split_four_ways(len(self), seed=seed, labels=self.labels.numpy() if self.stratified else None)


def resize_images(images: torch.Tensor, size: int) -> torch.Tensor:
    """Images ``(N, C, H, W)``, ``uint8`` or ``float32``, at ``size`` x ``size`` pixels, of the same type.

    Bilinear, and averaging where it makes smaller (antialiasing), as Pillow and torchvision's ``Resize`` do it; images
    that are not square are stretched, as in the paper.
    """
    resized = torch.empty((*images.shape[:2], size, size), dtype=images.dtype)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK].contiguous()
        scaled = functional.interpolate(chunk, size=(size, size), mode="bilinear", antialias=True)
        resized[start : start + CHUNK] = scaled
    return resized
