"""Makes the fitted surrogate that ships with the package.

    python benchmarks/make_surrogate.py DATA

DATA is a CSV file with the columns genotype and mia_auc, or a clone of the repository of the CCS 2022 paper's authors.
The file holds what the models learned (weights, and the nodes of trees), and not one architecture of DATA.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from nni_privacy.surrogate import build_surrogate, load_surrogate, read_mia_data

SEED = 0
OUTPUT = Path(__file__).resolve().parent.parent / "nni_privacy" / "surrogate" / "shipped" / "default.npz"


def main() -> None:
    """Fits the default to all of DATA, writes it, and says how large and how fast it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    data = read_mia_data(options.data)
    build_surrogate("default").fit(data.genotypes, data.mia_auc, seed=SEED).save(options.output)
    started = time.perf_counter()
    load_surrogate(options.output).predict(data.genotypes)
    seconds = time.perf_counter() - started
    print(f"{data.summary()}\n{options.output}: {options.output.stat().st_size / 1000:.0f} kB")
    print(f"{len(data)} predictions in {seconds:.2f} s")


if __name__ == "__main__":
    main()
