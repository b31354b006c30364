"""Verdicts on the paper's claims: one row a claim that the data speak to, data set and defence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from nni_privacy.analysis.bootstrap import Estimate
from nni_privacy.analysis.claims import CLAIMS, PAPER_DATASET, Claim, Comparison, Conjunction, Trend
from nni_privacy.analysis.contrasts import Effect
from nni_privacy.analysis.rows import NO_DEFENCE
from nni_privacy.analysis.rules import Verdict, holm, judge_all
from nni_privacy.analysis.slopes import Slope
from nni_privacy.analysis.statistics import grouped
from nni_privacy.cells.spaces import space_title

__all__ = ["VerdictRow", "Verdicts", "verdict_rows"]


@dataclass(frozen=True)
class VerdictRow:
    """A claim, judged.

    Attributes:
        claim: what is claimed.
        dataset: label of the data set.
        defence: label of the defence, or ``none``.
        paper: the paper's number, where it is of this data set.
        estimate: ours; None of a conjunction.
        verdict: the verdict by the claim's rule.
        parts: of a conjunction, the verdict on each part by its claim's id.
        p: two-sided p against the border of the rule; of a conjunction the largest of its parts.
        p_holm: adjusted for all claims of the table (conjunctions, which follow from others, apart).
        detail: of a comparison, the variant.
        command: what measures it again.
    """

    claim: Claim
    dataset: str
    defence: str
    paper: float | None
    estimate: Estimate | None
    verdict: Verdict
    parts: tuple[tuple[str, Verdict], ...]
    p: float
    p_holm: float
    detail: str
    command: str


@dataclass(frozen=True)
class Verdicts:
    """The table of verdicts.

    Attributes:
        rows: in the registry's order.
        too_few: claims that the data speak to, with too few pairs for an interval.
    """

    rows: tuple[VerdictRow, ...]
    too_few: tuple[Claim, ...]


def verdict_rows(
    effects: Sequence[Effect], slopes: Sequence[Slope], *, command: str, claims: Iterable[Claim] = CLAIMS
) -> Verdicts:
    """Judges all claims that the data speak to; the others are left out.

    Args:
        effects: of the study; :func:`nni_privacy.analysis.contrasts.paired_effects`.
        slopes: of the study; :mod:`nni_privacy.analysis.slopes`.
        command: what measures the study again.
        claims: what to judge; parts of a conjunction before it.
    """
    rows: list[VerdictRow] = []
    too_few: list[Claim] = []
    for claim in claims:
        if isinstance(claim.about, Conjunction):
            rows += _conjunctions(claim, claim.about, rows, command)
            continue
        for found, defence, detail in _matches(claim.about, effects, slopes):
            estimate = found.estimate
            if estimate is None or claim.rule is None:
                too_few.append(claim)
                continue
            p, verdict = claim.rule.p_value(estimate), claim.rule.judge(estimate)
            paper = claim.paper if found.dataset == PAPER_DATASET else None
            rows.append(VerdictRow(claim, found.dataset, defence, paper, estimate, verdict, (), p, p, detail, command))
    return Verdicts(tuple(_adjusted(rows)), tuple(dict.fromkeys(too_few)))


def _matches(
    about: Comparison | Trend, effects: Sequence[Effect], slopes: Sequence[Slope]
) -> list[tuple[Effect | Slope, str, str]]:
    """What a claim speaks of, each with its defence and detail."""
    if isinstance(about, Trend):
        named = [(slope, Trend(slope.predictor, slope.metric, slope.pattern, slope.cells)) for slope in slopes]
        return [(slope, NO_DEFENCE, "") for slope, trend in named if trend == about]
    found = [one for one in effects if _speaks(about, one)]
    spaces = ["" if one.space == "darts" else f" ({space_title(one.space)})" for one in found]
    return [(one, one.defence, one.variant + space) for one, space in zip(found, spaces, strict=True)]


def _speaks(about: Comparison, effect: Effect) -> bool:
    treatment = effect.treatment
    return (
        (about.metric, about.pattern, about.against) == (effect.metric, treatment.pattern, effect.against)
        and treatment.control is None
        and about.cells in (None, treatment.cells)
        and about.budget in (None, treatment.budget)
        and about.space in (None, effect.space)
        and (about.against == "no defence" or about.defended == (effect.defence != NO_DEFENCE))
    )


def _conjunctions(claim: Claim, about: Conjunction, rows: Sequence[VerdictRow], command: str) -> Iterator[VerdictRow]:
    """One row a data set and defence for which all parts were judged."""
    places = grouped(((row.dataset, row.defence), row) for row in rows if row.claim.id in about.parts)
    for place, judged in places.items():
        found = {row.claim.id: row for row in judged}
        if len(found) == len(about.parts):
            verdict = judge_all([row.verdict for row in found.values()])
            parts = tuple((name, found[name].verdict) for name in about.parts)
            p = max(row.p for row in found.values())
            yield VerdictRow(claim, *place, None, None, verdict, parts, p, p, "", command)


def _adjusted(rows: Sequence[VerdictRow]) -> Iterator[VerdictRow]:
    """The rows with p-values adjusted for their number; a conjunction has the largest of its parts."""
    single = [row for row in rows if not row.parts]
    adjusted = dict(zip(map(id, single), holm([row.p for row in single]), strict=True))
    by_place = {(row.claim.id, row.dataset, row.defence): adjusted[id(row)] for row in single}
    for row in rows:
        names = [name for name, _ in row.parts]
        value = max(by_place[name, row.dataset, row.defence] for name in names) if names else adjusted[id(row)]
        yield replace(row, p_holm=value)
