"""Records and options that all tests of shadows share; also a program: CACHE OUTPUT COUNT WORKERS."""

from __future__ import annotations

import sys

import numpy as np
import torch

from nni_privacy.auditing.shadows import ModelSpec, reference_shadows
from nni_privacy.training.recipe import Recipe

TINY = ModelSpec("shadows.factories:tiny", {"hidden": 8})
QUICK = Recipe(epochs=2, batch_size=32)
RECORDS = 120


def pool():
    """Noise with labels: quicker to come by in a fresh process than digits, and as easy to remember."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (RECORDS, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return images, torch.arange(RECORDS) % 10


def references(*, count=4, model=TINY, cache, workers=0, **options):
    return reference_shadows(
        model,
        *pool(),
        count=count,
        recipe=options.pop("recipe", QUICK),
        seed=options.pop("seed", 3),
        cache=cache,
        workers=workers,
        device="cpu",
        **options,
    )


if __name__ == "__main__":
    cache, output, count, workers = sys.argv[1:]
    np.save(output, references(count=int(count), cache=cache, workers=int(workers)).logits)
