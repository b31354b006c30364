"""What the page of a table says and draws, as plain values: answers, frontiers, shares, predictors, what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nni_privacy.analysis.rows import ORIGINAL
from nni_privacy.analysis.rules import UNDECIDED, Verdict
from nni_privacy.analysis.statistics import grouped
from nni_privacy.bench.frontiers import PooledFrontier, PooledPoint
from nni_privacy.bench.power import cells_for_share
from nni_privacy.bench.predictors import PredictorInfo, PredictorsInfo, Stage
from nni_privacy.bench.results import MATTERS, BenchResults, DatasetResults, VerdictLine
from nni_privacy.errors import DataError

__all__ = ["AUC", "LOG_TPR", "AnswerInfo", "FrontierPanel", "NeededRow", "PredictorRow", "UnansweredRow"]
__all__ += ["adjusted_away", "answers", "claim_text", "dataset_titles", "frontier_panels", "needed_rows"]
__all__ += ["outcome_name", "predictor_rows", "unanswered", "unit_of"]

AUC, LOG_TPR = "AUC", "log TPR"
"""Outcomes, as the page calls them."""

HEADINGS: Mapping[str, tuple[str, ...]] = {
    "The architecture beyond size, accuracy and gap": ("architecture",),
    "The pattern beyond size": ("pattern beyond size",),
    "Width at equal accuracy": ("width at equal accuracy",),
    "Demotion against early stopping": ("early stopping against demotion",),
    "AUC against TPR, and the best free predictor": ("AUC against TPR", "free predictor"),
}
"""Of the answers, to the questions of their verdicts."""


UNITS: Mapping[str, tuple[str, str]] = {
    "architecture": ("share", ".3f"),
    "AUC against TPR": ("ρ", ".3f"),
    "free predictor": ("difference of |ρ|", "+.3f"),
}
"""Of the values of a question's verdicts that are no differences of leakage: what they are, and their format."""


@dataclass(frozen=True)
class AnswerInfo:
    """What the verdicts say on a question.

    Attributes:
        heading: the question in words.
        claims: text of each claim to its lines: of each question and place the first by AUC, an early-stopped line
            before others.
        others: how many of the other lines by AUC have which verdict.
        by_tpr: the same of all lines by TPR.
    """

    heading: str
    claims: Mapping[str, tuple[VerdictLine, ...]]
    others: Mapping[Verdict, int]
    by_tpr: Mapping[Verdict, int]


@dataclass(frozen=True)
class FrontierPanel:
    """One space on one data set, as it is drawn.

    Attributes:
        space: label of the search space.
        lines: width to the points of the originals, by epoch.
        marks: name of each variant to its point at the last epoch.
        epochs: the last epoch.
        cells: that all points are means over.
    """

    space: str
    lines: Mapping[int, tuple[PooledPoint, ...]]
    marks: Mapping[str, PooledPoint]
    epochs: int
    cells: int


@dataclass(frozen=True)
class PredictorRow:
    """A predictor in both rankings.

    Attributes:
        name: its column.
        stage: what it takes.
        overall: over all networks; None where it has no correlation.
        within: within widths; likewise.
    """

    name: str
    stage: Stage
    overall: PredictorInfo | None
    within: PredictorInfo | None


@dataclass(frozen=True)
class NeededRow:
    """Cells that the share of the remaining architecture wants.

    Attributes:
        dataset: title of the data set.
        outcome: ``AUC`` or ``log TPR``.
        cells: that there are.
        half_width: half the width of the interval that they give.
        planned: cells for the planned half-width; None where it cannot be told.
        decisive: cells for an interval that ends at the border, if the share is what it is estimated as.
    """

    dataset: str
    outcome: str
    cells: int
    half_width: float
    planned: int | None
    decisive: int | None


@dataclass(frozen=True)
class UnansweredRow:
    """What could not be computed.

    Attributes:
        dataset: title of the data set.
        what: analysis or claim.
        reason: why.
    """

    dataset: str
    what: str
    reason: str


def outcome_name(outcome: str) -> str:
    """What the page calls the outcome of a verdict or a measure."""
    return LOG_TPR if outcome.endswith(("_tpr", LOG_TPR)) else AUC if outcome.endswith(("_auc", AUC)) else outcome


def claim_text(claim: str, outcome: str) -> str:
    """A claim without the outcome behind it, which stands beside it."""
    return claim.removesuffix(f" ({outcome})")


def unit_of(line: VerdictLine) -> tuple[str, str]:
    """What a verdict's value is, and its format."""
    return UNITS.get(line.question, ("difference", "+.3f"))


def dataset_titles(results: BenchResults) -> list[str]:
    """What each of the data sets is called: where there are several protocols of one, with their digests."""
    often = Counter(one.dataset for one in results.datasets)
    return [f"{one.dataset} ({one.protocol})" if often[one.dataset] > 1 else one.dataset for one in results.datasets]


def answers(results: BenchResults) -> tuple[AnswerInfo, ...]:
    """One answer a heading, made of its verdicts only."""
    first = {found.claim for one in results.datasets for found in one.demotions if found.line == "early-stopped"}
    found = []
    for heading, questions in HEADINGS.items():
        lines = [line for line in results.verdicts if line.question in questions]
        by_tpr = [line for line in lines if outcome_name(line.outcome) == LOG_TPR]
        by_auc = sorted((line for line in lines if line not in by_tpr), key=lambda line: line.claim not in first)
        shown = [group[0] for group in grouped(((line.question, line.dataset), line) for line in by_auc).values()]
        claims = grouped((claim_text(line.claim, line.outcome), line) for line in shown)
        others = Counter(line.verdict for line in by_auc if line not in shown)
        counts = Counter(line.verdict for line in by_tpr)
        found.append(AnswerInfo(heading, {claim: tuple(group) for claim, group in claims.items()}, others, counts))
    return tuple(found)


def frontier_panels(frontiers: Sequence[PooledFrontier], *, log: bool) -> tuple[FrontierPanel, ...]:
    """The panels of one data set's AUCs, or of the logarithms of its TPRs; those without points are left out."""
    return tuple(_panel(one) for one in frontiers if one.points and one.measure.log == log)


def _panel(frontier: PooledFrontier) -> FrontierPanel:
    epochs = max(point.setting.epoch for point in frontier.points)
    originals = [(point.setting.width, point) for point in frontier.points if point.setting.variant == ORIGINAL]
    marks = {
        point.setting.variant: point
        for point in frontier.points
        if point.setting.variant != ORIGINAL and point.setting.epoch == epochs
    }
    lines = {width: tuple(points) for width, points in sorted(grouped(originals).items())}
    return FrontierPanel(frontier.space, lines, marks, epochs, len(frontier.cells))


def predictor_rows(info: PredictorsInfo) -> tuple[PredictorRow, ...]:
    """The predictors in the order of all networks, then those that have a correlation within widths only."""
    overall, within = ({one.name: one for one in scope.predictors} for scope in (info.overall, info.within))
    every = overall | {name: one for name, one in within.items() if name not in overall}
    return tuple(PredictorRow(name, one.stage, overall.get(name), within.get(name)) for name, one in every.items())


def needed_rows(results: BenchResults) -> tuple[NeededRow, ...]:
    """Of every split."""
    return tuple(
        NeededRow(
            dataset=title,
            outcome=outcome,
            cells=split.cells,
            half_width=(split.parts["remaining"].high - split.parts["remaining"].low) / 2,
            planned=one.needed.get(outcome),
            decisive=_decisive(one, outcome),
        )
        for title, one in zip(dataset_titles(results), results.datasets, strict=True)
        for outcome, split in one.splits.items()
    )


def _decisive(one: DatasetResults, outcome: str) -> int | None:
    split = one.splits[outcome]
    try:
        return cells_for_share(split, half_width=abs(split.parts["remaining"].value - MATTERS))
    except DataError:
        return None


def unanswered(results: BenchResults) -> tuple[UnansweredRow, ...]:
    """Analyses that could not be made, and claims without an interval."""
    return tuple(
        UnansweredRow(title, what, reason)
        for title, one in zip(dataset_titles(results), results.datasets, strict=True)
        for what, reason in (*one.missing.items(), *_without_interval(one))
    )


def _without_interval(one: DatasetResults) -> Iterator[tuple[str, str]]:
    for beyond in one.beyond:
        if beyond.decision.estimate is None:
            yield f"{beyond.demotion} against its size-matched control, {beyond.space}", beyond.decision.reason
    for equal in (*one.widths, *one.demotions):
        if equal.decision.estimate is None:
            yield f"{equal.claim}, {equal.space}", equal.decision.reason
    for agreement in one.agreements:
        if agreement.low is None:
            yield f"correlation of AUC and TPR, {agreement.space}", agreement.reason


def adjusted_away(line: VerdictLine) -> bool:
    """Whether a difference is undecided only because its p-value is adjusted for many comparisons."""
    return line.p_holm is not None and line.verdict == UNDECIDED and not line.low <= 0 <= line.high
