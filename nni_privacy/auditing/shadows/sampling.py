"""Which shadow is trained on which record, drawn before any training so that the number of shadows can grow."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nni_privacy.auditing.options import ShadowCount
from nni_privacy.schema import Count, Seed, checked

__all__ = ["keep_matrix"]

MIN_RECORDS = 4
"""Of fewer records a half would be a single one, which BatchNorm cannot be trained on."""


def keep_matrix(records: int, shadows: int, *, seed: int) -> npt.NDArray[np.bool_]:
    """Draws the training records of every shadow: a random half of the pool, and for the next shadow the other half.

    Columns ``2p`` and ``2p + 1`` are complementary, so with an even number of shadows every record is IN for exactly
    half of them (Carlini et al., arXiv 2112.03570), and every shadow is trained on half of the pool; of an odd number
    of records one more or one less, in turns. A pair depends on the seed, the number of records and ``p`` only: with
    more shadows the first columns stay as they are, and 4 -> 8 -> 16 shadows redo nothing.

    Args:
        records: n, size of the pool, 4 or more.
        shadows: S, 1 or more; even numbers are balanced best.
        seed: 0 or more.

    Returns:
        ``(n, S)`` booleans, true where the record is in the shadow's training set.

    Raises:
        ConfigError: if a number is out of range.
    """
    records = checked(Annotated[Count, Field(ge=MIN_RECORDS)], records, "records")
    shadows = checked(ShadowCount, shadows, "shadows")
    seed = checked(Seed, seed, "seed")
    pairs = (shadows + 1) // 2
    keep = np.zeros((records, 2 * pairs), dtype=np.bool_)
    for pair in range(pairs):
        half = (records + pair % 2) // 2
        order = np.random.default_rng([seed, pair]).permutation(records)
        keep[order[:half], 2 * pair] = True
        keep[order[half:], 2 * pair + 1] = True
    return keep[:, :shadows]
