"""Run directories as a search writes them, made with numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nni_privacy.cells.darts import DARTS_OPERATIONS, Cell, Edge, Genotype, source_pairs

FIXED = [[1, 2, "avg_pool_3x3"], [0, 2, "avg_pool_3x3"], [1, 3, "avg_pool_3x3"], [0, 3, "avg_pool_3x3"]]
ATTACKS = ("black_box_partial", "loss_threshold")


def random_cell(rng: np.random.Generator, nodes: int = 4) -> Cell:
    edges = []
    for target in range(2, 2 + nodes):
        pairs = source_pairs(target)
        for source in pairs[rng.integers(len(pairs))]:
            edges.append(Edge(source, target, DARTS_OPERATIONS[rng.integers(len(DARTS_OPERATIONS))]))
    return Cell(tuple(edges))


def random_genotype(rng: np.random.Generator, nodes: int = 4, fixed: bool = True) -> Genotype:
    reduction = random_cell(rng, nodes)
    for target in (2, 3) if fixed else ():
        reduction = reduction.replace_node(target, (Edge(*edge) for edge in FIXED if edge[1] == target))
    return Genotype(random_cell(rng, nodes), reduction)


def attack_scores(rng: np.random.Generator, leak: float, count: int) -> dict[str, np.ndarray]:
    is_member = np.arange(2 * count) < count
    scores = rng.normal(size=2 * count) + leak * is_member
    return {"scores": scores, "is_member": is_member, "records": rng.permutation(2 * count)}


def auc_of(scores: np.ndarray, is_member: np.ndarray) -> float:
    difference = scores[is_member][:, None] - scores[~is_member][None, :]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def trial_row(
    directory: Path, rng: np.random.Generator, sequence: int, count: int, fixed: bool = True
) -> dict[str, Any]:
    name = "".join(rng.choice(list("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"), 5))
    arrays = {}
    for attack, factor in zip(ATTACKS, (1.0, 0.8), strict=True):
        leak = factor * rng.uniform(0.3, 0.7)
        arrays.update({f"{attack}/{key}": value for key, value in attack_scores(rng, leak, count).items()})
    arrays |= {"record_index": np.arange(2 * count)[::-1], "record_label": np.arange(2 * count) % 10}
    np.savez(directory / "scores" / f"{name}.npz", **arrays)
    auc = auc_of(arrays["black_box_partial/scores"], arrays["black_box_partial/is_member"])
    accuracy = rng.uniform(0.955, 0.985)
    half = 0.55 / np.sqrt(count)
    metrics = {
        "default": accuracy,
        "accuracy": accuracy,
        "train_accuracy": 1.0,
        "overfitting": 1.0 - accuracy,
        "mia_auc": auc,
        "mia_auc_low": auc - half,
        "mia_auc_high": auc + half,
        "mia_balanced_accuracy": auc - 0.03,
        "mia_tpr_at_1pct_fpr": float(rng.uniform(0.01, 0.06)),
        "mia_tpr_at_01pct_fpr": None,
        "loss_threshold_mia_auc": auc_of(arrays["loss_threshold/scores"], arrays["loss_threshold/is_member"]),
    }
    architecture = str(random_genotype(rng, fixed=fixed))
    seconds = float(rng.uniform(7, 10))
    return {
        "trial": name,
        "sequence": sequence,
        "status": "succeeded",
        "architecture": architecture,
        "metrics": metrics,
        "seconds": seconds,
    }


def failed_row(sequence: int, error: str) -> dict[str, Any]:
    architecture = str(random_genotype(np.random.default_rng(sequence)))
    row = {"trial": f"fail{sequence}", "sequence": sequence, "status": "failed", "architecture": architecture}
    return {**row, "metrics": {}, "seconds": 3.1, "error": error}


def write_rows(directory: Path, rows: list[dict[str, Any]]) -> None:
    (directory / "trials.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make_run(
    directory: Path,
    *,
    trials: int = 12,
    failed: tuple[int, ...] = (),
    count: int = 150,
    seed: int = 0,
    pattern: bool = True,
) -> Path:
    rng = np.random.default_rng(seed)
    (directory / "scores").mkdir(parents=True)
    rows = [
        failed_row(
            sequence, "Traceback (most recent call last):\n  ...\nTrainingError: the loss is not finite in epoch 3"
        )
        if sequence in failed
        else trial_row(directory, rng, sequence, count, pattern)
        for sequence in range(trials)
    ]
    write_rows(directory, rows)
    config = {
        "name": "quickstart",
        "dataset": {"name": "digits"},
        "search_space": {"name": "darts", "channels": 8, "cells": 5, "nodes": 4},
        "pattern": {"name": "demotion-reduction", "cells": "reduction", "budget": 4} if pattern else None,
        "strategy": {"name": "regularized_evolution", "population_size": 6, "sample_size": 3},
        "evaluator": {"recipe": {"epochs": 30}, "attacks": list(ATTACKS)},
        "trials": trials,
        "concurrency": 2,
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    environment = {
        "versions": {"python": "3.11.2", "nni-privacy": "0.1.0", "nni": "3.0", "torch": "2.5.1", "numpy": "2.1.0"},
        "seed": 0,
        "device": "cpu",
        "fixed_edges": {"normal": [], "reduction": FIXED if pattern else []},
    }
    (directory / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    return directory


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", failed=(5,))
