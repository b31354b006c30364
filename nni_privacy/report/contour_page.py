"""The part of a study's page on loss contours.

Those of an architecture and its variants stand side by side, on common axes and levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from nni_privacy.errors import AuditError
from nni_privacy.files import UNREADABLE
from nni_privacy.report.html import render_part
from nni_privacy.report.style import drawing_style, new_figure, plain_label, to_svg
from nni_privacy.runs.contours import PREFIX, ContourInfo
from nni_privacy.runs.records import RunInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RADII", "ContourRow", "contour_rows", "contours_html", "draw_contours", "read_contour"]

_UNREADABLE: tuple[type[Exception], ...] = (AuditError, *UNREADABLE)

COLUMNS = 4
"""Panels side by side."""
TOO_HIGH = "#cbd5e1"
"""Where losses are above the last line."""
BEYOND = 100.0
"""How far above the last line the loss is followed: lines lie between points of the grid as the logarithm goes."""
TICKS = 3
"""Every so many lines the scale has a number."""

RADII = (0.25, 0.5)
"""How far from the weights, in norms of the filters, the mean rise of the loss is given."""
LEVELS = 12
"""Lines between the lowest and the highest loss that is drawn."""
STEEPEST = 10.0
"""The highest loss that is drawn; networks that guess among ten classes lose 2.3."""
LOWEST = 1e-4
"""Levels are drawn on a logarithmic scale from here."""


def contours_html(run: RunInfo) -> Markup:
    """The section; empty if no trial has a contour."""
    rows = contour_rows(run)
    if not rows:
        return Markup()
    with drawing_style():
        figures = [
            to_svg(draw_contours(row), prefix=f"contour{number}", label=f"Loss contours, {row.title}")
            for number, row in enumerate(rows)
        ]
    return render_part("contours.html.jinja", rows=rows, figures=figures, radii=RADII, steepest=STEEPEST)


def draw_contours(row: ContourRow) -> Figure:
    """A panel for each variant, on common axes and with common lines."""
    from matplotlib import colormaps

    columns = min(COLUMNS, len(row.contours))
    lines = -(-len(row.contours) // columns)
    size, shared = (2.5 * columns + 0.6, 2.5 * lines + 0.4), {"sharex": True, "sharey": True, "squeeze": False}
    figure, grid = new_figure(*size, lines, columns, **shared)
    panels = grid.ravel()
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


@dataclass(frozen=True, eq=False)
class ContourRow:
    """The contours of one architecture, seed and data set.

    Attributes:
        title: what they have in common.
        contours: variant (with its defence, if there are several) to contour, the original first.
        levels: ``(l,)`` losses at which lines are drawn, the same for all of them, ascending.
        reach: how far from the weights the common axes are drawn: beyond it all losses are above the last level.
    """

    title: str
    contours: Mapping[str, ContourInfo]
    levels: tuple[float, ...]
    reach: float


def contour_rows(run: RunInfo) -> list[ContourRow]:
    """A row for each architecture, size, data set and seed that has a contour."""
    trials = [trial for trial in run.succeeded if trial.factors]
    several = len({trial.factors.get("defence") for trial in trials}) > 1
    parts = ("variant", "defence") if several else ("variant",)
    found: dict[tuple[str, ...], dict[str, ContourInfo]] = {}
    for trial in trials:
        info = read_contour(run.directory, trial.trial)
        if info is not None:
            shared = [trial.factors.get(name) for name in ("architecture", "size", "dataset")]
            texts = ["" if value is None else str(value) for value in shared]
            row = found.setdefault((*texts, f"seed {trial.factors.get('seed')}"), {})
            row[", ".join(str(trial.factors.get(part)) for part in parts)] = info
    rows = []
    for key, by_name in sorted(found.items(), key=lambda item: item[0]):
        contours = dict(sorted(by_name.items(), key=lambda item: (not item[0].startswith("original"), item[0])))
        rows.append(ContourRow(", ".join(filter(None, key)), contours, _levels(contours), _reach(contours)))
    return rows


def read_contour(directory: Path, trial: str) -> ContourInfo | None:
    """The contour in ``scores/<trial>.npz`` of a run directory; None if there is none, or the file is corrupt."""
    name = f"{trial}.npz"
    if Path(name).name != name:  # a trial's name is never a way out of the folder
        return None
    try:
        with np.load(directory / "scores" / name, allow_pickle=False) as file:
            return ContourInfo.from_arrays({key: file[key] for key in file.files if key.startswith(PREFIX)})
    except _UNREADABLE:
        return None


def _levels(contours: Mapping[str, ContourInfo]) -> tuple[float, ...]:
    values = np.concatenate([info.losses.ravel() for info in contours.values()])
    values = values[np.isfinite(values)]
    ends = (values.min(), values.max()) if len(values) else (1.0, 1.0)
    low, high = (float(np.clip(end, LOWEST, STEEPEST)) for end in ends)
    if low >= high:
        low, high = low / 2, low * 2
    return tuple(np.geomspace(low, high, LEVELS).tolist())


def _reach(contours: Mapping[str, ContourInfo]) -> float:
    """One point of the grid beyond the last one that is not too high to be drawn; all of it if there is none."""
    span = max(float(info.axis.max()) for info in contours.values())
    ends = []
    for info in contours.values():
        alpha, beta = np.meshgrid(info.axis, info.axis)
        drawn = np.maximum(np.abs(alpha), np.abs(beta))[info.losses <= STEEPEST]
        if len(drawn):
            ends.append(float(drawn.max() + info.axis[1] - info.axis[0]))
    return min([span, max(ends, default=span)])
