"""The macro skeleton of all spaces' networks, and the network of a DARTS genotype."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, cat, nn

from nni_privacy.cells.darts import INPUT_NODES, Cell, Genotype
from nni_privacy.cells.genotypes import parse_genotype
from nni_privacy.cells.spaces import MOST
from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.operations import Edges, FactorizedReduce, ReLUConvBN, build_operation

__all__ = ["CellNetwork", "CellShape", "CellSkeleton", "DiscreteCell", "Skeleton", "input_layers"]
__all__ += ["reduction_positions"]

STEM_MULTIPLIER = 3
"""The stem is three times as wide as the first cell's nodes (DARTS' released code)."""


class Skeleton(nn.Module, ABC):
    """A stem, cells, global pooling and a linear classifier: images (n, in_channels, h, w) -> logits (n, K).

    Args:
        make_cell: makes a cell; a subclass says what of.
        channels: channels of the first cells, C.
        cells: number of cells (of a stage, where there are stages).
        in_channels: channels of the images.
        num_classes: number of classes, K.

    Raises:
        ConfigError: if a size is not a whole number or too small.

    Attributes:
        minimum: the smallest value of each size that the network is built with.
        stem_multiplier: how many times as wide as the first cells the stem is.
        sizes: that the network was built with.
        classifier: the last layer.
    """

    minimum: ClassVar[Mapping[str, int]]
    stem_multiplier: ClassVar[int] = 1

    def __init__(
        self,
        make_cell: Callable[..., nn.Module],
        *,
        channels: int = 16,
        cells: int = 5,
        in_channels: int = 3,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        self.sizes = {"channels": channels, "cells": cells, "in_channels": in_channels, "num_classes": num_classes}
        self.check_sizes(**self.sizes)
        width = self.stem_multiplier * channels
        self.stem = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.classifier = nn.Linear(self.add_cells(make_cell, channels, cells), num_classes)

    @classmethod
    def of(cls, *, genotype: str, **sizes: int) -> nn.Module:
        """The network of a genotype's text, for factories; of classes whose first argument is a genotype."""
        return cls(parse_genotype(genotype), **sizes)  # type: ignore[arg-type]

    @classmethod
    def check_sizes(cls, **sizes: object) -> None:
        """Raises ConfigError for the first of ``sizes`` that is no whole number from its minimum to its most."""
        for name, value in sizes.items():
            if type(value) is not int or value < cls.minimum[name]:
                raise ConfigError(f"{name}: {value!r}; allowed is a whole number of at least {cls.minimum[name]}")
            if value > MOST.get(name, value):
                raise ConfigError(f"{name}: {value!r}; allowed is a whole number of at most {MOST[name]}")

    @classmethod
    def check_choices(cls, **sizes: object) -> None:
        """The same of sizes that a search chooses, each a number or a list of them."""
        for name, size in sizes.items():
            for one in size if isinstance(size, list | tuple) else [size]:
                cls.check_sizes(**{name: one})

    @abstractmethod
    def add_cells(self, make_cell: Callable[..., nn.Module], channels: int, cells: int) -> int:
        """Builds what stands between stem and pooling; returns the number of features."""

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Penultimate features: (n, in_channels, h, w) -> (n, F)."""

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, in_channels, h, w) -> logits (n, K)."""
        return self.classifier(self.features(images))


def reduction_positions(cells: int) -> tuple[int, int]:
    """Where the two reduction cells stand among ``cells`` cells: at N // 3 and 2 N // 3 (paper, section 4.1)."""
    return cells // 3, 2 * cells // 3


@dataclass(frozen=True)
class CellShape:
    """What a cell needs to know of its place in the network.

    Attributes:
        reduction: whether edges from the inputs halve the resolution.
        after_reduction: whether the previous cell did so, so that the input before it has twice the resolution.
        before_last_channels: channels of the output of the cell before the previous one.
        last_channels: channels of the output of the previous cell.
        channels: channels of every node.
    """

    reduction: bool
    after_reduction: bool
    before_last_channels: int
    last_channels: int
    channels: int


def input_layers(shape: CellShape, *, affine: bool = True) -> tuple[nn.Module, nn.Module]:
    """What brings the outputs of the two cells before to this cell's width and resolution."""
    before_last = FactorizedReduce if shape.after_reduction else ReLUConvBN
    return (
        before_last(shape.before_last_channels, shape.channels, affine=affine),
        ReLUConvBN(shape.last_channels, shape.channels, affine=affine),
    )


class DiscreteCell(nn.Module):
    """One cell with its operations chosen: (previous but one, previous) -> concatenation of its intermediate nodes.

    Args:
        cell: the edges.
        shape: its place in the network.
    """

    def __init__(self, cell: Cell, *, shape: CellShape) -> None:
        super().__init__()
        self.preprocess0, self.preprocess1 = input_layers(shape)
        # Named after what they are, so that cells which share an edge share the name of its weights.
        self.edges = Edges()
        self._into: list[list[tuple[str, int]]] = [[] for _ in range(cell.nodes)]
        for edge in cell:
            name = f"{edge.source}-{edge.target}-{edge.op}"
            stride = 2 if shape.reduction and edge.source < INPUT_NODES else 1
            self.edges[name] = build_operation(edge.op, shape.channels, stride=stride)
            self._into[edge.target - INPUT_NODES].append((name, edge.source))
        self.out_channels = shape.channels * cell.nodes

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        """Outputs of the two cells before -> the output of this one, (n, channels * nodes, h', w')."""
        states = [self.preprocess0(before_last), self.preprocess1(last)]
        for (first, source1), (second, source2) in self._into:
            states.append(self.edges.along(first, states[source1]) + self.edges.along(second, states[source2]))
        return cat(states[INPUT_NODES:], dim=1)


class CellSkeleton(Skeleton):
    """Stem, N >= 3 cells with two reductions, which double the channels, global pooling, linear classifier.

    ``make_cell`` makes the cell of a :class:`CellShape`; it has ``out_channels``.
    """

    minimum: ClassVar[Mapping[str, int]] = {"channels": 1, "cells": 3, "nodes": 1, "in_channels": 1, "num_classes": 2}
    stem_multiplier = STEM_MULTIPLIER

    def add_cells(self, make_cell: Callable[[CellShape], nn.Module], channels: int, cells: int) -> int:
        """The cells; returns the channels of the last one's output."""
        self.cells = nn.ModuleList()
        before_last = last = self.stem_multiplier * channels
        after_reduction = False
        for position in range(cells):
            reduction = position in reduction_positions(cells)
            channels = 2 * channels if reduction else channels
            cell = make_cell(CellShape(reduction, after_reduction, before_last, last, channels))
            self.cells.append(cell)
            before_last, last, after_reduction = last, int(cell.out_channels), reduction  # type: ignore[arg-type]
        return last

    @property
    def auxiliary_layer(self) -> nn.Module:
        """The second reduction cell, as in DARTS: what an auxiliary head reads in training."""
        return self.cells[reduction_positions(len(self.cells))[1]]

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features: (n, in_channels, h, w) -> (n, F)."""
        before_last = last = self.stem(images)
        for cell in self.cells:
            before_last, last = last, cell(before_last, last)
        return last.mean(dim=(2, 3))


class CellNetwork(CellSkeleton):
    """The network of ``genotype`` (paper, section 4.1; reference: DARTS' evaluation network without auxiliary head).

    Args:
        genotype: the normal and the reduction cell.
        **sizes: of :class:`CellSkeleton`.
    """

    def __init__(self, genotype: Genotype, **sizes: int) -> None:
        super().__init__(
            lambda shape: DiscreteCell(genotype.reduction if shape.reduction else genotype.normal, shape=shape), **sizes
        )
        self.genotype = genotype
