"""Scripts of interactive charts, in the report itself and loaded by the live page; see ``charts/README.md``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["SCRIPTS", "chart_script"]

SCRIPTS = ("echarts.min.js", "charts.js", "draw.js")
"""Names of the scripts, in the order in which they must run."""

_FOLDER = Path(__file__).with_name("charts")


@cache
def chart_script(name: str) -> str:
    """The text of one of :data:`SCRIPTS`.

    Raises:
        KeyError: if there is none of that name.
    """
    if name not in SCRIPTS:
        raise KeyError(name)
    return (_FOLDER / name).read_text(encoding="utf-8")
