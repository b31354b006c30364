"""Draws the infos of :mod:`nni_privacy.report.extraction_infos`, and predicted effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nni_privacy.cells import DARTS_OPERATIONS
from nni_privacy.patterns.effects import Effect
from nni_privacy.patterns.evidence import EdgeFinding
from nni_privacy.report.extraction_infos import GROUPS, DistributionInfo, HeatMapInfo, TopologyInfo
from nni_privacy.report.layout import operation_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_distribution", "draw_effects", "draw_heat_map", "draw_stability", "draw_topology"]

GROUP_COLOURS = ("#0072b2", "#cbd5e1", "#c2410c")
LINES = (("#c2410c", "D"), ("#a8b3c2", "o"), ("#15803d", "^"), ("#0072b2", "s"))


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, sharey=columns > 1)


def _bars(axes: Any, shares: Any, labels: Sequence[str]) -> None:
    places = np.arange(shares.shape[1])
    for row, (name, colour) in enumerate(zip(GROUPS, GROUP_COLOURS, strict=True)):
        axes.bar(places + (row - 1) * 0.27, shares[row], width=0.25, color=colour, label=name)
    axes.set_xticks(places, labels)


def draw_distribution(info: DistributionInfo) -> Figure:
    """Shares of the operations in the three groups."""
    figure, axes = _figure(5.9, 2.7)
    _bars(axes, info.shares, [operation_label(operation).replace(" ", "\n", 1) for operation in DARTS_OPERATIONS])
    axes.set(ylabel=f"share of the edges, {info.cell} cell")
    axes.tick_params(axis="x", labelsize=8)
    axes.legend(ncol=3, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def draw_topology(info: TopologyInfo) -> Figure:
    """Numbers of convolutions from inputs (left) and from intermediate nodes (right) in the three groups."""
    figure, (left, right) = _figure(5.9, 2.5, columns=2)
    for axes, shares, where in ((left, info.direct, "from an input"), (right, info.inner, "from another node")):
        reach = max(int(np.flatnonzero(shares.any(axis=0)).max(initial=0)), 1) + 1
        _bars(axes, shares[:, :reach], [str(number) for number in range(reach)])
        axes.set(xlabel=f"convolutions {where}")
    left.set(ylabel=f"share, {info.cell} cell")
    left.legend(ncol=3, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def draw_heat_map(info: HeatMapInfo, *, title: str) -> Figure:
    """Importance by edge: blue mitigates, red promotes the attack; a dot marks supported edges."""
    figure, axes = _figure(5.2, 0.8 + 0.235 * len(info.places))
    reach = float(np.nanmax(np.abs(info.values))) if np.isfinite(info.values).any() else 1.0
    image = axes.imshow(info.values * 1000, cmap="RdBu", vmin=-reach * 1000, vmax=reach * 1000, aspect="auto")
    axes.set_xticks(range(len(DARTS_OPERATIONS)), [operation_label(o).replace(" ", "\n", 1) for o in DARTS_OPERATIONS])
    axes.set_yticks(range(len(info.places)), [f"{source} → {target}" for source, target in info.places])
    axes.tick_params(length=0, labelsize=8)
    axes.grid(False)
    axes.set_title(title, fontsize=9.5, loc="left")
    rows, columns = np.nonzero(info.supported)
    axes.plot(columns, rows, "o", ms=5, color="#111827", mec="white", mew=0.8)
    figure.colorbar(image, ax=axes, label="importance, thousandths of AUC", shrink=0.9)
    return figure


def draw_stability(findings: Sequence[EdgeFinding]) -> Figure:
    """In how many resamples Algorithm 1 took each edge: filled where the edge is supported."""
    figure, axes = _figure(5.2, 0.75 + 0.235 * max(len(findings), 1))
    places = np.arange(len(findings))[::-1]
    colours = ["#0072b2" if finding.supported else "#cbd5e1" for finding in findings]
    axes.barh(places, [finding.stability for finding in findings], color=colours, height=0.68)
    labels = [f"{f.edge.source} → {f.edge.target}  {operation_label(f.edge.op)}" for f in findings]
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.set(xlim=(0, 1), xlabel="share of the resamples in which Algorithm 1 took the edge")
    axes.grid(axis="y", visible=False)
    return figure


def draw_effects(effects: Mapping[str, Sequence[Effect]]) -> Figure:
    """Predicted change of the AUC by the number m of fixed edges, with 95% intervals, one line a pattern."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(5.9, 3.3)
    axes.axhline(0, color="#94a3b8", lw=1.1, ls=(0, (4, 3)))
    for number, (name, line) in enumerate(effects.items()):
        colour, marker = LINES[number % len(LINES)]
        m = np.arange(1, len(line) + 1) + 0.09 * (number - (len(effects) - 1) / 2)
        axes.vlines(m, [e.low for e in line], [e.high for e in line], color=colour, lw=1.2, alpha=0.6)
        axes.plot(m, [e.change for e in line], marker=marker, ms=4.5, lw=1.2, color=colour, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="number m of fixed edges", ylabel="predicted change of the AUC")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=2)
    return figure
