"""Draws a measurement study: bars by architecture, overfitting against AUC, differences at equal accuracy.

Architectures are rows, so that their names stand upright and any number of them fits; attacks or data sets are columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nni_privacy.analysis.matched import MatchedInfo
from nni_privacy.analysis.study import ACCURACY, HUMAN, NAS, Bar, BarsInfo, OverfittingInfo
from nni_privacy.report.style import FAILED, GUESSING, plain_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLUMNS", "ROWS", "bar_limits", "draw_bars", "draw_matched", "draw_overfitting"]

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
    from matplotlib.figure import Figure

    bars = infos[0].bars
    places = _rows(bars)
    names = [plain_label(bar.architecture.label) for bar in bars]
    width = 0.4 + LABELS * max(map(len, names)) + PANEL * len(infos)
    figure = Figure(figsize=(max(width, 5.0), 1.15 + ROW * (places[-1] + 1)), layout="constrained")
    panels = figure.subplots(1, len(infos), sharey=True, sharex=True, squeeze=False)[0]
    base = _base(infos[0])
    for axes, info, title in zip(panels, infos, titles, strict=True):
        for place, bar in zip(places, info.bars, strict=True):
            _bar(axes, place, bar, base)
        axes.axvline(base, color=GUESSING, lw=1.1, ls=(0, (4, 3)) if base else "-", zorder=3)
        axes.set_title(plain_label(title), fontsize=9, loc="left", parse_math=False)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(places, names, parse_math=False, fontsize=8.5)
    panels[0].set_ylim(places[-1] + 0.8, -0.8)
    panels[0].set_xlim(*limits)
    panels[0].locator_params(axis="x", nbins=5)
    label = "test accuracy" if base == 0 else "AUC of the attack; bars begin at 0.5 (guessing)"
    figure.supxlabel(label, fontsize=9.5, color="#1e293b")
    _kinds_legend(figure, dict.fromkeys(bar.architecture.kind for bar in bars))
    return figure


def draw_overfitting(infos: Sequence[OverfittingInfo]) -> Figure:
    """Overfitting against AUC, a point a measurement; a panel for each info, at least one, each with a point."""
    from matplotlib.figure import Figure

    columns = min(len(infos), 3)
    rows = -(-len(infos) // columns)
    figure = Figure(figsize=(max(3.3 * columns, 5.0), 0.55 + 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    for axes, info in zip(panels, infos, strict=False):
        for kind in dict.fromkeys(point.kind for point in info.points):
            points = [(point.overfitting, point.auc) for point in info.points if point.kind == kind]
            style = {"ms": 5, "mec": "white", "mew": 0.6, "alpha": 0.9}
            axes.plot(*zip(*points, strict=True), MARKERS.get(kind, "s"), color=_colour(kind), **style)
        axes.set_title(_headline(info), fontsize=9, loc="left", parse_math=False)
        axes.margins(0.08)
        low, high = axes.get_ylim()
        if low < 0.5 + (high - low) / 2:
            axes.axhline(0.5, color=GUESSING, lw=1.1, ls=(0, (4, 3)), zorder=1)
        axes.locator_params(nbins=5)
        axes.tick_params(labelbottom=True)
    for axes in panels[len(infos) :]:
        axes.remove()
    figure.supxlabel("overfitting: train accuracy less test accuracy", fontsize=9.5, color="#1e293b")
    figure.supylabel("AUC of the attack", fontsize=9.5, color="#1e293b")
    _kinds_legend(figure, dict.fromkeys(point.kind for info in infos for point in info.points), points=True)
    return figure


def draw_matched(infos: Sequence[MatchedInfo]) -> Figure:
    """Differences at equal accuracy with their intervals; at least one info has one, the others are left out."""
    from matplotlib.figure import Figure

    shown = [(info, info.adjusted) for info in infos if info.adjusted]
    names = [f"{plain_label(info.dataset, 20)}, {plain_label(info.attack, 22)}" for info, _ in shown]
    figure = Figure(figsize=(6.4, 1.0 + 0.24 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for place, (_, found) in enumerate(shown):
        axes.plot([found.low, found.high], [place, place], color=OTHER, lw=2.2, alpha=0.5, solid_capstyle="butt")
        axes.plot([found.difference], [place], "D", color=OTHER, ms=5)
    axes.axvline(0, color=GUESSING, lw=1.1, ls=(0, (4, 3)), zorder=1)
    axes.set_yticks(range(len(shown)), names, parse_math=False, fontsize=8.5)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("AUC of NAS less AUC of human-designed, at equal accuracy")
    return figure


def _rows(bars: Sequence[Bar]) -> list[float]:
    """Where each bar goes, with a gap between kinds."""
    places, place = [], 0.0
    for index, bar in enumerate(bars):
        if index:
            place += 1 + KIND_GAP * (bar.architecture.kind != bars[index - 1].architecture.kind)
        places.append(place)
    return places


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


def _kinds_legend(figure: Figure, kinds: Sequence[str] | dict[str, None], *, points: bool = False) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for kind in kinds:
        if points:
            handles.append(Line2D([], [], ls="", marker=MARKERS.get(kind, "s"), color=_colour(kind), ms=5.5))
        else:
            handles.append(Patch(color=_colour(kind), alpha=0.72, lw=0))
    names = [plain_label(kind).replace("$", r"\$") for kind in kinds]
    figure.legend(handles, names, loc="outside upper left", ncol=len(names), fontsize=8.5, handletextpad=0.5)


def _colour(kind: str) -> str:
    return COLOURS.get(kind, OTHER)


def _headline(info: OverfittingInfo) -> str:
    name = plain_label(info.attack, 24)
    if info.correlation is None:
        return name
    return f"{name}: ρ = {info.correlation.rho:.2f}, p = {info.correlation.p_value:.2g}"
