"""The DARTS search space as an NNI model space whose samples are always legal DARTS cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import Any

import nni
from nni.mutable import Categorical, Mutable, Sample, SampleValidationError

from nni_privacy.cells.darts import (
    CELL_TYPES,
    DARTS_OPERATIONS,
    INPUT_NODES,
    Genotype,
    format_sources,
    node_labels,
    source_pairs,
)
from nni_privacy.errors import ConfigError
from nni_privacy.patterns import Pattern
from nni_privacy.search_spaces.constraints import FixedEdges, choices_of_constrained_node
from nni_privacy.search_spaces.darts_supernet import build_darts_supernet, fixed_edges_of
from nni_privacy.search_spaces.network import CellNetwork
from nni_privacy.search_spaces.space import SIZES, CellSpace, Size

__all__ = ["DARTS", "SourcePair"]


class SourcePair(Categorical):
    """The two sources of a node, as one choice over pairs such as ``"0+2"``.

    The order of a pair says to which source the node's first operation belongs. The values are the pairs in ascending
    order, each once; a pair written the other way round is understood too, since a constrained space writes the source
    of its fixed edge first.
    """

    def check_contains(self, sample: Sample) -> SampleValidationError | None:
        """None if ``sample`` holds one of the pairs, either way round; else what is wrong."""
        error = super().check_contains(sample)
        if error is not None and "+".join(reversed(str(sample.get(self.label)).split("+"))) in self.values:
            return None
        return error


class DARTS(CellSpace[Genotype]):
    """The cell-based space of DARTS (Liu et al., ICLR 2019), with the network of the CCS 2022 paper, section 4.1.

    Per node there is one choice over *pairs* of sources and one over the operation on either, so every sample,
    random, evolved or mutated, is a legal :class:`~nni_privacy.cells.Genotype`: no node ever takes one source twice.

    Args:
        channels: channels of the first cells' nodes, C; a list of them is a choice, which the search makes, too.
        cells: number of cells, N >= 3, or a list; the cells N // 3 and 2 N // 3 are reduction cells.
        nodes: intermediate nodes per cell, M.
        in_channels: channels of the images: 1 grey, 3 RGB.
        num_classes: number of classes, K.

    Maps images (n, in_channels, h, w) to logits (n, K). Unfrozen, it runs the space's default architecture.

    Raises:
        ConfigError: if a size is not a whole number or too small.
    """

    def __init__(
        self, *, channels: Size = 16, cells: Size = 5, nodes: int = 4, in_channels: int = 3, num_classes: int = 10
    ) -> None:
        super().__init__()
        CellNetwork.check_sizes(nodes=nodes)
        CellNetwork.check_choices(channels=channels, cells=cells)
        sample = self.chosen(self.choices(nodes), {"channels": channels, "cells": cells})
        genotype = Genotype.from_sample(sample, nodes=nodes)
        sizes = {label: sample[label] for label in SIZES}
        self.network = CellNetwork(genotype, **sizes, in_channels=in_channels, num_classes=num_classes)

    @staticmethod
    def choices(nodes: int) -> dict[str, Categorical]:
        """The choices of a space with ``nodes`` intermediate nodes, by label."""
        choices: list[Categorical] = []
        for cell_type in CELL_TYPES:
            for target in range(INPUT_NODES, INPUT_NODES + nodes):
                labels = node_labels(cell_type, target)
                pairs = [format_sources(*pair) for pair in source_pairs(target)]
                choices.append(SourcePair(pairs, label=labels.sources))
                choices.extend(
                    nni.choice(label, list(DARTS_OPERATIONS)) for label in (labels.first_op, labels.second_op)
                )
        return {choice.label: choice for choice in choices}

    @staticmethod
    def fixed_edges(pattern: Pattern) -> FixedEdges:
        """The edges that a search with ``pattern`` fixes here: the pattern's own."""
        return FixedEdges.of(pattern)

    @classmethod
    def constrain(cls, mutables: Mapping[str, Mutable], fixed: FixedEdges) -> dict[str, Mutable]:
        """``mutables`` with those of every node that ``fixed`` names narrowed to what still may be chosen.

        Labels stay as they are, so samples keep all their keys and build the unmodified space.

        Args:
            mutables: the simplified space, label to choice.
            fixed: for each type of cell the edges that every architecture shall have.
        """
        constrained = dict(mutables)
        for cell_type in CELL_TYPES:
            for target, edges in fixed.by_target(cell_type).items():
                for label, values in choices_of_constrained_node(cell_type, target, edges).items():
                    if label in constrained:  # else the space has fewer nodes than the pattern
                        constrained[label] = type(constrained[label])(values, label=label)
        return constrained

    supernet = staticmethod(build_darts_supernet)

    @classmethod
    def check_supernet(cls, choices: Mapping[str, Sequence[Any]], *, nodes: int = 4, **_: Any) -> None:
        """Raises ConfigError unless ``choices`` were narrowed by fixing edges only, which a supernet can follow."""
        allowed = cls.constrain(cls.choices(nodes), fixed_edges_of(choices, nodes))
        for label, values in choices.items():
            if label not in allowed or list(values) != list(allowed[label].values):
                raise ConfigError(f"choice {label!r}: {list(values)} are left; one-shot search knows fixed edges only")

    @staticmethod
    def groups(labels: Iterable[str]) -> list[tuple[str, ...]]:
        """Those of ``labels`` that belong to one node together; strategies that breed samples keep them so."""
        known = set(labels)
        found = [
            tuple(label for label in astuple(node_labels(cell_type, target)) if label in known)
            for cell_type in CELL_TYPES
            for target in range(INPUT_NODES, INPUT_NODES + len(known))
        ]
        return [group for group in found if group]

    @staticmethod
    def genotype_of(sample: Mapping[str, Any]) -> Genotype:
        """The architecture that ``sample`` stands for."""
        return Genotype.from_sample(sample)
