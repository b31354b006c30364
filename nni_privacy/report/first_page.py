"""The first page of a search's report, for people who are no researchers: four questions and their answers.

What was tried, what is recommended, what an attacker learns, and how sure all of that is. Rates are counts out of 100.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nni_privacy.report.facts import SummaryInfo
from nni_privacy.report.recommendation import Choice, Estimate, Recommendation
from nni_privacy.runs.confirmed import ConfirmedArchitecture
from nni_privacy.runs.records import RunInfo, TrialRecord, name_of
from nni_privacy.training.dp_selection import privacy_text, selection_of

__all__ = ["AttackerInfo", "FirstPage", "attacker_info", "first_page", "most_found", "out_of_100"]

RATE = "mia_tpr_at_1pct_fpr"
FALSE_ALARMS = 0.01


@dataclass(frozen=True)
class AttackerInfo:
    """What the strongest attack on a network learns.

    Attributes:
        trial: whose network it is.
        attack: its name.
        attacks: number of attacks that it is the strongest of.
        auc: chance to tell a member from a non-member when both are shown.
        found: share of the members that it finds while it is wrong about 1 in 100 non-members; None if unknown.
        most: upper bound of such a share for any attack, by differential privacy of this training; None without it.
        epsilon: of that training.
        delta: likewise.
        seeds: fresh trainings that the numbers are means of; 0: they are of one training.
    """

    trial: TrialRecord
    attack: str
    attacks: int
    auc: Estimate
    found: float | None
    most: float | None = None
    epsilon: float | None = None
    delta: float | None = None
    seeds: int = 0

    @property
    def guesses(self) -> bool:
        """Whether its interval holds 0.5, so that it may as well guess."""
        return self.auc.low is not None and self.auc.high is not None and self.auc.low <= 0.5 <= self.auc.high

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer in words."""
        return (*self._finds(), *self._tells(), *self._bounded())

    def _finds(self) -> tuple[str, ...]:
        who = "an attacker who is wrong about 1 in 100 non-members"
        if self.found is None:
            return (f"How many members {who} finds cannot be said: too few non-members were attacked.",)
        return (f"Of 100 members of the training data, {who} finds {out_of_100(self.found)}; by guessing 1.",)

    def _tells(self) -> tuple[str, ...]:
        shown = "Shown one member and one non-member, the attacker picks the member in"
        pairs = f"{shown} {out_of_100(self.auc.value)} of 100 cases; by guessing in 50."
        doubt = "More fresh trainings would tell whether that is chance." if self.seeds else "That may be chance."
        return (f"{pairs} {doubt}" if self.guesses else pairs,)

    def _bounded(self) -> tuple[str, ...]:
        if self.most is None or self.epsilon is None or self.delta is None:
            return ()
        private = f"This training was differentially private (epsilon {self.epsilon:.3g} at delta {self.delta:g})"
        most = f"no such attacker, however strong, would find more than {math.ceil(100 * self.most - 1e-9)} of 100"
        return (f"{private}: had it been the only one, {most}.",)


@dataclass(frozen=True)
class FirstPage:
    """The answers.

    Attributes:
        tried: what was tried; sentences.
        choice: what is recommended, or why nothing is.
        attacker: of the recommended network, or else of the most accurate one; None if none was attacked.
        sure: how sure it is; sentences.
    """

    tried: tuple[str, ...]
    choice: Choice
    attacker: AttackerInfo | None
    sure: tuple[str, ...]

    @property
    def dots(self) -> int | None:
        """How many of 100 members are found, in whole ones."""
        return None if self.attacker is None or self.attacker.found is None else round(100 * self.attacker.found)


def first_page(run: RunInfo, summary: SummaryInfo, choice: Choice) -> FirstPage:
    """The answers of a search, from what it did, what it found, and what is recommended."""
    best = choice.best
    trial = best.trial if best is not None else summary.best_accuracy
    attacker = None
    if trial is not None and not run.predicted:
        attacker = attacker_info(run, trial, None if best is None else best.confirmed)
    return FirstPage(_tried(run, summary), choice, attacker, _sure(run, summary, choice, attacker))


def out_of_100(share: float) -> str:
    """A share as a count.

    >>> out_of_100(0.034), out_of_100(0.002), out_of_100(0.0)
    ('3', 'fewer than 1', 'none')
    """
    if share <= 0:
        return "none"
    return "fewer than 1" if share < 0.005 else f"{100 * share:.0f}"


def most_found(epsilon: float, delta: float, false_alarms: float = FALSE_ALARMS) -> float:
    """The largest share of members that any attack finds at a rate of false alarms, under differential privacy.

    Kairouz, Oh and Viswanath (2015, arXiv 1311.0776): neither error rate can be low while the other is.
    """
    if epsilon > 700:
        return 1.0
    grown = math.exp(epsilon) * false_alarms + delta
    left = 1 - math.exp(-epsilon) * (1 - delta - false_alarms)
    return max(0.0, min(1.0, grown, left))


def attacker_info(
    run: RunInfo, trial: TrialRecord, confirmed: ConfirmedArchitecture | None = None
) -> AttackerInfo | None:
    """What the attack of highest AUC learns of a trial's network, or in the mean over fresh seeds; None without one."""
    known = _known(trial, confirmed)
    prefixes = [name.removesuffix("mia_auc") for name in known if name == "mia_auc" or name.endswith("_mia_auc")]
    if not prefixes:
        return None
    strongest = max(prefixes, key=lambda prefix: known[f"{prefix}mia_auc"].value)
    first = run.attacks[0] if run.attacks else "the primary attack"
    rate = known.get(f"{strongest}{RATE}")
    found = AttackerInfo(
        trial=trial,
        attack=strongest.removesuffix("_") or first,
        attacks=len(prefixes),
        auc=known[f"{strongest}mia_auc"],
        found=None if rate is None else rate.value,
        seeds=0 if confirmed is None else confirmed.metrics[f"{strongest}mia_auc"].count,
    )
    spent = selection_of([trial])
    if spent is None:
        return found
    return replace(found, most=most_found(spent.one, spent.delta), epsilon=spent.one, delta=spent.delta)


def _known(trial: TrialRecord, confirmed: ConfirmedArchitecture | None) -> Mapping[str, Estimate]:
    if confirmed is not None:
        return {name: Estimate(one.mean, one.low, one.high) for name, one in confirmed.metrics.items()}
    metrics = trial.metrics
    return {
        name: Estimate(value, metrics.get(f"{name}_low"), metrics.get(f"{name}_high"))
        for name, value in metrics.items()
    }


def _tried(run: RunInfo, summary: SummaryInfo) -> tuple[str, ...]:
    count, data = len(run.trials), name_of(run.config.get("dataset"))
    strategy, space = (name_of(run.config.get(name)) for name in ("strategy", "search_space"))
    searched = f"A search ({strategy})" if strategy else "A search"
    searched += f" among the network architectures of {space}" if space else ""
    if not count:
        return (f"{searched}. Nothing has finished yet.",)
    if run.predicted:
        return (
            f"{searched} looked at {_count(count, 'architecture')}.",
            "None of them was trained or attacked: how much each gives away was predicted from its drawing alone.",
        )
    tried = f"{searched} tried {_count(count, 'architecture')}"
    if summary.planned is not None and summary.planned > count:
        tried += f" of {summary.planned} that are planned"
    trained = f"Each was trained{f' on {data}' if data else ''} and then attacked"
    asked = f"{trained}: do its answers give away who was in its training data?"
    return (f"{tried}{_ended(summary)}.", asked, *_pattern(summary))


def _ended(summary: SummaryInfo) -> str:
    others = [(summary.failed, "failed"), (summary.stopped, "stopped early")]
    told = [f"{number} {how}" for number, how in others if number]
    return f" ({', '.join([f'{summary.succeeded} succeeded', *told])})" if told else ""


def _pattern(summary: SummaryInfo) -> tuple[str, ...]:
    fixed = _count(summary.fixed, "connection")
    return (f"{fixed} of each network, thought to matter for privacy, had been fixed before.",) if summary.fixed else ()


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _sure(run: RunInfo, summary: SummaryInfo, choice: Choice, attacker: AttackerInfo | None) -> tuple[str, ...]:
    """How sure the answers are."""
    if attacker is None:
        return ("Nothing was attacked, so nothing is known about leaks. Measure what you mean to use.",)
    made = f"{_count(attacker.attacks, 'attack')} {'was' if attacker.attacks == 1 else 'were'} made"
    privacy = privacy_text(run.trials, drawn=run.config.get("trials_drawn"))
    return (
        *_certain(attacker),
        *_confirmed(run, summary, choice.best),
        f"{made}; a stronger one may find more.",
        *([f"Differential privacy: {privacy}."] if privacy else []),
    )


def _certain(attacker: AttackerInfo) -> tuple[str, ...]:
    auc, name = attacker.auc, f"The AUC of the strongest attack ({attacker.attack})"
    if auc.low is None or auc.high is None:
        return (f"{name} is {auc}, without an interval: how sure that is, is not known.",)
    if attacker.guesses and attacker.seeds:
        seeds = _count(attacker.seeds, "fresh training")
        return (f"{name} is {auc} over {seeds}: too few to tell it from guessing (0.5).", *_searched(attacker.trial))
    if attacker.guesses:
        return (f"{name} is {auc}, an interval that holds 0.5, guessing: no leak is shown, and none is ruled out.",)
    if auc.high < 0.5:
        return (f"{name} is {auc}, below guessing (0.5): members and non-members differ otherwise than it assumes.",)
    return (f"{name} is {auc}, with its 95% interval above guessing (0.5): this network does leak.",)


def _searched(trial: TrialRecord) -> tuple[str, ...]:
    """What the search's own training says, where that is told from guessing: a wide mean must not hide a leak."""
    ends = trial.interval
    if ends is None or ends[0] <= 0.5:
        return ()
    return (f"The search's own training does leak: {Estimate(trial.mia_auc or 0.0, *ends)}.",)


def _confirmed(run: RunInfo, summary: SummaryInfo, best: Recommendation | None) -> tuple[str, ...]:
    """Whether fresh trainings confirm it; the best of many looks better than it is."""
    if best is not None and best.seeds:
        told = f"Confirmed: the numbers are means over {_count(best.seeds, 'fresh training')}"
        return (f"{told}, which had no part in the search.",)
    if summary.succeeded < 2:
        return ("It is one training of one network: another may differ.",)
    told = f"Not confirmed: each was trained once, and the best of {summary.succeeded} looks better than it is"
    return (f"{told}. nni-privacy confirm {run.directory.name} trains the best ones anew.",)
