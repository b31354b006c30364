"""How often the interval of a mean paired difference covers the truth, beside a percentile bootstrap of architectures.

Each simulation has effects of each architecture's own (sd .015) and noise of each pair (sd .012) around -0.02.

Run: python benchmarks/intervals.py [--simulations 4000]
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt

from nni_privacy.analysis.bootstrap import clustered_estimate

TRUTH, OWN, NOISE = -0.02, 0.015, 0.012
SIZES = ((3, 1), (3, 2), (5, 2), (8, 2), (10, 1), (10, 2), (10, 4), (30, 2))
"""Architectures and seeds."""


def percentile_covers(values: npt.NDArray[np.float64], generator: np.random.Generator) -> bool:
    """Whether the ordinary bootstrap interval of the architectures' means covers the truth."""
    means = values.mean(axis=1)
    resampled = means[generator.integers(len(means), size=(999, len(means)))].mean(axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return bool(low <= TRUTH <= high)


def main() -> None:
    """Simulates and prints one line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=4000)
    simulations = parser.parse_args().simulations
    print("architectures  seeds   ours  percentile")
    for architectures, seeds in SIZES:
        generator = np.random.default_rng([11, architectures, seeds])
        labels = np.repeat(np.arange(architectures), seeds).tolist()
        ours = percentile = 0
        for number in range(simulations):
            own = generator.normal(TRUTH, OWN, (architectures, 1))
            values = own + generator.normal(0, NOISE, (architectures, seeds))
            estimate = clustered_estimate(values.ravel(), labels, seed=number)
            ours += estimate.low <= TRUTH <= estimate.high
            percentile += percentile_covers(values, generator)
        print(f"{architectures:>13}{seeds:>7}{ours / simulations:>7.3f}{percentile / simulations:>12.3f}", flush=True)


if __name__ == "__main__":
    main()
