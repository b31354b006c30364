"""Notices of a run's trials, by kind: why results may be none, in how many trials."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nni_privacy.runs.records import TrialRecord

__all__ = ["TrialNotice", "notices_of"]


@dataclass(frozen=True)
class TrialNotice:
    """One kind of notice in a run.

    Attributes:
        kind: what stands before the colon.
        text: what the first trial with it said, kind included.
        first: that trial.
        count: trials with it.
        trials: trials that succeeded.
    """

    kind: str
    text: str
    first: TrialRecord
    count: int
    trials: int

    def __str__(self) -> str:
        every = self.count == self.trials
        where = ("in every trial" if every else f"in {self.count} of {self.trials} trials") if self.trials > 1 else ""
        return f"{self.text} ({where}{'' if every else f', here of #{self.first.sequence}'})" if where else self.text


def notices_of(trials: Iterable[TrialRecord]) -> tuple[TrialNotice, ...]:
    """The notices of these trials, in the order in which their kinds first occur."""
    succeeded = [trial for trial in trials if trial.succeeded]
    told: dict[str, list[tuple[str, TrialRecord]]] = {}
    for trial in succeeded:
        for text in trial.notices:
            told.setdefault(text.partition(":")[0], []).append((text, trial))
    return tuple(TrialNotice(kind, *found[0], len(found), len(succeeded)) for kind, found in told.items())
