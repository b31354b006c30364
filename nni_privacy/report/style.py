"""Style of the figures: colours, labels, and SVG text that can stand beside others in one HTML page.

Never touches pyplot's global state.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from nni_privacy.report.html import render_part

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ACCURACY", "AUC", "CURVES", "DASHED", "FAILED", "FRONT", "GUESSING", "OTHER", "drawing_style"]
__all__ += ["new_figure", "no_formula", "plain_label", "row_places", "to_svg"]

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#64748b",
    "axes.grid": True,
    "axes.labelcolor": "#1e293b",
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.color": "#e2e8f0",
    "grid.linewidth": 0.7,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "path.simplify": True,
    "svg.fonttype": "none",  # text stays text: smaller, searchable, and read aloud
    "text.color": "#1e293b",
    "xtick.color": "#475569",
    "ytick.color": "#475569",
}

FRONT, OTHER, GUESSING, FAILED = "#c2410c", "#64748b", "#94a3b8", "#b91c1c"
ACCURACY, AUC = "#0072b2", "#c2410c"
CURVES = ("#c2410c", "#0072b2", "#15803d", "#7c3aed", "#a16207", "#db2777", "#0e7490", "#334155")

DASHED: dict[str, Any] = {"color": GUESSING, "lw": 1.1, "ls": (0, (4, 3))}
"""Of the line where an attacker guesses, or nothing changes."""

LONGEST = 44


_drawing = threading.RLock()
"""Held while something is drawn: Matplotlib's settings are those of the process, and a live page draws in threads."""


@contextmanager
def drawing_style() -> Iterator[None]:
    """Matplotlib's defaults and the report's settings, whatever a user's matplotlibrc says; one thread at a time."""
    from matplotlib import style

    with _drawing, style.context(["default", _STYLE]):
        yield


def to_svg(figure: Figure, *, prefix: str, label: str) -> Markup:
    """The ``<svg>`` element of a figure, the same text for the same figure.

    Args:
        figure: what to draw; must be called inside :func:`drawing_style`.
        prefix: put before every id, so that ids stay unique in a page with several figures.
        label: a text alternative.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": prefix}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    _, _, rest = re.split(r"^(<\w+)", buffer.getvalue(), maxsplit=1, flags=re.MULTILINE)  # after the root's name
    rest = re.sub(r'\bid="', f'id="{prefix}-', rest.strip())
    rest = rest.replace('href="#', f'href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    return render_part("figure.svg.jinja", label=label, rest=Markup(rest))  # noqa: S704 - matplotlib escapes texts


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of that size in inches, and its axes: one or an array; ``options`` are those of ``subplots``.

    Below an axis there are as many ticks as their labels have room.
    """
    from matplotlib.figure import Figure

    from nni_privacy.report.ticks import RoomyLocator

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(rows, columns, **options)
    for axes in figure.axes:
        axes.xaxis.set_major_locator(RoomyLocator())
    return figure, panels


def row_places(groups: Sequence[str], gap: float) -> list[float]:
    """Where each row of a figure goes, with ``gap`` free rows between two groups."""
    steps = [1 + gap * (group != before) for before, group in pairwise(groups)]
    return list(accumulate(steps, initial=0.0))


def no_formula(text: str) -> str:
    """A text as it can stand in a legend, whose dollar signs Matplotlib would read as formulas."""
    return text.replace("$", r"\$")


def plain_label(text: str, longest: int = LONGEST) -> str:
    """A name as it can stand in a drawing: printable, and cut where it is too long."""
    clean = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}…"
