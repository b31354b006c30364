"""The operations of the DARTS space as torch modules (Liu et al., DARTS, ICLR 2019, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor, cat, nn
from torch.nn import functional

from nni_privacy.cells.darts import DARTS_OPERATIONS

__all__ = ["OPERATIONS", "FactorizedReduce", "ReLUConvBN", "build_operation"]


class ReLUConvBN(nn.Sequential):
    """ReLU, convolution, batch normalisation: brings a cell's input to the cell's width."""

    def __init__(self, in_channels: int, out_channels: int, *, affine: bool = True) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels, affine=affine),
        )


class FactorizedReduce(nn.Module):
    """Halves the resolution without losing pixels: two 1x1 convolutions of stride 2, one of them shifted by a pixel.

    Maps (n, in_channels, h, w) to (n, out_channels, ceil(h / 2), ceil(w / 2)).
    """

    def __init__(self, in_channels: int, out_channels: int, *, affine: bool = True) -> None:
        super().__init__()
        half = out_channels // 2
        # A single channel cannot be shared between the two.
        self.straight = nn.Conv2d(in_channels, half, 1, stride=2, bias=False) if half else None
        self.shifted = nn.Conv2d(in_channels, out_channels - half, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Tensor (n, in_channels, h, w) -> (n, out_channels, ceil(h / 2), ceil(w / 2))."""
        x = functional.relu(x)
        # The padding is read only where a side is odd; it keeps both halves equally large there.
        shifted = self.shifted(functional.pad(x[:, :, 1:, 1:], (0, 1, 0, 1)))
        return self.norm(shifted if self.straight is None else cat([self.straight(x), shifted], dim=1))


class PoolBN(nn.Sequential):
    """3x3 pooling, then a batch normalisation without parameters, as every pooling of the paper's networks has it."""

    def __init__(self, pool: nn.Module, channels: int) -> None:
        super().__init__(pool, nn.BatchNorm2d(channels, affine=False))


def _depthwise_separable(channels: int, kernel: int, stride: int, dilation: int, affine: bool) -> list[nn.Module]:
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    ]


def _max_pool(channels: int, stride: int, affine: bool) -> nn.Module:
    return PoolBN(nn.MaxPool2d(3, stride, padding=1), channels)


def _avg_pool(channels: int, stride: int, affine: bool) -> nn.Module:
    return PoolBN(nn.AvgPool2d(3, stride, padding=1, count_include_pad=False), channels)


def _skip_connect(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=affine)


def _separable(kernel: int) -> OperationBuilder:
    def build(channels: int, stride: int, affine: bool) -> nn.Module:
        first = _depthwise_separable(channels, kernel, stride, 1, affine)
        return nn.Sequential(*first, *_depthwise_separable(channels, kernel, 1, 1, affine))

    return build


def _dilated(kernel: int) -> OperationBuilder:
    def build(channels: int, stride: int, affine: bool) -> nn.Module:
        return nn.Sequential(*_depthwise_separable(channels, kernel, stride, 2, affine))

    return build


OperationBuilder = Callable[[int, int, bool], nn.Module]

OPERATIONS: Mapping[str, OperationBuilder] = MappingProxyType(
    {
        "max_pool_3x3": _max_pool,
        "avg_pool_3x3": _avg_pool,
        "skip_connect": _skip_connect,
        "sep_conv_3x3": _separable(3),
        "sep_conv_5x5": _separable(5),
        "dil_conv_3x3": _dilated(3),
        "dil_conv_5x5": _dilated(5),
    }
)
"""Builders (channels, stride, affine) -> module by operation name; every module keeps the number of channels."""

if tuple(OPERATIONS) != DARTS_OPERATIONS:  # a genotype must never name an operation that cannot be built
    raise RuntimeError("operations.OPERATIONS and cells.DARTS_OPERATIONS differ")


def build_operation(name: str, channels: int, *, stride: int = 1, affine: bool = True) -> nn.Module:
    """The module of operation ``name``: (n, channels, h, w) -> (n, channels, ceil(h / stride), ceil(w / stride))."""
    return OPERATIONS[name](channels, stride, affine)
