"""Per-record attack scores of a trial, and the bootstrap band of their ROC curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nni_privacy.files import UNREADABLE

__all__ = ["AttackScores", "read_scores", "roc_band"]

BAND_LEVEL = 0.95
BAND_REPLICATES = 400
BAND_SEED = 20220907
"""The band is an illustration, not a metric: one fixed seed keeps the page the same for the same input."""
_PARTS = ("/scores", "/is_member", "/records")
ROUNDING = 1 + 1e-9
"""So that a rate of exactly k / n counts as reached in spite of rounding."""


@dataclass(frozen=True, eq=False)
class AttackScores:
    """Scores of one attack, one per attacked record.

    Attributes:
        attack: name of the attack.
        scores: ``(n,)``-dim; higher means more likely a member.
        is_member: ``(n,)``-dim, the truth. There is at least one member and one non-member.
        records: ``(n,)``-dim, places among the records of the trial, each once; None if the file does not tell.
    """

    attack: str
    scores: NDArray[np.float64]
    is_member: NDArray[np.bool_]
    records: NDArray[np.int64] | None = None

    @property
    def members(self) -> int:
        """Number of members."""
        return int(self.is_member.sum())

    @property
    def non_members(self) -> int:
        """Number of non-members: no false-positive rate below one over it can be told from zero."""
        return len(self.is_member) - self.members


def read_scores(directory: Path, trial: str, attacks: Sequence[str] = ()) -> tuple[AttackScores, ...]:
    """Reads ``scores/<trial>.npz`` of a run directory.

    Args:
        directory: the run directory.
        trial: the trial's identifier.
        attacks: names in the order that is wanted; further ones follow by name.

    Returns:
        The attacks with usable scores (finite, both members and non-members). Nothing if the file is missing or broken.
    """
    name = f"{trial}.npz"
    if Path(name).name != name:  # "../x": a trial's name is never a way out of the folder
        return ()
    try:
        with np.load(directory / "scores" / name, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name.endswith(_PARTS)}
    except UNREADABLE:
        return ()
    names = sorted(name.removesuffix("/scores") for name in arrays if name.endswith("/scores"))
    order = {attack: rank for rank, attack in enumerate(attacks)}
    found = (_usable(name, arrays) for name in sorted(names, key=lambda name: order.get(name, len(order))))
    return tuple(scores for scores in found if scores is not None)


def _usable(name: str, arrays: dict[str, NDArray[np.generic]]) -> AttackScores | None:
    scores, truth = arrays[f"{name}/scores"], arrays.get(f"{name}/is_member")
    if truth is None or scores.ndim != 1 or scores.shape != truth.shape or scores.dtype.kind not in "fiu":
        return None
    values, members = scores.astype(np.float64), truth.astype(bool)
    if not np.isfinite(values).all() or members.all() or not members.any():
        return None
    return AttackScores(name, values, members, _places(arrays.get(f"{name}/records"), len(values)))


def _places(records: NDArray[np.generic] | None, count: int) -> NDArray[np.int64] | None:
    """The records' places if they are ``count`` different integers."""
    if records is None or records.shape != (count,) or records.dtype.kind not in "iu":
        return None
    return records.astype(np.int64) if len(np.unique(records)) == count else None


def roc_band(
    attack: AttackScores, grid: NDArray[np.float64], *, replicates: int = BAND_REPLICATES, seed: int = BAND_SEED
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A pointwise 95% bootstrap band of the ROC curve, members and non-members being resampled apart.

    Args:
        attack: the scores.
        grid: ``(g,)``-dim false-positive rates.
        replicates: number of resamples.
        seed: of the resampling.

    Returns:
        Lower and upper true-positive rate, each ``(g,)``-dim. The rate at ``x`` is the highest with an FPR of at
        most ``x``.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(-attack.scores, kind="stable")
    values, truth = attack.scores[order], attack.is_member[order]
    ends = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # of every run of equal scores
    where_in, where_out = np.flatnonzero(truth), np.flatnonzero(~truth)
    rates = np.empty((replicates, len(grid)))
    for row in rates:
        taken = np.zeros(len(truth))
        for where in (where_in, where_out):
            taken[where] = np.bincount(rng.integers(len(where), size=len(where)), minlength=len(where))
        tpr = np.append(0.0, np.cumsum(taken * truth)[ends] / len(where_in))
        fpr = np.append(0.0, np.cumsum(taken * ~truth)[ends] / len(where_out))
        row[:] = tpr[np.searchsorted(fpr, grid * ROUNDING, side="right") - 1]
    tail = (1 - BAND_LEVEL) / 2
    low, high = np.quantile(rates, [tail, 1 - tail], axis=0)
    return low, high
