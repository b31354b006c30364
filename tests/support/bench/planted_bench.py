"""Whole tables of a bench with all columns that a study with snapshots writes: planted leaks, real genotypes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from nni_privacy.bench.columns import COLUMNS
from nni_privacy.cells.spaces import SPACES

DEMOTION = "demotion-reduction-4"
SIZE_MATCHED = f"{DEMOTION}-size-matched"
PROTOCOL = "planted0"
PROTOCOLS: Mapping[str, Any] = {PROTOCOL: {"dataset": {"name": "planted"}, "recipe": {"epochs": 20}}}
EPOCHS = (5, 12, 20)
WIDTHS = (4, 8, 16)
MEMBERS = 2000


def whole_table(
    *, darts: int = 12, nasbench201: int = 8, seeds: int = 2, dataset: str = "cifar10", protocol: str = PROTOCOL
) -> pd.DataFrame:
    """One row a look; leaks rise with the gap, which rises with width and epoch, and differ from cell to cell.

    Args:
        darts: cells of this space, with demotions and their controls at the largest width.
        nasbench201: cells of that one.
        seeds: of every training.
        dataset: label.
        protocol: digest.
    """
    rng, rows = np.random.default_rng(7), []
    for space, count, options in (("darts", darts, {"nodes": 4}), ("nasbench201", nasbench201, {})):
        for number, genotype in enumerate(SPACES[space].sample(count, 21, options)):
            variants = ("original", DEMOTION, SIZE_MATCHED) if space == "darts" else ("original",)
            fixed = {"dataset": dataset, "protocol": protocol, "space": space, "cell": f"{space}-{number:02}"}
            rows += [{**fixed, "genotype": str(genotype), **row} for row in _looks(rng, variants, seeds)]
    return pd.DataFrame(rows)[[column.name for column in COLUMNS if column.name in rows[0]] + sorted(_ATTACKS)]


_ATTACKS = [f"{name}_{end}" for name in ("rmia", "loss_threshold") for end in ("auc", "auc_se", "tpr", "tpr_se")]


def _looks(rng: np.random.Generator, variants: tuple[str, ...], seeds: int) -> Iterator[dict[str, Any]]:
    """The looks at all trainings of one cell."""
    leak, skill, size = rng.normal(0, [0.02, 0.02, 0.1])
    for variant in variants:
        for width in WIDTHS if variant == "original" else WIDTHS[-1:]:
            parameters = int(400 * width**1.8 * np.exp(size) * (1 if variant == "original" else 0.85))
            for seed in range(seeds):
                for epoch in EPOCHS:
                    gap = (0.4 + 0.3 * np.log2(width / 4)) * (epoch / 20) ** 0.8 * 0.5 + rng.normal(0, 0.01)
                    accuracy = 0.3 + 0.06 * np.log10(parameters / 1e3) + 0.0025 * epoch + skill + rng.normal(0, 0.01)
                    auc = 0.5 + 0.65 * gap + leak - 0.02 * (variant == DEMOTION) + rng.normal(0, 0.01)
                    yield {
                        "variant": variant,
                        "width": width,
                        "seed": seed,
                        "epoch": epoch,
                        "epochs": 20,
                        "channels": width,
                        "network_cells": 3,
                        "parameters": parameters,
                        "multiply_adds": 60 * parameters,
                        "members": MEMBERS,
                        "nonmembers": MEMBERS,
                        "accuracy": accuracy,
                        "train_accuracy": accuracy + gap,
                        "gap": gap,
                        "loss": 2 - accuracy,
                        "train_loss": 2 - accuracy - 2 * gap,
                        **_attacks(rng, auc),
                    }


def _attacks(rng: np.random.Generator, auc: float) -> dict[str, float]:
    tpr = 0.01 * np.exp(5 * (auc - 0.5) + rng.normal(0, 0.1))
    found = {"rmia_auc": auc, "rmia_auc_se": 0.007, "rmia_tpr": tpr, "rmia_tpr_se": 0.1 * tpr}
    found |= {"loss_threshold_auc": auc - 0.03 + rng.normal(0, 0.01), "loss_threshold_auc_se": 0.008}
    return found | {"loss_threshold_tpr": tpr / 2, "loss_threshold_tpr_se": 0.05 * tpr}
