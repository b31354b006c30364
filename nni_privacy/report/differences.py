"""Which AUCs of the Pareto front differ beyond chance: trials that were attacked on the same records, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from nni_privacy.analysis.paired_auc import MIN_SIDE, AucDifference, compare_aucs
from nni_privacy.attacks.verdict import LEVEL
from nni_privacy.runs.records import RunInfo, TrialRecord
from nni_privacy.runs.scores import AttackScores, read_scores

__all__ = ["DifferencesInfo", "differences_info"]

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class DifferencesInfo:
    """DeLong's test on each pair of a front's trials.

    Attributes:
        attack: whose AUCs are compared.
        trials: those with readable scores of the same records, lowest AUC first; two or more.
        left_out: the others of the front, which nothing is said of.
        pairs: every pair of places in ``trials``, those that differ most surely first.
    """

    attack: str
    trials: tuple[TrialRecord, ...]
    left_out: tuple[TrialRecord, ...]
    pairs: tuple[AucDifference, ...]

    @property
    def differing(self) -> tuple[AucDifference, ...]:
        """The pairs that differ beyond chance: of trials that do not, any pair is called so in 5% of runs at most."""
        return tuple(pair for pair in self.pairs if pair.p_holm <= LEVEL)

    @property
    def like_lowest(self) -> tuple[TrialRecord, ...]:
        """The trials whose AUC is not told from the lowest one."""
        beside = [pair.second for pair in self.pairs if pair.first == 0 and pair.p_holm > LEVEL]
        return tuple(self.trials[place] for place in sorted(beside))


def differences_info(run: RunInfo, front: Sequence[TrialRecord]) -> DifferencesInfo | None:
    """Compares the primary attack's AUCs of a front; None where no two trials have scores of the same records.

    Args:
        run: whose ``scores/`` are read.
        front: some of its trials.
    """
    groups: dict[object, list[tuple[TrialRecord, AttackScores]]] = {}
    for trial in front:
        found = read_scores(run.directory, trial.trial, run.attacks)[:1]
        for attack in found:
            if (key := _records_key(trial, attack)) is not None:
                groups.setdefault(key, []).append((trial, attack))
    group = max(groups.values(), key=len, default=[])
    if len(group) < 2:
        return None
    group.sort(key=lambda one: (one[0].mia_auc or 0.0, one[0].sequence))
    first = group[0][1]
    pairs = compare_aucs([_in_order(attack, attack.scores) for _, attack in group], _in_order(first, first.is_member))
    compared = tuple(trial for trial, _ in group)
    return DifferencesInfo(
        attack=first.attack,
        trials=compared,
        left_out=tuple(trial for trial in front if trial not in compared),
        pairs=tuple(sorted(pairs, key=lambda pair: (pair.p_holm, pair.p, pair.first, pair.second))),
    )


def _records_key(trial: TrialRecord, attack: AttackScores) -> object | None:
    """What is the same for trials that were attacked on the same records; None if that cannot be known."""
    index = attack.index
    if index is None or len(np.unique(index)) < len(index) or min(attack.members, attack.non_members) < MIN_SIDE:
        return None
    order = np.argsort(index)
    dataset = str(trial.factors.get("dataset", ""))
    return attack.attack, dataset, index[order].tobytes(), attack.is_member[order].tobytes()


def _in_order(attack: AttackScores, values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """Values of the attacked records in the order of their places in the data set."""
    assert attack.index is not None  # noqa: S101 - a group's key has it
    return values[np.argsort(attack.index)]
