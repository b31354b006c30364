"""All rows of a run as CSV: the columns, formats and file name of the page's own CSV of the rows that it shows."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from nni_privacy.files import to_csv
from nni_privacy.live.metrics import metric_infos
from nni_privacy.live.rows import Row

__all__ = ["disposition_of", "table_of"]

_FIRST = ("trial", "sequence", "status", "phase", "feasible", "violation", "pattern", "seconds")
_LAST = ("architecture", "error")
_FACTOR = "factor "
_LONGEST = 60
_NO_NAME = re.compile(r"[^\w.-]+")
_WHOLE = 1e21
"""Above, JavaScript writes whole numbers with an exponent."""
_SMALL = 1e-6
"""Below, it writes fractions with one."""


def table_of(rows: Sequence[Row]) -> str:
    """The rows as CSV, in the page's order of columns (``live/static/exports.js``)."""
    infos = metric_infos(name for row in rows for name in row.metrics)
    named = [name for one in infos for name in (one.name, one.low, one.high) if name is not None]
    metrics = dict.fromkeys([*named, *(name for row in rows for name in row.metrics)])
    metrics = {name: None for name in metrics if name not in (*_FIRST, *_LAST)}
    factors = dict.fromkeys(name for row in rows for name in row.factors)
    columns = [*_FIRST, *(f"{_FACTOR}{name}" for name in factors), *metrics, *_LAST]
    return to_csv([_line(row) for row in rows], columns)


def _line(row: Row) -> dict[str, Any]:
    content = {
        **row.metrics,
        **{f"{_FACTOR}{name}": value for name, value in row.factors.items()},
        **{name: getattr(row, name) for name in (*_FIRST, *_LAST)},
    }
    return {name: _told(value) for name, value in content.items()}


def _told(value: Any) -> str | None:
    """A value as JavaScript writes it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and not isinstance(value, bool):
        return _number(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _number(value: float) -> str:
    if value.is_integer() and abs(value) < _WHOLE:
        return str(int(value))
    text = repr(value)
    return format(Decimal(text), "f") if abs(value) >= _SMALL and abs(value) < _WHOLE else text.replace("e-0", "e-")


def disposition_of(run: str) -> str:
    """The header that names the file after a run: in ASCII, and in full for who can read it."""
    stem = _NO_NAME.sub("-", run).lstrip("-.")[:_LONGEST] or "privacy"
    name = f"{stem}-all.csv"
    ascii_name = name.encode("ascii", errors="replace").decode().replace("?", "_")
    return f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, errors='replace')}"
