"""The network of NAS-Bench-201: three stages of equal cells, residual blocks between them, a linear classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import add
from typing import ClassVar

from torch import Tensor, nn

from nni_privacy.cells.nasbench201 import NASBENCH201_NODES, NasBench201Genotype
from nni_privacy.search_spaces.network import Skeleton
from nni_privacy.search_spaces.operations import Edges, ReLUConvBN, build_nasbench201_operation

__all__ = ["NasBench201Cell", "NasBench201Network", "NasBench201Skeleton", "ReductionBlock"]

STAGES = 3


class ReductionBlock(nn.Module):
    """A basic residual block of stride 2 (He et al., CVPR 2016) with average pooling on its shortcut.

    Maps (n, in_channels, h, w) to (n, out_channels, ceil(h / 2), ceil(w / 2)).
    """

    def __init__(self, in_channels: int, out_channels: int, *, affine: bool = True) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            ReLUConvBN(in_channels, out_channels, kernel=3, stride=2, affine=affine),
            ReLUConvBN(out_channels, out_channels, kernel=3, affine=affine),
        )
        # ceil_mode matters where a side is odd only: shortcut and residual have the same size there too.
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, 2, ceil_mode=True), nn.Conv2d(in_channels, out_channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Tensor (n, in_channels, h, w) -> (n, out_channels, ceil(h / 2), ceil(w / 2))."""
        return self.shortcut(x) + self.residual(x)


class NasBench201Cell(nn.Module):
    """One cell with its operations chosen: (n, channels, h, w) -> (n, channels, h, w)."""

    def __init__(self, genotype: NasBench201Genotype, channels: int) -> None:
        super().__init__()
        # Named after what they are, so that cells which share an edge share the name of its weights.
        self.edges = Edges()
        self._into: list[list[tuple[str, int]]] = [[] for _ in range(NASBENCH201_NODES - 1)]
        for edge in genotype:
            name = f"{edge.source}-{edge.target}-{edge.op}"
            self.edges[name] = build_nasbench201_operation(edge.op, channels)
            self._into[edge.target - 1].append((name, edge.source))

    def forward(self, x: Tensor) -> Tensor:
        """The cell's input -> its last node, of the same shape."""
        states = [x]
        for into in self._into:
            states.append(reduce(add, [self.edges.along(name, states[source]) for name, source in into]))
        return states[-1]


class NasBench201Skeleton(Skeleton):
    """Stem, three stages with a reduction block, which doubles the channels, between two; BN-ReLU, pooling, classifier.

    ``make_cell`` makes a cell of so many channels, which keeps the shape of what it is given.
    """

    minimum: ClassVar[Mapping[str, int]] = {"channels": 1, "cells": 1, "in_channels": 1, "num_classes": 2}

    def add_cells(self, make_cell: Callable[[int], nn.Module], channels: int, cells: int) -> int:
        """The stages; returns the channels of the last one."""
        self.stages = nn.ModuleList()
        for stage in range(STAGES):
            if stage:
                self.stages.append(ReductionBlock(channels, 2 * channels))
                channels = 2 * channels
            self.stages.append(nn.Sequential(*(make_cell(channels) for _ in range(cells))))
        self.last = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        return channels

    @property
    def auxiliary_layer(self) -> nn.Module:
        """The second reduction block: what an auxiliary head reads in training."""
        return self.stages[-2]

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features: (n, in_channels, h, w) -> (n, 4 * channels)."""
        state = self.stem(images)
        for stage in self.stages:
            state = stage(state)
        return self.last(state).mean(dim=(2, 3))


class NasBench201Network(NasBench201Skeleton):
    """The network of ``genotype`` (Dong & Yang, ICLR 2020, figure 1 and section 2.1; its macro skeleton).

    Args:
        genotype: the cell, the same everywhere.
        **sizes: of :class:`NasBench201Skeleton`.
    """

    def __init__(self, genotype: NasBench201Genotype, **sizes: int) -> None:
        super().__init__(lambda width: NasBench201Cell(genotype, width), **sizes)
        self.genotype = genotype
