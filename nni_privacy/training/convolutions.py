"""Dilated depthwise convolution, computed on the CPU as ordinary ones of what a dilated kernel sees."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["DilatedDepthwise"]

DILATION = 2


class DilatedDepthwise(nn.Conv2d):
    """A convolution of every channel by itself with a kernel that takes every second pixel.

    Equal to ``nn.Conv2d(C, C, kernel, stride, padding=kernel - 1, dilation=2, groups=C, bias=False)``, with the same
    parameters. oneDNN has no fast kernel for it: on a CPU it takes up to seven times as long as one without dilation.
    A dilated kernel on even pixels sees even pixels only, so that an image falls apart into four of half the side,
    which are convolved without dilation; with stride 2 the first of the four is all that is seen.

    Args:
        channels: of input and output, C.
        kernel: side of the kernel, odd.
        stride: 1 or 2.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, kernel - 1, DILATION, groups=channels, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """(n, C, h, w) -> (n, C, ceil(h / stride), ceil(w / stride))."""
        if not images.is_cpu:
            return super().forward(images)
        if self.stride == (DILATION, DILATION):
            return self._undilated(images[:, :, ::DILATION, ::DILATION])
        height, width = images.shape[2:]
        even = functional.pad(images, (0, width % DILATION, 0, height % DILATION))
        return _joined(self._undilated(_parts(even)))[:, :, :height, :width]

    def _undilated(self, images: Tensor) -> Tensor:
        padding = self.kernel_size[0] // 2
        return functional.conv2d(images, self.weight, padding=padding, groups=self.groups)


# Channels stay last in memory throughout, as they come: elsewhere the copies would cost what the convolution saves.
def _parts(images: Tensor) -> Tensor:
    """(n, C, 2 h, 2 w) -> (4 n, C, h, w): even and odd rows, of either the even and the odd columns."""
    n, channels, height, width = images.shape
    pixels = images.permute(0, 2, 3, 1).reshape(n, height // 2, 2, width // 2, 2, channels)
    parts = pixels.permute(2, 4, 0, 1, 3, 5).reshape(4 * n, height // 2, width // 2, channels)
    return parts.permute(0, 3, 1, 2)


def _joined(parts: Tensor) -> Tensor:
    """The inverse: (4 n, C, h, w) -> (n, C, 2 h, 2 w)."""
    n, (channels, height, width) = len(parts) // 4, parts.shape[1:]
    pixels = parts.permute(0, 2, 3, 1).reshape(2, 2, n, height, width, channels).permute(2, 3, 0, 4, 1, 5)
    return pixels.contiguous().reshape(n, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
