"""The part of a study's page on variants: what patterns, defences and sizes do, and what becomes of the claims.

Its figures; the numbers are those of :mod:`nni_privacy.report.effects_infos`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from nni_privacy.analysis.contrasts import Effect
from nni_privacy.analysis.rows import NO_DEFENCE
from nni_privacy.analysis.slopes import SIZES, Slope
from nni_privacy.analysis.statistics import grouped
from nni_privacy.cells.darts import CELL_TYPES
from nni_privacy.report.effects_infos import (
    DEFENCE,
    FORESTS,
    PATTERN,
    EffectsInfo,
    ForestInfo,
    budget_effects,
    effects_info,
    level_rows,
)
from nni_privacy.report.html import render_part
from nni_privacy.report.style import DASHED, drawing_style, new_figure, no_formula, plain_label, row_places, to_svg
from nni_privacy.runs.records import RunInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_forest", "effects_html"]

LISTED = 40
"""So many measurements without a partner are named; of more, the number is given."""

COLOURS: Mapping[str, str] = {PATTERN: "#c2410c", "placebo": "#0072b2", "size-matched": "#15803d", DEFENCE: "#7c3aed"}
OTHER, THIN = "#334155", "#94a3b8"
COLUMN, ROW, CHARACTER = 2.7, 0.27, 0.075
"""Width of a column, height of a row, width of a character of a row's label, in inches."""
LONGEST = 64
TICKS = 9
"""Up to so many values of a predictor each have a tick."""
FEW, STRONGEST, FAINTEST = 12, 0.55, 0.2
"""Up to so many architectures a line is that strong; the more there are, the fainter, so that the interval is seen."""
GROUP_GAP = 0.55
"""Free rows between two groups."""

PREDICTORS = {"network_cells": "cells N", "nodes": "nodes M", "budget": "fixed edges m"}


def effects_html(run: RunInfo) -> Markup:
    """The sections, only those that have something to show; empty if the study has nothing to compare."""
    info = effects_info(run)
    if info is None:
        return Markup()
    with drawing_style():
        return render_part(
            "effects.html.jinja",
            info=info,
            counts=Counter(row.verdict for row in info.verdicts.rows),
            defended=any(row.defence != NO_DEFENCE for row in info.verdicts.rows),
            no_defence=NO_DEFENCE,
            levels=level_rows(info),
            slope_names=slope_names,
            listed=LISTED,
            forests={name: _forests(info, name) for name in FORESTS},
            budgets=[
                to_svg(draw_budgets(title, found), prefix=f"budget{place}", label=f"Change of the AUC by m, {title}")
                for place, (title, found) in enumerate(budget_effects(info).items())
            ],
            ablations=_slopes(info, [slope for slope in info.ablations if slope.predictor in SIZES], "ablation"),
            guidelines=_slopes(info, info.guidelines, "guideline"),
        )


def _forests(info: EffectsInfo, name: str) -> list[tuple[str, Markup]]:
    """Titles and figures of a section."""
    found = []
    for place, forest in enumerate(FORESTS[name](info)):
        label = f"Changes with 95% intervals, {forest.title}"
        found.append((forest.title, to_svg(draw_forest(forest, info.metric), prefix=f"{name}{place}", label=label)))
    return found


def _slopes(info: EffectsInfo, slopes: Sequence[Slope], name: str) -> list[Markup]:
    several = len({slope.dataset for slope in slopes}) > 1
    figures = []
    for place, slope in enumerate(slopes):
        x, y = slope_names(slope) + (f", {slope.dataset}" if several else ""), info.metric(slope.metric)
        drawing = draw_slope(slope, x=x.replace(", ", "\n", 1), y=y)
        figures.append(to_svg(drawing, prefix=f"{name}{place}", label=f"{y} against {x}"))
    return figures


def slope_names(slope: Slope) -> str:
    """What a slope is on, in words."""
    where = f"{slope.cells} cell" if slope.cells in CELL_TYPES else slope.cells
    parts = (PREDICTORS.get(slope.predictor, slope.predictor), slope.pattern, where)
    return ", ".join(part for part in parts if part)


def draw_forest(info: ForestInfo, title: Callable[[str], str]) -> Figure:
    """Mean differences with 95% intervals; a thin line through the means of one architecture, in each group of rows.

    Args:
        info: what to draw.
        title: name of a metric to what it is called.
    """
    names = [plain_label(row.label, LONGEST) for row in info.rows]
    groups = [row.group for row in info.rows]
    places = row_places(groups, GROUP_GAP)
    width = 0.5 + CHARACTER * max(map(len, names)) + COLUMN * len(info.metrics)
    size = max(width, 5.5), 1.15 + ROW * (places[-1] + 1)
    figure, ((*panels,),) = new_figure(*size, columns=len(info.metrics), sharey=True, squeeze=False)
    for column, (axes, metric) in enumerate(zip(panels, info.metrics, strict=True)):
        effects = [row.effects[column] for row in info.rows]
        _architectures(axes, effects, places, groups)
        for row, effect, place in zip(info.rows, effects, places, strict=True):
            _dot(axes, effect, place, COLOURS.get(row.kind, OTHER))
        axes.axvline(0, **DASHED, zorder=1)
        axes.set_title(f"change of {title(metric)}", fontsize=9, loc="left", parse_math=False)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=6)
    panels[0].set_yticks(places, names, parse_math=False, fontsize=8.5)
    panels[0].set_ylim(places[-1] + 0.7, -0.7)
    _legend(figure, [row.kind for row in info.rows])
    return figure


def draw_budgets(title: str, effects: Mapping[int, Effect]) -> Figure:
    """Change of the AUC by the number m of fixed edges, rising."""
    figure, axes = new_figure(3.5, 2.3)
    budgets, means = list(effects), [effect.by_architecture for effect in effects.values()]
    for label in dict.fromkeys(label for effect in means for label in effect):
        axes.plot(budgets, [effect.get(label, np.nan) for effect in means], color=THIN, lw=0.7, alpha=0.6)
    for budget, effect in effects.items():
        if effect.estimate is not None:
            ends = [effect.estimate.low, effect.estimate.high]
            axes.plot([budget, budget], ends, color=COLOURS[PATTERN], lw=2.2, alpha=0.6, solid_capstyle="butt")
    axes.plot(budgets, [effect.mean for effect in effects.values()], "D-", color=COLOURS[PATTERN], ms=5, lw=1.2)
    axes.axhline(0, **DASHED, zorder=1)
    axes.xaxis.set_major_locator(_fixed(budgets))
    axes.set_xlim(budgets[0] - 0.4, budgets[-1] + 0.4)
    axes.set_xlabel("number m of fixed edges")
    axes.set_ylabel("change of the AUC")
    axes.set_title(plain_label(title, 48), fontsize=8.5, loc="left", parse_math=False)
    return figure


def draw_slope(slope: Slope, *, x: str, y: str) -> Figure:
    """A metric against a number: a thin line an architecture where it has several values, and the mean or the line."""
    figure, axes = new_figure(3.5, 2.3)
    lines = grouped((point.architecture, (point.x, point.y)) for point in slope.points)
    for line in lines.values():
        axes.plot(*zip(*line, strict=True), "o-", color=THIN, ms=3.2, lw=0.7, alpha=0.7)
    values = np.unique([point.x for point in slope.points])
    if max(map(len, lines.values())) > 1:
        means = [np.mean([point.y for point in slope.points if point.x == value]) for value in values]
        axes.plot(values, means, "D-", color=COLOURS[PATTERN], ms=5, lw=1.4)
    elif slope.estimate is not None:
        centre = [np.mean([getattr(point, name) for point in slope.points]) for name in ("x", "y")]
        ends = values[[0, -1]]
        axes.plot(ends, centre[1] + slope.estimate.value * (ends - centre[0]), color=COLOURS[PATTERN], lw=1.4)
    if len(values) <= TICKS:
        axes.xaxis.set_major_locator(_fixed(values))
    axes.set_xlabel(x, parse_math=False)
    axes.set_ylabel(plain_label(y), parse_math=False)
    return figure


def _fixed(values: Any) -> Any:
    from nni_privacy.report.ticks import RoomyFixedLocator

    return RoomyFixedLocator(values)


def _architectures(axes: Any, effects: Sequence[Effect | None], places: Sequence[float], groups: Sequence[str]) -> None:
    for group in dict.fromkeys(groups):
        lines = grouped(
            (label, (mean, place))
            for effect, place, other in zip(effects, places, groups, strict=True)
            if effect is not None and other == group
            for label, mean in effect.by_architecture.items()
        )
        alpha = min(STRONGEST, max(FAINTEST, STRONGEST * FEW / max(len(lines), 1)))
        for line in lines.values():
            axes.plot(*zip(*line, strict=True), "o-", color=THIN, ms=2.6, lw=0.6, alpha=alpha, zorder=2)


def _dot(axes: Any, effect: Effect | None, place: float, colour: str) -> None:
    if effect is None:
        return
    if effect.estimate is not None:
        ends = [effect.estimate.low, effect.estimate.high]
        axes.plot(ends, [place, place], color=colour, lw=3.2, alpha=0.75, solid_capstyle="butt", zorder=3)
    filling = "white" if effect.estimate is None else colour
    axes.plot([effect.mean], [place], "D", color=colour, ms=5.2, zorder=4, mfc=filling)


def _legend(figure: Figure, kinds: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS.get(kind, OTHER), marker="D", ms=5, lw=2.4, label=no_formula(plain_label(kind)))
        for kind in dict.fromkeys(kinds)
    ]
    handles.append(Line2D([], [], color=THIN, marker="o", ms=3, lw=0.8, label="one architecture"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), fontsize=8.5)
