"""A whole table of a bench, every column there, whose leakage follows from a planted rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nni_privacy.bench.table import merge_tables, write_table
from nni_privacy.cells.spaces import SPACES

WIDTHS = (4, 8, 16)
EPOCHS = (5, 12, 20)
MEMBERS = 2000
DEMOTION = "demotion-reduction-4"
SIZE_MATCHED = f"{DEMOTION}-size-matched"
VARIANTS = {DEMOTION: 0.85, SIZE_MATCHED: 0.85}
PROTOCOL = "planted0"
PROTOCOLS: Mapping[str, Any] = {PROTOCOL: {"dataset": {"name": "planted"}, "recipe": {"epochs": EPOCHS[-1]}}}


@dataclass(frozen=True)
class Rule:
    """What the AUC of a network is made of.

    Attributes:
        gap: AUC a generalisation gap of 1.
        cell: standard deviation of what a cell adds, at all widths.
        network: of what a network adds.
        seed: of what a training adds.
        demotion: what the demotion adds, and its size-matched control does not.
    """

    gap: float = 0.6
    cell: float = 0.02
    network: float = 0.01
    seed: float = 0.01
    demotion: float = -0.02


def bench_table(
    *,
    cells: Mapping[str, int],
    rule: Rule,
    dataset: str = "cifar10",
    seed: int = 0,
    seeds: int = 2,
    protocol: str = PROTOCOL,
) -> pd.DataFrame:
    """Rows of so many cells of each space, demotions and their controls at the largest width among them."""
    rng = np.random.default_rng(seed)
    rows = [
        {"dataset": dataset, "protocol": protocol, "space": space, "cell": f"{space}-{number:02}", **row}
        for space, count in cells.items()
        for number, genotype in enumerate(SPACES[space].sample(count, 21, {"nodes": 4}))
        for row in _cell(rng, space, str(genotype), rule, seeds)
    ]
    return merge_tables([(dataset, pd.DataFrame(rows))])


def _cell(rng: np.random.Generator, space: str, genotype: str, rule: Rule, seeds: int) -> Iterator[dict[str, Any]]:
    own, weights, accuracy = rng.normal(0, [rule.cell, 0.1, 0.02])
    networks = [("original", width) for width in WIDTHS]
    networks += [(variant, WIDTHS[-1]) for variant in VARIANTS] if space == "darts" else []
    for variant, width in networks:
        parameters = int(400 * width**1.8 * np.exp(weights) * VARIANTS.get(variant, 1.0))
        network = rng.normal(0, rule.network) + (rule.demotion if variant == DEMOTION else 0.0)
        for seed in range(seeds):
            training = rng.normal(0, rule.seed)
            for epoch in EPOCHS:
                reached = 0.3 + 0.06 * np.log10(parameters / 1e3) + 0.05 * epoch / EPOCHS[-1] + accuracy
                gap = 0.5 * (0.4 + 0.3 * np.log2(width / 4)) * (epoch / EPOCHS[-1]) ** 0.8
                reached, gap = np.array([reached, gap]) + rng.normal(0, 0.01, 2)
                auc = float(np.clip(0.5 + rule.gap * gap + own + network + training, 0.4, 0.99))
                yield {
                    "variant": variant,
                    "width": width,
                    "seed": seed,
                    "epoch": epoch,
                    "epochs": EPOCHS[-1],
                    "genotype": genotype if variant != DEMOTION else f"{genotype} demoted",
                    "channels": width,
                    "network_cells": 3,
                    "parameters": parameters,
                    "multiply_adds": 60 * parameters,
                    "members": MEMBERS,
                    "nonmembers": MEMBERS,
                    "loss": 2 - reached,
                    "train_loss": 2 - reached - gap,
                    "accuracy": reached,
                    "train_accuracy": reached + gap,
                    "gap": gap,
                    "synflow": rng.normal(7, 1),
                    **_attack(rng, "rmia", auc),
                    **_attack(rng, "loss_threshold", auc - 0.03),
                }


def _attack(rng: np.random.Generator, name: str, auc: float) -> dict[str, float]:
    auc, tpr = auc + rng.normal(0, 0.007), 0.01 * np.exp(5 * (auc - 0.5) + rng.normal(0, 0.1))
    return {f"{name}_auc": auc, f"{name}_auc_se": 0.007, f"{name}_tpr": tpr, f"{name}_tpr_se": 0.1 * tpr}


def whole_table(*, darts: int = 12, nasbench201: int = 8, **options: Any) -> pd.DataFrame:
    """So many cells of the two spaces, by the rule as it is; options of :func:`bench_table`."""
    return bench_table(cells={"darts": darts, "nasbench201": nasbench201}, rule=Rule(), **options)


def write_planted(folder: Path, **options: Any) -> pd.DataFrame:
    """Writes such a table with its protocols and card, and returns it."""
    table = bench_table(**{"cells": {"darts": 12, "nasbench201": 5}, "rule": Rule(), **options})
    write_table(folder, table, PROTOCOLS)
    return table
