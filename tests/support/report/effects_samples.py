"""Studies with variants, as ``nni-privacy measure`` writes them, with effects that are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from report.samples import random_genotype

CONTROLS = (None, "placebo", "size-matched")
CHANGES = {None: -0.03, "placebo": -0.008, "size-matched": -0.012}
NB201 = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|"


def variants(
    *,
    patterns: Sequence[str] = ("demotion",),
    cells: Sequence[str] = ("reduction",),
    budgets: Sequence[int] = (4,),
    controls: Sequence[str | None] = (None,),
) -> list[dict[str, Any]]:
    """Factors of the original and of each variant."""
    found: list[dict[str, Any]] = [
        {"variant": "original", "pattern": None, "cells": None, "budget": None, "control": None}
    ]
    for pattern, cell, budget, control in product(patterns, cells, budgets, controls):
        label = "-".join([pattern, cell, str(budget), *([control] if control else [])])
        found.append({"variant": label, "pattern": pattern, "cells": cell, "budget": budget, "control": control})
    return found


def study_rows(
    *,
    treated: Sequence[Mapping[str, Any]],
    architectures: int = 6,
    seeds: Sequence[int] = (0, 1),
    datasets: Sequence[str] = ("cifar10",),
    defences: Sequence[str] = ("none",),
    cells: Sequence[int] = (5,),
    nodes: Sequence[int] = (4,),
    attacks: Sequence[str] = (),
    space: str = "darts",
    noise: float = 0.003,
) -> list[dict[str, Any]]:
    """Lines of ``trials.jsonl``; a pattern's change grows with its budget, promotion's is the other way round."""
    rng = np.random.default_rng([len(treated), len(datasets[0]), len(defences), cells[0], nodes[0], len(space)])
    grid = product(range(architectures), treated, seeds, datasets, defences, cells, nodes)
    levels = np.random.default_rng(1).normal(0.75, 0.02, architectures)
    found = []
    for number, what, seed, dataset, defence, count, inner in grid:
        change = CHANGES[what["control"]] * (what["budget"] or 0) / 4 * (-1 if what["pattern"] == "promotion" else 1)
        auc = levels[number] + change - 0.005 * (count - 5) + 0.006 * (inner - 4) - 0.1 * (defence != "none")
        metrics = {name: auc + rng.normal(0, noise) for name in ("mia_auc", *(f"{one}_mia_auc" for one in attacks))}
        metrics["accuracy"] = 0.8 + 0.01 * (count - 5) + rng.normal(0, noise)
        metrics |= {"overfitting": 0.2 + change / 2 + rng.normal(0, noise), "parameters": 1e5 * (1 + 5 * change)}
        metrics |= {"epsilon": 3.25} if defence == "dp-sgd" else {}
        genotype = NB201 if space == "nasbench201" else str(random_genotype(np.random.default_rng([3, number]), inner))
        factors = {
            "architecture": f"{'sampled' if space == 'darts' else space}-{number:02}",
            "kind": "NAS",
            **what,
            "dataset": dataset,
            "defence": defence,
            "seed": seed,
            "channels": 8,
            "network_cells": count,
            "nodes": inner,
            "size": f"8 channels, {count} cells, {inner} nodes",
        }
        found.append({"status": "succeeded", "architecture": genotype, "metrics": metrics, "factors": factors})
    return found


def write_study(directory: Path, rows: Sequence[Mapping[str, Any]], *, name: str = "patterns") -> Path:
    """A run directory of these lines."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"trial": f"t{number:05}", "sequence": number, "seconds": 12.5, **row})
        for number, row in enumerate(rows)
    ]
    (directory / "trials.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    factors = [row["factors"] for row in rows]
    config = {
        "name": name,
        "seeds": sorted({one["seed"] for one in factors}),
        "datasets": [{"name": label} for label in dict.fromkeys(one["dataset"] for one in factors)],
        "architectures": [{"sampled": len({one["architecture"] for one in factors})}],
        "evaluator": {"recipe": {"epochs": 30}, "attacks": ["white_box_partial"]},
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    (directory / "environment.json").write_text(json.dumps({"seed": 0, "device": "cpu"}), encoding="utf-8")
    return directory


def whole_study() -> list[dict[str, Any]]:
    """All factors at once."""
    every = variants(patterns=("demotion", "promotion"), budgets=(3, 4, 5), controls=CONTROLS)
    plain = variants()
    attacks = ("white_box_shadow", "black_box_shadow", "label_only")
    return [
        *study_rows(treated=every, attacks=attacks, architectures=10),
        *study_rows(treated=plain, datasets=("digits",), architectures=10),
        *study_rows(treated=plain, defences=("augmentation", "dp-sgd"), architectures=10),
        *study_rows(treated=plain[:1], cells=(3, 8), architectures=10),
        *study_rows(treated=plain[:1], nodes=(2, 6), architectures=10),
        *study_rows(treated=plain, space="nasbench201", architectures=5),
    ]


__all__ = ["CHANGES", "CONTROLS", "NB201", "study_rows", "variants", "whole_study", "write_study"]
