"""The page of a search on predicted AUC: it says PREDICTED wherever it shows a number that nobody has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nni_privacy.cells.darts import CELL_TYPES, Edge, Genotype
from nni_privacy.cells.genotypes import cells_of
from nni_privacy.report.cell import cell_figure, reading
from nni_privacy.report.chart_data import predicted_chart, with_chart
from nni_privacy.report.facts import appendix, facts_of, summary_info
from nni_privacy.report.first_page import first_page
from nni_privacy.report.html import render_page
from nni_privacy.report.recommendation import choose
from nni_privacy.report.style import drawing_style, new_figure, no_formula, to_svg
from nni_privacy.runs.records import RunInfo, TrialRecord
from nni_privacy.surrogate.search import PredictedArchitecture, PredictedSearch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PredictedGroup", "group_of_run", "group_of_search", "histogram", "render_predicted_run"]
__all__ += ["render_predicted_search"]

Floats = npt.NDArray[np.float64]

BEST_OF_A_RUN = 20
AUC = "predicted_mia_auc"
BINS = 60
COLOURS = ("#64748b", "#c2410c")


def render_predicted_search(groups: Sequence[PredictedGroup], *, title: str, facts: Mapping[str, str]) -> str:
    """The page of searches on predictions, as text; the same groups and facts give the same text.

    Args:
        groups: at least one, each with at least one architecture.
        title: of the page.
        facts: what a reader should know (surrogate, seed, ...), shown in this order; plain text.
    """
    with drawing_style():
        return render_page("predicted.html.jinja", title=title, facts=facts, run=None, **_content(groups))


def render_predicted_run(run: RunInfo) -> str:
    """The page of a run whose trials were predicted instead of trained."""
    group, summary = group_of_run(run, best=BEST_OF_A_RUN), summary_info(run)
    predicted = [trial for trial in run.succeeded if AUC in trial.metrics]
    evaluator = run.config.get("evaluator")
    surrogate = evaluator.get("surrogate") if isinstance(evaluator, Mapping) else None
    with drawing_style():
        content = _content([group] if len(group.predicted_mia_auc) else [])
        if predicted:
            figure = draw_predicted_progress(predicted)
            label = "Predicted AUC by trial"
            chart = predicted_chart(predicted, label=label)
            content["progress"] = with_chart(to_svg(figure, prefix="progress", label=label), chart)
    return render_page(
        "predicted.html.jinja",
        title=run.name,
        first=first_page(run, summary, choose(run)),
        facts={"Surrogate": "the one that ships" if surrogate is None else str(surrogate), **facts_of(run, summary)},
        run=run,
        summary=summary,
        appendix=appendix(run),
        **content,
    )


def _content(groups: Sequence[PredictedGroup]) -> dict[str, Any]:
    """The groups with the drawings of the first architecture of each; without a group there is nothing to draw."""
    content: dict[str, Any] = {"groups": groups, "progress": None}
    if groups:
        content["histogram"] = to_svg(draw_histogram(groups), prefix="hist", label="Histogram of predicted AUC")
        content["reading"] = reading([group.best[0].genotype for group in groups])
        content["drawings"] = [
            [
                cell_figure(cell, name, group.fixed, prefix=f"cell{number}", label=f", {group.name}")
                for name, cell in cells_of(group.best[0].genotype).items()
            ]
            for number, group in enumerate(groups)
        ]
    return content


@dataclass(frozen=True, eq=False)
class PredictedGroup:
    """The architectures of one search, none of them trained.

    Attributes:
        name: what sets the search apart, for example ``without pattern``.
        predicted_mia_auc: (n,) predicted AUC of all of them, ascending.
        best: those of the lowest predicted AUC, in this order.
        seconds: how long the search took.
        fixed: per cell the edges that all of them have.
    """

    name: str
    predicted_mia_auc: Floats
    best: tuple[PredictedArchitecture, ...]
    seconds: float
    fixed: Mapping[str, tuple[Edge, ...]] = field(default_factory=dict)


def group_of_search(search: PredictedSearch, *, best: int) -> PredictedGroup:
    """A search on random architectures, with its ``best`` lowest predictions."""
    pattern = search.pattern
    name = "without pattern"
    fixed: dict[str, tuple[Edge, ...]] = {}
    if pattern is not None:
        fixed = {cell: pattern.edges_of(cell) for cell in CELL_TYPES if pattern.edges_of(cell)}
        name = f"with {pattern.name}, {sum(map(len, fixed.values()))} edges fixed"
    return PredictedGroup(name, search.predicted_mia_auc, tuple(search.best(best)), search.seconds, fixed)


def group_of_run(run: RunInfo, *, best: int) -> PredictedGroup:
    """The different architectures of a run whose trials were predicted; those without a genotype are left out."""
    found: dict[str, PredictedArchitecture] = {}
    for trial in run.succeeded:
        auc = trial.metrics.get(AUC)
        if auc is not None and isinstance(trial.genotype, Genotype):
            sd = trial.metrics.get(f"{AUC}_sd", np.nan)
            found.setdefault(str(trial.genotype), PredictedArchitecture(trial.genotype, auc, sd))
    ordered = sorted(found.values(), key=lambda one: one.predicted_mia_auc)
    values = np.array([one.predicted_mia_auc for one in ordered], dtype=float)
    seconds = sum(trial.seconds or 0.0 for trial in run.trials)
    return PredictedGroup(run.name, values, tuple(ordered[:best]), seconds, run.fixed_edges)


def histogram(groups: Sequence[PredictedGroup]) -> tuple[Floats, Floats]:
    """Shares of g groups' architectures by predicted AUC, over common intervals.

    Args:
        groups: at least one, of at least one architecture each.

    Returns:
        (b + 1,) ends of the intervals, and (g, b) share of a group's architectures in each; rows sum to 1.
    """
    edges = np.histogram_bin_edges(np.concatenate([group.predicted_mia_auc for group in groups]), BINS)
    counts = np.array([np.histogram(group.predicted_mia_auc, edges)[0] for group in groups], dtype=float)
    return edges, counts / counts.sum(axis=1, keepdims=True)


def draw_histogram(groups: Sequence[PredictedGroup]) -> Figure:
    """The distributions of predicted AUC on common axes, a dashed line at each mean."""
    from matplotlib.ticker import PercentFormatter

    figure, axes = new_figure(6.8, 3.4)
    edges, shares = histogram(groups)
    for number, group in enumerate(groups):
        colour = COLOURS[number % len(COLOURS)]
        axes.stairs(shares[number], edges, color=colour, fill=True, alpha=0.35)
        axes.stairs(shares[number], edges, color=colour, lw=1.2, label=no_formula(group.name))
        axes.axvline(group.predicted_mia_auc.mean(), color=colour, lw=1.2, ls=(0, (4, 3)))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(xlabel="PREDICTED AUC of the attack (not measured; dashed: mean)", ylabel="share of the architectures")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=2)
    return figure


def draw_predicted_progress(trials: Sequence[TrialRecord]) -> Figure:
    """Predicted AUC of each trial (all of which have one) in the order of the search, with the lowest so far."""
    from matplotlib.ticker import MaxNLocator

    sequence = [trial.sequence for trial in trials]
    auc = np.array([trial.metrics[AUC] for trial in trials], dtype=float)
    figure, axes = new_figure(6.8, 2.9)
    axes.plot(sequence, auc, ".", ms=3.5, color=COLOURS[0], label="architecture", rasterized=len(auc) > 2000)
    axes.step(sequence, np.fmin.accumulate(auc), where="post", color=COLOURS[1], lw=1.4, label="lowest so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial, in the order of the search", ylabel="PREDICTED AUC")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=2)
    return figure
