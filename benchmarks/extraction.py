"""Operation Importance of 540 architectures, and a whole extraction, timed.

Run: python benchmarks/extraction.py DATA.csv [--gin]

Prints seconds. DATA.csv has the columns genotype and mia_auc. ``--gin`` also times the graph network.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.commands.extract import surrogate_fit
from nni_privacy.patterns.extraction import extract_patterns
from nni_privacy.patterns.importance import operation_importance
from nni_privacy.surrogate import build_surrogate, read_mia_data

ARCHITECTURES = 540
ALLOWED_SECONDS = {"default": 10.0, "gin": 60.0}
ALLOWED_WHOLE = 300.0


def time_importance(name: str, codes: GenotypeCodes, auc: np.ndarray) -> bool:
    """Prints the time of prediction and of all else; returns whether it is within what is allowed."""
    surrogate = build_surrogate(name).fit(codes, auc, seed=0)
    extremes = np.argsort(np.abs(auc - np.median(auc)))[-ARCHITECTURES:]
    spent, asked = 0.0, 0

    def predict(wanted: GenotypeCodes) -> np.ndarray:
        nonlocal spent, asked
        started = time.perf_counter()
        found = surrogate.predict(wanted)
        spent, asked = spent + time.perf_counter() - started, asked + len(wanted)
        return found

    started = time.perf_counter()
    operation_importance(codes[extremes], predict)
    total = time.perf_counter() - started
    print(f"importance, {name:<8} {len(extremes)} architectures, {asked:,} predictions: {total:6.2f} s", end="")
    print(f" ({total - spent:.2f} s without prediction)")
    return total < ALLOWED_SECONDS[name]


def main() -> int:
    """Times all; returns 1 if something takes longer than allowed."""
    data = read_mia_data(sys.argv[1])
    codes, auc = GenotypeCodes.from_genotypes(data.genotypes), data.mia_auc
    names = ["default", "gin"] if "--gin" in sys.argv else ["default"]
    met = [time_importance(name, codes, auc) for name in names]
    started = time.perf_counter()
    extract_patterns(codes, auc, surrogate_fit("default"))
    seconds = time.perf_counter() - started
    print(f"whole extraction, default surrogate, 20 fits, 100 resamples: {seconds:.0f} s")
    met.append(seconds < ALLOWED_WHOLE)
    print("goals:", "met" if all(met) else "MISSED")
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
