"""Run directories of a measurement study as ``nni-privacy measure`` writes them, made with numpy."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from report.samples import random_genotype, write_rows

from nni_privacy.runs.records import RunInfo, read_run

HUMANS = ("resnet", "resnext", "wide_resnet", "vgg", "densenet", "efficientnet", "regnet", "cspnet", "bit", "dla")
SEARCHED = ("darts_v1", "darts_v2", "enas", "gdas", "setn", "random", "tenas", "drnas", "pc_darts", "sdarts")
DATASETS = ("cifar10", "cifar100", "stl10", "celeba")
ATTACKS = ("white_box_partial", "white_box_shadow", "black_box_partial", "black_box_shadow", "label_only")
STRENGTH = {attack: 1 - 0.13 * place for place, attack in enumerate(ATTACKS)}
ORIGINAL = {"variant": "original", "pattern": None, "cells": None, "budget": None, "control": None}


def write_study(
    folder: Path,
    *,
    humans: Sequence[str] = HUMANS,
    searched: Sequence[str] = SEARCHED,
    datasets: Sequence[str] = DATASETS,
    attacks: Sequence[str] = ATTACKS,
    seeds: Sequence[int] = (0, 1, 2),
    variants: Sequence[Mapping[str, Any]] = (ORIGINAL,),
    defences: Sequence[str] = ("none",),
    failed: Collection[str] = (),
    missing: Collection[str] = (),
    effect: float = 0.03,
    noise: float = 0.01,
    seed: int = 0,
) -> Path:
    """A study whose AUC falls with accuracy, is higher by ``effect`` for NAS, and lower by .02 for a ``demotion``.

    Args:
        folder: where to; made.
        humans: labels of the human-designed networks.
        searched: labels of the NAS architectures, which alone have the variants.
        datasets: labels.
        attacks: the primary one first.
        seeds: of the study.
        variants: factors of each (``variant``, ``pattern``, ``cells``, ``budget``, ``control``), the original first.
        defences: labels.
        failed: labels of architectures that fail everywhere.
        missing: labels of architectures that have not been measured on the last data set yet.
        effect: in AUC of the primary attack.
        noise: standard deviation of accuracy and AUC over the seeds.
        seed: of the numbers.
    """
    rng = np.random.default_rng(seed)
    quality = {label: rng.uniform(-0.06, 0.06) for label in (*humans, *searched)}
    genotypes = {label: str(random_genotype(rng)) for label in searched}
    rows: list[dict[str, Any]] = []
    for factors in _grid(humans, searched, datasets, variants, defences, seeds):
        label, dataset = factors["architecture"], factors["dataset"]
        if label in missing and dataset == datasets[-1]:
            continue
        accuracy = 0.78 - 0.09 * datasets.index(dataset) + quality[label] + noise * rng.normal()
        shift = effect * (factors["kind"] == "NAS") - 0.02 * (factors["pattern"] == "demotion")
        shift -= 0.03 * (factors["defence"] != "none")
        metrics = _metrics(rng, accuracy, shift, attacks, noise)
        row = {
            "trial": f"T{len(rows):04d}",
            "sequence": len(rows),
            "status": "failed" if label in failed else "succeeded",
            "architecture": genotypes.get(label, label),
            "metrics": {} if label in failed else metrics,
            "seconds": float(rng.uniform(30, 60)),
            "factors": factors,
        }
        rows.append({**row, "error": "OutOfMemoryError: 12.4 GB wanted"} if label in failed else row)
    return save_study(folder, rows, datasets=datasets, attacks=attacks, seeds=seeds, architectures=[*humans, *searched])


def save_study(
    folder: Path,
    rows: list[dict[str, Any]],
    *,
    datasets: Sequence[str] = ("digits",),
    attacks: Sequence[str] = ATTACKS[:1],
    seeds: Sequence[int] = (0,),
    architectures: Sequence[str] = (),
) -> Path:
    """The run directory of a study with these lines of ``trials.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder, rows)
    config = {
        "name": "section3",
        "seeds": list(seeds),
        "datasets": [{"name": name} for name in datasets],
        "architectures": list(architectures),
        "evaluator": {"recipe": {"epochs": 30, "batch_size": 64}, "attacks": list(attacks)},
        "defences": ["none"],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    environment = {"versions": {"python": "3.11.2", "torch": "2.5.1"}, "device": "cpu"}
    (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    return folder


def study_row(
    architecture: str,
    accuracy: float | None = 0.7,
    auc: float | None = 0.6,
    *,
    kind: str = "human-designed",
    dataset: str = "digits",
    seed: int = 0,
    sequence: int = 0,
    status: str = "succeeded",
    error: str | None = None,
    factors: Mapping[str, Any] = ORIGINAL,
    **metrics: float,
) -> dict[str, Any]:
    """A line of ``trials.jsonl`` with these numbers; overfitting is 1 less the accuracy unless it is among them."""
    known = {"accuracy": accuracy, "mia_auc": auc, "overfitting": None if accuracy is None else 1 - accuracy}
    whole = {"architecture": architecture, "kind": kind, "dataset": dataset, "defence": "none", "seed": seed}
    return {
        "trial": f"{architecture}-{dataset}-{seed}-{sequence}",
        "sequence": sequence,
        "status": status,
        "architecture": architecture,
        "metrics": {**known, **metrics} if status == "succeeded" else {},
        "seconds": 1.0,
        "error": error,
        "factors": {**whole, "size": None, **factors},
    }


def study_run(folder: Path, rows: list[dict[str, Any]], **options: Any) -> RunInfo:
    """The same rows, written and read."""
    return read_run(save_study(folder, rows, **options))


def _grid(
    humans: Sequence[str],
    searched: Sequence[str],
    datasets: Sequence[str],
    variants: Sequence[Mapping[str, Any]],
    defences: Sequence[str],
    seeds: Sequence[int],
) -> list[dict[str, Any]]:
    plain = {"size": None, "channels": None, "network_cells": None, "nodes": None}
    sized = {"size": "16 channels, 5 cells, 4 nodes", "channels": 16, "network_cells": 5, "nodes": 4}
    architectures = [{"architecture": label, "kind": "human-designed", **ORIGINAL, **plain} for label in humans]
    architectures += [
        {"architecture": label, "kind": "NAS", **variant, **sized} for label in searched for variant in variants
    ]
    return [
        {**architecture, "dataset": dataset, "defence": defence, "seed": seed}
        for seed in seeds
        for dataset in datasets
        for defence in defences
        for architecture in architectures
    ]


def _metrics(
    rng: np.random.Generator, accuracy: float, shift: float, attacks: Sequence[str], noise: float
) -> dict[str, float]:
    metrics = {"default": accuracy, "accuracy": accuracy, "train_accuracy": 0.99, "overfitting": 0.99 - accuracy}
    for place, attack in enumerate(attacks):
        leak = 0.15 + 0.4 * (0.99 - accuracy) + shift + noise * rng.normal()
        auc = float(np.clip(0.5 + STRENGTH.get(attack, 0.5) * leak, 0.45, 0.99))
        prefix = f"{attack}_" if place else ""
        metrics |= {f"{prefix}mia_auc": auc, f"{prefix}mia_auc_low": auc - 0.02, f"{prefix}mia_auc_high": auc + 0.02}
    return {**metrics, "parameters": float(rng.integers(100_000, 9_000_000))}
