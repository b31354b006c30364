"""The operations of NAS-Bench-201 as torch modules (Dong & Yang, NAS-Bench-201, ICLR 2020, section 2.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor, nn

from nni_privacy.cells.nasbench201 import NASBENCH201_OPERATIONS

__all__ = ["NASBENCH201_BUILDERS", "ConvolutionUnit", "Zero", "build_nasbench201_operation"]


class ConvolutionUnit(nn.Sequential):
    """ReLU, convolution, batch normalisation: (n, in_channels, h, w) -> (n, out_channels, ceil(h / stride), ...)."""

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: int, stride: int = 1, affine: bool = True
    ) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(out_channels, affine=affine),
        )


class Zero(nn.Module):
    """No connection: a tensor of zeros of the input's shape."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> zeros (n, c, h, w)."""
        # A product keeps the graph whole: what lies before gets a gradient of zero rather than none at all, which
        # per-sample gradients (white-box attacks, DP-SGD) need.
        return x * 0.0


def _none(channels: int, affine: bool) -> nn.Module:
    return Zero()


def _skip_connect(channels: int, affine: bool) -> nn.Module:
    return nn.Identity()


def _avg_pool(channels: int, affine: bool) -> nn.Module:
    return nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)


def _convolution(kernel: int) -> OperationBuilder:
    def build(channels: int, affine: bool) -> nn.Module:
        return ConvolutionUnit(channels, channels, kernel=kernel, affine=affine)

    return build


OperationBuilder = Callable[[int, bool], nn.Module]

NASBENCH201_BUILDERS: Mapping[str, OperationBuilder] = MappingProxyType(
    {
        "none": _none,
        "skip_connect": _skip_connect,
        "nor_conv_1x1": _convolution(1),
        "nor_conv_3x3": _convolution(3),
        "avg_pool_3x3": _avg_pool,
    }
)
"""Builders (channels, affine) -> module by operation name."""

if tuple(NASBENCH201_BUILDERS) != NASBENCH201_OPERATIONS:  # a genotype must never name what cannot be built
    raise RuntimeError("NASBENCH201_BUILDERS and NASBENCH201_OPERATIONS differ")


def build_nasbench201_operation(name: str, channels: int, *, affine: bool = True) -> nn.Module:
    """The module of operation ``name``: (n, channels, h, w) -> (n, channels, h, w).

    Args:
        name: one of :data:`~nni_privacy.cells.nasbench201.NASBENCH201_OPERATIONS`.
        channels: of input and output.
        affine: whether a batch normalisation has weights of its own.
    """
    return NASBENCH201_BUILDERS[name](channels, affine)
