"""Figures as SVG text that can stand beside others in one HTML page. Never touches pyplot's global state."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["drawing_style", "to_svg"]

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


@contextmanager
def drawing_style() -> Iterator[None]:
    """Matplotlib's defaults and the report's own settings, whatever a user's matplotlibrc says."""
    from matplotlib import style

    with style.context(["default", _STYLE]):
        yield


def to_svg(figure: Figure, *, prefix: str, label: str) -> str:
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
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace('href="#', f'href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
