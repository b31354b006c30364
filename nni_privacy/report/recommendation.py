"""Which of a search's architectures a reader is recommended, and why; or why none is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nni_privacy.analysis.pareto import pareto_front
from nni_privacy.report.differences import DifferencesInfo
from nni_privacy.report.feasibility import FeasibilityInfo
from nni_privacy.runs.confirmed import Confirmed, ConfirmedArchitecture
from nni_privacy.runs.records import RunInfo, TrialRecord

__all__ = ["Choice", "Estimate", "Recommendation", "choose", "unsound"]

COST = 0.1
"""Share of the best accuracy that the least leak may cost before it is no sensible pick."""
BLURRING = ("few records", "one class")
"""Kinds of notices that leave a number a number, if a less certain or less general one."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        ends = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{ends}"


@dataclass(frozen=True)
class Recommendation:
    """An architecture to take.

    Attributes:
        trial: the trial of the search that found it.
        reason: why this one; a sentence.
        accuracy: of its network: over fresh seeds where it was confirmed, else of the one training.
        auc: of the primary attack, likewise.
        confirmed: what was measured anew; None if nothing was.
        seeds: fresh seeds that confirmed it; 0 if none did.
    """

    trial: TrialRecord
    reason: str
    accuracy: Estimate
    auc: Estimate
    confirmed: ConfirmedArchitecture | None = None
    seeds: int = 0


@dataclass(frozen=True)
class Choice:
    """What is recommended, or why nothing is.

    Attributes:
        best: the architecture; None where none may be recommended.
        refused: why there is none; empty if there is one.
        nearest: the trial that comes nearest to what was asked for, where none keeps it.
    """

    best: Recommendation | None
    refused: str = ""
    nearest: TrialRecord | None = None


def unsound(trial: TrialRecord) -> list[str]:
    """Kinds of its notices that say that its numbers may be no result."""
    kinds = (notice.partition(":")[0] for notice in trial.notices)
    return [kind for kind in dict.fromkeys(kinds) if kind not in BLURRING]


def choose(
    run: RunInfo,
    *,
    confirmed: Confirmed | None = None,
    feasibility: FeasibilityInfo | None = None,
    differences: DifferencesInfo | None = None,
) -> Choice:
    """The recommendation: by confirmed numbers where there are some, else by constraints, else from the front.

    Args:
        run: of a search.
        confirmed: what confirms it.
        feasibility: what its constraints leave.
        differences: which of the front's AUCs differ.
    """
    for reason, holds in (
        ("No trial has finished yet.", not run.trials),
        ("No network was trained or attacked: every AUC is predicted.", run.predicted),
        (f"None of the {len(run.trials)} trials has succeeded.", not run.succeeded),
        ("No trial has both an accuracy and an AUC.", not run.measured),
    ):
        if holds:
            return Choice(None, reason)
    if confirmed is not None:
        return _by_confirmed(run, confirmed)
    if feasibility is not None:
        return _by_constraints(feasibility)
    return _of_front(run, differences)


def _sound(trial: TrialRecord, reason: str) -> Choice:
    """The trial by what it was measured once, unless its numbers may be no result."""
    kinds = unsound(trial)
    if kinds:
        return Choice(None, f"The numbers of trial #{trial.sequence} may be no result: {', '.join(kinds)} (see above).")
    accuracy, auc = Estimate(trial.accuracy or 0.0), Estimate(trial.mia_auc or 0.0, *(trial.interval or (None, None)))
    return Choice(Recommendation(trial, reason, accuracy, auc))


def _by_confirmed(run: RunInfo, confirmed: Confirmed) -> Choice:
    trials = {trial.trial: trial for trial in run.trials}
    asked = " and ".join(confirmed.constraints)
    best, nearest = confirmed.of(confirmed.best), trials.get(confirmed.nearest)
    if best is None or best.trial not in trials:
        told = f"No architecture keeps {asked} when it is trained anew" if asked else "Nothing was confirmed"
        return Choice(None, f"{told}.", nearest)
    seeds = best.metrics["mia_auc"].count
    reason = f"It is the most accurate of the {len(confirmed.architectures)} architectures that were trained anew"
    if asked:
        sure = "its intervals keep this, too" if best.certain else "its intervals reach beyond, more seeds would tell"
        reason = f"{reason} and on average keep {asked}; {sure}"
    found = _sound(trials[best.trial], f"{reason}.")
    if found.best is None:
        return found
    accuracy, auc = (
        Estimate(mean.mean, mean.low, mean.high) for mean in (best.metrics["accuracy"], best.metrics["mia_auc"])
    )
    return Choice(Recommendation(found.best.trial, found.best.reason, accuracy, auc, best, seeds))


def _by_constraints(found: FeasibilityInfo) -> Choice:
    measured = [one for one in found.feasible if one.accuracy is not None and one.mia_auc is not None]
    kept = [one for one in measured if not unsound(one)]
    if kept:
        best = min(kept, key=lambda one: (-(one.accuracy or 0.0), one.mia_auc or 0.0))
        among = f"most accurate of {len(measured)} trials that keep" if measured[1:] else "only trial that keeps"
        return _sound(best, f"It is the {among} {found.constraints}.")
    if measured:
        return _sound(measured[0], "")
    return Choice(None, f"No trial keeps {found.constraints}.", found.nearest)


def _of_front(run: RunInfo, differences: DifferencesInfo | None) -> Choice:
    """The most accurate that is not told from the lowest leak; if even that costs too much accuracy, another."""
    sound = [trial for trial in run.measured if not unsound(trial)]
    if not sound:
        kinds = dict.fromkeys(kind for trial in run.measured for kind in unsound(trial))
        count = len(run.measured)
        whose = "the only trial" if count == 1 else f"all {count} trials"
        return Choice(None, f"The numbers of {whose} may be no result: {', '.join(kinds)}.")
    accuracy, auc = (np.array([one.metrics[name] for one in sound]) for name in ("accuracy", "mia_auc"))
    front = [sound[place] for place in pareto_front(accuracy, auc)]
    lowest, best = front[-1], front[0]
    if len(front) == 1:
        return _sound(lowest, "No other trial is more accurate, and none leaks less.")
    pick = next(trial for trial in front if trial is lowest or _like(trial, lowest, differences))
    near = [trial for trial in front if (trial.accuracy or 0.0) >= (1 - COST) * (best.accuracy or 0.0)]
    if pick not in near:
        told = f"trial #{lowest.sequence} leaks less, but costs more accuracy than that"
        return _sound(near[-1], f"It leaks least of those within a tenth of the best accuracy; {told}.")
    if pick is lowest:
        known = pick.interval is not None or (differences is not None and pick in differences.trials)
        told = "the more accurate trials leak more than chance explains" if known else "how sure that is, is not known"
        return _sound(pick, f"It leaks least; {told}.")
    lowly = f"Its leak cannot be told from the lowest that was found (trial #{lowest.sequence})"
    return _sound(pick, f"{lowly}, and of all of which that is true it is the most accurate.")


def _like(trial: TrialRecord, lowest: TrialRecord, differences: DifferencesInfo | None) -> bool:
    """Whether a trial's AUC is not told from the lowest: by a test, or without one by the lowest's interval."""
    if differences is not None and differences.trials[0] is lowest and trial in differences.trials:
        return trial in differences.like_lowest
    ends = lowest.interval
    return ends is not None and (trial.mia_auc or 0.0) <= ends[1]
