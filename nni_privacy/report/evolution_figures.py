"""Draws the panels of :mod:`nni_privacy.report.evolution`: one small line chart each, all of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nni_privacy.report.evolution import Panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_panel"]

COLOURS = ("#0072b2", "#d55e00", "#15803d", "#7c3aed")
WIDTH, HEIGHT = 4.0, 2.0
MARKED = 60
"""Up to so many epochs, each is marked by a point."""


def draw_panel(panel: Panel, epochs: Sequence[int]) -> Figure:
    """One panel: its lines over the epochs.

    Args:
        panel: what to draw.
        epochs: numbers of the epochs.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    style: dict[str, Any] = {"lw": 1.3, "marker": "o" if len(epochs) <= MARKED else "", "ms": 2.4}
    for index, (name, values) in enumerate(panel.lines.items()):
        # A whole number holds for its epoch as it is: between two of them there is nothing to read off.
        drawstyle = "steps-mid" if panel.whole else "default"
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(epochs, values, color=colour, label=name.replace("$", r"\$"), drawstyle=drawstyle, **style)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(integer=panel.whole, nbins=5, min_n_ticks=1))
    axes.ticklabel_format(axis="y", useOffset=False)
    if panel.whole:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set(xlabel="epoch")
    if len(panel.lines) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=len(panel.lines), borderaxespad=0.1)
    else:
        axes.set_title(panel.title.replace("$", r"\$"), loc="left", fontsize=9, pad=5)
    return figure
