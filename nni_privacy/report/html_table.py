"""Tables as HTML: their frame, cells and numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nni_privacy.report.text import NOTHING, escape_text

__all__ = ["ends_html", "number_cell", "p_html", "signed", "table_frame", "text_cell", "wrapped_cell"]

LEAST_P = 0.001


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
