"""Draws the infos of :mod:`nni_privacy.report.audit_infos`: ROC curves, histograms, and bars inside of tables."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nni_privacy.report.audit_infos import HistogramInfo
from nni_privacy.report.figures import CURVES, draw_roc
from nni_privacy.report.infos import RocInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_attack_rocs", "draw_histogram", "interval_bar"]

MEMBERS, NONMEMBERS = "#c2410c", "#0072b2"
BAR_WIDTH, BAR_HEIGHT = 150, 14
MORE_DASHES = ((0, (5, 2)), (0, (1, 1.2)))
"""Lines of the attacks for which there is no colour left."""


def draw_attack_rocs(info: RocInfo) -> Figure:
    """The ROC curves of all attacks; when the colours begin again, the lines become dashed.

    Attacks may have been asked about more or fewer records: the axes reach down to what the most of them can show.
    """
    members, non_members = (max(getattr(curve, name) for curve in info.curves) for name in ("members", "nonmembers"))
    figure = draw_roc(replace(info, members=members, non_members=non_members))
    axes = figure.axes[0]
    for index, line in enumerate(axes.get_lines()[1:]):  # the first is the diagonal
        if index >= len(CURVES):
            line.set_linestyle(MORE_DASHES[(index // len(CURVES) - 1) % len(MORE_DASHES)])
    frame = {"frameon": True, "framealpha": 0.9, "edgecolor": "none", "borderaxespad": 0.2}
    axes.legend(loc="lower right", fontsize=8.5 if len(info.attacks) <= 6 else 7.2, **frame).set_zorder(5)
    return figure


def draw_histogram(info: HistogramInfo) -> Figure:
    """Shares of the members (filled) and of the non-members (line) by score."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.15, 2.3), layout="constrained")
    axes = figure.subplots()
    edges = info.counts.edges
    axes.stairs(info.members, edges, fill=True, color=MEMBERS, alpha=0.4, lw=0, label="members")
    axes.stairs(info.nonmembers, edges, color=NONMEMBERS, lw=1.4, label="non-members")
    top = max(float(info.members.max()), float(info.nonmembers.max()))
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, top * 1.05))
    axes.set(xlabel="score (higher = more likely a member)", ylabel="share")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=2, borderaxespad=0.1, handletextpad=0.5)
    axes.locator_params(nbins=5)
    return figure


def interval_bar(low: float, value: float, high: float, *, start: float, stop: float) -> str:
    """A small inline SVG: an interval with its value, and a dashed tick at 0.5 (guessing).

    Args:
        low: lower end, within ``start`` and ``stop``.
        value: the number itself.
        high: upper end.
        start: what the left end of the bar stands for, below 0.5.
        stop: what the right end stands for, above 0.5.
    """
    ends = np.array([low, value, high, 0.5])
    left, dot, right, half = 4 + (BAR_WIDTH - 8) * (ends - start) / (stop - start)
    middle = BAR_HEIGHT / 2
    return (
        f'<svg class="bar" width="{BAR_WIDTH}" height="{BAR_HEIGHT}" aria-hidden="true">'
        f'<line x1="0" x2="{BAR_WIDTH}" y1="{middle}" y2="{middle}" stroke="#e2e8f0"/>'
        f'<line x1="{half:.1f}" x2="{half:.1f}" y1="0" y2="{BAR_HEIGHT}" stroke="#64748b" stroke-dasharray="2 2"/>'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}" stroke="{MEMBERS}" stroke-width="3" '
        f'stroke-opacity="0.45"/><circle cx="{dot:.1f}" cy="{middle}" r="3.5" fill="{MEMBERS}"/></svg>'
    )
