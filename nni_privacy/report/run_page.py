"""The page of a search: trade-off, progress, hypervolume and the best cells, as numbers and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from nni_privacy.analysis.exposed import exposures_of_run
from nni_privacy.analysis.pareto import REFERENCE, hypervolume_growth, pareto_front
from nni_privacy.cells.genotypes import cells_of
from nni_privacy.report.cell import cell_figure, reading
from nni_privacy.report.chart_data import (
    Chart,
    hypervolume_chart,
    progress_chart,
    roc_chart,
    tradeoff_chart,
    with_chart,
)
from nni_privacy.report.confirmed_page import confirmed_html
from nni_privacy.report.differences import differences_info
from nni_privacy.report.evolution_page import evolution_html
from nni_privacy.report.exposed import exposed_html, images_of_run
from nni_privacy.report.facts import appendix, facts_of, summary_info
from nni_privacy.report.feasibility import FeasibilityInfo
from nni_privacy.report.first_page import first_page
from nni_privacy.report.html import render_page
from nni_privacy.report.recommendation import choose
from nni_privacy.report.roc import RocInfo, draw_roc, roc_info
from nni_privacy.report.style import ACCURACY, AUC, DASHED, FAILED, FRONT, OTHER, drawing_style, new_figure, to_svg
from nni_privacy.report.trials_table import columns_of, printed_rows
from nni_privacy.runs.confirmed import read_confirmed
from nni_privacy.runs.records import RunInfo, TrialRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["HypervolumeInfo", "ProgressInfo", "TradeoffInfo", "draw_progress", "draw_tradeoff", "hypervolume_info"]
__all__ += ["front_title", "progress_info", "render_run", "select_best", "tradeoff_info"]

BEST_CELLS = 4
MOST_DIFFERENCES = 12
"""Pairs of trials that a table shows."""

NUMBER_WIDTH, NUMBER_HEIGHT = 28.0, 10.0
"""Room that the number of a trial takes, in points."""


def render_run(run: RunInfo) -> str:
    """The page of a search whose trials were measured."""
    summary, tradeoff = summary_info(run), tradeoff_info(run)
    progress, hypervolume, roc = progress_info(run), hypervolume_info(run), roc_info(run)
    differences = differences_info(run, tradeoff.front)
    choice = choose(
        run,
        confirmed=read_confirmed(run.directory),
        feasibility=summary.feasibility,
        differences=differences,
    )
    with drawing_style():
        content = {
            "figures": _figures(run, tradeoff, progress, hypervolume, roc, summary.feasibility),
            "evolution": evolution_html(run),
            "confirmed": confirmed_html(run),
            **_best_cells(run, tradeoff),
        }
    return render_page(
        "run.html.jinja",
        run=run,
        summary=summary,
        facts=facts_of(run, summary),
        tradeoff=tradeoff,
        differences=differences,
        first=first_page(run, summary, choice),
        most_differences=MOST_DIFFERENCES,
        progress=progress,
        hypervolume=hypervolume,
        roc=roc,
        front={trial.trial for trial in tradeoff.front},
        columns=columns_of(run),
        printed_rows=printed_rows,
        appendix=appendix(run),
        exposed=_exposed(run),
        **content,
    )


def _exposed(run: RunInfo) -> Markup:
    found = exposures_of_run(run)
    return exposed_html(found, images_of_run(run) if found.records else None)


def _figures(
    run: RunInfo,
    tradeoff: TradeoffInfo,
    progress: ProgressInfo,
    hypervolume: HypervolumeInfo,
    roc: RocInfo | None,
    feasibility: FeasibilityInfo | None,
) -> dict[str, Markup]:
    """What can be drawn, by name: figures with their charts."""
    drawn: dict[str, tuple[Figure, Chart]] = {}
    if tradeoff.trials:
        front = f"{len(tradeoff.front)} of them on the Pareto front"
        label = f"Accuracy against attack AUC of {len(tradeoff.trials)} trials, {front}"
        constraints = None if feasibility is None else feasibility.constraints
        drawn["tradeoff"] = draw_tradeoff(tradeoff), tradeoff_chart(tradeoff, constraints, label=label)
        label = "Accuracy and attack AUC by trial"
        drawn["progress"] = draw_progress(progress), progress_chart(run.trials, label=label)
        drawn["hypervolume"] = (
            draw_hypervolume(hypervolume),
            hypervolume_chart(hypervolume, label="Hypervolume by trial"),
        )
    if roc is not None:
        label = f"ROC curves of trial {roc.trial.sequence}, log-log"
        drawn["roc"] = draw_roc(roc), roc_chart(roc, label=label)
    return {
        name: with_chart(to_svg(figure, prefix=name, label=chart.label), chart)
        for name, (figure, chart) in drawn.items()
    }


def _best_cells(run: RunInfo, tradeoff: TradeoffInfo) -> dict[str, Any]:
    """The trials whose cells are drawn with their drawings, and what a reader of these needs."""
    best = [(trial, trial.genotype) for trial in select_best(tradeoff.front, BEST_CELLS) if trial.genotype is not None]
    drawn = []
    for index, (trial, genotype) in enumerate(best):
        names = {"prefix": f"cell{index}", "label": f" of trial {trial.sequence}"}
        cells = [cell_figure(cell, name, run.fixed_edges, **names) for name, cell in cells_of(genotype).items()]
        drawn.append((front_title(trial, tradeoff.front), trial, cells))
    return {"best": drawn, "most": BEST_CELLS, "reading": reading([genotype for _, genotype in best]) if best else None}


@dataclass(frozen=True)
class TradeoffInfo:
    """Accuracy against AUC.

    Attributes:
        trials: the trials with both numbers.
        front: the Pareto front among them, highest accuracy first.
    """

    trials: tuple[TrialRecord, ...]
    front: tuple[TrialRecord, ...]

    @property
    def dominated(self) -> tuple[TrialRecord, ...]:
        """The trials that are not on the front."""
        front = {trial.trial for trial in self.front}
        return tuple(trial for trial in self.trials if trial.trial not in front)


@dataclass(frozen=True)
class ProgressInfo:
    """Accuracy and AUC in the order of the search, NaN where a trial has none.

    Attributes:
        sequence: numbers of the trials.
        accuracy: of each trial.
        mia_auc: of each trial.
        low: lower end of the interval of ``mia_auc``.
        high: upper end.
        best_accuracy: the highest so far.
        lowest_auc: the lowest so far.
        failed: numbers of the trials that failed.
    """

    sequence: tuple[int, ...]
    accuracy: tuple[float, ...]
    mia_auc: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    best_accuracy: tuple[float, ...]
    lowest_auc: tuple[float, ...]
    failed: tuple[int, ...]


@dataclass(frozen=True)
class HypervolumeInfo:
    """The area that the trials so far dominate.

    Attributes:
        sequence: numbers of the measured trials.
        hypervolume: after each of them, never falling.
        reference: accuracy and AUC of the reference point.
    """

    sequence: tuple[int, ...]
    hypervolume: tuple[float, ...]
    reference: tuple[float, float] = REFERENCE


def tradeoff_info(run: RunInfo) -> TradeoffInfo:
    """The trials with an accuracy and an AUC, and their Pareto front."""
    trials = run.measured
    front = pareto_front(_values(trials, "accuracy"), _values(trials, "mia_auc"))
    return TradeoffInfo(trials, tuple(trials[index] for index in front))


def hypervolume_info(run: RunInfo) -> HypervolumeInfo:
    """Hypervolume of accuracy and AUC by trial, over the trials with both."""
    trials = run.measured
    growth = hypervolume_growth(_values(trials, "accuracy"), _values(trials, "mia_auc"))
    return HypervolumeInfo(tuple(trial.sequence for trial in trials), tuple(growth.tolist()))


def select_best(front: Sequence[TrialRecord], limit: int = 4) -> tuple[TrialRecord, ...]:
    """At most ``limit`` trials of a Pareto front: its two ends first, then what lies evenly between them.

    Args:
        front: trials, highest accuracy first. Those without a genotype are passed over, and between the ends repeated
            genotypes; one that was trained twice may be both ends. A single genotype is there once.
        limit: how many.

    Returns:
        The trial of highest accuracy, that of lowest AUC, and the others by falling accuracy.
    """
    drawable = [trial for trial in front if trial.genotype is not None]
    distinct = {str(trial.genotype): trial for trial in reversed(drawable)}
    if limit < 2 or len(distinct) < 2:
        return tuple(drawable[: min(max(limit, 0), 1)])
    ends = (drawable[0], drawable[-1])
    inner = [trial for trial in drawable if trial is distinct[str(trial.genotype)]]
    inner = [trial for trial in inner if trial.genotype not in [end.genotype for end in ends]]
    spread = np.linspace(0, len(inner) + 1, min(limit, len(inner) + 2))[1:-1]
    return (*ends, *(inner[round(place) - 1] for place in spread))


def front_title(trial: TrialRecord, front: Sequence[TrialRecord]) -> str:
    """What a trial is on a front, highest accuracy first; equal points are the same end."""
    highest, lowest = trial.accuracy == front[0].accuracy, trial.mia_auc == front[-1].mia_auc
    if highest and lowest:
        return "Highest accuracy and lowest AUC: trial"
    return "Highest accuracy: trial" if highest else "Lowest AUC: trial" if lowest else "Trial"


def progress_info(run: RunInfo) -> ProgressInfo:
    """Accuracy and AUC by trial, with the best so far."""
    accuracy, auc = _values(run.trials, "accuracy"), _values(run.trials, "mia_auc")
    return ProgressInfo(
        sequence=tuple(trial.sequence for trial in run.trials),
        accuracy=tuple(accuracy.tolist()),
        mia_auc=tuple(auc.tolist()),
        low=tuple(_values(run.trials, "mia_auc_low").tolist()),
        high=tuple(_values(run.trials, "mia_auc_high").tolist()),
        best_accuracy=tuple(np.fmax.accumulate(accuracy).tolist()),
        lowest_auc=tuple(np.fmin.accumulate(auc).tolist()),
        failed=tuple(trial.sequence for trial in run.trials if trial.status == "failed"),
    )


def _values(trials: Sequence[TrialRecord], metric: str) -> NDArray[np.float64]:
    """One metric of the trials that succeeded, NaN where there is none."""
    return np.array([trial.metrics.get(metric, np.nan) if trial.succeeded else np.nan for trial in trials], dtype=float)


def draw_tradeoff(info: TradeoffInfo) -> Figure:
    """Accuracy (to the right is better) against AUC (lower is better), with intervals and the Pareto front."""
    figure, axes = new_figure(6.4, 4.3)
    if info.dominated:
        _points(axes, info.dominated, OTHER, "o", "other trials")
    if info.front:
        _points(axes, info.front, FRONT, "D", "Pareto front")
        steps = sorted((trial.accuracy or 0.0, trial.mia_auc or 0.0) for trial in info.front)
        axes.step(*zip(*steps, strict=True), where="pre", color=FRONT, lw=1.1, alpha=0.75, zorder=2)
    _guessing_line(axes)
    axes.margins(x=0.08)
    axes.set(xlabel="test accuracy (higher is better)", ylabel="AUC of the primary attack (lower is better)")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.11), ncol=3, borderaxespad=0, handletextpad=0.4)
    _number_front(figure, axes, info.front)
    return figure


def draw_progress(info: ProgressInfo) -> Figure:
    """Accuracy and AUC of each trial in the order of the search, with the best so far."""
    from matplotlib.ticker import MaxNLocator

    figure, (upper, lower) = new_figure(6.4, 4.3, rows=2, sharex=True)
    upper.plot(info.sequence, info.accuracy, "o", ms=4.5, color=ACCURACY, label="trial")
    upper.step(info.sequence, info.best_accuracy, where="post", color=ACCURACY, lw=1.2, label="best so far")
    _bars(lower, info.sequence, info.mia_auc, info.low, info.high, AUC)
    lower.plot(info.sequence, info.mia_auc, "D", ms=4, color=AUC, label="trial, with 95% interval")
    lower.step(info.sequence, info.lowest_auc, where="post", color=AUC, lw=1.2, label="lowest so far")
    _guessing_line(lower)
    for axes in (upper, lower):
        if info.failed:
            cross = {"transform": axes.get_xaxis_transform(), "clip_on": False, "ms": 6, "mew": 1.8}
            axes.plot(info.failed, [0] * len(info.failed), "x", color=FAILED, label="failed", **cross)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=4, borderaxespad=0.1, handletextpad=0.4)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    upper.set(ylabel="test accuracy")
    lower.set(ylabel="AUC of the attack", xlabel="trial, in the order of the search")
    return figure


def draw_hypervolume(info: HypervolumeInfo) -> Figure:
    """The hypervolume after each trial."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure(6.4, 2.3)
    axes.step(info.sequence, info.hypervolume, where="post", color=FRONT, lw=1.4)
    axes.plot(info.sequence[-1:], info.hypervolume[-1:], "D", ms=5, color=FRONT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial, in the order of the search", ylabel="hypervolume")
    return figure


def _points(axes: Any, trials: Sequence[TrialRecord], colour: str, marker: str, label: str) -> None:
    x = [trial.accuracy for trial in trials]
    y = [trial.mia_auc for trial in trials]
    ends = [trial.interval or (np.nan, np.nan) for trial in trials]
    _bars(axes, x, y, [low for low, _ in ends], [high for _, high in ends], colour)
    axes.plot(x, y, marker, ms=5.5, color=colour, mec="white", mew=0.6, label=label, zorder=4)


def _bars(axes: Any, x: Any, y: Any, low: Any, high: Any, colour: str) -> None:
    """Interval bars, thinner the more there are; they need not hold the point itself."""
    many = len(y) > 60
    axes.vlines(x, low, high, color=colour, lw=0.6 if many else 1.1, alpha=0.25 if many else 0.5, zorder=2)


def _guessing_line(axes: Any) -> None:
    """The line of AUC 0.5, unless it would push all points into less than half of the axis."""
    bottom, top = axes.get_ylim()
    if axes.has_data() and top > 0.5 and (top - bottom) >= 0.45 * (top - 0.5):
        axes.axhline(0.5, **DASHED, label="guessing (AUC 0.5)", zorder=1)


def _number_front(figure: Figure, axes: Any, front: Sequence[TrialRecord]) -> None:
    """Numbers of the front's points, both ends first, each where it meets no other number; or else left out."""
    figure.draw_without_rendering()  # settles the layout, so that data can be turned into points on paper
    to_points = 72 / figure.dpi
    taken: list[tuple[float, float]] = []
    for trial in [*front[:1], *front[-1:], *front[1:-1]]:
        x, y = axes.transData.transform((trial.accuracy, trial.mia_auc)) * to_points
        for dx, dy in ((6, -11), (6, -21)):  # below and to the right of the front there are no points
            centre = (x + dx + NUMBER_WIDTH / 2, y + dy)
            if all(abs(centre[0] - a) > NUMBER_WIDTH or abs(centre[1] - b) > NUMBER_HEIGHT for a, b in taken):
                place = {"xytext": (dx, dy), "textcoords": "offset points", "fontsize": 8, "color": FRONT}
                axes.annotate(f"#{trial.sequence}", (trial.accuracy, trial.mia_auc), **place)
                taken.append(centre)
                break
