"""Problems with two objectives over the cells of the DARTS space that cost microseconds to evaluate.

They were written to hold something against the search: what is good is spread over operations in one, over sources in
another, over pairs of edges in a third. None of them looks at a strategy, and each ``seed`` is a problem of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, Cell, Genotype

__all__ = ["PROBLEMS", "Problem", "noisy"]

Problem = Callable[[Genotype], tuple[float, float]]
"""A genotype to its accuracy, to be high, and its AUC, to be low; both in [0, 1]."""

CODE: Mapping[str, int] = {op: code for code, op in enumerate(DARTS_OPERATIONS)}
CONVOLUTION = np.array(["conv" in op for op in DARTS_OPERATIONS])
TARGETS = range(2, 6)
EDGES = 8  # in a cell of four intermediate nodes


def positions(genotype: Genotype) -> list[tuple[int, int, int, int, int]]:
    """The 16 edges as (cell, target, in-edge 0 or 1 of the target, source, operation)."""
    return [
        (number, target, slot, edge.source, CODE[edge.op])
        for number, cell_type in enumerate(CELL_TYPES)
        for target in TARGETS
        for slot, edge in enumerate(genotype.cell(cell_type).into(target))
    ]


def random_genotype(rng: np.random.Generator) -> Genotype:
    """Each node's two sources and its two operations uniformly random."""
    cells = []
    for _ in CELL_TYPES:
        pairs = []
        for target in TARGETS:
            sources = sorted(int(source) for source in rng.choice(target, 2, replace=False))
            pairs += [(DARTS_OPERATIONS[int(rng.integers(len(DARTS_OPERATIONS)))], source) for source in sources]
        cells.append(Cell.from_pairs(pairs))
    return Genotype(*cells)


def squashed(total: float, *, scale: float) -> float:
    """A sum of independent terms of standard deviation ``scale`` as a number in (0, 1)."""
    return float(1 / (1 + np.exp(-total / scale)))


def additive(seed: int) -> Problem:
    """Each edge is worth something of its own for either objective: a table over (cell, source, target, operation)."""
    tables = np.random.default_rng(seed).normal(size=(2, 2, 6, 6, len(CODE)))

    def evaluate(genotype: Genotype) -> tuple[float, float]:
        totals = sum(tables[:, cell, source, target, op] for cell, target, _, source, op in positions(genotype))
        return squashed(totals[0], scale=8), squashed(totals[1], scale=8)

    return evaluate


def topology(seed: int) -> Problem:
    """Deep cells are accurate, convolutions on the cell's inputs leak: the sources matter most. ``seed`` is unused."""

    def evaluate(genotype: Genotype) -> tuple[float, float]:
        depths, inner, leaking = [], 0, 0
        for cell_type in CELL_TYPES:
            depth = [0, 0]
            for target in TARGETS:
                edges = genotype.cell(cell_type).into(target)
                depth.append(1 + max(depth[edge.source] for edge in edges))
                inner += sum(edge.source >= 2 for edge in edges)
                leaking += sum(edge.source < 2 and "conv" in edge.op for edge in edges)
                leaking += sum(0.4 for edge in edges if edge.source >= 2 and "skip" not in edge.op)
            depths.append(max(depth))
        return 0.5 + 0.03 * sum(depths) + 0.02 * inner, 0.5 + 0.02 * leaking + 0.01 * max(depths)

    return evaluate


def pairwise(seed: int) -> Problem:
    """Only pairs count: the two operations of a node, and an operation together with the one that feeds it."""
    tables = np.random.default_rng(seed).normal(size=(2, 2, 2, 6, len(CODE), len(CODE)))

    def evaluate(genotype: Genotype) -> tuple[float, float]:
        totals = np.zeros(2)
        for number, cell_type in enumerate(CELL_TYPES):
            for target in TARGETS:
                edges = genotype.cell(cell_type).into(target)
                codes = [CODE[edge.op] for edge in edges]
                totals += tables[:, number, 0, target, codes[0], codes[1]]
                for edge, code in zip(edges, codes, strict=True):
                    if edge.source >= 2:
                        feeding = CODE[genotype.cell(cell_type).into(edge.source)[0].op]
                        totals += tables[:, number, 1, target, feeding, code]
        return squashed(totals[0], scale=8), squashed(totals[1], scale=8)

    return evaluate


def two_targets(seed: int) -> Problem:
    """Accuracy is agreement with one hidden genotype, AUC falls with agreement with another."""
    rng = np.random.default_rng(seed)
    first, second = (positions(random_genotype(rng)) for _ in range(2))

    def agreement(genotype: Genotype, hidden: list[tuple[int, int, int, int, int]]) -> float:
        pairs = zip(positions(genotype), hidden, strict=True)
        return sum((a[3] == b[3]) + (a[4] == b[4]) for a, b in pairs) / (4 * EDGES)

    def evaluate(genotype: Genotype) -> tuple[float, float]:
        return agreement(genotype, first), 1 - 0.5 * agreement(genotype, second)

    return evaluate


def whole_edges(seed: int) -> Problem:
    """As two_targets, but an edge counts only with the right source and the right operation: hints are rare."""
    rng = np.random.default_rng(seed)
    first, second = (set(positions(random_genotype(rng))) for _ in range(2))

    def evaluate(genotype: Genotype) -> tuple[float, float]:
        here = set(positions(genotype))
        return len(here & first) / (2 * EDGES), 1 - 0.5 * len(here & second) / (2 * EDGES)

    return evaluate


def counts(seed: int) -> Problem:
    """Nothing but the numbers of the operations: each brings some accuracy and some leakage. No two seeds agree."""
    gain, leak = np.random.default_rng(seed).uniform(size=(2, len(CODE)))

    def evaluate(genotype: Genotype) -> tuple[float, float]:
        codes = [position[4] for position in positions(genotype)]
        return float(1 - np.exp(-gain[codes].sum() / 6)), float(0.5 + 0.5 * leak[codes].mean() ** 2)

    return evaluate


def convolutions(seed: int) -> Problem:
    """Each convolution adds the same accuracy and the same leakage: every cell is on the front, few span it."""

    def evaluate(genotype: Genotype) -> tuple[float, float]:
        share = float(np.mean([CONVOLUTION[position[4]] for position in positions(genotype)]))
        return 0.4 + 0.5 * share, 0.5 + 0.3 * share

    return evaluate


def rugged(seed: int) -> Problem:
    """An NK landscape: what a node is worth depends on all of it and on the node before, at random."""
    rng = np.random.default_rng(seed)
    salt = int(rng.integers(2**31))

    @cache
    def worth(*key: object) -> tuple[float, float]:
        drawn = np.random.default_rng([salt, *(int(number) for number in key)])
        return tuple(drawn.uniform(size=2))

    def evaluate(genotype: Genotype) -> tuple[float, float]:
        edges = positions(genotype)
        parts = []
        for start in range(0, len(edges), 2):
            (cell, target, _, source, op), (_, _, _, other, second) = edges[start : start + 2]
            parts.append(worth(cell, target, source, other, op // 2, second // 2, edges[start - 2][4] // 3))
        accuracy, auc = np.mean(parts, axis=0)
        return float(accuracy), float(auc)

    return evaluate


def noisy(problem: Problem, *, deviation: float, seed: int) -> Problem:
    """``problem`` with normal noise on both numbers, drawn anew with each evaluation."""
    rng = np.random.default_rng(seed)

    def evaluate(genotype: Genotype) -> tuple[float, float]:
        accuracy, auc = problem(genotype)
        noise = rng.normal(0, deviation, 2)
        return accuracy + float(noise[0]), auc + float(noise[1])

    return evaluate


PROBLEMS: Mapping[str, Callable[[int], Problem]] = {
    problem.__name__: problem
    for problem in (additive, topology, pairwise, two_targets, whole_edges, counts, convolutions, rugged)
}
"""Name to a function from a seed to a problem."""
