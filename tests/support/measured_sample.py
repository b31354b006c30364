"""Makes ``measured_sample.csv``: architectures with planted AUCs, in the form of a file of measured ones.

300 random genotypes of the DARTS space, drawn uniformly; nothing of them was trained. AUC and accuracy follow a rule
that is planted, plus normal noise: pools in the reduction cell lower both, convolutions on the edges from the cell's
inputs raise both. Run it to write the file anew; a test compares.

    python tests/support/measured_sample.py
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from surrogate.samples import random_codes

from nni_privacy.cells.darts import DARTS_OPERATIONS, INPUT_NODES

SAMPLE = Path(__file__).with_suffix(".csv")
ROWS = 300
SEED = 20220711
HEADER = ("architecture_id", "genotype", "mia_auc", "test_accuracy")


def sample_text() -> str:
    """The file."""
    random = np.random.default_rng(SEED)
    codes = random_codes(ROWS, seed=SEED)
    pools = np.array(["pool" in op for op in DARTS_OPERATIONS])[codes.operations[:, 1]].sum(axis=(1, 2))
    convolutions = np.array(["conv" in op for op in DARTS_OPERATIONS])[codes.operations]
    on_inputs = (convolutions & (codes.sources < INPUT_NODES)).sum(axis=(1, 2, 3))
    auc = 0.80 - 0.008 * pools + 0.004 * on_inputs + random.normal(0, 0.008, ROWS)
    accuracy = 0.93 - 0.003 * pools + 0.002 * on_inputs + random.normal(0, 0.003, ROWS)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for number, genotype in enumerate(codes.to_genotypes()):
        writer.writerow([number, genotype, f"{auc[number]:.6f}", f"{accuracy[number]:.4f}"])
    return text.getvalue()


if __name__ == "__main__":
    SAMPLE.write_text(sample_text(), encoding="utf-8")
