"""Drawings of cells that :mod:`nni_privacy.report.layout` has laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from nni_privacy.cells.genotypes import AnyCell, cell_title, cells_of
from nni_privacy.cells.operations import NO_CONNECTION
from nni_privacy.cells.spaces import AnyGenotype, space_of
from nni_privacy.report.layout import (
    LABEL_HEIGHT,
    LABEL_WIDTH,
    NODE_HEIGHT,
    NODE_WIDTH,
    CellDrawing,
    DrawnEdge,
    DrawnNode,
    Point,
    cell_graph,
    draw_info,
)
from nni_privacy.report.style import to_svg
from nni_privacy.runs.records import FixedEdges

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.path import Path

__all__ = ["KIND_COLOURS", "CellFigure", "cell_figure", "draw_cell", "draw_cell_legend", "reading"]

KIND_COLOURS = {"convolution": "#0072b2", "pooling": "#d55e00", "skip": "#4b5563"}
"""Okabe and Ito's blue and vermilion, and grey: told apart by colour-blind readers too."""
FIXED_WIDTH, FREE_WIDTH = 3.2, 1.3
MARGIN = 0.12
_NODE_FILL = {"input": "#e8f5e9", "intermediate": "#eef2f7", "output": "#fff4d6"}
_NODE_LINE = {"input": "#2e7d32", "intermediate": "#475569", "output": "#b7791f"}


@dataclass(frozen=True)
class CellFigure:
    """A cell as a figure.

    Attributes:
        name: what the cell is called.
        fixed: number of drawn edges that the pattern fixed.
        edges: number of drawn edges.
        svg: the drawing.
    """

    name: str
    fixed: int
    edges: int
    svg: Markup


def cell_figure(cell: AnyCell, name: str, fixed: FixedEdges, *, prefix: str, label: str) -> CellFigure:
    """The figure of one cell, called ``name`` in its genotype; to be called inside ``drawing_style``."""
    drawing = draw_info(cell, name, fixed.get(name, ()))
    svg = to_svg(draw_cell(drawing), prefix=f"{prefix}{name[0]}", label=f"{cell_title(name)}{label}")
    return CellFigure(cell_title(name), sum(edge.fixed for edge in drawing.edges), len(drawing.edges), svg)


def reading(genotypes: Sequence[AnyGenotype], *, prefix: str = "legend") -> dict[str, Any]:
    """What a reader of drawings of these genotypes needs; to be called inside ``drawing_style``.

    Returns:
        ``cells``, each kind once: whether the output concatenates the nodes, and where it does not, its number and
        whether edges may be ``none``; and the ``legend``.
    """
    kinds: dict[tuple[bool, int, bool], None] = {}
    for genotype in genotypes:
        for graph in map(cell_graph, cells_of(genotype).values()):
            has_none = NO_CONNECTION in space_of(genotype).operations
            kinds[(True, 0, False) if graph.concatenated else (False, len(graph.labels) - 1, has_none)] = None
    concatenation = any(concatenates for concatenates, _, _ in kinds)
    legend = to_svg(draw_cell_legend(concatenation), prefix=prefix, label="Legend of the cell drawings")
    return {"cells": list(kinds), "legend": legend}


def draw_cell(drawing: CellDrawing) -> Figure:
    """One cell at its natural size (the layout's inches)."""
    from matplotlib.figure import Figure

    width, height = drawing.width + 2 * MARGIN, drawing.height + 2 * MARGIN
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-MARGIN, width - MARGIN), ylim=(-MARGIN, height - MARGIN))
    axes.set_axis_off()
    for path in drawing.outputs:
        _line(axes, path, colour="#a8b3c2", width=0.9, order=1, style=(0, (3, 2)))
    for edge in sorted(drawing.edges, key=lambda edge: edge.fixed):
        width, order = (FIXED_WIDTH, 3) if edge.fixed else (FREE_WIDTH, 2)
        _line(axes, edge.path, colour=KIND_COLOURS[edge.kind], width=width, order=order)
    for edge in drawing.edges:
        _label(axes, edge)
    for node in drawing.nodes:
        _node(axes, node)
    return figure


def draw_cell_legend(concatenation: bool = True) -> Figure:
    """The legend of all cells; ``concatenation``: whether their outputs concatenate nodes."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    handles = [
        *(Line2D([], [], color=colour, lw=1.8, label=kind) for kind, colour in KIND_COLOURS.items()),
        Line2D([], [], color="#1e293b", lw=FIXED_WIDTH, marker="D", ms=5.5, label="edge fixed by the pattern"),
        Line2D([], [], color="#1e293b", lw=FREE_WIDTH, label="edge found by the search"),
    ]
    if concatenation:
        handles.append(Line2D([], [], color="#a8b3c2", lw=1.2, ls=(0, (3, 2)), label="concatenation"))
    figure = Figure(figsize=(8.6, 0.32))
    figure.legend(handles=handles, ncol=len(handles), loc="center", fontsize=8.5, handlelength=2.6, columnspacing=1.6)
    return figure


def _line(axes: Any, points: Sequence[Point], *, colour: str, width: float, order: int, style: Any = "solid") -> None:
    from matplotlib.patches import FancyArrowPatch

    arrow: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 7 + 1.2 * width, "shrinkA": 0, "shrinkB": 0}
    line = {"color": colour, "linewidth": width, "linestyle": style, "capstyle": "butt", "joinstyle": "miter"}
    axes.add_patch(FancyArrowPatch(path=_smooth(points), zorder=order, **arrow, **line))


def _smooth(points: Sequence[Point]) -> Path:
    """Straight within a column (between the 2nd and 3rd point, and so on), S-shaped between columns."""
    from matplotlib.path import Path

    vertices, codes = [points[0]], [Path.MOVETO]
    for index in range(0, len(points) - 1, 2):
        (x0, y0), (x1, y1) = points[index], points[index + 1]
        middle = (x0 + x1) / 2
        vertices += [(middle, y0), (middle, y1), (x1, y1)]
        codes += [Path.CURVE4] * 3
        if index + 2 < len(points):
            vertices.append(points[index + 2])
            codes.append(Path.LINETO)
    return Path(vertices, codes)


def _box(axes: Any, x: float, y: float, width: float, height: float, *, rounding: float, **style: Any) -> None:
    """A box with round corners around a point."""
    from matplotlib.patches import FancyBboxPatch

    shape = f"round,pad=0,rounding_size={rounding}"
    axes.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, boxstyle=shape, **style))


def _label(axes: Any, edge: DrawnEdge) -> None:
    x, y, colour = edge.label_x, edge.label_y, KIND_COLOURS[edge.kind]
    width, inset = 1.6 if edge.fixed else 0.6, 0.03
    outline = {"facecolor": "white", "edgecolor": colour, "linewidth": width, "zorder": 4}
    _box(axes, x, y, LABEL_WIDTH - 2 * inset, LABEL_HEIGHT, rounding=0.07, **outline)
    if edge.fixed:
        axes.plot(x - LABEL_WIDTH / 2 + inset + 0.11, y, marker="D", ms=4.6, color=colour, zorder=5)
    weight = "bold" if edge.fixed else "normal"
    style = {"ha": "center", "va": "center_baseline", "fontsize": 8, "color": colour, "zorder": 5}
    axes.text(x + (0.07 if edge.fixed else 0), y, edge.label, weight=weight, **style)


def _node(axes: Any, node: DrawnNode) -> None:
    outline = {"facecolor": _NODE_FILL[node.role], "edgecolor": _NODE_LINE[node.role], "linewidth": 1.1, "zorder": 6}
    _box(axes, node.x, node.y, NODE_WIDTH, NODE_HEIGHT, rounding=0.09, **outline)
    text = f"${node.label}$" if node.role != "intermediate" else node.label
    axes.text(node.x, node.y, text, ha="center", va="center", fontsize=10, zorder=7)
