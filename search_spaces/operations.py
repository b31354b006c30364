"""The operations of the DARTS space and of NAS-Bench-201 as torch modules.

DARTS: Liu et al., ICLR 2019, section 3. NAS-Bench-201: Dong & Yang, ICLR 2020, section 2.1; its pooling has no batch
normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor, cat, nn
from torch.nn import functional

from nni_privacy.cells.darts import DARTS_OPERATIONS
from nni_privacy.cells.nasbench201 import NASBENCH201_OPERATIONS
from nni_privacy.training.convolutions import DilatedDepthwise
from nni_privacy.training.drop_path import drop_path

__all__ = ["Edges", "FactorizedReduce", "ReLUConvBN", "build_nasbench201_operation", "build_operation"]


class Edges(nn.ModuleDict):
    """The operations of a cell by the names of their edges.

    In training each is dropped with the probability that was set last, 0 at first, but for identities
    (:mod:`nni_privacy.training.drop_path`).
    """

    drop_prob = 0.0

    def along(self, name: str, state: Tensor) -> Tensor:
        """What an edge makes of the node that it comes from."""
        operation = self[name]
        output: Tensor = operation(state)
        if self.drop_prob and self.training and not isinstance(operation, nn.Identity):
            return drop_path(output, self.drop_prob)
        return output


class ReLUConvBN(nn.Sequential):
    """ReLU, convolution, batch normalisation: (n, in_channels, h, w) -> (n, out_channels, ceil(h / stride), ...)."""

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: int = 1, stride: int = 1, affine: bool = True
    ) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
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


class Zero(nn.Module):
    """No connection: a tensor of zeros of the input's shape."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> zeros (n, c, h, w)."""
        # A product keeps the graph whole: what lies before gets a gradient of zero rather than none at all, which
        # per-sample gradients (white-box attacks, DP-SGD) need.
        return x * 0.0


def _depthwise_separable(depthwise: nn.Conv2d, affine: bool) -> list[nn.Module]:
    channels = depthwise.out_channels
    return [
        nn.ReLU(),
        depthwise,
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    ]


def _depthwise(channels: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)


def _separable(channels: int, kernel: int, stride: int, affine: bool) -> nn.Module:
    return nn.Sequential(
        *_depthwise_separable(_depthwise(channels, kernel, stride), affine),
        *_depthwise_separable(_depthwise(channels, kernel, 1), affine),
    )


def _dilated(channels: int, kernel: int, stride: int, affine: bool) -> nn.Module:
    return nn.Sequential(*_depthwise_separable(DilatedDepthwise(channels, kernel, stride), affine))


_DARTS: Mapping[str, Callable[[int, int, bool], nn.Module]] = MappingProxyType(
    {
        "max_pool_3x3": lambda channels, stride, _: PoolBN(nn.MaxPool2d(3, stride, padding=1), channels),
        "avg_pool_3x3": lambda channels, stride, _: PoolBN(
            nn.AvgPool2d(3, stride, padding=1, count_include_pad=False), channels
        ),
        "skip_connect": lambda channels, stride, affine: (
            nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=affine)
        ),
        "sep_conv_3x3": lambda channels, stride, affine: _separable(channels, 3, stride, affine),
        "sep_conv_5x5": lambda channels, stride, affine: _separable(channels, 5, stride, affine),
        "dil_conv_3x3": lambda channels, stride, affine: _dilated(channels, 3, stride, affine),
        "dil_conv_5x5": lambda channels, stride, affine: _dilated(channels, 5, stride, affine),
    }
)
"""DARTS: builders (channels, stride, affine) -> module by operation name; all keep the number of channels."""

_NASBENCH201: Mapping[str, Callable[[int, bool], nn.Module]] = MappingProxyType(
    {
        "none": lambda channels, affine: Zero(),
        "skip_connect": lambda channels, affine: nn.Identity(),
        "nor_conv_1x1": lambda channels, affine: ReLUConvBN(channels, channels, kernel=1, affine=affine),
        "nor_conv_3x3": lambda channels, affine: ReLUConvBN(channels, channels, kernel=3, affine=affine),
        "avg_pool_3x3": lambda channels, affine: nn.AvgPool2d(3, 1, padding=1, count_include_pad=False),
    }
)
"""NAS-Bench-201: builders (channels, affine) -> module by operation name."""

if (tuple(_DARTS), tuple(_NASBENCH201)) != (DARTS_OPERATIONS, NASBENCH201_OPERATIONS):
    raise RuntimeError("a genotype must never name an operation that cannot be built")


def build_operation(name: str, channels: int, *, stride: int = 1, affine: bool = True) -> nn.Module:
    """The module of a DARTS operation: (n, channels, h, w) -> (n, channels, ceil(h / stride), ceil(w / stride))."""
    return _DARTS[name](channels, stride, affine)


def build_nasbench201_operation(name: str, channels: int, *, affine: bool = True) -> nn.Module:
    """The module of operation ``name``: (n, channels, h, w) -> (n, channels, h, w).

    Args:
        name: one of :data:`~nni_privacy.cells.nasbench201.NASBENCH201_OPERATIONS`.
        channels: of input and output.
        affine: whether a batch normalisation has weights of its own.
    """
    return _NASBENCH201[name](channels, affine)
