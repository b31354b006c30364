"""Per-channel normalisation, applied to each batch on the fly so that the images may stay ``uint8`` in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nni_privacy.errors import DataError

__all__ = ["Normalizer", "is_levels", "to_float"]

UINT8_MAX = 255.0
CHUNK = 1024  # images counted or summed at once, the latter in float64: 1,024 CIFAR images are 25 MB
LEVELS = 256
IMAGE_DIMS, TABLE_DIMS = 4, 2


def is_levels(tensor: torch.Tensor) -> bool:
    """Whether these are levels of brightness, 0..255: ``uint8``, or integers (or truth values) of four dimensions."""
    return tensor.dtype == torch.uint8 or (tensor.ndim >= IMAGE_DIMS and not tensor.is_floating_point())


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Images as a model is fed without normaliser: integers 0..255 become ``float32`` 0..1, floats ``float32``."""
    if images.is_floating_point() or images.dtype == torch.bool:
        return images.float()
    return images.float() / UINT8_MAX


@dataclass(frozen=True)
class Normalizer:
    """Maps images ``(B, C, H, W)`` to ``(to_float(images) - mean) / std``, channel by channel, on the images' device.

    Tables ``(B, d)`` of floats likewise, column by column.

    Attributes:
        mean: one number per channel (column), in the units of :func:`to_float`.
        std: one positive number per channel (column).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise DataError(
                f"{len(self.mean)} means but {len(self.std)} standard deviations, expected one each per channel"
            )
        if min(self.std) <= 0:
            raise DataError(f"a standard deviation is {min(self.std)}, expected a number above 0")

    @classmethod
    def fit(cls, images: torch.Tensor) -> Normalizer:
        """Mean and standard deviation of each channel of ``images`` ``(N, C, H, W)``; a constant channel gets 1.

        Of a table ``(N, d)`` of floats, of each column.

        Fit it on the target-train part only: statistics of other parts would tell the model about its non-members.

        Raises:
            DataError: if there are no records, or these are neither images nor a table of floats.
        """
        if images.ndim == TABLE_DIMS and images.is_floating_point() and images.numel():
            return cls.fit(images[:, :, None, None])
        if images.ndim != IMAGE_DIMS or images.numel() == 0:
            found = f"images have shape {tuple(images.shape)} ({images.dtype})"
            raise DataError(f"{found}, expected a non-empty (N, C, H, W), or a table of floats (N, d)")
        mean, std = (_uint8_statistics if images.dtype == torch.uint8 else _float_statistics)(images)
        std[std < torch.finfo(torch.float32).eps] = 1.0
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """The normalised images; raises a :class:`DataError` if they have another number of channels."""
        if images.shape[1] != len(self.mean):
            raise DataError(f"images have {images.shape[1]} channels, the normaliser has {len(self.mean)}")
        shape = (1, -1, *[1] * (images.ndim - TABLE_DIMS))
        mean = torch.tensor(self.mean, dtype=torch.float32, device=images.device).view(shape)
        std = torch.tensor(self.std, dtype=torch.float32, device=images.device).view(shape)
        return (to_float(images) - mean) / std


def _uint8_statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation ``(C,)`` of :func:`to_float` of the images, exactly, from how often each grey level occurs."""
    counts = np.zeros((images.shape[1], LEVELS), dtype=np.int64)
    for chunk in images.split(CHUNK):
        for channel, levels in enumerate(chunk.cpu().numpy().swapaxes(0, 1)):
            counts[channel] += np.bincount(levels.ravel(), minlength=LEVELS)
    levels = to_float(torch.arange(LEVELS, dtype=torch.uint8)).double()
    shares = torch.from_numpy(counts / counts.sum(axis=1, keepdims=True))
    mean = shares @ levels
    return mean, (shares * (levels - mean[:, None]) ** 2).sum(dim=1).sqrt()


def _float_statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    count = images.shape[0] * images.shape[2] * images.shape[3]
    total = torch.zeros(images.shape[1], dtype=torch.float64)
    for chunk in images.split(CHUNK):
        total += to_float(chunk).double().sum(dim=(0, 2, 3)).cpu()
    mean = total / count
    squares = torch.zeros_like(mean)
    for chunk in images.split(CHUNK):
        squares += ((to_float(chunk).double().cpu() - mean.view(1, -1, 1, 1)) ** 2).sum(dim=(0, 2, 3))
    return mean, (squares / count).sqrt()
