"""What a loss contour costs: a grid around the weights of a DARTS cell network on real digits, on one core.

    python benchmarks/contours.py [--steps 21] [--records 256] [--channels 8] [--cells 5]

The weights are untrained: the time does not depend on them. Prints wall and processor time, which differ
on a busy machine.
"""

from __future__ import annotations

import argparse
import time

import torch

from nni_privacy.data import Normalizer, load_dataset
from nni_privacy.search_spaces import DARTS
from nni_privacy.training.contours import loss_contour


def main() -> None:
    """Makes one contour and prints how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("steps", 21), ("records", 256), ("channels", 8), ("cells", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = load_dataset("digits", limit=options.records)
    network = DARTS(channels=options.channels, cells=options.cells, in_channels=1)
    wall, processor = time.perf_counter(), time.process_time()
    loss_contour(
        network,
        data.images,
        data.labels,
        normalize=Normalizer.fit(data.images),
        steps=options.steps,
        device="cpu",
    )
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(
        f"{options.steps} x {options.steps} points, {len(data.images)} images, {options.channels} channels, "
        f"{options.cells} cells: {wall:.1f} s ({processor:.1f} s of processor time)"
    )


if __name__ == "__main__":
    main()
