"""Studies with effects that are known, as a study's trials are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nni_privacy.analysis.rows import MeasuredRow
from nni_privacy.cells.darts import DARTS_OPERATIONS, Cell, Edge, Genotype, source_pairs

DEMOTION = {"pattern": "demotion", "cells": "reduction", "budget": 4}
PLACEBO = {**DEMOTION, "control": "placebo"}
SIZE_MATCHED = {**DEMOTION, "control": "size-matched"}


def random_genotype(rng: np.random.Generator, nodes: int = 4) -> Genotype:
    cells = []
    for _ in range(2):
        edges = []
        for target in range(2, 2 + nodes):
            pairs = source_pairs(target)
            for source in pairs[rng.integers(len(pairs))]:
                edges.append(Edge(source, target, DARTS_OPERATIONS[rng.integers(len(DARTS_OPERATIONS))]))
        cells.append(Cell(tuple(edges)))
    return Genotype(*cells)


def variant_label(factors: Mapping[str, Any]) -> str:
    parts = [factors.get(name) for name in ("pattern", "cells", "budget", "control")]
    return "-".join(str(part) for part in parts if part is not None) or "original"


def planted_rows(
    effects: Sequence[tuple[Mapping[str, Any], Mapping[str, float]]],
    *,
    architectures: int = 10,
    seeds: int = 2,
    noise: float = 0.004,
    seed: int = 0,
    **factors: Any,
) -> list[MeasuredRow]:
    """Rows of originals and of variants that change metrics by known amounts.

    Args:
        effects: factors of a variant, and what it adds to each metric.
        architectures: how many.
        seeds: how many.
        noise: standard deviation of each architecture's own effect, and of every measurement.
        seed: of the noise.
        factors: of all rows, instead of the usual ones.
    """
    rng = np.random.default_rng(seed)
    found = []
    for number in range(architectures):
        genotype = random_genotype(np.random.default_rng([7, number]))
        level = {"mia_auc": 0.7 + rng.normal(0, 0.03), "accuracy": 0.8 + rng.normal(0, 0.03), "overfitting": 0.2}
        for what, change in [({}, {}), *effects]:
            own = {name: rng.normal(0, noise) if what else 0.0 for name in level}
            for run in range(seeds):
                metrics = {
                    name: value + change.get(name, 0.0) + own[name] + rng.normal(0, noise)
                    for name, value in level.items()
                }
                row = MeasuredRow(
                    architecture=f"sampled-{number:02}",
                    variant=variant_label(what),
                    dataset="cifar10",
                    defence="none",
                    seed=run,
                    metrics=metrics,
                    kind="NAS",
                    size="16 channels, 5 cells, 4 nodes",
                    channels=16,
                    network_cells=5,
                    nodes=4,
                    genotype=genotype,
                )
                found.append(replace(row, **{**what, **factors}))
    return found
