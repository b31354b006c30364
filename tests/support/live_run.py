"""Run directories for the tests of the live page: written as a search writes them, without a training."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nni_privacy.cells.spaces import SPACES
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.records import TrialRecord

ATTACKS = ("black_box_partial", "loss_threshold")
CONFIG: dict[str, Any] = {
    "name": "live",
    "dataset": {"name": "digits"},
    "search_space": {"name": "darts", "channels": 4, "cells": 3, "nodes": 4},
    "strategy": {"name": "pareto", "population_size": 4},
    "constraints": {"mia_auc": ["<= 0.6"], "parameters": ["<= 30000.0"]},
    "evaluator": {"attacks": list(ATTACKS), "recipe": {"epochs": 3}},
    "trials": 20,
    "concurrency": 2,
}


def records(count: int, *, seed: int = 0) -> list[TrialRecord]:
    """Trials with drawn numbers; the fourth failed, the fifth has no AUC, the sixth was stopped early."""
    rng = np.random.default_rng(seed)
    genotypes = SPACES["darts"].sample(count, seed, {"nodes": 4})
    found = []
    for number in range(count):
        accuracy, auc = rng.uniform(0.5, 1.0), rng.uniform(0.45, 0.75)
        metrics = {"accuracy": accuracy, "mia_auc": auc, "mia_auc_low": auc - 0.05, "mia_auc_high": auc + 0.05}
        metrics |= {"parameters": float(rng.integers(20_000, 40_000)), "loss_threshold_mia_auc": auc - 0.01}
        status, fields = "succeeded", {}
        if number == 3:
            status, metrics, fields = "failed", {}, {"error": "out of <b>memory</b>"}
        elif number == 4:
            del metrics["mia_auc"]
        elif number == 5:
            status, metrics, fields = "stopped", {}, {"stopped": "the rule"}
        curves = {"loss": (2.0, 1.0, 0.5)}
        found.append(
            TrialRecord(
                f"t{number}", number, status, str(genotypes[number]), metrics, 1.5 * number, curves=curves, **fields
            )
        )
    return found


def write_run(
    folder: Path, trials: Iterable[TrialRecord], config: Mapping[str, Any] = CONFIG, **environment: Any
) -> Path:
    """A run directory with these trials."""
    run = RunDirectory(folder)
    run.create(config, {"started": "2026-01-01T10:00:00+0000", **environment})
    for record in trials:
        run.append(record)
    return folder


def write_scores(
    folder: Path, trial: str, attacks: Iterable[str] = ATTACKS, *, count: int = 300, seed: int = 0
) -> Path:
    """``scores/<trial>.npz`` of attacks on ``count`` records in five classes; members score higher."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Any] = {"record_index": np.arange(count), "record_label": np.arange(count) % 5}
    for attack in attacks:
        member = rng.random(count) < 0.5
        arrays[f"{attack}/scores"] = rng.normal(0, 1, count) + 0.8 * member
        arrays[f"{attack}/is_member"] = member
        arrays[f"{attack}/records"] = np.arange(count)
    path = folder / "scores" / f"{trial}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)
    return path


def write_audit(folder: Path) -> Path:
    """The folder of an audit with two attacks."""
    folder.mkdir(parents=True, exist_ok=True)
    attacks = {
        name: {"primary": name == "rmia", "mia_auc": auc, "mia_auc_low": auc - 0.1, "mia_auc_high": auc + 0.1}
        | {"mia_tpr_at_01pct_fpr": None, "rates": {"mia_tpr_at_01pct_fpr": {"reason": "not resolvable: few"}}}
        | {"per_class": [{"label": 1, "members": 9, "nonmembers": 8, "auc": 0.7, "auc_low": 0.5, "auc_high": 0.9}]}
        for name, auc in (("lira", 0.6), ("rmia", 0.7))
    }
    content = {"title": "audit", "attacks": attacks, "notices": ["few records: 17"], "accuracy": {"nonmembers": 0.8}}
    (folder / "metrics.json").write_text(json.dumps(content))
    write_scores(folder, "x", ("lira", "rmia")).rename(folder / "scores.npz")
    return folder
