"""Pages from templates: what every page is rendered with, its security policy, and its figures as files.

Templates escape whatever they are given, but for :class:`~markupsafe.Markup`: figures and parts that templates made.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nni_privacy.cells.genotypes import cell_title
from nni_privacy.errors import DataError
from nni_privacy.files import atomic_write
from nni_privacy.report.chart_scripts import SCRIPTS, chart_script
from nni_privacy.runs.records import TrialRecord

__all__ = ["duration", "figure_files", "interval", "render_page", "render_part", "replace_text"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Nothing runs, but for the scripts whose digests are added, whatever a file contains."""

_CHART, _TABLE = 'class="chart-data"', 'class="sortable"'
"""What a page holds that needs scripts; a text from a file cannot, as its quotes are escaped."""
_SECTION = re.compile(r'<(?:section) id="(?P<id>[^"]*)"[^>]*>\s*<(?:h2)>(?P<heading>.*?)</(?:h2)>', re.DOTALL)
_FIGURE = re.compile(r'<(\w+) role="img" aria-label="([^"]*)".*?</\1>', re.DOTALL)
_LONGEST = 80


def render_page(template: str, **content: Any) -> str:
    """A whole page: with its contents list, the scripts that its parts need, and a policy that lets no other run.

    Args:
        template: name of a template that extends ``base.html.jinja``.
        content: what the template shows.
    """
    return render_part(template, scripts_for=_scripts_for, policy_for=_policy_for, contents_of=_contents_of, **content)


def _scripts_for(sections: Markup) -> list[Markup]:
    """The scripts of a page with these sections, in the order in which they run."""
    scripts = []
    if _CHART in sections:
        # Trusted files of the package; none of them holds what would end a script's element.
        scripts += [Markup(chart_script(name)) for name in SCRIPTS]  # noqa: S704
        scripts.append(render_part("report.js"))
    if _TABLE in sections:
        scripts.append(render_part("sorting.js"))
    return [*scripts, render_part("scrolling.js")]


def _policy_for(scripts: Sequence[Markup]) -> str:
    """The policy under which these scripts run, and no other."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    return "; script-src ".join([POLICY, " ".join(f"'sha256-{digest}'" for digest in digests)])


def _contents_of(sections: Markup) -> list[tuple[str, str]]:
    """Id and heading of each section."""
    return [(found["id"], Markup(found["heading"]).striptags()) for found in _SECTION.finditer(sections)]  # noqa: S704


def render_part(template: str, **content: Any) -> Markup:
    """Part of a page, safe to be put into another template."""
    return Markup(_environment().get_template(template).render(content))  # noqa: S704 - the template has escaped it


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nni_privacy.report"),
        autoescape=True,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(form=format, duration=duration, interval=interval, cell_title=cell_title)
    environment.tests.update(finite=math.isfinite)
    return environment


def _printable(value: Any) -> Any:
    """Text without the characters that no page may hold."""
    if isinstance(value, Markup):
        return value
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in str(value))


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


def figure_files(page: str) -> dict[str, str]:
    """The figures of a report.

    Args:
        page: its text.

    Returns:
        Name of a file, made of the figure's text alternative, to the text of a whole SVG file, in the page's order.
    """
    files: dict[str, str] = {}
    for found in _FIGURE.finditer(page):
        words = re.sub(r"[^a-z0-9]+", "-", unescape(found[2]).lower()).strip("-")[:_LONGEST].strip("-") or "figure"
        name, copies = f"{words}.svg", 1
        while name in files:
            copies += 1
            name = f"{words}-{copies}.svg"
        files[name] = f'<?xml version="1.0" encoding="utf-8"?>\n{found[0]}\n'
    return files


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
