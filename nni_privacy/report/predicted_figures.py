"""Draws the infos of :mod:`nni_privacy.report.predicted_infos`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nni_privacy.report.predicted_infos import Floats, HistogramInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_histogram", "draw_predicted_progress"]

COLOURS = ("#64748b", "#c2410c")


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
