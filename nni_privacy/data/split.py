"""The split of a pool of records into four equal parts, as in Huang et al. (CCS 2022)."""

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


def split_four_ways(n: int, *, seed: int, labels: npt.ArrayLike | None = None) -> FourWaySplit:
    """Splits ``n`` records at random into four disjoint parts of ``n // 4`` records; up to three records are left over.

    Uses numpy's generator only, so that the split does not depend on torch, on its version or on what was drawn before.

    Args:
        n: number of records in the pool, at least 4.
        seed: any integer >= 0; the same ``n``, ``seed`` and ``labels`` always give the same split.
        labels: ``(n,)`` integers, the classes of the records: the split is then stratified, every class in equal
            numbers in all four parts (numbers that differ by one at most where they cannot be equal).

    Raises:
        DataError: if ``n`` is below 4, the seed is negative, or ``labels`` has another length or a class with fewer
            than 4 records.
    """
    if n < PARTS:
        raise DataError(f"n is {n}: a four-way split needs at least {PARTS} records")
    if seed < 0:
        raise DataError(f"seed is {seed}: allowed are integers of 0 or more")
    order = np.random.default_rng(seed).permutation(n).astype(np.int64)
    size = n // PARTS
    if labels is None:
        return FourWaySplit(*(order[part * size : (part + 1) * size] for part in range(PARTS)))
    # Sorted by class and dealt out like cards: of any run of one class each part gets as many, give or take one.
    generator = np.random.default_rng([seed, 1])
    dealt = order[np.argsort(_shuffled_classes(n, labels, generator)[order], kind="stable")]
    return FourWaySplit(*(generator.permutation(dealt[part::PARTS][:size]) for part in range(PARTS)))


def _shuffled_classes(n: int, labels: npt.ArrayLike, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """The records' classes, renumbered at random: which class loses the records that are left over is chance."""
    given = np.asarray(labels)
    if given.shape != (n,):
        raise DataError(f"labels have shape {given.shape}: a stratified split of {n} records needs ({n},)")
    classes, of_record, counts = np.unique(given, return_inverse=True, return_counts=True)
    if counts.min() < PARTS:
        rarest = counts.argmin()
        found = f"class {classes[rarest]} has {counts[rarest]} records"
        raise DataError(f"{found}: a stratified split needs {PARTS} or more of each class")
    return generator.permutation(len(classes))[of_record]
