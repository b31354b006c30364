"""The figures of a page as files of their own, for papers and slides."""

from __future__ import annotations

import re
from html import unescape

__all__ = ["figure_files"]

_FIGURE = re.compile(r'<svg role="img" aria-label="([^"]*)".*?</svg>', re.DOTALL)
_LONGEST = 80


def figure_files(page: str) -> dict[str, str]:
    """The figures of a report.

    Args:
        page: its text.

    Returns:
        Name of a file, made of the figure's text alternative, to the text of a whole SVG file, in the page's order.
    """
    files: dict[str, str] = {}
    for found in _FIGURE.finditer(page):
        words = re.sub(r"[^a-z0-9]+", "-", unescape(found[1]).lower()).strip("-")[:_LONGEST].strip("-") or "figure"
        name, copies = f"{words}.svg", 1
        while name in files:
            copies += 1
            name = f"{words}-{copies}.svg"
        files[name] = f'<?xml version="1.0" encoding="utf-8"?>\n{found[0]}\n'
    return files
