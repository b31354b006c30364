"""A third search space, registered as a plugin would: one cell of three nodes, with one of three operations an edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nni
import numpy as np
from nni.mutable import Categorical, Mutable
from pydantic import Field
from torch import Tensor, nn

from nni_privacy.cells import Edge, SpaceRecord, register_space
from nni_privacy.errors import GenotypeError
from nni_privacy.patterns import Pattern
from nni_privacy.schema import Section
from nni_privacy.search_spaces import FixedEdges
from nni_privacy.search_spaces.network import Skeleton
from nni_privacy.search_spaces.space import CellSpace

PAIRS = ((0, 1), (0, 2), (1, 2))
OPERATIONS = {"skip_connect": "skip", "avg_pool_3x3": "pooling", "tri_conv_3x3": "convolution"}
FAVOURED = {"demotion": "avg_pool_3x3", "promotion": "tri_conv_3x3"}


@dataclass(frozen=True)
class TriangleGenotype:
    """An operation on each of three edges."""

    edges: tuple[Edge, ...]

    @classmethod
    def parse(cls, text: str) -> TriangleGenotype:
        found = text.strip().removeprefix("Triangle(").removesuffix(")").split(", ")
        if len(found) != len(PAIRS) or not set(found) <= set(OPERATIONS):
            raise GenotypeError(f"no triangle: {text!r:.80}")
        return cls(tuple(Edge(*pair, op) for pair, op in zip(PAIRS, found, strict=True)))

    @classmethod
    def from_sample(cls, sample: Mapping[str, Any]) -> TriangleGenotype:
        try:
            return cls(tuple(Edge(*pair, sample[label_of(*pair)]) for pair in PAIRS))
        except KeyError as error:
            raise GenotypeError(f"sample without {error}") from None

    def to_sample(self) -> dict[str, str]:
        return {label_of(edge.source, edge.target): edge.op for edge in self.edges}

    def edges_by_cell(self) -> dict[str, tuple[Edge, ...]]:
        return {"triangle": self.edges}

    def __str__(self) -> str:
        return f"Triangle({', '.join(edge.op for edge in self.edges)})"


def label_of(source: int, target: int) -> str:
    return f"side_{source}_{target}"


def operation(name: str, channels: int) -> nn.Module:
    if name == "tri_conv_3x3":
        return nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels))
    return nn.AvgPool2d(3, 1, 1) if name == "avg_pool_3x3" else nn.Identity()


class TriangleCell(nn.Module):
    def __init__(self, genotype: TriangleGenotype, channels: int) -> None:
        super().__init__()
        self.sides = nn.ModuleList(operation(edge.op, channels) for edge in genotype.edges)

    def forward(self, x: Tensor) -> Tensor:
        middle = self.sides[0](x)
        return self.sides[1](x) + self.sides[2](middle)


class TriangleNetwork(Skeleton):
    """Stem, cells, classifier."""

    minimum = {"channels": 1, "cells": 1, "in_channels": 1, "num_classes": 2}  # noqa: RUF012 - as its parent's

    def __init__(self, genotype: TriangleGenotype, **sizes: int) -> None:
        super().__init__(lambda channels: TriangleCell(genotype, channels), **sizes)
        self.genotype = genotype

    def add_cells(self, make_cell: Any, channels: int, cells: int) -> int:
        self.cells = nn.Sequential(*(make_cell(channels) for _ in range(cells)))
        return channels

    def features(self, images: Tensor) -> Tensor:
        return self.cells(self.stem(images)).mean(dim=(2, 3))


class Triangle(CellSpace[TriangleGenotype]):
    """The model space."""

    def __init__(self, *, channels: int = 8, cells: int = 2, in_channels: int = 3, num_classes: int = 10) -> None:
        super().__init__()
        genotype = TriangleGenotype.from_sample(self.chosen(self.choices()))
        sizes = {"channels": channels, "cells": cells, "in_channels": in_channels, "num_classes": num_classes}
        self.network = TriangleNetwork(genotype, **sizes)

    @staticmethod
    def choices() -> dict[str, Categorical]:
        return {label_of(*pair): nni.choice(label_of(*pair), list(OPERATIONS)) for pair in PAIRS}

    @staticmethod
    def fixed_edges(pattern: Pattern) -> FixedEdges:
        """From the input to as many nodes as the pattern has edges."""
        favoured = FAVOURED[pattern.objective]
        return FixedEdges({"triangle": tuple(Edge(0, node, favoured) for node in (1, 2)[: len(pattern)])})

    @classmethod
    def constrain(cls, mutables: Mapping[str, Mutable], fixed: FixedEdges) -> dict[str, Mutable]:
        labels = {label_of(edge.source, edge.target): edge.op for edge in fixed.edges["triangle"]}
        return {**mutables, **{label: nni.choice(label, [op]) for label, op in labels.items()}}

    @staticmethod
    def genotype_of(sample: Mapping[str, Any]) -> TriangleGenotype:
        return TriangleGenotype.from_sample(sample)


class TriangleSizes(Section):
    channels: int = Field(8, ge=1)
    cells: int = Field(2, ge=1)


def random_triangles(count: int, seed: int, sizes: Mapping[str, Any]) -> list[TriangleGenotype]:
    drawn = np.random.default_rng(seed).choice(list(OPERATIONS), (count, len(PAIRS)))
    return [TriangleGenotype.parse(f"Triangle({', '.join(row)})") for row in drawn.tolist()]


register_space(
    SpaceRecord(
        name="triangle",
        title="the triangles",
        prefix="Triangle",
        genotype=TriangleGenotype,
        cells=("triangle",),
        operations=OPERATIONS,
        sizes=f"{__name__}:TriangleSizes",
        model_space=f"{__name__}:Triangle",
        network=f"{__name__}:TriangleNetwork",
        sample=random_triangles,
    )
)
