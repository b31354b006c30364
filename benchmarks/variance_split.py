"""How often the intervals of a variance's shares hold the planted truth, by ways to make them.

    python benchmarks/variance_split.py [--simulations 500] [--rounds 1000] [--designs usual,nothing] [--cells 20,40,80]

A table of cells x 3 widths x 2 seeds is planted with known shares, again and again (tests/support/bench). Of each
share: percent of 95% intervals that hold it, in brackets of those that lie below it / above it, and the median width.

Ways: ``percentile`` of the bootstrap over cells; ``bootstrap-t``, studentised by the infinitesimal jackknife;
``student``, t quantiles times the jackknife's standard error; ``ours``, on each side the wider of the last two, with
the larger of the jackknife's and the bootstrap's standard errors.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from bench.planted_variance import PARTS, PlantedVariance, heavy

from nni_privacy.bench.mixed_model import strata_of
from nni_privacy.bench.shares import LEVEL, Bootstrap, Sample, bootstrap_shares

Floats = npt.NDArray[np.float64]
Ends = tuple[Floats, Floats]

TAIL = (1 - LEVEL) / 2
USUAL = PlantedVariance()
DESIGNS: Mapping[str, PlantedVariance] = {
    "usual": USUAL,
    "architecture": replace(USUAL, shares=(0.05, 0.02, 0.10, 0.50, 0.20, 0.13)),
    "size": replace(USUAL, shares=(0.60, 0.10, 0.20, 0.04, 0.03, 0.03)),
    "nothing": replace(USUAL, shares=(0.30, 0.08, 0.22, 0.0, 0.25, 0.15)),
    "no seed": replace(USUAL, shares=(0.30, 0.08, 0.22, 0.25, 0.0, 0.15)),
    "no accuracy": replace(USUAL, shares=(0.30, 0.0, 0.01, 0.30, 0.29, 0.10)),
    "heavy tails": replace(USUAL, noise=heavy),
}
"""What is planted: shares of size, accuracy, gap, remaining architecture, seed and records."""


def percentile(bootstrap: Bootstrap) -> Ends:
    """Quantiles of the replicates."""
    low, high = np.quantile(bootstrap.drawn.values, [TAIL, 1 - TAIL], axis=0)
    return bootstrap.shares(low, high)


def bootstrap_t(bootstrap: Bootstrap) -> Ends:
    """Quantiles of the studentised replicates."""
    drawn, value, error = bootstrap.drawn, bootstrap.estimate.values[0], bootstrap.estimate.errors[0]
    below, above = np.quantile((drawn.values - value) / drawn.errors, [TAIL, 1 - TAIL], axis=0)
    return bootstrap.shares(value - above * error, value - below * error)


def student(bootstrap: Bootstrap) -> Ends:
    """Student's t with a degree of freedom less than cells."""
    value = bootstrap.estimate.values[0]
    margin = float(stats.t.ppf(1 - TAIL, bootstrap.cells - 1)) * bootstrap.estimate.errors[0]
    return bootstrap.shares(value - margin, value + margin)


WAYS: Mapping[str, Callable[[Bootstrap], Ends]] = {
    "percentile": percentile,
    "bootstrap-t": bootstrap_t,
    "student": student,
    "ours": Bootstrap.interval,
}


def simulate(planted: PlantedVariance, number: int, rounds: int) -> dict[str, Ends]:
    """The intervals of one planted table, by each way."""
    values, errors = planted.arrays(np.random.default_rng([21, planted.cells, number]))
    spread = values.std(axis=(0, 1, 2))
    strata = strata_of((values - values.mean(axis=(0, 1, 2))) / spread)
    sample = Sample(strata, (errors**2).mean(axis=(1, 2)) / spread[-1] ** 2)
    bootstrap = bootstrap_shares(sample, rounds=rounds, seed=number)
    return {name: way(bootstrap) for name, way in WAYS.items()}


def report(name: str, planted: PlantedVariance, simulations: int, rounds: int) -> None:
    """Simulates one design and prints its lines."""
    start = time.perf_counter()
    found = [simulate(planted, number, rounds) for number in range(simulations)]
    seconds = time.perf_counter() - start
    shown = "".join(f"{part + f' {share:.2f}':>20}" for part, share in zip(PARTS, planted.shares, strict=True))
    print(f"{name}, {planted.cells} cells, {seconds:.0f} s\n{'':12}{shown}")
    truth = np.array(planted.shares)
    for way in WAYS:
        low, high = (np.array([ends[way][side] for ends in found]) for side in (0, 1))
        below, above = 100 * (high < truth).mean(axis=0), 100 * (low > truth).mean(axis=0)
        lines = zip(below, above, np.median(high - low, axis=0), strict=True)
        cells = "".join(
            f"{100 - left - right:>6.1f} ({left:.1f}/{right:.1f}) {wide:.2f}" for left, right, wide in lines
        )
        print(f"{way:12}{cells}", flush=True)


def main() -> None:
    """Simulates and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--designs", default=",".join(DESIGNS))
    parser.add_argument("--cells", default="40")
    options = parser.parse_args()
    for cells in map(int, options.cells.split(",")):
        for name in options.designs.split(","):
            report(name, replace(DESIGNS[name], cells=cells), options.simulations, options.rounds)


if __name__ == "__main__":
    main()
