"""The part of a study's page on loss contours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nni_privacy.report.contour_infos import RADII, STEEPEST, ContourRow, contour_rows
from nni_privacy.report.run import RunInfo
from nni_privacy.report.study_figures import plain_label
from nni_privacy.report.svg import drawing_style, to_svg
from nni_privacy.report.text import NOTHING, escape_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["contours_html", "draw_contours"]

COLUMNS = 4
"""Panels side by side."""
TOO_HIGH = "#cbd5e1"
"""Where losses are above the last line."""
BEYOND = 100.0
"""How far above the last line the loss is followed: lines lie between points of the grid as the logarithm goes."""
TICKS = 3
"""Every so many lines the scale has a number."""


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
        "filter moves by its own norm times the axis; biases and normalisation stay. Lines (logarithmic) and axes are "
        f"the same in all panels of a row; losses above {STEEPEST:g} are grey, and axes end where there is nothing "
        "else. The directions are the same, too, in every layer that the networks of a row share.</p>"
    )
    title = "Loss contours (Figures 12 and 27)"
    return f'<section id="contours">\n<h2>{title}</h2>\n{note}{"".join(parts)}{_table(rows)}\n</section>\n'


def draw_contours(row: ContourRow) -> Figure:
    """A panel for each variant, on common axes and with common lines."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(row.contours))
    lines = -(-len(row.contours) // columns)
    figure = Figure(figsize=(2.5 * columns + 0.6, 2.5 * lines + 0.4), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    levels = np.log10(row.levels)
    colours = colormaps["viridis"].with_extremes(over=TOO_HIGH)
    for axes, (name, info) in zip(panels, row.contours.items(), strict=False):
        heights = np.log10(np.clip(np.nan_to_num(info.losses, nan=np.inf), row.levels[0], BEYOND * row.levels[-1]))
        filled = axes.contourf(info.axis, info.axis, heights, levels=levels, cmap=colours, extend="max")
        axes.contour(info.axis, info.axis, heights, levels=levels, colors="white", linewidths=0.4, linestyles="solid")
        axes.plot(0, 0, "+", color="#c2410c", ms=8, mew=1.6)
        axes.set_title(plain_label(name), fontsize=9, loc="left", parse_math=False)
        axes.set(aspect="equal", xlim=(-row.reach, row.reach), ylim=(-row.reach, row.reach))
        axes.locator_params(nbins=5)
        axes.grid(visible=False)
    for axes in panels[len(row.contours) :]:
        axes.remove()
    bar = figure.colorbar(filled, ax=panels[: len(row.contours)].tolist(), shrink=0.8)
    bar.set_ticks(list(levels[::TICKS]), labels=[f"{10**level:.2g}" for level in levels[::TICKS]])
    bar.set_label("loss", fontsize=9)
    figure.supxlabel("first direction", fontsize=9)
    figure.supylabel("second direction", fontsize=9)
    figure.suptitle(plain_label(row.title, 90), fontsize=9.5, x=0.01, ha="left", parse_math=False)
    return figure


def _table(rows: Sequence[ContourRow]) -> str:
    texts, numbers = ["Architecture", "Variant"], ["Loss", *(f"Mean rise within {radius:g}" for radius in RADII)]
    body = [
        _cells("td", [row.title, name], [f"{info.loss:.4f}", *(_number(info.rise(radius)) for radius in RADII)])
        for row in rows
        for name, info in row.contours.items()
    ]
    head = _cells("th", texts, numbers)
    return (
        f'<div class="scroll"><table class="compact"><thead>{head}</thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def _cells(tag: str, texts: Sequence[str], numbers: Sequence[str]) -> str:
    """A row: texts as they are, and numbers as HTML."""
    cells = [f'<{tag} class="text">{escape_text(text)}</{tag}>' for text in texts]
    cells += [f'<{tag} class="number">{number}</{tag}>' for number in numbers]
    return f"<tr>{''.join(cells)}</tr>"


def _number(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:+.3f}" if np.isfinite(value) else "not finite"
