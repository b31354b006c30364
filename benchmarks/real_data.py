"""All attacks on real CIFAR-10: AUC and TPR at 1% FPR with intervals, and the time of each attack.

    python benchmarks/real_data.py CIFAR10.npz [--records 400] [--epochs 20] [--jobs 2] [--output FOLDER]

CIFAR10.npz holds x_train, y_train, x_test, y_test (uint8, N x 32 x 32 x 3). A random subset of 4 x RECORDS images is
split four ways as in the paper. Trained and attacked are a DARTS cell network of 16 channels (three seeds) and a
ResNet-18 (torchvision; one seed). The time of an attack is CPU time and includes all that it needs: forward passes,
shadow models (none is taken from a cache, but RMIA reuses LiRA's), queries. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TARGETS = ("darts 0", "darts 1", "darts 2", "resnet18 0")
ATTACKS = (
    "loss_threshold",
    "gap",
    "black_box_partial",
    "black_box_shadow",
    "white_box_partial",
    "white_box_shadow",
    "label_only",
    "lira",
    "rmia",
)
GENOTYPE = (  # DARTS_V2, the second-order cell of Liu et al., ICLR 2019
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


def model_spec(name: str) -> Any:
    """How to build a network by its short name."""
    from nni_privacy.auditing.shadows import ModelSpec

    sizes = {"genotype": GENOTYPE, "channels": 16, "cells": 5, "in_channels": 3, "num_classes": 10}
    return {
        "darts": ModelSpec("nni_privacy.search_spaces.network:CellNetwork.of", sizes),
        "resnet18": ModelSpec("torchvision.models:resnet18", {"num_classes": 10}),
    }[name]


def run_target(target: str, options: argparse.Namespace) -> dict[str, Any]:
    """Trains one target and runs every attack on it."""
    import torch

    from nni_privacy import Recipe, audit
    from nni_privacy.auditing.options import Effort
    from nni_privacy.auditing.shadows import ShadowOptions
    from nni_privacy.data import Normalizer, load_dataset, split_four_ways
    from nni_privacy.training.fit import fit, predict_logits, seed_everything

    torch.set_num_threads(1)
    name, seed = target.split()[0], int(target.split()[1])
    data = load_dataset("npz", path=options.data, limit=4 * options.records, limit_seed=seed)
    split = split_four_ways(len(data), seed=seed)
    parts = {part: (data.images[rows], data.labels[rows]) for part, rows in vars(split).items()}
    recipe = Recipe(epochs=options.epochs)
    spec = model_spec(name)
    seed_everything(seed)
    model = spec.build()
    normalize = Normalizer.fit(parts["target_train"][0])
    started = time.process_time()
    fit(model, *parts["target_train"], recipe=recipe, seed=seed, normalize=normalize)
    result: dict[str, Any] = {"target": target, "training": time.process_time() - started, "attacks": {}}
    for key in ("target_train", "target_test"):
        predicted = predict_logits(model, parts[key][0], normalize=normalize).argmax(1)
        result[key] = float((predicted == parts[key][1].numpy()).mean())
    with tempfile.TemporaryDirectory() as cache:
        halves = {"train": parts["shadow_train"], "test": parts["shadow_test"]}
        shadow = ShadowOptions(recipe=recipe, model=spec, count=options.shadows, cache=cache, **halves)
        effort = Effort(boundary_records=options.boundary_records, boundary_queries=options.boundary_queries)
        for attack in ATTACKS:
            started = time.process_time()
            report = audit(
                model,
                parts["target_train"],
                parts["target_test"],
                attacks=attack,
                shadow=shadow,
                effort=effort,
                seed=seed,
                normalize=normalize,
                allow_shared=True,  # CIFAR-10 holds a few images twice
            )
            seconds = time.process_time() - started
            result["attacks"][attack] = {**report.metrics(), "seconds": seconds}
            print(target, attack, round(report.metrics()["mia_auc"], 4), round(seconds, 1), file=sys.stderr, flush=True)
    return result


def run_all(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every target in a process of its own, ``jobs`` at a time."""
    waiting, running, results = list(TARGETS), [], []
    while waiting or running:
        while waiting and len(running) < options.jobs:
            target = waiting.pop(0)
            command = [sys.executable, __file__, *sys.argv[1:], "--target", target]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        answer, _ = running[0].communicate()
        if running.pop(0).returncode:
            raise SystemExit("a target failed")
        results.append(json.loads(answer))
    return results


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown: a row an attack, a column a target."""
    lines = ["| attack | " + " | ".join(result["target"] for result in results) + " | CPU seconds |"]
    lines.append("|---" * (len(results) + 2) + "|")
    accuracies = [f"{result['target_train']:.3f} / {result['target_test']:.3f}" for result in results]
    seconds = [f"{result['training']:.0f}" for result in results]
    lines.append("| (train / test accuracy) | " + " | ".join(accuracies) + " | training: " + ", ".join(seconds) + " |")
    for attack in ATTACKS:
        found = [result["attacks"][attack] for result in results]
        cells = [
            f"{m['mia_auc']:.3f} [{m['mia_auc_low']:.3f}, {m['mia_auc_high']:.3f}]; {_rate(m['mia_tpr_at_1pct_fpr'])}"
            for m in found
        ]
        lines.append(
            f"| {attack} | " + " | ".join(cells) + " | " + ", ".join(f"{m['seconds']:.0f}" for m in found) + " |"
        )
    return "\n".join(lines)


def _rate(value: float | None) -> str:
    return "not resolvable" if value is None else f"{value:.3f}"


def main() -> None:
    """Runs the benchmark, or (``--target``) one target of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the .npz file")
    parser.add_argument("--records", type=int, default=400, help="of each of the four parts")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--shadows", type=int, default=4, help="reference models of LiRA and RMIA")
    parser.add_argument("--boundary-records", type=int, default=50)
    parser.add_argument("--boundary-queries", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, help="also write the results there, as JSON and Markdown")
    parser.add_argument("--target", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.target:
        print(json.dumps(run_target(options.target, options)))
        return
    started = time.perf_counter()
    results = run_all(options)
    text = f"{table(results)}\n\n{time.perf_counter() - started:.0f} s in all, {options.jobs} at a time."
    print(text)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "real_data.json").write_text(json.dumps(results, indent=2))
        (options.output / "real_data.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
