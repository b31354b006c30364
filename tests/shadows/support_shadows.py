"""A small pool of digits and the options that all tests of shadows share; also a program: CACHE OUTPUT COUNT WORKERS."""

from __future__ import annotations

import sys

import numpy as np

from nni_privacy.data import load_dataset
from nni_privacy.shadows import ModelSpec, reference_shadows
from nni_privacy.training import Recipe

TINY = ModelSpec("shadows.factories:tiny", {"hidden": 8})
QUICK = Recipe(epochs=2, batch_size=32)
RECORDS = 120


def pool():
    digits = load_dataset("digits", limit=RECORDS)
    return digits.images, digits.labels


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
