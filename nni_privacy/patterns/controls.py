"""Controls: what tells a pattern's own effect from that of changing a cell, or of making a network smaller.

The paper compares modified cells with the original ones only. A pattern is more than its placebo if its operations
matter, and more than a network of its size if the saved weights are not all there is to it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, Edge, Genotype
from nni_privacy.cells.nasbench201 import NASBENCH201_OPERATIONS, NasBench201Genotype
from nni_privacy.cells.operations import NO_CONNECTION
from nni_privacy.cells.spaces import AnyGenotype
from nni_privacy.errors import ConfigError
from nni_privacy.patterns.apply import modify_cell
from nni_privacy.patterns.pattern import Pattern

__all__ = ["placebo", "size_matched_channels"]

LARGEST_FACTOR = 8
"""Channels are looked for up to so many times those of the original."""


def placebo(genotype: AnyGenotype, pattern: Pattern, *, seed: int) -> AnyGenotype:
    """``genotype`` modified in the places where ``pattern`` modifies it, with other operations.

    The same edges (u, v) are written by the same rule; each gets an operation drawn uniformly from the space's, but the
    pattern's own (and, in NAS-Bench-201, ``none``, which would cut the cell). It may be the one that the edge had.

    Args:
        genotype: of the DARTS space or NAS-Bench-201.
        pattern: cut to its budget.
        seed: of the draw.

    Raises:
        PatternError: as :meth:`Pattern.apply <nni_privacy.patterns.CellPattern.apply>`.
    """
    generator = np.random.default_rng(seed)
    if isinstance(genotype, NasBench201Genotype):
        operations = tuple(op for op in NASBENCH201_OPERATIONS if op != NO_CONNECTION)
        changed = pattern.apply(genotype)
        for edge in changed.edges:
            if edge not in genotype.edges:
                other = _with_another(edge, operations, generator)
                changed = changed.with_operation(edge.source, edge.target, other.op)
        return changed
    if not isinstance(genotype, Genotype):
        return pattern.apply(genotype)  # raises
    modified = genotype
    for cell_type in CELL_TYPES:
        edges = [_with_another(edge, DARTS_OPERATIONS, generator) for edge in pattern.edges_of(cell_type)]
        modified = modified.with_cell(cell_type, modify_cell(modified.cell(cell_type), edges))
    return modified


def _with_another(edge: Edge, operations: tuple[str, ...], generator: np.random.Generator) -> Edge:
    others = [op for op in operations if op != edge.op]
    return replace(edge, op=others[generator.integers(len(others))])


def size_matched_channels(wanted: int, *, parameters: Callable[[int], int], channels: int) -> int:
    """The channels of the first cells that come nearest to ``wanted`` weights; of two equally near, the fewer.

    Args:
        wanted: number of weights to match, 1 or more.
        parameters: channels to number of weights; must grow with its argument.
        channels: of the original; between 1 and 8 times as many are looked for.

    Raises:
        ConfigError: if ``wanted`` is not 1 or more.
    """
    if wanted < 1:
        raise ConfigError(f"wanted: {wanted!r}; allowed is a number of weights of at least 1")
    first = bisect_left(range(LARGEST_FACTOR * channels), wanted, lo=1, key=parameters)  # that is large enough
    return min((max(first - 1, 1), first), key=lambda count: abs(parameters(count) / wanted - 1))
