"""How much of a planted truth an extraction finds: edges that shift the AUC by a known amount, and noise.

The architectures are those of DATA.csv, 2,400 of them; their AUCs are made up: a few random edges that occur often
enough lower or raise it, the rest is noise, four fifths of the variance, as in measured data. Of the edges that the
supported patterns hold, precision is the share that was planted (with its cell and direction), recall the share of the
planted ones among them. ``--edges 0`` plants nothing: everything that is found is wrong.

Run: python benchmarks/planted.py DATA.csv [--seeds 5] [--edges 8] [--surrogate default]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import numpy.typing as npt

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, Edge
from nni_privacy.commands.extract import surrogate_fit
from nni_privacy.patterns.extraction import extract_patterns
from nni_privacy.patterns.findings import Extraction, ExtractionOptions
from nni_privacy.surrogate import read_mia_data

MEAN, SPREAD, EXPLAINED = 0.808, 0.024, 0.2
ARCHITECTURES, OFTEN = 2400, 100
Place = tuple[str, str, Edge]
"""Cell, objective, edge."""


def holds(codes: GenotypeCodes, cell: str, edge: Edge) -> npt.NDArray[np.bool_]:
    """(n,) which architectures have the edge."""
    kind, node = CELL_TYPES.index(cell), edge.target - 2
    is_op = codes.operations[:, kind, node] == DARTS_OPERATIONS.index(edge.op)
    return ((codes.sources[:, kind, node] == edge.source) & is_op).any(axis=1)


def plant(
    codes: GenotypeCodes, edges: int, generator: np.random.Generator
) -> tuple[npt.NDArray[np.float64], set[Place]]:
    """AUCs (n,) and what was planted."""
    candidates = [
        (cell, Edge(source, target, op))
        for cell in CELL_TYPES
        for target in range(2, 6)
        for source in range(target)
        for op in DARTS_OPERATIONS
    ]
    often = [one for one in candidates if holds(codes, *one).sum() >= OFTEN]
    signal, planted, slots = np.zeros(len(codes)), set(), set()
    for index in generator.permutation(len(often)):
        cell, edge = often[index]
        if len(planted) == edges:
            break
        if (cell, edge.target) in slots:
            continue
        slots.add((cell, edge.target))
        objective = ("demotion", "promotion")[len(planted) % 2]
        there = holds(codes, cell, edge)
        signal += (-1 if objective == "demotion" else 1) * (there - there.mean())
        planted.add((cell, objective, edge))
    signal *= SPREAD * EXPLAINED**0.5 / signal.std() if edges else 0.0
    noise = generator.normal(0, SPREAD * ((1 - EXPLAINED) if edges else 1) ** 0.5, len(codes))
    return np.clip(MEAN + signal + noise, 0, 1), planted


def found_in(extraction: Extraction) -> set[Place]:
    """The edges of the supported patterns."""
    return {(one.cell, one.objective, edge) for one in extraction.found if one.supported for edge in one.edges}


def main() -> None:
    """Prints a line a seed, and precision and recall over all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--edges", type=int, default=8)
    parser.add_argument("--surrogate", default="default")
    options = parser.parse_args()
    every = GenotypeCodes.from_genotypes(read_mia_data(options.data).genotypes)
    hits = wrong = missed = 0
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        generator = np.random.default_rng([seed, 99])
        codes = every[np.sort(generator.permutation(len(every))[:ARCHITECTURES])]
        auc, planted = plant(codes, options.edges, generator)
        started = time.perf_counter()
        low, high = np.quantile(auc, [0.12, 0.91])
        extraction = extract_patterns(
            codes, auc, surrogate_fit(options.surrogate), options=ExtractionOptions(seed=seed, low=low, high=high)
        )
        found = found_in(extraction)
        hits, wrong, missed = hits + len(found & planted), wrong + len(found - planted), missed + len(planted - found)
        print(
            f"seed {seed}: {len(planted)} planted, {len(found)} found, {len(found & planted)} right; "
            f"rank correlation {extraction.predictiveness.spearman:.3f}; {time.perf_counter() - started:.0f} s",
            flush=True,
        )
        for cell, objective, edge in sorted(found - planted, key=str):
            print(f"  wrong: {objective}-{cell} {edge.source}->{edge.target} {edge.op}")
        for cell, objective, edge in sorted(planted - found, key=str):
            print(f"  missed: {objective}-{cell} {edge.source}->{edge.target} {edge.op}")
    share = f"{hits / (hits + wrong):.2f}" if hits + wrong else "-"
    print(f"precision {share}, recall {hits / max(hits + missed, 1):.2f}, {wrong} wrong edges")


if __name__ == "__main__":
    main()
