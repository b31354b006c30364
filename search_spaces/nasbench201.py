"""The NAS-Bench-201 search space as an NNI model space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nni
from nni.mutable import Categorical, Mutable

from nni_privacy.cells.nasbench201 import (
    NASBENCH201_CELL,
    NASBENCH201_EDGES,
    NASBENCH201_OPERATIONS,
    NasBench201Genotype,
    edge_label,
)
from nni_privacy.patterns import Pattern, input_edges
from nni_privacy.search_spaces.constraints import FixedEdges
from nni_privacy.search_spaces.nasbench201_network import NasBench201Network
from nni_privacy.search_spaces.nasbench201_supernet import build_nasbench201_supernet
from nni_privacy.search_spaces.space import SIZES, CellSpace, Size

__all__ = ["NasBench201"]

DEFAULT_OPERATION = "nor_conv_3x3"
"""On every edge of an unfrozen space: with the first of the operations, ``none``, its network would be cut in two."""


class NasBench201(CellSpace[NasBench201Genotype]):
    """The space of NAS-Bench-201 (Dong & Yang, ICLR 2020): one cell of six edges with one of five operations each.

    Args:
        channels: channels of the first stage, C; a list of them is a choice, which the search makes, too.
        cells: cells per stage, of which there are three, or a list.
        in_channels: channels of the images: 1 grey, 3 RGB.
        num_classes: number of classes, K.

    Maps images (n, in_channels, h, w) to logits (n, K). Unfrozen, it runs the architecture with nor_conv_3x3 on every
    edge.

    Raises:
        ConfigError: if a size is not a whole number or too small.
    """

    def __init__(self, *, channels: Size = 16, cells: Size = 5, in_channels: int = 3, num_classes: int = 10) -> None:
        super().__init__()
        NasBench201Network.check_choices(channels=channels, cells=cells)
        sample = self.chosen(self.choices(), {"channels": channels, "cells": cells})
        genotype = NasBench201Genotype.from_sample(sample)
        sizes = {label: sample[label] for label in SIZES}
        self.network = NasBench201Network(genotype, **sizes, in_channels=in_channels, num_classes=num_classes)

    @staticmethod
    def choices() -> dict[str, Categorical]:
        """The choices of the space by label: an operation on each edge."""
        labels = [edge_label(*pair) for pair in NASBENCH201_EDGES]
        operations = list(NASBENCH201_OPERATIONS)
        return {label: Categorical(operations, label=label, default=DEFAULT_OPERATION) for label in labels}

    @staticmethod
    def fixed_edges(pattern: Pattern) -> FixedEdges:
        """The edges that a search with ``pattern`` fixes here: from the input to each of the first nodes.

        See :func:`nni_privacy.patterns.input_edges`.

        Raises:
            PatternError: if the pattern is a dual one with two objectives.
        """
        return FixedEdges({NASBENCH201_CELL: input_edges(pattern.objective, len(pattern))})

    @classmethod
    def constrain(cls, mutables: Mapping[str, Mutable], fixed: FixedEdges) -> dict[str, Mutable]:
        """``mutables`` with those of the edges in ``fixed`` narrowed to their one operation.

        Labels stay as they are, so samples keep all their keys and build the unmodified space.

        Args:
            mutables: the simplified space, label to choice.
            fixed: the edges that every architecture shall have.
        """
        constrained = dict(mutables)
        for edge in fixed.edges.get(NASBENCH201_CELL, ()):
            label = edge_label(edge.source, edge.target)
            constrained[label] = nni.choice(label, [edge.op])
        return constrained

    supernet = staticmethod(build_nasbench201_supernet)

    @staticmethod
    def genotype_of(sample: Mapping[str, Any]) -> NasBench201Genotype:
        """The architecture that ``sample`` stands for."""
        return NasBench201Genotype.from_sample(sample)
