"""A large audit: peak memory on 30,000 CIFAR-size records, and the time of metrics and intervals on 30,000 scores.

    python benchmarks/audit_size.py [--records 15000] [--attacks loss_threshold,black_box_partial,white_box_partial]

The records are random (memory does not depend on what they show), the network is a DARTS cell network of 4 channels.
The goals are 2 GB, and 0.1 s for the metrics of an attack; exits with 1 if one is missed.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np
import torch

from nni_privacy import audit
from nni_privacy.attacks import AttackScores, report_attack
from nni_privacy.search_spaces import DARTS

MEMORY_GOAL = 2.0
METRICS_GOAL = 0.1


def peak_gigabytes() -> float:
    """The most memory that this process has held, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> int:
    """Prints both measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=15000, help="members, and as many non-members")
    parser.add_argument("--attacks", default="loss_threshold,black_box_partial,white_box_partial")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    scores, is_member = generator.normal(size=2 * options.records), np.arange(2 * options.records) % 2 == 0
    attacked = AttackScores(scores, is_member, np.arange(len(scores)))
    report_attack("once", attacked)  # imports SciPy
    started = time.process_time()
    report_attack("again", attacked)
    metrics = time.process_time() - started
    print(f"metrics and intervals of {len(scores):,} scores: {1000 * metrics:.0f} ms of CPU time")

    images = torch.from_numpy(generator.integers(0, 256, (2 * options.records, 3, 32, 32), dtype=np.uint8))
    labels = torch.from_numpy(generator.integers(0, 10, 2 * options.records))
    before, started = peak_gigabytes(), time.process_time()
    half = options.records
    model = DARTS(channels=4, cells=3)
    audit(model, (images[:half], labels[:half]), (images[half:], labels[half:]), attacks=options.attacks.split(","))
    seconds = time.process_time() - started
    print(
        f"audit of {2 * half:,} records, {options.attacks}: peak {peak_gigabytes():.2f} GB "
        f"({before:.2f} GB before it: python, torch and the images), {seconds:.0f} s of CPU time"
    )
    return int(peak_gigabytes() > MEMORY_GOAL or metrics > METRICS_GOAL)


if __name__ == "__main__":
    sys.exit(main())
