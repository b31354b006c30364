"""Draws the infos of :mod:`nni_privacy.report.infos`: accuracy against AUC, progress of the search, ROC curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nni_privacy.report.infos import HypervolumeInfo, ProgressInfo, RocInfo, TradeoffInfo
from nni_privacy.report.run import TrialInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_hypervolume", "draw_progress", "draw_roc", "draw_tradeoff"]

FRONT, OTHER, GUESSING, FAILED = "#c2410c", "#64748b", "#94a3b8", "#b91c1c"
ACCURACY, AUC = "#0072b2", "#c2410c"
CURVES = ("#c2410c", "#0072b2", "#15803d", "#7c3aed", "#a16207", "#db2777", "#0e7490", "#334155")
NUMBER_WIDTH, NUMBER_HEIGHT = 28.0, 10.0
"""Room that the number of a trial takes, in points."""


def draw_tradeoff(info: TradeoffInfo) -> Figure:
    """Accuracy (to the right is better) against AUC (lower is better), with intervals and the Pareto front."""
    figure, axes = _figure(6.4, 4.3)
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

    figure, (upper, lower) = _figure(6.4, 4.3, rows=2)
    upper.plot(info.sequence, info.accuracy, "o", ms=4.5, color=ACCURACY, label="trial")
    upper.step(info.sequence, info.best_accuracy, where="post", color=ACCURACY, lw=1.2, label="best so far")
    _bars(lower, info.sequence, info.mia_auc, info.low, info.high, AUC)
    lower.plot(info.sequence, info.mia_auc, "D", ms=4, color=AUC, label="trial, with 95% interval")
    lower.step(info.sequence, info.lowest_auc, where="post", color=AUC, lw=1.2, label="lowest so far")
    _guessing_line(lower)
    for axes in (upper, lower):
        if info.failed:
            line = {
                "transform": axes.get_xaxis_transform(),
                "clip_on": False,
                "ls": "",
                "marker": "x",
                "ms": 6,
                "mew": 1.8,
            }
            axes.plot(info.failed, [0] * len(info.failed), color=FAILED, label="failed", **line)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=4, borderaxespad=0.1, handletextpad=0.4)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    upper.set(ylabel="test accuracy")
    lower.set(ylabel="AUC of the attack", xlabel="trial, in the order of the search")
    return figure


def draw_hypervolume(info: HypervolumeInfo) -> Figure:
    """The hypervolume after each trial."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(6.4, 2.3)
    axes.step(info.sequence, info.hypervolume, where="post", color=FRONT, lw=1.4)
    axes.plot(info.sequence[-1:], info.hypervolume[-1:], "D", ms=5, color=FRONT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial, in the order of the search", ylabel="hypervolume")
    return figure


def draw_roc(info: RocInfo) -> Figure:
    """ROC curves on two logarithmic axes, down to the lowest false-positive rate that the records can show."""
    figure, axes = _figure(6.4, 4.9)
    floor = 1 / max(info.non_members, 2)
    bottom = min(floor, 1 / max(info.members, 2)) / 1.5
    diagonal = np.geomspace(min(floor, bottom), 1, 50)
    axes.plot(diagonal, diagonal, color=GUESSING, lw=1.1, ls=(0, (4, 3)), label="guessing (AUC 0.5)")
    axes.fill_between(
        info.grid,
        np.maximum(info.band_low, bottom / 2),
        np.maximum(info.band_high, bottom / 2),
        color=CURVES[0],
        alpha=0.16,
        lw=0,
        step="post",
        label=f"95% bootstrap band, {info.attacks[0]}".replace("$", r"\$"),
    )
    for index, (attack, curve) in enumerate(zip(info.attacks, info.curves, strict=True)):
        clipped = np.maximum(curve.fpr, floor / 10), np.maximum(curve.tpr, bottom / 10)
        label = f"{attack}, AUC {curve.auc:.3f}".replace("$", r"\$")
        width = 1.8 if index == 0 else 1.2
        axes.plot(*clipped, drawstyle="steps-post", color=CURVES[index % len(CURVES)], lw=width, label=label)
    axes.set(xscale="log", yscale="log", xlim=(floor, 1.05), ylim=(bottom, 1.15))
    axes.set(xlabel="false-positive rate (log)", ylabel="true-positive rate (log)")
    axes.legend(loc="lower right")
    return figure


def _figure(width: float, height: float, rows: int = 1) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, 1, sharex=True)


def _points(axes: Any, trials: Sequence[TrialInfo], colour: str, marker: str, label: str) -> None:
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
        axes.axhline(0.5, color=GUESSING, lw=1.1, ls=(0, (4, 3)), label="guessing (AUC 0.5)", zorder=1)


def _number_front(figure: Figure, axes: Any, front: Sequence[TrialInfo]) -> None:
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
