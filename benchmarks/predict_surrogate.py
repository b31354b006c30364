"""How fast the shipped surrogate predicts: 70,000 random architectures, encoding included.

python benchmarks/predict_surrogate.py [--architectures 70000] [--surrogate FILE]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.surrogate import load_surrogate

NODES, OPERATIONS = 4, 7


def random_architectures(rows: int) -> GenotypeCodes:
    """Uniform over sources and operations."""
    random = np.random.default_rng(0)
    sources = np.empty((rows, 2, NODES, 2), dtype=np.int8)
    for node in range(NODES):
        keys = random.random((rows, 2, node + 2))
        sources[:, :, node] = np.sort(np.argsort(keys, axis=2)[..., :2], axis=2)
    return GenotypeCodes(sources, random.integers(0, OPERATIONS, sources.shape).astype(np.int8))


def main() -> None:
    """Prints wall and processor seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, default=70_000)
    parser.add_argument("--surrogate", type=Path)
    options = parser.parse_args()
    codes = random_architectures(options.architectures)
    surrogate = load_surrogate(options.surrogate)
    wall, processor = time.perf_counter(), time.process_time()
    surrogate.predict(codes)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{surrogate!r}: {len(codes)} predictions in {wall:.2f} s ({processor:.2f} s of processor time)")


if __name__ == "__main__":
    main()
