"""The part of a study's page on loss contours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nni_privacy.report.contour_infos import RADII, ContourRow, contour_rows
from nni_privacy.report.run import RunInfo
from nni_privacy.report.study_figures import plain_label
from nni_privacy.report.svg import drawing_style, to_svg
from nni_privacy.report.text import escape_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["contours_html", "draw_contours"]

COLUMNS = 4
"""Panels side by side."""


def contours_html(run: RunInfo) -> str:
    """The section; empty if no trial has a contour."""
    rows = contour_rows(run)
    if not rows:
        return ""
    parts = []
    with drawing_style():
        for number, row in enumerate(rows):
            svg = to_svg(draw_contours(row), prefix=f"contour{number}", label=f"Loss contours, {row.title}")
            parts.append(f'<figure class="whole"><div>{svg}</div></figure>')
    note = (
        "<p>Mean training loss around the trained weights (the cross), along two random directions in which each "
        "filter moves by its own norm times the axis; biases and normalisation stay. Axes and lines (logarithmic, up "
        "to a loss of 10) are the same in all panels of a row. The directions are others in another architecture.</p>"
    )
    title = "Loss contours (Figures 12 and 27)"
    return f'<section id="contours">\n<h2>{title}</h2>\n{note}{"".join(parts)}{_table(rows)}\n</section>\n'


def draw_contours(row: ContourRow) -> Figure:
    """A panel for each variant, on common axes and with common lines."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(row.contours))
    lines = -(-len(row.contours) // columns)
    figure = Figure(figsize=(2.5 * columns + 0.6, 2.5 * lines + 0.4), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    norm = LogNorm(row.levels[0], row.levels[-1])
    for axes, (name, info) in zip(panels, row.contours.items(), strict=False):
        losses = np.clip(np.nan_to_num(info.losses, nan=np.inf), row.levels[0], row.levels[-1])
        filled = axes.contourf(info.axis, info.axis, losses, levels=row.levels, norm=norm, cmap="viridis")
        axes.contour(info.axis, info.axis, losses, levels=row.levels, colors="white", linewidths=0.4)
        axes.plot(0, 0, "+", color="#c2410c", ms=8, mew=1.6)
        axes.set_title(plain_label(name), fontsize=9, loc="left", parse_math=False)
        axes.set_aspect("equal")
        axes.grid(visible=False)
    for axes in panels[len(row.contours) :]:
        axes.remove()
    bar = figure.colorbar(filled, ax=panels[: len(row.contours)].tolist(), shrink=0.8)
    ticks = row.levels[:: max(1, len(row.levels) // 4)]
    bar.set_ticks(list(ticks), labels=[f"{level:.2g}" for level in ticks])
    bar.ax.minorticks_off()
    bar.set_label("loss", fontsize=9)
    figure.suptitle(plain_label(row.title, 90), fontsize=9.5, x=0.01, ha="left", parse_math=False)
    return figure


def _table(rows: Sequence[ContourRow]) -> str:
    heads = ["Architecture", "Variant", "Loss", *(f"Mean rise within {radius:g}" for radius in RADII)]
    body = [
        [
            escape_text(row.title),
            escape_text(name),
            f"{info.loss:.4f}",
            *(_number(info.rise(radius)) for radius in RADII),
        ]
        for row in rows
        for name, info in row.contours.items()
    ]
    cells = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in body)
    return (
        f"<table><thead><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr></thead><tbody>{cells}</tbody></table>"
    )


def _number(value: float) -> str:
    return f"{value:+.3f}" if np.isfinite(value) else "not finite"
