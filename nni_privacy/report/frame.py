"""What all pages have in common: head, style, lead, notices, large numbers, facts and footer."""

from __future__ import annotations

from collections.abc import Iterable
from string import Template

from nni_privacy.report.resources import has_resource, read_resource, script_policy
from nni_privacy.report.text import escape_text

__all__ = ["card_html", "notice_html", "page_html"]


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
        facts: rows of a definition list, see :func:`~nni_privacy.report.text.facts_html`.
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
