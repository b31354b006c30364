"""The page of a table: what it shows, with every estimate's interval and number of cells, for who has a minute."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nni_privacy.analysis.statistics import grouped
from nni_privacy.bench.card import settings_text
from nni_privacy.bench.results import HALF_WIDTH, MATTERS, BenchResults, DatasetResults
from nni_privacy.bench.variance import PREDICTORS, REST
from nni_privacy.report.bench_figures import draw_frontiers, draw_predictors, draw_shares
from nni_privacy.report.bench_infos import (
    AUC,
    LOG_TPR,
    adjusted_away,
    answers,
    claim_text,
    dataset_titles,
    frontier_panels,
    needed_rows,
    outcome_name,
    predictor_rows,
    unanswered,
    unit_of,
)
from nni_privacy.report.html import render_page
from nni_privacy.report.style import drawing_style, plain_label, to_svg

__all__ = ["render_bench"]

_Datasets = Sequence[tuple[str, DatasetResults]]

OUTCOMES = {AUC: False, LOG_TPR: True}
"""Names of the outcomes, to whether they are logarithms."""


def render_bench(results: BenchResults, protocols: Mapping[str, Any]) -> str:
    """The page as text; the same results and protocols give the same text.

    Args:
        results: of :func:`~nni_privacy.bench.results.bench_results`.
        protocols: digest of each protocol to its settings; of a digest that is not among them nothing is shown.
    """
    titles = dataset_titles(results)
    datasets = list(zip(titles, results.datasets, strict=True))
    with drawing_style():
        figures = {
            "frontiers": {outcome: _frontiers(datasets, outcome) for outcome in OUTCOMES},
            "shares": _shares(datasets),
            "predictors": {outcome: _predictors(datasets, outcome) for outcome in OUTCOMES},
        }
    questions = grouped((line.question, line) for line in results.verdicts)
    return render_page(
        "bench.html.jinja",
        results=results,
        datasets=datasets,
        answers=answers(results),
        questions=questions,
        counts=Counter(line.verdict for line in results.verdicts),
        figures=figures,
        parts=(*PREDICTORS, *REST),
        needed=needed_rows(results),
        unanswered=unanswered(results),
        protocols=_protocols(results, protocols),
        command=_command(results),
        matters=MATTERS,
        half_width=HALF_WIDTH,
        adjusted_away=adjusted_away,
        claim_text=claim_text,
        outcome_name=outcome_name,
        predictor_rows=predictor_rows,
        unit_of=unit_of,
        exp=math.exp,
    )


def _frontiers(datasets: _Datasets, outcome: str) -> dict[str, Markup]:
    """Title of each data set that has points to its figure."""
    log, found = OUTCOMES[outcome], {}
    for place, (title, one) in enumerate(datasets):
        panels = frontier_panels(one.frontiers, log=log)
        if panels:
            label = f"Accuracy against {outcome} of the attack, {plain_label(title)}"
            found[title] = to_svg(draw_frontiers(panels, log=log), prefix=f"front{int(log)}-{place}", label=label)
    return found


def _shares(datasets: _Datasets) -> Markup | None:
    rows = [(f"{title}, {outcome}", split) for title, one in datasets for outcome, split in one.splits.items()]
    return to_svg(draw_shares(rows), prefix="shares", label="Shares of the variance of leakage") if rows else None


def _predictors(datasets: _Datasets, outcome: str) -> dict[str, Markup]:
    found = {}
    for place, (title, one) in enumerate(datasets):
        info = one.predictors.get(outcome)
        if info is not None and predictor_rows(info):
            label = f"Rank correlations of predictors with the {outcome}, {plain_label(title)}"
            prefix = f"rank{int(OUTCOMES[outcome])}-{place}"
            found[title] = to_svg(draw_predictors(info), prefix=prefix, label=label)
    return found


def _protocols(results: BenchResults, protocols: Mapping[str, Any]) -> dict[str, tuple[tuple[str, ...], str]]:
    """Digest of each protocol of the results to its data sets and its settings as YAML, empty if they are unknown."""
    names = grouped((one.protocol, one.dataset) for one in results.datasets)
    return {
        digest: (tuple(found), settings_text(protocols[digest]) if digest in protocols else "")
        for digest, found in names.items()
    }


def _command(results: BenchResults) -> str:
    attack = f" --attack {results.datasets[0].attack}" if results.datasets else ""
    return f"nni-privacy bench SOURCE... --output DIR{attack} --rounds {results.rounds} --seed {results.seed}"
