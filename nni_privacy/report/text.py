"""Small pieces of HTML. Everything that comes from a file goes through :func:`escape_text`."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from nni_privacy.report.cell_graph import CELL_NAMES
from nni_privacy.report.run import FixedEdges, TrialInfo

__all__ = ["duration", "edges_html", "escape_text", "facts_html", "fraction", "interval", "trial_link"]

NOTHING = '<span class="none">–</span>'


def escape_text(value: object) -> str:
    """Text that is safe between tags and in quoted attributes; characters that no HTML may hold are replaced."""
    clean = "".join(
        character if character.isprintable() or character in "\n\t" else "\ufffd" for character in str(value)
    )
    return escape(clean, quote=True)


def fraction(value: float | None, digits: int = 3) -> str:
    """A fraction as it stands in the report, or a dash."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def interval(trial: TrialInfo) -> str:
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


def trial_link(trial: TrialInfo) -> str:
    """A trial's number and identifier, leading to its row in the table."""
    name = escape_text(trial.trial)
    return f'<a href="#trial-{name}">#{trial.sequence}</a> <span class="small">{name}</span>'
