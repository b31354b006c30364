"""The split of a pool of records into the four parts of the paper (reference/paper.md, section 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nni_privacy.errors import DataError

__all__ = ["FourWaySplit", "split_four_ways"]

PARTS = 4


@dataclass(frozen=True, eq=False)
class FourWaySplit:
    """Four disjoint, equally long ``int64`` index arrays into one pool of records.

    Attributes:
        target_train: the members: what the attacked model is trained on, shape ``(n // 4,)``.
        target_test: the non-members: what it is tested on.
        shadow_train: what the attacker's own (shadow) models are trained on.
        shadow_test: the shadow models' non-members.
    """

    target_train: npt.NDArray[np.int64]
    target_test: npt.NDArray[np.int64]
    shadow_train: npt.NDArray[np.int64]
    shadow_test: npt.NDArray[np.int64]


def split_four_ways(n: int, *, seed: int) -> FourWaySplit:
    """Splits ``n`` records at random into four disjoint parts of ``n // 4`` records; up to three records are left over.

    Uses numpy's generator only, so that the split does not depend on torch, on its version or on what was drawn before.

    Args:
        n: number of records in the pool, at least 4.
        seed: any integer >= 0; the same ``n`` and ``seed`` always give the same split.

    Raises:
        DataError: if ``n`` is below 4 or the seed is negative.
    """
    if n < PARTS:
        raise DataError(f"n is {n}: a four-way split needs at least {PARTS} records")
    if seed < 0:
        raise DataError(f"seed is {seed}: allowed are integers of 0 or more")
    order = np.random.default_rng(seed).permutation(n).astype(np.int64)
    size = n // PARTS
    return FourWaySplit(*(order[part * size : (part + 1) * size] for part in range(PARTS)))
