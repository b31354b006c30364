"""Images made larger or smaller, a chunk at a time."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["resize_images"]

CHUNK = 1024


def resize_images(images: torch.Tensor, size: int) -> torch.Tensor:
    """Images ``(N, C, H, W)``, ``uint8`` or ``float32``, at ``size`` x ``size`` pixels, of the same type.

    Bilinear, and averaging where it makes smaller (antialiasing), as Pillow and torchvision's ``Resize`` do it; images
    that are not square are stretched, as in the paper.
    """
    resized = torch.empty((*images.shape[:2], size, size), dtype=images.dtype)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK].contiguous()
        resized[start : start + CHUNK] = functional.interpolate(
            chunk, size=(size, size), mode="bilinear", antialias=True
        )
    return resized
