"""The page of a search on predicted AUC: it says PREDICTED wherever it shows a number that nobody has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nni_privacy.cells.darts import CELL_TYPES, Edge, Genotype
from nni_privacy.cells.genotypes import CELL_NAMES, cells_of
from nni_privacy.report.cell import draw_cell, draw_cell_legend
from nni_privacy.report.cell_graph import how_to_read
from nni_privacy.report.facts import appendix_html, facts_of, notices, summary_info
from nni_privacy.report.html import card_html, duration, edges_html, escape_text, facts_html, notice_html, page_html
from nni_privacy.report.layout import draw_info
from nni_privacy.report.style import drawing_style, to_svg
from nni_privacy.runs.records import FixedEdges, RunInfo
from nni_privacy.surrogate.search import PredictedArchitecture, PredictedSearch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "HistogramInfo",
    "PredictedGroup",
    "draw_histogram",
    "draw_predicted_progress",
    "group_of_run",
    "group_of_search",
    "histogram_info",
    "lowest_so_far",
    "render_predicted_run",
    "render_predicted_search",
]

BEST_OF_A_RUN = 20

_WARNING = (
    '<p class="notice predicted"><b>PREDICTED, NOT MEASURED.</b> No architecture on this page has been trained or '
    "attacked: every AUC is what a surrogate expects, from the genotype alone. Measure what you mean to use.</p>"
)

_NOTES = (
    "<ul><li><b>Predicted AUC</b>: what a surrogate expects the attack to reach. It speaks for the attack, data and "
    "recipe that the surrogate learned from; the one that ships learned from White-Box/Partial attacks on CIFAR-10 "
    "networks with 16 channels and 5 cells.</li>"
    "<li><b>±</b>: standard deviation of the AUC that <i>one</i> training run would measure. Where two architectures "
    "differ by less, which of them is more private is not known.</li>"
    "<li><b>The lowest of many</b> predictions looks lower than it is: among thousands of architectures, those come "
    "first on which the surrogate errs downwards. The means are free of that.</li>"
    "<li><b>Accuracy is not predicted.</b> An architecture of little capacity leaks little and learns little.</li></ul>"
)

Floats = npt.NDArray[np.float64]

BINS = 60

COLOURS = ("#64748b", "#c2410c")


def render_predicted_search(groups: Sequence[PredictedGroup], *, title: str, facts: Mapping[str, str]) -> str:
    """The page of searches on predictions, as text; the same groups and facts give the same text.

    Args:
        groups: at least one, each with at least one architecture.
        title: of the page.
        facts: what a reader should know (surrogate, seed, ...), shown in this order; plain text.
    """
    return _render(
        groups,
        title=title,
        facts=facts_html({key: escape_text(value) for key, value in facts.items()}),
        footer="All architectures with their predictions are in architectures.csv beside this page.",
    )


def render_predicted_run(run: RunInfo) -> str:
    """The page of a run whose trials were predicted instead of trained."""
    group = group_of_run(run, best=BEST_OF_A_RUN)
    summary = summary_info(run)
    return _render(
        [group] if len(group.predicted_mia_auc) else [],
        title=run.name,
        facts=facts_html({"Surrogate": _surrogate(run)}) + facts_of(run, summary),
        lines=notices(run, summary),
        progress=_progress(run),
        appendix=f"<section><h2>Configuration and environment</h2>{appendix_html(run)}</section>",
        footer="Written from trials.jsonl, config.yaml and environment.json of this run.",
    )


def _surrogate(run: RunInfo) -> str:
    evaluator = run.config.get("evaluator")
    file = evaluator.get("surrogate") if isinstance(evaluator, Mapping) else None
    return "the one that ships" if file is None else escape_text(file)


def _render(
    groups: Sequence[PredictedGroup],
    *,
    title: str,
    facts: str,
    footer: str,
    lines: Sequence[str] = (),
    progress: str = "",
    appendix: str = "",
) -> str:
    with drawing_style():
        sections = {"histogram": _histogram(groups), "best": _best(groups)}
    return page_html(
        "predicted",
        title=f"{title} · predicted privacy",
        lead="Architectures ordered by the AUC that a membership inference attack is predicted to reach: "
        "lower is more private, 0.5 is guessing.",
        notices=_WARNING + notice_html(lines),
        cards="".join(_cards(groups)),
        facts=facts,
        sections={**sections, "notes": _NOTES, "progress": progress, "appendix": appendix},
        footer=f"Written by nni-privacy. {footer} The page needs no network.",
    )


def _cards(groups: Sequence[PredictedGroup]) -> list[str]:
    cards = []
    for group in groups:
        best, auc = group.best[0], group.predicted_mia_auc
        more = f"mean {auc.mean():.4f}; {len(auc):,} architectures in {duration(group.seconds)}"
        cards.append((f"lowest PREDICTED AUC, {group.name}", _with_error(best), more))
    if len(groups) == 2:
        without, fixed = groups
        change = fixed.predicted_mia_auc.mean() - without.predicted_mia_auc.mean()
        cards.append(
            ("PREDICTED change of the mean AUC by the pattern", f"{change:+.4f}", "means over all architectures")
        )
    return [card_html(escape_text(what), value, escape_text(more)) for what, value, more in cards]


def _with_error(one: PredictedArchitecture) -> str:
    error = f" ± {one.predicted_sd:.3f}" if np.isfinite(one.predicted_sd) else ""
    return f"{one.predicted_mia_auc:.4f}{error}"


def _histogram(groups: Sequence[PredictedGroup]) -> str:
    if not groups:
        return "<p>No architecture has been predicted yet.</p>"
    svg = to_svg(draw_histogram(histogram_info(groups)), prefix="hist", label="Histogram of predicted AUC")
    pattern = "<p>A pattern that works moves the whole distribution to the left, not only its end.</p>"
    return (
        f'<figure class="side"><div>{svg}</div><figcaption><p>How the <b>predicted</b> AUC is distributed. A surrogate '
        "predicts averages: single training runs would scatter much more than this, see ± below.</p>"
        f"{pattern if len(groups) > 1 else ''}</figcaption></figure>"
    )


def _progress(run: RunInfo) -> str:
    sequence, auc, lowest = lowest_so_far(run)
    if not sequence:
        return ""
    with drawing_style():
        figure = draw_predicted_progress(sequence, auc, lowest)
        svg = to_svg(figure, prefix="progress", label="Predicted AUC by trial")
    return f'<section id="progress"><h2>Progress of the search</h2><figure>{svg}</figure></section>'


def _best(groups: Sequence[PredictedGroup]) -> str:
    if not groups:
        return "<p>None.</p>"
    cells = [cell for group in groups for cell in cells_of(group.best[0].genotype).values()]
    legend = to_svg(draw_cell_legend(), prefix="legend", label="Legend of the cell drawings")
    intro = f'<p>Drawn: the first of each. {how_to_read(cells)}</p><div class="scroll">{legend}</div>'
    return intro + "".join(_group(group, number) for number, group in enumerate(groups))


def _group(group: PredictedGroup, number: int) -> str:
    drawings = []
    for name, cell in cells_of(group.best[0].genotype).items():
        figure = draw_cell(draw_info(cell, name, group.fixed.get(name, ())))
        svg = to_svg(figure, prefix=f"cell{number}{name[0]}", label=f"{CELL_NAMES[name]}, {group.name}")
        drawings.append(f'<div class="cell"><div class="name">{CELL_NAMES[name]}</div>{svg}</div>')
    fixed = edges_html(group.fixed)
    return (
        f'<h3>{escape_text(group.name)}</h3>{fixed}<div class="cells">{"".join(drawings)}</div>'
        f'<div class="scroll">{_table(group)}</div>'
    )


def _table(group: PredictedGroup) -> str:
    rows: list[tuple[Any, ...]] = [
        (rank, _with_error(one), escape_text(one.genotype)) for rank, one in enumerate(group.best, start=1)
    ]
    body = "".join(
        f'<tr><td>{rank}</td><td>{auc}</td><td class="wide"><code>{genotype}</code></td></tr>'
        for rank, auc, genotype in rows
    )
    heads = '<th>#</th><th>PREDICTED AUC ± sd</th><th class="text">Architecture</th>'
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


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


@dataclass(frozen=True, eq=False)
class HistogramInfo:
    """Shares of the groups' architectures by predicted AUC, on common axes.

    Attributes:
        names: g names of groups.
        edges: (b + 1,) ends of the intervals of AUC.
        shares: (g, b) share of a group's architectures in an interval; each row sums to 1.
        means: (g,) mean predicted AUC.
    """

    names: tuple[str, ...]
    edges: Floats
    shares: Floats
    means: Floats


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
        auc = trial.metrics.get("predicted_mia_auc")
        if auc is not None and isinstance(trial.genotype, Genotype):
            sd = trial.metrics.get("predicted_mia_auc_sd", np.nan)
            found.setdefault(str(trial.genotype), PredictedArchitecture(trial.genotype, auc, sd))
    ordered = sorted(found.values(), key=lambda one: one.predicted_mia_auc)
    values = np.array([one.predicted_mia_auc for one in ordered], dtype=float)
    seconds = sum(trial.seconds or 0.0 for trial in run.trials)
    return PredictedGroup(run.name, values, tuple(ordered[:best]), seconds, _given(run.fixed_edges))


def histogram_info(groups: Sequence[PredictedGroup]) -> HistogramInfo:
    """Histograms of groups of at least one architecture each over the same intervals."""
    everything = np.concatenate([group.predicted_mia_auc for group in groups])
    edges = np.histogram_bin_edges(everything, BINS)
    counts = np.array([np.histogram(group.predicted_mia_auc, edges)[0] for group in groups], dtype=float)
    return HistogramInfo(
        names=tuple(group.name for group in groups),
        edges=edges,
        shares=counts / counts.sum(axis=1, keepdims=True),
        means=np.array([group.predicted_mia_auc.mean() for group in groups]),
    )


def lowest_so_far(run: RunInfo) -> tuple[tuple[int, ...], Floats, Floats]:
    """Of the trials with a prediction: their numbers, (n,) predicted AUC, and (n,) the lowest up to each."""
    trials = [trial for trial in run.succeeded if "predicted_mia_auc" in trial.metrics]
    auc = np.array([trial.metrics["predicted_mia_auc"] for trial in trials], dtype=float)
    return tuple(trial.sequence for trial in trials), auc, np.fmin.accumulate(auc)


def _given(fixed: FixedEdges) -> FixedEdges:
    return {name: edges for name, edges in fixed.items() if edges}


def draw_histogram(info: HistogramInfo) -> Figure:
    """The distributions of predicted AUC on common axes, a dashed line at each mean."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(6.8, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(info.names):
        colour = COLOURS[number % len(COLOURS)]
        label = name.replace("$", r"\$")  # a name is no formula
        axes.stairs(info.shares[number], info.edges, color=colour, fill=True, alpha=0.35)
        axes.stairs(info.shares[number], info.edges, color=colour, lw=1.2, label=label)
        axes.axvline(info.means[number], color=colour, lw=1.2, ls=(0, (4, 3)))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(xlabel="PREDICTED AUC of the attack (not measured; dashed: mean)", ylabel="share of the architectures")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=2)
    return figure


def draw_predicted_progress(sequence: Sequence[int], auc: Floats, lowest: Floats) -> Figure:
    """Predicted AUC of each trial in the order of the search, with the lowest so far."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.8, 2.9), layout="constrained")
    axes = figure.subplots()
    axes.plot(sequence, auc, ".", ms=3.5, color=COLOURS[0], label="architecture", rasterized=len(auc) > 2000)
    axes.step(sequence, lowest, where="post", color=COLOURS[1], lw=1.4, label="lowest so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial, in the order of the search", ylabel="PREDICTED AUC")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=2)
    return figure
