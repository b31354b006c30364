"""Per-record attack scores of a trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nni_privacy.files import UNREADABLE

__all__ = ["AttackScores", "read_score_file", "read_scores"]

_OF_RECORDS = ("record_index", "record_label")
_READ = ("/scores", "/is_member", "/records", *_OF_RECORDS)


@dataclass(frozen=True, eq=False)
class AttackScores:
    """Scores of one attack, one per attacked record.

    Attributes:
        attack: name of the attack.
        scores: ``(n,)``-dim; higher means more likely a member.
        is_member: ``(n,)``-dim, the truth. There is at least one member and one non-member.
        index: ``(n,)``-dim, the records' places in the data set, or in an audit among the members (or non-members);
            None if the file does not say.
        labels: ``(n,)``-dim, their classes; None likewise.
    """

    attack: str
    scores: NDArray[np.float64]
    is_member: NDArray[np.bool_]
    index: NDArray[np.int64] | None = None
    labels: NDArray[np.int64] | None = None

    @property
    def members(self) -> int:
        """Number of members."""
        return int(self.is_member.sum())

    @property
    def members_index(self) -> NDArray[np.int64]:
        """The members' places, see :attr:`index`; none if they are unknown."""
        return np.empty(0, dtype=np.int64) if self.index is None else self.index[self.is_member]

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
    return read_score_file(directory / "scores" / name, attacks)


def read_score_file(path: Path, attacks: Sequence[str] = ()) -> tuple[AttackScores, ...]:
    """Reads scores as :meth:`AuditReport.save_scores <nni_privacy.auditing.AuditReport.save_scores>` writes them.

    Arguments and result as :func:`read_scores`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name.endswith(_READ)}
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
    index, labels = (_of_records(arrays.get(f"{name}/records"), arrays.get(key), members) for key in _OF_RECORDS)
    return AttackScores(name, values, members, index, labels)


def _of_records(
    records: NDArray[np.generic] | None, values: NDArray[np.generic] | None, members: NDArray[np.bool_]
) -> NDArray[np.int64] | None:
    """The value of each attacked record; None where the file does not hold whole numbers for all of them."""
    if records is None or values is None or records.shape != members.shape or values.ndim != 1:
        return None
    if {records.dtype.kind, values.dtype.kind} - {"i", "u"}:
        return None
    places, found = records.astype(np.int64), values.astype(np.int64)
    if (places < 0).any() or (places >= len(found)).any() or (found < 0).any():
        return None
    return np.asarray(found[places], dtype=np.int64)
