"""RMIA scores of 8,000 records against a population of 8,000: sorted and searched, against the n x m definition.

Run: python benchmarks/rmia.py

Prints milliseconds of CPU time of this process, median over repeats.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from nni_privacy.attacks import rmia_counts, rmia_ratios, rmia_scores

RECORDS = POPULATION = 8_000
REFERENCES = 4
GAMMA = 2.0
ALLOWED_MILLISECONDS = 50.0


def milliseconds(function: Callable[[], object], repeats: int) -> float:
    """Median CPU time of this process."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        times.append(1000 * (time.process_time() - started))
    return statistics.median(times)


def main() -> int:
    """Times both and prints a table; returns 1 if they differ or the goal is missed."""
    generator = np.random.default_rng(0)
    out = np.zeros((RECORDS, REFERENCES), dtype=bool)
    ratios, population = (
        rmia_ratios(generator.beta(5, 1, size=size), generator.beta(3, 1, size=(size, REFERENCES)), out[:size])
        for size in (RECORDS, POPULATION)
    )

    def definition() -> np.ndarray:
        return (ratios[:, None] / population[None, :] >= GAMMA).sum(axis=1)

    ours = milliseconds(lambda: rmia_scores(ratios, population, gamma=GAMMA), 21)
    plain = milliseconds(definition, 3)
    same = np.array_equal(rmia_counts(ratios, population, gamma=GAMMA), definition())
    print(f"{RECORDS:,} records, {POPULATION:,} population records, one thread; CPU time, median")
    print(f"searchsorted, ties broken  {ours:9.2f} ms")
    print(f"n x m definition           {plain:9.2f} ms   {plain / ours:.0f}x")
    print("counts equal:", same)
    print(f"goal ({ALLOWED_MILLISECONDS:.0f} ms):", "met" if same and ours < ALLOWED_MILLISECONDS else "MISSED")
    return 0 if same and ours < ALLOWED_MILLISECONDS else 1


if __name__ == "__main__":
    raise SystemExit(main())
