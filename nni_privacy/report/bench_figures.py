"""Figures of a table's page: pooled frontiers, shares of the variance, rank correlations of predictors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nni_privacy.bench.frontiers import PooledPoint
from nni_privacy.bench.predictors import CeilingInfo, PredictorInfo, PredictorsInfo, Stage
from nni_privacy.bench.variance import VarianceSplit
from nni_privacy.report.bench_infos import FrontierPanel, predictor_rows
from nni_privacy.report.style import DASHED, GUESSING, new_figure, no_formula, plain_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_frontiers", "draw_predictors", "draw_shares"]

BLUES = ("#1e3a8a", "#2563eb", "#60a5fa", "#93c5fd", "#0e7490", "#67e8f9")
"""Of widths, the widest first."""
VARIANTS = ("#c2410c", "#15803d", "#7c3aed", "#a16207")
SMALLEST, LARGEST = 3.0, 8.0
"""Of the markers of the first and the last epoch, in points."""
PARTS: Mapping[str, str] = {
    "size": "#1e3a8a",
    "accuracy": "#3b82f6",
    "gap": "#93c5fd",
    "remaining": "#c2410c",
    "seed": "#94a3b8",
    "records": "#cbd5e1",
}
DARK = frozenset({"size", "accuracy", "remaining"})
"""Parts whose numbers are written in white."""
READABLE = 0.05
"""Shares from this on have room for their number."""
STAGES: Mapping[Stage, tuple[str, str]] = {
    "built": ("#0072b2", "of the network as built"),
    "trained": ("#15803d", "of one training"),
    "attacked": ("#c2410c", "of an attack without shadow models"),
    "unknown": ("#334155", "of something else"),
}
TICKS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
"""On a logarithmic axis, times powers of ten."""
MOST_TICKS = 6
BETWEEN = 0.08
"""Room between two panels, as a share of their width: so that the last number of one is not the first of the next."""
CHARACTER, ROW = 0.075, 0.25
"""Width of a character of a row's label, height of a row, in inches."""
SHORTER = 28


def draw_frontiers(panels: Sequence[FrontierPanel], *, log: bool) -> Figure:
    """Accuracy against leakage of one data set, a panel a search space; a line a width, along epochs.

    Args:
        panels: at least one.
        log: whether the values are natural logarithms, of TPRs: these are drawn themselves, on a logarithmic axis.
    """
    widths = sorted({width for panel in panels for width in panel.lines}, reverse=True)
    variants = list(dict.fromkeys(name for panel in panels for name in panel.marks))
    size = max(5.4, 4.4 * len(panels)), 4.2
    figure, ((*axes_of,),) = new_figure(*size, columns=len(panels), sharey=True, squeeze=False)
    _layout(figure).set(wspace=BETWEEN)
    for axes, panel in zip(axes_of, panels, strict=True):
        for width, points in panel.lines.items():
            _line(axes, points, panel.epochs, BLUES[widths.index(width) % len(BLUES)], f"width {width}", log)
        for name, point in panel.marks.items():
            _mark(axes, name, point, VARIANTS[variants.index(name) % len(VARIANTS)], log)
        _name_epochs(axes, panel, log)
        axes.set_title(f"{plain_label(panel.space)}, {panel.cells} cells", fontsize=9, loc="left", parse_math=False)
        axes.set_xlabel("test accuracy")
        axes.margins(0.08)
    if log:
        _logarithmic(axes_of[0])
    axes_of[0].set_ylabel("TPR at 1% FPR" if log else "AUC of the attack")
    _legend_of(figure, axes_of)
    return figure


def _value(value: float, log: bool) -> float:
    return math.exp(value) if log else value


def _line(axes: Any, points: Sequence[PooledPoint], epochs: int, colour: str, label: str, log: bool) -> None:
    """Markers grow with the epoch; the last one is filled and has its interval."""
    x, y = [point.accuracy for point in points], [_value(point.value, log) for point in points]
    axes.plot(x, y, color=colour, lw=1.2, zorder=2)
    for point, along, leak in zip(points, x, y, strict=True):
        size = SMALLEST + (LARGEST - SMALLEST) * math.sqrt(point.setting.epoch / epochs)
        last = point.setting.epoch == epochs
        if last:
            _interval(axes, point, colour, log)
        axes.plot([along], [leak], "o", ms=size, color=colour, mfc=colour if last else "white", mew=1, zorder=4)
    axes.plot([], [], "o-", color=colour, lw=1.2, ms=6, label=label)


def _mark(axes: Any, name: str, point: PooledPoint, colour: str, log: bool) -> None:
    _interval(axes, point, colour, log)
    marker = "s" if name.endswith("-size-matched") else "D"
    label = no_formula(plain_label(name))
    axes.plot([point.accuracy], [_value(point.value, log)], marker, ms=7, color=colour, zorder=5, label=label)


def _interval(axes: Any, point: PooledPoint, colour: str, log: bool) -> None:
    style = {"color": colour, "lw": 1.6, "alpha": 0.65, "zorder": 3, "solid_capstyle": "butt"}
    x, y = point.accuracy, _value(point.value, log)
    if point.accuracy_estimate is not None:
        axes.plot([point.accuracy_estimate.low, point.accuracy_estimate.high], [y, y], **style)
    if point.value_estimate is not None:
        ends = [_value(end, log) for end in (point.value_estimate.low, point.value_estimate.high)]
        axes.plot([x, x], ends, **style)


def _name_epochs(axes: Any, panel: FrontierPanel, log: bool) -> None:
    """The first and the last epoch, at the narrowest line, as the variants stand at the end of the widest."""
    points = panel.lines[min(panel.lines)] if panel.lines else ()
    for place, point in {0: points[0], -1: points[-1]}.items() if len(points) > 1 else ():
        last = place == -1
        axes.annotate(
            f"epoch {point.setting.epoch}",
            (point.accuracy, _value(point.value, log)),
            xytext=(-7, 5) if last else (6, -9),
            textcoords="offset points",
            ha="right" if last else "left",
            fontsize=7.5,
            color="#475569",
        )


def _logarithmic(axes: Any) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [tick * 10.0**power for power in powers for tick in TICKS if low <= tick * 10.0**power <= high]
    axes.yaxis.set_major_locator(FixedLocator(ticks[:: -(-len(ticks) // MOST_TICKS)] if ticks else [low, high]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _legend_of(figure: Figure, axes_of: Sequence[Any]) -> None:
    """Each label once, three beside each other."""
    found: dict[str, Any] = {}
    for axes in axes_of:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    longest = max(map(len, found), default=0)
    columns = 3 if longest <= SHORTER else 2
    figure.legend(found.values(), found.keys(), loc="outside upper left", ncols=columns, columnspacing=1.2)


def draw_shares(rows: Sequence[tuple[str, VarianceSplit]]) -> Figure:
    """Shares of the variance, a bar a row.

    Args:
        rows: label and split, at least one.
    """
    labels = [plain_label(label) for label, _ in rows]
    width = 5.2 + CHARACTER * max(map(len, labels))
    figure, axes = new_figure(width, 0.95 + 0.42 * len(rows))
    for place, (_, split) in enumerate(rows):
        left = 0.0
        for part, share in split.parts.items():
            axes.barh(place, share.value, left=left, height=0.66, color=PARTS[part], ec="white", lw=0.6)
            if share.value >= READABLE:
                colour = "white" if part in DARK else "#1e293b"
                middle = left + share.value / 2
                axes.text(middle, place, f"{share.value:.2f}", ha="center", va="center", fontsize=7.5, color=colour)
            left += share.value
    for part in rows[0][1].parts:
        axes.barh([0], [0], color=PARTS[part], label=part)
    axes.set_yticks(range(len(rows)), labels, parse_math=False)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.45, -0.55), xlabel="share of the variance")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=len(rows[0][1].parts), columnspacing=1.0, handlelength=1.2)
    return figure


def _layout(figure: Figure) -> Any:
    """The layout engine of a new figure, whose type tells nothing of its options."""
    return figure.get_layout_engine()


def draw_predictors(info: PredictorsInfo) -> Figure:
    """Spearman's correlations with their intervals, of all networks and within widths; the ceiling is a band."""
    rows = predictor_rows(info)
    width = 5.2 + CHARACTER * max(len(row.name) for row in rows)
    figure, panels = new_figure(width, 1.35 + ROW * len(rows), columns=2, sharex=True, sharey=True)
    _layout(figure).set(wspace=BETWEEN)
    scopes = (
        (info.overall, [row.overall for row in rows]),
        (info.within, [row.within for row in rows]),
    )
    for axes, (ranking, found) in zip(panels, scopes, strict=True):
        if ranking.ceiling is not None:
            _ceiling(axes, ranking.ceiling, negative=any(one is not None and one.rho < 0 for one in found))
        for place, one in enumerate(found):
            if one is not None:
                _correlation(axes, one, place)
        axes.axvline(0, **DASHED, zorder=1)
        axes.set_title(ranking.scope, fontsize=9, loc="left")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("Spearman's ρ")
    panels[0].set_yticks(range(len(rows)), [plain_label(row.name) for row in rows], parse_math=False)
    panels[0].set(xlim=(-1.03, 1.03), ylim=(len(rows) - 0.4, -0.6))
    stages = dict.fromkeys(row.stage for row in rows)
    _stages_legend(figure, list(stages), ceiling=info.overall.ceiling is not None)
    return figure


def _ceiling(axes: Any, ceiling: CeilingInfo, *, negative: bool) -> None:
    for side in (1, -1) if negative else (1,):
        ends = np.array([ceiling.ceiling_low, ceiling.ceiling_high]) * side
        axes.axvspan(ends.min(), ends.max(), color=GUESSING, alpha=0.28, lw=0, zorder=0)


def _correlation(axes: Any, one: PredictorInfo, place: int) -> None:
    colour, _ = STAGES[one.stage]
    axes.plot([one.low, one.high], [place, place], color=colour, lw=2.4, alpha=0.6, solid_capstyle="butt", zorder=3)
    axes.plot([one.rho], [place], "D", color=colour, ms=4.6, zorder=4)


def _stages_legend(figure: Figure, stages: Sequence[Stage], *, ceiling: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=STAGES[stage][0], marker="D", ms=4.6, lw=2.2, label=STAGES[stage][1]) for stage in stages
    ]
    if ceiling:
        handles.append(Patch(color=GUESSING, alpha=0.28, lw=0, label="ceiling"))
    figure.legend(handles=handles, loc="outside upper left", ncols=2, columnspacing=1.2)
