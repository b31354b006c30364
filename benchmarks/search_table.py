"""The ten algorithms with and without four fixed edges: accuracy, attack, search time and skip connections on digits.

Each search runs on the two halves of target-train; its best architecture is then trained from scratch and audited as a
trial of an experiment would be. Search seconds are CPU time of its one thread. Every result is a line of a file, and a
run that is started again does only what is missing. Two processes, one thread each.

Run: python benchmarks/search_table.py [--output FILE] [--seeds 3] [--workers 2] [--epochs 8]
Then, or at any time: python benchmarks/search_table.py --output FILE --print
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

ALGORITHMS = (
    "random_search",
    "darts_v1",
    "darts_v2",
    "enas",
    "gdas",
    "setn",
    "pc_darts",
    "drnas",
    "sdarts",
    "tenas",
)
PATTERN = "demotion-reduction"
BUDGETS = (0, 4)
SPACES: dict[str, dict[str, int]] = {
    "darts": {"channels": 8, "cells": 3},
    "nasbench201": {"channels": 8, "cells": 1},
}
ARCHITECTURE_RATE = 0.03
"""The paper's 3e-4 hardly moves alpha in the 56 steps of a search this small."""
RETRAINING_EPOCHS = 30
BATCH = 32
HEAD = "| algorithm | m | accuracy | mia_auc [95% interval] | search s | skip connections |"


@dataclass(frozen=True)
class Job:
    """One search: its name in the file is all its fields."""

    space: str
    algorithm: str
    budget: int
    seed: int
    epochs: int

    @property
    def name(self) -> str:
        """Unique in the file."""
        return "/".join(str(value) for value in asdict(self).values())


def run(job: Job) -> dict[str, Any]:
    """Searches, retrains and audits; a line of the file."""
    import nni
    import torch
    from nni.nas.space import SimplifiedModelSpace

    from nni_privacy.evaluator import PrivacyEvaluator
    from nni_privacy.search_spaces import DARTS, NasBench201
    from nni_privacy.strategies import FixedPattern, build_strategy
    from nni_privacy.strategies.registry import strategy_options

    torch.set_num_threads(1)
    nni.report_final_result = nni.report_intermediate_result = lambda _metrics: None
    evaluator = PrivacyEvaluator("digits", recipe={"epochs": RETRAINING_EPOCHS}, seed=job.seed)
    kind = {"darts": DARTS, "nasbench201": NasBench201}[job.space]
    wanted = {"epochs": job.epochs, "batch_size": BATCH, "architecture_learning_rate": ARCHITECTURE_RATE}
    known = strategy_options(job.algorithm).model_fields
    # TE-NAS trains nothing; its batch is that of the kernel.
    options = {name: value for name, value in wanted.items() if name in known and "epochs" in known}
    inner = build_strategy(job.algorithm, options, seed=job.seed)
    strategy = FixedPattern(inner, PATTERN, budget=job.budget)
    space = SimplifiedModelSpace.from_model(kind(**SPACES[job.space], in_channels=1, num_classes=10), evaluator)
    started = time.process_time()
    strategy.initialize(space, None)
    (sample,) = inner.search()
    seconds = time.process_time() - started
    with_fixed = inner.layout().describe(sample)
    trial = space.freeze(sample)
    from nni_privacy.training.fit import seed_everything

    seed_everything(job.seed)
    metrics = evaluator.evaluate(trial.executable_model())
    kept = ("accuracy", "mia_auc", "mia_auc_low", "mia_auc_high", "overfitting", "mia_tpr_at_1pct_fpr")
    return {
        **asdict(job),
        "architecture": with_fixed,
        "search_seconds": round(seconds, 2),
        "skip_connections": inner.layout().skip_connections(sample),
        **{name: metrics[name] for name in kept},
    }


def read(path: Path) -> dict[str, dict[str, Any]]:
    """What the file holds, by name of the job."""
    if not path.is_file():
        return {}
    fields = list(Job.__dataclass_fields__)
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return {Job(**{field: line[field] for field in fields}).name: line for line in lines}


def show(results: dict[str, dict[str, Any]]) -> None:
    """A Markdown table a space; mean ± standard deviation over the seeds, the interval's ends averaged."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for line in results.values():
        groups[line["space"], line["algorithm"], line["budget"]].append(line)
    for space in SPACES:
        print(f"\n{space}: {SPACES[space]}\n\n{HEAD}\n|---|---|---|---|---|---|")
        for algorithm in ALGORITHMS:
            for budget in BUDGETS:
                lines = groups.get((space, algorithm, budget))
                if lines:
                    print(f"| {algorithm} | {budget} | {row(lines)} |")


def row(lines: list[dict[str, Any]]) -> str:
    """The numbers of one algorithm and budget."""

    def spread(name: str, digits: int) -> str:
        values = np.array([line[name] for line in lines], dtype=float)
        deviation = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
        return f"{values.mean():.{digits}f}{deviation}"

    low, high = (np.mean([line[f"mia_auc_{end}"] for line in lines]) for end in ("low", "high"))
    return " | ".join(
        (
            spread("accuracy", 3),
            f"{spread('mia_auc', 3)} [{low:.3f}, {high:.3f}]",
            spread("search_seconds", 0),
            spread("skip_connections", 1),
        )
    )


def main() -> None:
    """Runs what is missing, then prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=Path("search_table.jsonl"))
    parser.add_argument("--seeds", type=int, default=3, help="on the DARTS space; one on NAS-Bench-201")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=8, help="of a search")
    parser.add_argument("--print", action="store_true", help="run nothing")
    options = parser.parse_args()
    results = read(options.output)
    jobs = [
        Job(space, algorithm, budget, seed, options.epochs)
        for space in SPACES
        for seed in range(options.seeds if space == "darts" else 1)
        for algorithm in ALGORITHMS
        for budget in BUDGETS
    ]
    missing = [] if options.print else [job for job in jobs if job.name not in results]
    if missing:
        os.environ["OMP_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
            waiting = {pool.submit(run, job): job for job in missing}
            for done in as_completed(waiting):
                line = done.result()
                with options.output.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                results[waiting[done].name] = line
                print(f"{len(results)}/{len(jobs)} {waiting[done].name}: {line['search_seconds']} s", flush=True)
    show(results)


if __name__ == "__main__":
    main()
