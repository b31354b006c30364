"""Which members a run's or an audit's attacks find again and again: per-record results over attacks and trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nni_privacy.attacks.exposure import found_members, score_percentiles
from nni_privacy.errors import DataError
from nni_privacy.runs.records import RunInfo, name_of, read_run
from nni_privacy.runs.scores import AttackScores, read_score_file, read_scores

__all__ = ["ExposedRecord", "Exposures", "exposures", "exposures_of", "exposures_of_run"]

AUDIT_FILES = ("metrics.json", "scores.npz")
"""What tells the folder of an audit from that of a run."""


@dataclass(frozen=True)
class ExposedRecord:
    """A member and what the attacks make of it.

    Attributes:
        dataset: its data set; empty where there is one only.
        index: its place in the data set, or in an audit among the members, from 0.
        label: its class; None if unknown.
        percentile: share of the non-members that its score is above, 0 to 1, the mean over attacks and trials.
        found: how often it is found at 1% FPR.
        attacked: of how many times; an attack on too few non-members for such a rate does not count.
        attacks: how many attacks find it in some trial.
        attacks_of: of how many.
        trials: in how many trials some attack finds it.
        trials_of: of how many.
    """

    dataset: str
    index: int
    label: int | None
    percentile: float
    found: int
    attacked: int
    attacks: int
    attacks_of: int
    trials: int
    trials_of: int

    def row(self) -> dict[str, object]:
        """A row of a table; the data set only where there are several."""
        named = {"dataset": self.dataset} if self.dataset else {}
        return {
            **named,
            "index": self.index,
            "class": self.label,
            "percentile": round(self.percentile, 6),
            **{key: getattr(self, key) for key in ("found", "attacked", "attacks", "attacks_of", "trials")},
            "trials_of": self.trials_of,
        }


@dataclass(frozen=True)
class Exposures:
    """All members that were attacked.

    Attributes:
        records: the most exposed first: found most often, then of the highest percentile.
        attacks: names of the attacks.
        trials: number of trials.
    """

    records: tuple[ExposedRecord, ...]
    attacks: tuple[str, ...]
    trials: int


def exposures_of(folder: Path) -> Exposures:
    """The members of a run directory's trials, or of an audit.

    Raises:
        DataError: if the folder is neither, or holds no scores that say which record they are of.
    """
    if all((folder / name).is_file() for name in AUDIT_FILES):
        found = exposures({"": [("audit", read_score_file(folder / "scores.npz"))]})
    else:
        found = exposures_of_run(read_run(folder))
    if not found.records:
        raise DataError(f"{folder}: there are no scores (of a trial that succeeded) that say which record they are of")
    return found


def exposures_of_run(run: RunInfo) -> Exposures:
    """The members of all succeeded trials whose scores can be read and say which records they are of."""
    by_data: dict[str, list[tuple[str, Sequence[AttackScores]]]] = {}
    for trial in run.succeeded:
        # The names of a study's data sets; a search has one.
        dataset = name_of(trial.factors.get("dataset"))
        by_data.setdefault(dataset, []).append((trial.trial, read_scores(run.directory, trial.trial, run.attacks)))
    return exposures(by_data if len(by_data) > 1 else {"": [one for each in by_data.values() for one in each]})


def exposures(measured: dict[str, list[tuple[str, Sequence[AttackScores]]]]) -> Exposures:
    """The members of the trials of each data set.

    Args:
        measured: data set to the names of its trials with the scores of their attacks; those that do not say which
            records they are of are left out.
    """
    records: list[ExposedRecord] = []
    attacks: dict[str, None] = {}
    count = 0
    for dataset, trials in measured.items():
        known = [[one for one in scores if one.index is not None and one.is_member.any()] for _, scores in trials]
        known = [scores for scores in known if scores]
        count += len(known)
        attacks.update(dict.fromkeys(one.attack for scores in known for one in scores))
        records += _of_one_dataset(dataset, known)
    ordered = sorted(records, key=lambda one: (-one.found, -one.percentile, one.dataset, one.index))
    return Exposures(tuple(ordered), tuple(attacks), count)


def _of_one_dataset(dataset: str, trials: Sequence[Sequence[AttackScores]]) -> list[ExposedRecord]:
    places = [one.members_index for scores in trials for one in scores]
    indices = np.unique(np.concatenate(places)) if places else np.empty(0, dtype=np.int64)
    size = len(indices)
    names = ("seen", "percentile", "attacked", "found", "attacks", "attacks_of", "trials", "trials_of")
    sums = {name: np.zeros(size) for name in names}
    labels = np.full(size, -1, dtype=np.int64)
    by_attack: dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]] = {}
    for scores in trials:
        of_trial = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        for one in scores:
            where = np.searchsorted(indices, one.members_index)
            sums["seen"][where] += 1
            sums["percentile"][where] += score_percentiles(one.scores, one.is_member)
            if one.labels is not None:
                labels[where] = one.labels[one.is_member]
            found = found_members(one.scores, one.is_member)
            if found is None:
                continue
            sums["attacked"][where] += 1
            sums["found"][where] += found
            of_attack = by_attack.setdefault(one.attack, (np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)))
            for asked, hit in (of_trial, of_attack):
                asked[where] = True
                hit[where] |= found
        _add(sums, "trials", [of_trial])
    _add(sums, "attacks", by_attack.values())
    sums["percentile"] /= np.maximum(sums["seen"], 1)
    return [
        ExposedRecord(
            dataset,
            int(indices[place]),
            None if labels[place] < 0 else int(labels[place]),
            float(sums["percentile"][place]),
            *(int(sums[name][place]) for name in ("found", "attacked", "attacks", "attacks_of", "trials", "trials_of")),
        )
        for place in range(size)
    ]


def _add(
    sums: dict[str, NDArray[np.float64]], name: str, pairs: Iterable[tuple[NDArray[np.bool_], NDArray[np.bool_]]]
) -> None:
    """Counts what was asked about a record, and where it was found."""
    for asked, hit in pairs:
        sums[f"{name}_of"] += asked
        sums[name] += hit
