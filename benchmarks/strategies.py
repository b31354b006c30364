"""Seconds and peak memory of a search step of each algorithm, on both spaces, one thread.

A step is one training and one validation batch; the first is not counted, the mean of the next ones is given. TE-NAS
trains nothing: its step is a pruning round. PC-DARTS and DrNAS are measured after their warm-up, when the architecture
is trained too. Each algorithm runs in a process of its own, so that its peak memory is its own.

Run: python benchmarks/strategies.py [--channels 16] [--cells 5] [--size 32] [--batch 64] [--steps 1]
"""

from __future__ import annotations

import argparse
import resource
import time
from multiprocessing import get_context
from typing import Any

ALGORITHMS = (
    "darts_v1",
    "darts_v2",
    "enas",
    "gdas",
    "setn",
    "random_search",
    "pc_darts",
    "drnas",
    "sdarts",
    "tenas",
)
PATTERN, BUDGET = "demotion-reduction", 4
GOALS = {"gdas": 0.45, "pc_darts": 0.6}
"""At most so much of DARTS' first-order step."""
MEASURED_EPOCHS = 2
MORE_STEPS = {"enas": 3}
"""Times as many steps an epoch: ENAS ends an epoch by judging sampled cells, as often whatever the epoch's length."""
NO_WARMUP = {"warmup": 0.0}


def measure(space: str, algorithm: str, budget: int, options: dict[str, int]) -> tuple[float, float]:
    """CPU seconds a step, and peak memory of the process in MiB."""
    import torch
    from nni.nas.space import SimplifiedModelSpace

    from nni_privacy.search_spaces import DARTS, NasBench201
    from nni_privacy.strategies import FixedPattern, build_strategy
    from nni_privacy.strategies.registry import strategy_options

    torch.set_num_threads(1)
    kind: Any = {"darts": DARTS, "nasbench201": NasBench201}[space]
    model_space = SimplifiedModelSpace.from_model(
        kind(channels=options["channels"], cells=options["cells"], in_channels=3, num_classes=10), None
    )
    known = strategy_options(algorithm).model_fields
    wanted = {"epochs": 4, "batch_size": options["batch"], "controller_steps": 1, **NO_WARMUP}
    # TE-NAS keeps its defaults: its batch is that of the kernel.
    wanted = {name: value for name, value in wanted.items() if name in known and "epochs" in known}
    inner = build_strategy(algorithm, wanted, seed=0)
    steps = options["steps"] * MORE_STEPS.get(algorithm, 1)
    records = 2 * options["batch"] * steps
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(records, 3, options["size"], options["size"], generator=generator)
    inner.given_data = (images, torch.arange(records) % 10)
    FixedPattern(inner, PATTERN, budget=budget).initialize(model_space, None)
    before = time.process_time()
    inner.run_epoch(0)
    first = time.process_time() - before
    if algorithm == "tenas":
        return first, _peak()
    before = time.process_time()
    for inner.epoch in range(1, 1 + MEASURED_EPOCHS):
        inner.run_epoch(inner.epoch)
    return (time.process_time() - before) / MEASURED_EPOCHS / steps, _peak()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Prints the table and whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, value in {"channels": 16, "cells": 5, "size": 32, "batch": 64, "steps": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--spaces", nargs="+", default=["darts", "nasbench201"])
    parser.add_argument("--algorithms", nargs="+", default=list(ALGORITHMS), choices=ALGORITHMS)
    parsed = vars(parser.parse_args())
    spaces, algorithms = parsed.pop("spaces"), parsed.pop("algorithms")
    print(f"{parsed}\n\n| space | algorithm | m = 0: s | MiB | m = {BUDGET}: s | MiB |\n|---|---|---|---|---|---|")
    missed = []
    for space in spaces:
        seconds: dict[str, float] = {}
        for algorithm in algorithms:
            found = [_apart(space, algorithm, budget, parsed) for budget in (0, BUDGET)]
            seconds[algorithm] = found[0][0]
            cells = " | ".join(f"{time_:.2f} | {peak:.0f}" for time_, peak in found)
            print(f"| {space} | {algorithm} | {cells} |", flush=True)
            if found[1][0] >= found[0][0]:
                missed.append(f"{space}, {algorithm}: {BUDGET} fixed edges do not make it faster")
        for algorithm, share in GOALS.items():
            if {algorithm, "darts_v1"} <= seconds.keys():
                ratio = seconds[algorithm] / seconds["darts_v1"]
                print(f"{space}: {algorithm} takes {ratio:.2f}x of darts_v1 (goal: at most {share}x)", flush=True)
                missed += [f"{space}, {algorithm}: {ratio:.2f}x"] * (ratio > share)
    print("goals: " + ("; ".join(missed) if missed else "met"))


def _apart(space: str, algorithm: str, budget: int, options: dict[str, int]) -> tuple[float, float]:
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (space, algorithm, budget, options))


if __name__ == "__main__":
    main()
