"""What a table shows: every analysis of each data set, and the verdicts that were asked for before it was measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from nni_privacy.analysis.rows import ORIGINAL
from nni_privacy.analysis.rules import FAILS, HOLDS, UNDECIDED, Rule, Verdict
from nni_privacy.analysis.statistics import grouped
from nni_privacy.bench.agreement import RankAgreement, Third, rank_agreements, within_thirds
from nni_privacy.bench.columns import attacks_of
from nni_privacy.bench.compared import Compared, compared_split
from nni_privacy.bench.frontiers import (
    EqualAccuracy,
    PooledFrontier,
    demotions_at_equal_accuracy,
    pooled_frontiers,
    widths_at_equal_accuracy,
)
from nni_privacy.bench.points import Measure
from nni_privacy.bench.power import cells_for_share
from nni_privacy.bench.predictors import PredictorsInfo, rank_predictors
from nni_privacy.bench.prices import BeyondSize, Price, beyond_size, prices
from nni_privacy.bench.variance import VarianceSplit, split_variance
from nni_privacy.cells.genotypes import genotype_or_none
from nni_privacy.errors import DataError, GenotypeError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AGREE", "MATTERS", "BenchResults", "DatasetResults", "VerdictLine", "bench_results", "plain_results"]
__all__ += ["with_surrogate", "without_seeds"]

MATTERS = 0.05
"""Share of the variance from which the remaining architecture is said to matter."""
AGREE = 0.8
"""Rank correlation of AUC and TPR from which they are said to rank alike."""
LEVEL = 0.05
"""Of p-values, after the adjustment."""
HALF_WIDTH = 0.05
"""Of the interval of the remaining architecture's share, for which the number of cells is computed."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class DatasetResults:
    """All that is computed of one data set under one protocol.

    Attributes:
        dataset: label of the data set.
        protocol: digest of its protocol.
        attack: whose numbers the verdicts are of.
        cells: number of cells.
        trainings: number of trainings.
        accuracy: mean test accuracy at the end of each width, by width.
        splits: of the variance of each outcome, ``AUC`` and ``log TPR``.
        frontiers: means over cells at each width and epoch.
        prices: what each way to more privacy buys and costs.
        demotions: against narrower and early-stopped networks at equal accuracy.
        widths: the widest stopped at the accuracy of narrower ones.
        beyond: demotion against its size-matched control.
        agreements: of AUC and TPR as rankings.
        thirds: how far TPRs differ where gaps are alike.
        predictors: what ranks leakage, by outcome.
        needed: cells for an interval of the remaining architecture's share within ``HALF_WIDTH``, by outcome.
        missing: analyses that could not be made, each with the reason.
    """

    dataset: str
    protocol: str
    attack: str
    cells: int
    trainings: int
    accuracy: Mapping[int, float]
    splits: Mapping[str, VarianceSplit]
    frontiers: tuple[PooledFrontier, ...]
    prices: tuple[Price, ...]
    demotions: tuple[EqualAccuracy, ...]
    widths: tuple[EqualAccuracy, ...]
    beyond: tuple[BeyondSize, ...]
    agreements: tuple[RankAgreement, ...]
    thirds: tuple[Third, ...]
    predictors: Mapping[str, PredictorsInfo]
    needed: Mapping[str, int]
    missing: Mapping[str, str]


@dataclass(frozen=True)
class VerdictLine:
    """A claim, judged on one data set.

    Attributes:
        question: which of the questions it answers.
        claim: in words.
        dataset: label of the data set, of the search space where it is of one, and of the protocol where there are two.
        outcome: what is read as leakage.
        value: the estimate; of a logarithm, a logarithm of a ratio.
        low: lower end of its 95% interval.
        high: upper end.
        cells: that it is from.
        p_holm: p-value, adjusted for the comparisons of its question; None of a share or a correlation.
        verdict: by the claim's rule on the interval; undecided as well where the adjusted p-value is above 5%.
    """

    question: str
    claim: str
    dataset: str
    outcome: str
    value: float
    low: float
    high: float
    cells: int
    p_holm: float | None
    verdict: Verdict


@dataclass(frozen=True)
class BenchResults:
    """What a table shows.

    Attributes:
        datasets: by data set and protocol.
        verdicts: on the questions, in their order.
        compared: the split of somebody else's measurements; None if none were given.
        rounds: of each bootstrap.
        seed: of each bootstrap.
    """

    datasets: tuple[DatasetResults, ...]
    verdicts: tuple[VerdictLine, ...]
    compared: Compared | None
    rounds: int
    seed: int


def bench_results(
    table: pd.DataFrame, *, attack: str | None = None, compare: Path | None = None, rounds: int = 2000, seed: int = 0
) -> BenchResults:
    """Analyses a table, each data set and protocol by itself.

    Args:
        table: see :data:`~nni_privacy.bench.columns.COLUMNS`.
        attack: whose numbers the verdicts are of; by default ``rmia`` if the table has it, else its first.
        compare: see :func:`~nni_privacy.bench.compared.compared_split`.
        rounds: of the bootstraps of shares and rank correlations.
        seed: of all bootstraps.

    Raises:
        DataError: if the table has no such attack, or contradicts itself.
    """
    known = attacks_of(map(str, table.columns))
    chosen = attack or ("rmia" if "rmia" in known else known[0] if known else None)
    if chosen not in known:
        raise DataError(f"attack: {chosen!r}; the table has {', '.join(known) or 'none'}")
    groups = table.groupby(["dataset", "protocol"], sort=True)
    found = tuple(
        _Analysis(rows, str(chosen), rounds, seed).results(str(dataset), str(protocol))
        for (dataset, protocol), rows in groups
    )
    compared = None if compare is None else compared_split(compare, rounds=rounds, seed=seed)
    several = {name for name, count in Counter(one.dataset for one in found).items() if count > 1}
    lines = [
        replace(line, dataset=f"{line.dataset} ({one.protocol})") if one.dataset in several else line
        for one in found
        for line in _verdicts(one)
    ]
    return BenchResults(found, tuple(lines), compared, rounds, seed)


class _Analysis:
    """The analyses of one data set; what cannot be made is kept with its reason."""

    def __init__(self, rows: pd.DataFrame, attack: str, rounds: int, seed: int) -> None:
        self.rows, self.attack, self.rounds, self.seed = rows, attack, rounds, seed
        self.missing: dict[str, str] = {}

    def results(self, dataset: str, protocol: str) -> DatasetResults:
        rows, every = self.rows, (Measure(f"{self.attack}_auc"), Measure(f"{self.attack}_tpr", log=True))
        measures = [one for one in every if one.column in rows]
        last = rows[(rows["epoch"] == rows["epochs"]) & (rows["variant"] == ORIGINAL)]
        splits = {name: split for name in ("AUC", "log TPR") if (split := self._split(last, name)) is not None}
        return DatasetResults(
            dataset=dataset,
            protocol=protocol,
            attack=self.attack,
            cells=len(rows.drop_duplicates(["space", "cell"])),
            trainings=len(rows.drop_duplicates(["space", "cell", "variant", "width", "seed"])),
            accuracy={int(width): float(value) for width, value in last.groupby("width")["accuracy"].mean().items()},
            splits=splits,
            frontiers=self._made("frontiers", lambda: pooled_frontiers(rows, measures, seed=self.seed)) or (),
            prices=self._made("prices", lambda: prices(rows, measures, seed=self.seed)) or (),
            demotions=self._made("demotions", lambda: demotions_at_equal_accuracy(rows, measures, seed=self.seed))
            or (),
            widths=self._made("widths", lambda: widths_at_equal_accuracy(rows, measures, seed=self.seed)) or (),
            beyond=self._made("pattern beyond size", lambda: beyond_size(rows, measures, seed=self.seed)) or (),
            agreements=self._made("AUC and TPR", lambda: rank_agreements(rows, attacks=[self.attack])) or (),
            thirds=self._made("thirds of the gap", lambda: within_thirds(rows, attacks=[self.attack])) or (),
            predictors=self._predictors(with_surrogate(last)),
            needed=self._needed(splits),
            missing=self.missing,
        )

    def _split(self, last: pd.DataFrame, name: str) -> VarianceSplit | None:
        """Over the cells of all spaces; of a TPR of 0 half a member is found."""
        log, column = name != "AUC", f"{self.attack}_{'auc' if name == 'AUC' else 'tpr'}"
        if column not in last:
            return None
        known = last.assign(cell=last["space"] + " " + last["cell"])
        if log:
            found = (known[column] * known["members"] + 0.5) / (known["members"] + 1)
            known = known.assign(**{column: found})
        known = without_seeds(known, column, log=log)
        options: dict[str, Any] = {"standard_error": f"{column}_se", "log": log, "rounds": self.rounds}
        return self._made(f"variance of {name}", lambda: split_variance(known, column, seed=self.seed, **options))

    def _needed(self, splits: Mapping[str, VarianceSplit]) -> dict[str, int]:
        found = {}
        for name, split in splits.items():
            cells = self._made(f"cells for {name}", partial(cells_for_share, split, half_width=HALF_WIDTH))
            if cells is not None:
                found[name] = cells
        return found

    def _predictors(self, last: pd.DataFrame) -> dict[str, PredictorsInfo]:
        found = {}
        for name, ending, log in (("AUC", "auc", False), ("log TPR", "tpr", True)):
            if f"{self.attack}_{ending}" not in last:
                continue
            options: dict[str, Any] = {"outcome": f"{self.attack}_{ending}", "log": log, "rounds": self.rounds}
            made = self._made(f"predictors of {name}", partial(rank_predictors, last, seed=self.seed, **options))
            if made is not None:
                found[name] = made
        return found

    def _made(self, name: str, make: Callable[[], _T]) -> _T | None:
        try:
            return make()
        except DataError as error:
            self.missing[name] = str(error)
            return None


def without_seeds(table: pd.DataFrame, outcome: str, *, log: bool) -> pd.DataFrame:
    """The rows without what all networks of a seed have in common: a split that is easier to learn or to attack.

    The seeds' means of the outcome (with ``log`` of its logarithm), accuracy and gap are made equal, which in a table
    with as many rows of each seed is a fixed effect of the seed. Standard errors stay in proportion.
    """
    changed = {}
    for column in ("accuracy", "gap", outcome):
        scaled = log and column == outcome
        values = np.log(table[column]) if scaled else table[column]
        shift = values.mean() - values.groupby(table["seed"]).transform("mean")
        changed[column] = table[column] * np.exp(shift) if scaled else table[column] + shift
        if scaled:
            changed[f"{column}_se"] = table[f"{column}_se"] * np.exp(shift)
    return table.assign(**changed)


def with_surrogate(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with the AUC that the surrogate predicts of each DARTS cell, empty of cells that it does not know."""
    from nni_privacy.cells.codes import GenotypeCodes
    from nni_privacy.cells.darts import Genotype
    from nni_privacy.surrogate import load_surrogate

    surrogate, predicted = load_surrogate(), dict.fromkeys(map(str, table["genotype"]), np.nan)
    cells = {text: cell for text in predicted if isinstance(cell := genotype_or_none(text), Genotype)}
    for alike in grouped((cell.nodes, text) for text, cell in cells.items()).values():
        with suppress(GenotypeError):  # of another number of nodes than it has learned from
            found = surrogate.predict(GenotypeCodes.from_genotypes([cells[text] for text in alike]))
            predicted |= zip(alike, map(float, found), strict=True)
    return table.assign(surrogate=[predicted[str(text)] for text in table["genotype"]])


def _verdicts(one: DatasetResults) -> Iterator[VerdictLine]:
    """The lines of one data set, question by question."""
    for outcome, split in one.splits.items():
        share = split.parts["remaining"]
        rule = Rule(low=MATTERS)
        verdict = _of_interval(rule, share.low, share.high)
        claim = f"more than {MATTERS:.0%} of the variance is the architecture's beyond size, accuracy and gap"
        yield VerdictLine("architecture", claim, one.dataset, outcome, share.value, share.low, share.high,
                          split.cells, None, verdict)  # fmt: skip
    for beyond in one.beyond:
        claim = f"{beyond.demotion} leaks less than the original cell of its size"
        yield from _decided("pattern beyond size", claim, beyond)
    for question, found in (
        ("width at equal accuracy", one.widths),
        ("early stopping against demotion", one.demotions),
    ):
        for equal in found:
            yield from _decided(question, equal.claim, equal)
    for agreement in one.agreements:
        if agreement.rho is not None and agreement.low is not None and agreement.high is not None:
            verdict = _of_interval(Rule(low=AGREE), agreement.low, agreement.high)
            claim = f"AUC and TPR at 1% FPR rank networks alike (Spearman above {AGREE:g})"
            place = f"{agreement.dataset}, {agreement.space}"
            yield VerdictLine("AUC against TPR", claim, place, "AUC and TPR", agreement.rho, agreement.low,
                              agreement.high, agreement.cells, None, verdict)  # fmt: skip
    for outcome, info in one.predictors.items():
        for ranking in (info.overall, info.within):
            best = ranking.reference
            if best is not None:
                claim = f"{best.best} ranks {ranking.scope} better than the generalisation gap"
                yield VerdictLine("free predictor", claim, one.dataset, outcome, best.estimate.value, best.estimate.low,
                                  best.estimate.high, info.cells, None, best.verdict)  # fmt: skip


def _decided(question: str, claim: str, found: BeyondSize | EqualAccuracy) -> Iterator[VerdictLine]:
    decision, estimate = found.decision, found.decision.estimate
    if estimate is not None and decision.verdict is not None:
        place = f"{found.dataset}, {found.space}"
        certain = decision.p_holm is not None and decision.p_holm <= LEVEL
        verdict = decision.verdict if certain else UNDECIDED
        yield VerdictLine(question, claim, place, str(found.measure), estimate.value, estimate.low, estimate.high,
                          estimate.architectures, decision.p_holm, verdict)  # fmt: skip


def _of_interval(rule: Rule, low: float, high: float) -> Verdict:
    """As :meth:`Rule.judge`, of an interval that is no mean's."""
    return HOLDS if low > rule.low else FAILS if high < rule.low else UNDECIDED


def plain_results(value: Any) -> Any:
    """Results as JSON takes them: info objects as mappings; numbers that are none, and what is private, left out."""
    if is_dataclass(value) and not isinstance(value, type):
        shown = [one.name for one in fields(value) if one.repr and not one.name.startswith("_")]
        return {name: plain_results(getattr(value, name)) for name in shown}
    if isinstance(value, Mapping):
        return {str(key): plain_results(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_results(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
