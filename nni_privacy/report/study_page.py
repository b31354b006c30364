"""The page of a measurement study: which architectures leak how much, and whether searched ones leak more.

Architectures are rows of the figures, so that their names stand upright and any number of them fits; attacks or data
sets are columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from nni_privacy.analysis.matched import CALIPER, LEAST, MatchedInfo, matched_infos
from nni_privacy.analysis.statistics import Basis, Spread, grouped
from nni_privacy.analysis.study import (
    ACCURACY,
    HUMAN,
    NAS,
    Bar,
    BarsInfo,
    OverfittingInfo,
    StudyInfo,
    bars_info,
    overfitting_info,
    study_info,
    table1_rows,
)
from nni_privacy.files import Row, to_csv
from nni_privacy.report.chart_data import Chart, bars_chart, overfitting_chart, with_chart
from nni_privacy.report.contour_page import contours_html
from nni_privacy.report.effects_page import effects_html
from nni_privacy.report.facts import Facts, appendix, data_facts, epochs_of
from nni_privacy.report.html import duration, render_page
from nni_privacy.report.style import (
    DASHED,
    FAILED,
    GUESSING,
    drawing_style,
    new_figure,
    no_formula,
    plain_label,
    row_places,
    to_svg,
)
from nni_privacy.report.trials_table import columns_of, printed_rows
from nni_privacy.runs.notices import notices_of
from nni_privacy.runs.records import RunInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["bar_limits", "draw_bars", "draw_matched", "draw_overfitting", "render_study", "study_tables", "whiskers"]

NUMBERS = ("Figure 3", "Figure 17", "Figure 18", "Figure 19")
"""The paper's figures of attacks on its data sets, in its order."""

NAMED = 12
"""Architectures that a notice names before it counts the rest."""

BASES: dict[Basis, str] = {
    "t": "the 95% t interval of the mean over the seeds (three seeds or more)",
    "range": "the range of the two seeds",
    "records": "with one seed, the 95% interval over the attacked records, which does not cover the "
    "randomness of training",
    "none": "none, where there is one seed and no interval over records",
}
SHORT: dict[Basis, str] = {"t": "", "range": " range", "records": " records", "none": ""}

COLOURS = {HUMAN: "#0072b2", NAS: "#c2410c"}
OTHER = "#15803d"
MARKERS = {HUMAN: "o", NAS: "D"}
COLUMNS = 5
"""Panels side by side in a figure of bars."""
ROWS = 30
"""Architectures in a figure of bars: so many are still legible on a printed page."""
PANEL, ROW, LABELS = 2.2, 0.2, 0.085
"""Width of a panel, height of a row, width of a character of the row's name, in inches."""
KIND_GAP = 0.7
"""Free rows between two kinds."""


def render_study(run: RunInfo) -> str:
    """The page as text; the same run gives the same text."""
    study = study_info(run)
    with drawing_style():
        content = {
            **_table1(study),
            "accuracy": _accuracy(study),
            "attacks": [found for place in range(len(study.measured_datasets)) if (found := _attacks(study, place))],
            **_overfitting(study),
            **_matched(study),
            "effects": effects_html(run),
            "contours": contours_html(run),
        }
    return render_page(
        "study.html.jinja",
        run=run,
        study=study,
        notices=notices_of(run.trials),
        failed=_some([(one.architecture.label, one.dataset) for one in study.failed]),
        missing=_some([(architecture, dataset) for architecture, dataset, _ in study.missing]),
        facts=study_facts(run, study),
        columns=columns_of(run),
        printed_rows=printed_rows,
        appendix=appendix(run),
        **content,
    )


def _table1(study: StudyInfo) -> dict[str, Any]:
    """The rows of Table 1; of each data set and attack those of its kinds; and the kinds that have a large number."""
    rows = table1_rows(study)
    by_place = grouped(((row.dataset, row.attack), row) for row in rows)
    return {
        "table1": rows,
        "by_place": {place: {row.kind: row for row in found} for place, found in by_place.items()},
        "kinds": list(dict.fromkeys(row.kind for row in rows)),
        "shown_kinds": (HUMAN, NAS),
        "short": SHORT,
    }


def _bars(infos: Sequence[BarsInfo], titles: Sequence[str], name: str, label: str) -> list[Markup]:
    """The bars as figures of at most ``COLUMNS`` panels and about equally many rows, at most ``ROWS``."""
    if not infos:
        return []
    limits, count = bar_limits(infos), len(infos[0].bars)
    rows = -(-count // -(-count // ROWS))
    figures = []
    for first, start in product(range(0, count, rows), range(0, len(infos), COLUMNS)):
        part = [replace(info, bars=info.bars[first : first + rows]) for info in infos[start : start + COLUMNS]]
        figure = draw_bars(part, titles[start : start + COLUMNS], limits)
        figures.append(to_svg(figure, prefix=f"{name}{start}-{first}", label=label))
    return figures


def _charted(figures: Sequence[Markup], charts: Sequence[Chart]) -> list[Markup]:
    """All figures of a section in the place of the first chart, and the other charts after it."""
    first, *others = charts
    return [with_chart(Markup().join(figures), first), *(with_chart(Markup(), one) for one in others)]


def _accuracy(study: StudyInfo) -> dict[str, Any] | None:
    infos = [info for name in study.measured_datasets if not (info := bars_info(study, name, ACCURACY)).empty]
    label = "Test accuracy of every architecture"
    figures = _bars(infos, [info.dataset for info in infos], "accuracy", label)
    charts = [bars_chart(info, title=f"test accuracy, {info.dataset}", guessing=None, label=label) for info in infos]
    return {"figures": _charted(figures, charts), "whiskers": whiskers(infos)} if figures else None


def _attacks(study: StudyInfo, place: int) -> dict[str, Any] | None:
    dataset = study.measured_datasets[place]
    infos = [info for name in study.attacks if not (info := bars_info(study, dataset, name)).empty]
    label = f"AUC of {len(infos)} attacks on every architecture, {plain_label(dataset)}"
    figures = _bars(infos, [info.quantity for info in infos], f"attacks{place}-", label)
    section = {"place": place, "dataset": dataset, "number": NUMBERS[place] if place < len(NUMBERS) else ""}
    charts = [bars_chart(info, title=f"AUC of {info.quantity}", guessing=0.5, label=label) for info in infos]
    return {**section, "figures": _charted(figures, charts), "whiskers": whiskers(infos)} if figures else None


def _overfitting(study: StudyInfo) -> dict[str, Any]:
    """What has a point, and a figure a data set."""
    pairs = product(study.measured_datasets, study.attacks)
    infos = [info for dataset, name in pairs if (info := overfitting_info(study, dataset, name)).points]
    figures = {}
    for place, (dataset, found) in enumerate(grouped((info.dataset, info) for info in infos).items()):
        label = f"Overfitting against AUC, {plain_label(dataset)}"
        figure = to_svg(draw_overfitting(found), prefix=f"overfitting{place}", label=label)
        figures[dataset] = Markup().join(_charted([figure], [overfitting_chart(info, label=label) for info in found]))
    return {"overfitting": infos, "overfitting_figures": figures}


def _matched(study: StudyInfo) -> dict[str, Any]:
    infos, figure = matched_infos(study), None
    if any(info.adjusted for info in infos):
        figure = to_svg(draw_matched(infos), prefix="matched", label="Differences in AUC at equal accuracy")
    return {"matched": infos, "matched_figure": figure, "caliper": CALIPER, "least": LEAST}


def study_facts(run: RunInfo, study: StudyInfo) -> Facts:
    """What a reader should know of a study, in the order of the page."""
    kinds = {
        f"Architectures, {kind}": _names([one.label for one in study.architectures if one.kind == kind])
        for kind in study.kinds
    }
    attacks = list(study.attacks or run.attacks)
    if attacks:
        attacks[0] += " (primary)"
    evaluator = run.config.get("evaluator")
    recipe = evaluator.get("recipe") if isinstance(evaluator, Mapping) else None
    seconds = sum(trial.seconds or 0.0 for trial in run.trials)
    return {
        **kinds,
        "Data sets": _names(study.datasets),
        **data_facts(run),
        "Attacks": ", ".join(attacks),
        "Seeds": _names(study.seeds),
        "Recipe": _plain(recipe),
        "Epochs": epochs_of(run),
        "Variant, defence": ", ".join([*study.variants, *study.defences]),
        "Device": _plain(run.environment.get("device")),
        "Versions": _plain(run.environment.get("versions")),
        "Time in trials": duration(seconds) if seconds else "",
    }


def _some(pairs: Sequence[tuple[str, str]]) -> str:
    """Architectures, each with the data sets it is named with; the rest is counted."""
    datasets = grouped(dict.fromkeys(pairs))
    names = [f"{architecture} ({', '.join(found)})" for architecture, found in datasets.items()]
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more architectures" if rest > 0 else "")


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) + (f" ({len(names)})" if len(names) > 1 else "")


def _plain(value: Any) -> str:
    """Options on one line; those without a value are left out."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {item}" for key, item in value.items() if item is not None)
    return "" if value is None else str(value)


def whiskers(infos: Iterable[BarsInfo]) -> str:
    """What the whiskers of these bars are; they may differ from bar to bar."""
    found = {bar.spread.basis for info in infos for bar in info.bars if bar.spread}
    return "; ".join(text for basis, text in BASES.items() if basis in found)


def bar_limits(infos: Sequence[BarsInfo]) -> tuple[float, float]:
    """One axis for all: from where bars begin, or what lies below it, to a little beyond the highest end."""
    base = _base(infos[0])
    spreads = [bar.spread for info in infos for bar in info.bars if bar.spread]
    ends = [value for one in spreads for value in (one.mean, one.low, one.high) if value is not None]
    low, high = min([base, *ends]), max([base + 0.05, *ends])
    return (low - 0.04 * (high - low) if low < base else base), high + 0.08 * (high - low)


def draw_bars(infos: Sequence[BarsInfo], titles: Sequence[str], limits: tuple[float, float]) -> Figure:
    """Bars of every architecture; a panel for each info.

    Args:
        infos: at least one, of the same architectures and all of accuracy or all of AUCs; at most ``COLUMNS``.
        titles: of the panels.
        limits: of the axis, see :func:`bar_limits`.
    """
    bars = infos[0].bars
    places = row_places([bar.architecture.kind for bar in bars], KIND_GAP)
    names = [plain_label(bar.architecture.label) for bar in bars]
    width = 0.4 + LABELS * max(map(len, names)) + PANEL * len(infos)
    size, shared = (max(width, 5.0), 1.15 + ROW * (places[-1] + 1)), {"sharex": True, "sharey": True}
    figure, ((*panels,),) = new_figure(*size, columns=len(infos), squeeze=False, **shared)
    base = _base(infos[0])
    for axes, info, title in zip(panels, infos, titles, strict=True):
        for place, bar in zip(places, info.bars, strict=True):
            _bar(axes, place, bar, base)
        axes.axvline(base, **(DASHED if base else {**DASHED, "ls": "-"}), zorder=3)
        axes.set_title(plain_label(title), fontsize=9, loc="left", parse_math=False)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(places, names, parse_math=False, fontsize=8.5)
    panels[0].set_ylim(places[-1] + 0.8, -0.8)
    panels[0].set_xlim(*limits)
    panels[0].locator_params(axis="x", nbins=5)
    label = "test accuracy" if base == 0 else "AUC of the attack; bars begin at 0.5 (guessing)"
    figure.supxlabel(label, fontsize=9.5, color="#1e293b")
    _kinds_legend(figure, [bar.architecture.kind for bar in bars])
    return figure


def draw_overfitting(infos: Sequence[OverfittingInfo]) -> Figure:
    """Overfitting against AUC, a point a measurement; a panel for each info, at least one, each with a point."""
    columns = min(len(infos), 3)
    rows = -(-len(infos) // columns)
    size = max(3.3 * columns, 5.0), 0.55 + 2.5 * rows
    figure, grid = new_figure(*size, rows, columns, sharex=True, squeeze=False)
    panels = grid.ravel()
    style = {"ms": 5, "mec": "white", "mew": 0.6, "alpha": 0.9}
    for axes, info in zip(panels, infos, strict=False):
        for kind, points in grouped((point.kind, (point.overfitting, point.auc)) for point in info.points).items():
            axes.plot(*zip(*points, strict=True), MARKERS.get(kind, "s"), color=_colour(kind), **style)
        found = info.correlation
        headline = f": ρ = {found.rho:.2f}, p = {found.p_value:.2g}" if found else ""
        axes.set_title(plain_label(info.attack, 24) + headline, fontsize=9, loc="left", parse_math=False)
        axes.margins(0.08)
        low, high = axes.get_ylim()
        if low < 0.5 + (high - low) / 2:
            axes.axhline(0.5, **DASHED, zorder=1)
        axes.locator_params(nbins=5)
        axes.tick_params(labelbottom=True)
    for axes in panels[len(infos) :]:
        axes.remove()
    figure.supxlabel("overfitting: train accuracy less test accuracy", fontsize=9.5, color="#1e293b")
    figure.supylabel("AUC of the attack", fontsize=9.5, color="#1e293b")
    _kinds_legend(figure, [point.kind for info in infos for point in info.points], points=True)
    return figure


def draw_matched(infos: Sequence[MatchedInfo]) -> Figure:
    """Differences at equal accuracy with their intervals; at least one info has one, the others are left out."""
    shown = [(info, info.adjusted) for info in infos if info.adjusted]
    names = [f"{plain_label(info.dataset, 20)}, {plain_label(info.attack, 22)}" for info, _ in shown]
    figure, axes = new_figure(6.4, 1.0 + 0.24 * len(shown))
    for place, (_, found) in enumerate(shown):
        axes.plot([found.low, found.high], [place, place], color=OTHER, lw=2.2, alpha=0.5, solid_capstyle="butt")
        axes.plot([found.difference], [place], "D", color=OTHER, ms=5)
    axes.axvline(0, **DASHED, zorder=1)
    axes.set_yticks(range(len(shown)), names, parse_math=False, fontsize=8.5)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("AUC of NAS less AUC of human-designed, at equal accuracy")
    return figure


def _bar(axes: Any, place: float, bar: Bar, base: float) -> None:
    spread = bar.spread
    if spread is None:
        style = {"fontsize": 7.5, "va": "center", "color": FAILED if bar.failed else GUESSING}
        text = "✕ failed" if bar.failed else "not measured"
        axes.annotate(text, (base, place), xytext=(4, 0), textcoords="offset points", **style)
        return
    axes.barh(place, spread.mean - base, left=base, height=0.68, color=_colour(bar.architecture.kind), alpha=0.72)
    if spread.low is not None and spread.high is not None:
        axes.hlines(place, spread.low, spread.high, color="#1e293b", lw=1.1)
        axes.vlines([spread.low, spread.high], place - 0.2, place + 0.2, color="#1e293b", lw=1.1)
    if bar.failed:
        end = max(spread.mean, spread.high or 0.0)
        axes.annotate("✕", (end, place), xytext=(4, 0), textcoords="offset points", va="center", color=FAILED)


def _base(info: BarsInfo) -> float:
    """Where bars begin: at nothing, or at guessing."""
    return 0.0 if info.quantity == ACCURACY else 0.5


def _kinds_legend(figure: Figure, kinds: Iterable[str], *, points: bool = False) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shown = list(dict.fromkeys(kinds))
    handles = [
        Line2D([], [], ls="", marker=MARKERS.get(kind, "s"), color=_colour(kind), ms=5.5)
        if points
        else Patch(color=_colour(kind), alpha=0.72, lw=0)
        for kind in shown
    ]
    names = [no_formula(plain_label(kind)) for kind in shown]
    figure.legend(handles, names, loc="outside upper left", ncol=len(names), fontsize=8.5, handletextpad=0.5)


def _colour(kind: str) -> str:
    return COLOURS.get(kind, OTHER)


def study_tables(run: RunInfo) -> dict[str, str]:
    """The files by name: ``study.csv`` has a row for every trial, the others what the page's figures and tables show.

    Fractions are written in full; what is not known is empty.
    """
    study = study_info(run)
    return {
        "study.csv": to_csv(_trial_rows(run), ("trial", "sequence", "status")),
        "table1.csv": to_csv(_table1_rows(study), ("data set", "attack", "kind")),
        "bars.csv": to_csv(_bars_rows(study), ("data set", "quantity", "architecture")),
        "overfitting.csv": to_csv(_overfitting_rows(study), ("data set", "attack")),
        "matched_accuracy.csv": to_csv(_matched_rows(study), ("data set", "attack")),
    }


def _trial_rows(run: RunInfo) -> list[Row]:
    factors = dict.fromkeys(name for trial in run.trials for name in trial.factors)
    metrics = dict.fromkeys(name for trial in run.trials for name in trial.metrics if name != "default")
    return [
        {
            "trial": trial.trial,
            "sequence": trial.sequence,
            "status": trial.status,
            **{name: trial.factors.get(name) for name in factors},
            **{name: trial.metrics.get(name) for name in metrics},
            "seconds": trial.seconds,
            "trained": trial.architecture,
            "error": trial.error,
        }
        for trial in run.trials
    ]


def _spread(spread: Spread | None) -> Row:
    if spread is None:
        return {"mean": None, "low": None, "high": None, "interval": "none"}
    return {"mean": spread.mean, "low": spread.low, "high": spread.high, "interval": spread.basis}


def _table1_rows(study: StudyInfo) -> list[Row]:
    return [
        {
            "data set": row.dataset,
            "attack": row.attack,
            "kind": row.kind,
            **_spread(row.spread),
            **{name: getattr(row, name) for name in ("architectures", "measurements", "highest", "whose")},
        }
        for row in table1_rows(study)
    ]


def _bars_rows(study: StudyInfo) -> list[Row]:
    return [
        {
            "data set": dataset,
            "quantity": quantity,
            "architecture": bar.architecture.label,
            "kind": bar.architecture.kind,
            **_spread(bar.spread),
            "seeds": bar.spread.count if bar.spread else 0,
            "failed": bar.failed,
        }
        for dataset in study.measured_datasets
        for quantity in (ACCURACY, *study.attacks)
        for bar in bars_info(study, dataset, quantity).bars
    ]


def _overfitting_rows(study: StudyInfo) -> list[Row]:
    rows: list[Row] = []
    for dataset, attack in product(study.measured_datasets, study.attacks):
        found = overfitting_info(study, dataset, attack).correlation
        values = {name: getattr(found, name, None) for name in ("rho", "low", "high", "p_value", "count")}
        rows.append({"data set": dataset, "attack": attack, **values})
    return rows


def _matched_rows(study: StudyInfo) -> list[Row]:
    return [
        {
            "data set": info.dataset,
            "attack": info.attack,
            "unadjusted": info.unadjusted,
            **{name: getattr(info.adjusted, name, None) for name in ("difference", "low", "high", "p_value")},
            "p_holm": info.p_holm,
            "nas": info.nas,
            "human": info.human,
            "left out": "; ".join(info.left_out),
            "reason": info.reason,
        }
        for info in matched_infos(study)
    ]
