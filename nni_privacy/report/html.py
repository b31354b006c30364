"""Parts of every page: its frame, text, tables, large numbers and files.

Everything that comes from a file goes through :func:`escape_text`.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape, unescape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from nni_privacy.cells.genotypes import CELL_NAMES
from nni_privacy.errors import DataError
from nni_privacy.files import atomic_write
from nni_privacy.runs.records import FixedEdges, TrialRecord

__all__ = [
    "Row",
    "card_html",
    "duration",
    "edges_html",
    "ends_html",
    "escape_text",
    "facts_html",
    "figure_files",
    "fraction",
    "has_resource",
    "interval",
    "notice_html",
    "number_cell",
    "p_html",
    "page_html",
    "read_resource",
    "replace_text",
    "script_policy",
    "signed",
    "table_frame",
    "text_cell",
    "to_csv",
    "trial_link",
    "wrapped_cell",
]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

LEAST_P = 0.001

_FIGURE = re.compile(r'<svg role="img" aria-label="([^"]*)".*?</svg>', re.DOTALL)
_LONGEST = 80

NOTHING = '<span class="none">–</span>'

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins like this is a formula to a spreadsheet; an apostrophe before it keeps it a text."""

Row = Mapping[str, Any]


def page_html(
    kind: str,
    *,
    title: str,
    lead: str,
    notices: str,
    cards: str,
    facts: str,
    footer: str,
    sections: dict[str, str],
    sortable: bool = False,
) -> str:
    """A whole page.

    Args:
        kind: the page's sections are ``<kind>.html``, styles of its own ``<kind>.css``.
        title: plain text.
        lead: what the page is, as plain text.
        notices: what a reader must know first, see :func:`notice_html`.
        cards: the large numbers, see :func:`card_html`.
        facts: rows of a definition list, see :func:`~nni_privacy.report.html.facts_html`.
        footer: plain text.
        sections: HTML by its name in ``<kind>.html``.
        sortable: whether the page brings the script that sorts tables; no other can run in it.
    """
    script = read_resource("sorting.html") if sortable else ""
    own_style = f"{kind}.css"
    return Template(read_resource("frame.html")).substitute(
        policy=script_policy(script),
        script=script,
        title=escape_text(title),
        style=read_resource("style.css"),
        own_style=read_resource(own_style) if has_resource(own_style) else "",
        lead=escape_text(lead),
        notices=notices,
        cards=cards,
        facts=facts,
        sections=Template(read_resource(f"{kind}.html")).substitute(sections),
        footer=escape_text(footer),
    )


def notice_html(lines: Iterable[str]) -> str:
    """What a reader must know first; ``lines`` are plain text."""
    return "".join(f'<p class="notice">{escape_text(line)}</p>' for line in lines)


def card_html(what: str, value: str, more: str) -> str:
    """One large number; all of it is HTML."""
    return (
        f'<div class="card"><div class="what">{what}</div><div class="value">{value}</div>'
        f'<div class="more">{more}</div></div>'
    )


def read_resource(name: str) -> str:
    """A template, style or script of this package, as text."""
    return files("nni_privacy.report").joinpath(name).read_text(encoding="utf-8")


def has_resource(name: str) -> bool:
    """Whether this package has such a file."""
    return files("nni_privacy.report").joinpath(name).is_file()


def script_policy(script: str) -> str:
    """A content security policy: the page's own script runs and nothing else does, whatever a file contains.

    Args:
        script: the page's one ``<script>`` element, or nothing.
    """
    if not script:
        return POLICY
    found = re.search(r"<script>(.*?)</script>", script, flags=re.DOTALL)
    digest = hashlib.sha256(found.group(1).encode() if found else b"").digest()
    source = base64.b64encode(digest).decode()
    return f"{POLICY}; script-src 'sha256-{source}'"


def replace_text(path: Path, text: str) -> None:
    """Writes a file in one step: it is the old one or the new one, whenever somebody looks. Its folder is made.

    Raises:
        DataError: if it cannot be written.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        atomic_write(path, text)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or type(error).__name__})") from None


def table_frame(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Collection[int],
    first: Collection[int] = (),
    css: str = "compact",
) -> str:
    """A table that scrolls where it is too wide.

    Args:
        heads: titles of the columns, plain text.
        rows: whole cells, as the functions below make them.
        numbers: the columns, from 0, whose titles stand over numbers.
        first: the rows, from 0, that begin a group.
        css: the table's class.
    """
    titles = "".join(
        f'<th scope="col" class="{"number" if place in numbers else "text"}">{escape_text(head)}</th>'
        for place, head in enumerate(heads)
    )
    begins = {True: '<tr class="first">', False: "<tr>"}
    body = "".join(f"{begins[place in first]}{''.join(cells)}</tr>\n" for place, cells in enumerate(rows))
    head = f"<thead><tr>{titles}</tr></thead>"
    return f'<div class="scroll"><table class="{css}">{head}<tbody>{body}</tbody></table></div>'


def text_cell(value: str) -> str:
    """Plain text."""
    return f'<td class="text">{escape_text(value)}</td>'


def wrapped_cell(value: str) -> str:
    """Plain text that may be long."""
    return f'<td class="text wrap">{escape_text(value)}</td>'


def number_cell(html: str) -> str:
    """A number, with what belongs to it."""
    return f'<td class="number">{html}</td>'


def signed(value: float | None, digits: int = 3) -> str:
    """A difference, or a dash."""
    return NOTHING if value is None else f"{value:+.{digits}f}"


def ends_html(low: float | None, high: float | None, *, sign: bool = False, digits: int = 3, more: str = "") -> str:
    """The ends of an interval, or nothing; ``more`` is a word on what it is over."""
    if low is None or high is None:
        return ""
    plus = "+" if sign else ""
    return f'<span class="interval">[{low:{plus}.{digits}f}, {high:{plus}.{digits}f}]{more}</span>'


def p_html(value: float | None) -> str:
    """A p-value, or a dash."""
    if value is None:
        return NOTHING
    return f"&lt; {LEAST_P}" if value < LEAST_P else f"{value:.3f}"


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


def escape_text(value: object) -> str:
    """Text that is safe between tags and in quoted attributes; characters that no HTML may hold are replaced."""
    clean = "".join(
        character if character.isprintable() or character in "\n\t" else "\ufffd" for character in str(value)
    )
    return escape(clean, quote=True)


def fraction(value: float | None, digits: int = 3) -> str:
    """A fraction as it stands in the report, or a dash."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def interval(trial: TrialRecord) -> str:
    """The 95% interval of a trial's AUC, or nothing."""
    ends = trial.interval
    return "" if ends is None else f"[{ends[0]:.3f}, {ends[1]:.3f}]"


def duration(seconds: float) -> str:
    """A length of time.

    >>> duration(8.46), duration(754.0), duration(7980.0)
    ('8.5 s', '12 min 34 s', '2 h 13 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def edges_html(fixed: FixedEdges) -> str:
    """Fixed edges by cell, in the pattern's order."""
    lines = []
    for name, edges in fixed.items():
        codes = "".join(f"<code>{edge.source} → {edge.target} {escape_text(edge.op)}</code>" for edge in edges)
        if codes:
            lines.append(f'<div class="edges">{CELL_NAMES[name]}: {codes}</div>')
    return "".join(lines)


def facts_html(facts: Mapping[str, str]) -> str:
    """Rows of a definition list; keys are text, values are HTML."""
    return "".join(f"<dt>{escape_text(key)}</dt><dd>{value}</dd>" for key, value in facts.items() if value)


def trial_link(trial: TrialRecord) -> str:
    """A trial's number and identifier, leading to its row in the table."""
    name = escape_text(trial.trial)
    return f'<a href="#trial-{name}">#{trial.sequence}</a> <span class="small">{name}</span>'


def to_csv(rows: Sequence[Row], first: Sequence[str]) -> str:
    """Rows as text; the columns are ``first``, which always stand, and then others as they come."""
    names = list(dict.fromkeys([*first, *(name for row in rows for name in row)]))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _safe(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def _safe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
