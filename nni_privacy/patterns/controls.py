"""Controls: what tells a pattern's own effect from that of changing a cell, or of making a network smaller.

The paper compares modified cells with the original ones only. A pattern is more than its placebo if its operations
matter, and more than a network of its size if the saved weights are not all there is to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, Edge, Genotype
from nni_privacy.cells.genotypes import AnyGenotype
from nni_privacy.cells.nasbench201 import NASBENCH201_OPERATIONS, NasBench201Genotype
from nni_privacy.cells.operations import NO_CONNECTION
from nni_privacy.errors import ConfigError
from nni_privacy.patterns.apply import modify_cell
from nni_privacy.patterns.pattern import Pattern

__all__ = ["SizeMatch", "placebo", "size_matched_channels"]

LARGEST_FACTOR = 8
"""Channels are looked for up to so many times those of the original."""


def placebo(genotype: AnyGenotype, pattern: Pattern, *, seed: int) -> AnyGenotype:
    """``genotype`` modified in the places where ``pattern`` modifies it, with other operations.

    The same edges (u, v) are written by the same rule; each gets an operation drawn uniformly from the space's, but the
    pattern's own (and, in NAS-Bench-201, ``none``, which would cut the cell). It may be the one that the edge had.

    Args:
        genotype: of either space.
        pattern: cut to its budget.
        seed: of the draw.

    Raises:
        PatternError: as :meth:`Pattern.apply <nni_privacy.patterns.CellPattern.apply>`.
    """
    generator = np.random.default_rng(seed)
    if isinstance(genotype, NasBench201Genotype):
        return _nasbench201_placebo(genotype, pattern, generator)
    modified: Genotype = genotype
    for cell_type in CELL_TYPES:
        edges = [_with_another(edge, DARTS_OPERATIONS, generator) for edge in pattern.edges_of(cell_type)]
        modified = modified.with_cell(cell_type, modify_cell(modified.cell(cell_type), edges))
    return modified


def _nasbench201_placebo(
    genotype: NasBench201Genotype, pattern: Pattern, generator: np.random.Generator
) -> NasBench201Genotype:
    operations = tuple(op for op in NASBENCH201_OPERATIONS if op != NO_CONNECTION)
    modified = pattern.apply(genotype)
    for edge in modified.edges:
        if edge not in genotype.edges:
            modified = modified.with_operation(edge.source, edge.target, _with_another(edge, operations, generator).op)
    return modified


def _with_another(edge: Edge, operations: tuple[str, ...], generator: np.random.Generator) -> Edge:
    others = [op for op in operations if op != edge.op]
    return replace(edge, op=others[generator.integers(len(others))])


@dataclass(frozen=True)
class SizeMatch:
    """Channels that give a network about as many weights as another.

    Attributes:
        channels: of the first cells.
        parameters: number of weights with so many channels.
        wanted: number of weights that was to be matched.
    """

    channels: int
    parameters: int
    wanted: int

    @property
    def mismatch(self) -> float:
        """Relative difference of the numbers of weights, 0 for a perfect match."""
        return self.parameters / self.wanted - 1


def size_matched_channels(wanted: int, *, parameters: Callable[[int], int], channels: int) -> SizeMatch:
    """The number of channels whose network comes nearest to ``wanted`` weights; of two equally near, the smaller one.

    Args:
        wanted: number of weights to match, 1 or more.
        parameters: channels to number of weights; must grow with its argument.
        channels: of the original; between 1 and 8 times as many are looked for.

    Raises:
        ConfigError: if ``wanted`` is not 1 or more.
    """
    if wanted < 1:
        raise ConfigError(f"wanted: {wanted!r}; allowed is a number of weights of at least 1")
    low, high = 1, LARGEST_FACTOR * channels
    while low < high:  # the first number of channels that is large enough
        middle = (low + high) // 2
        if parameters(middle) < wanted:
            low = middle + 1
        else:
            high = middle
    candidates = [SizeMatch(value, parameters(value), wanted) for value in (low - 1, low) if value >= 1]
    return min(candidates, key=lambda match: abs(match.mismatch))
