"""Prose and tags of pages live in templates: no file of Python holds a tag in a string, and all text is escaped.

A tag is ``<`` or ``</``, the name of an element of HTML or SVG, and then white space, ``/``, ``>`` or the end of the
string; so half a tag that is put together with ``+`` is one, and a placeholder such as ``<name>`` is none. What an
f-string puts in stands as one character that is in no name. Docstrings, those of attributes too, are no strings here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment, nodes
from markupsafe import Markup
from report.pages import HOSTILE, Page, running

from nni_privacy.report.html import render_page, render_part

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("nni_privacy", "search_spaces", "strategies")
TEMPLATES = ROOT / "nni_privacy" / "report" / "templates"
ELEMENTS = (
    "a|abbr|article|aside|b|blockquote|body|br|button|caption|circle|code|col|colgroup|dd|"
    "defs|details|div|dl|dt|em|figcaption|figure|footer|form|g|h1|h2|h3|h4|h5|h6|head|"
    "header|hr|html|i|iframe|img|input|label|li|line|link|main|meta|nav|ol|option|p|path|"
    "pre|q|rect|s|script|section|select|small|span|strong|style|sub|summary|sup|svg|table|"
    "tbody|td|text|textarea|th|thead|title|tr|tspan|u|ul|use"
)
TAG = re.compile(rf"</?(?:{ELEMENTS})(?=[\s/>]|$)", re.IGNORECASE)
FILLED = "\N{OBJECT REPLACEMENT CHARACTER}"

MADE_SAFE = {"chart_data.py": 1, "html.py": 3, "style.py": 1}
"""Calls of ``Markup`` with an argument: of escaped JSON, of what a template has made, of its headings (whose text is
taken), of the package's scripts, and of a figure of matplotlib."""


def strings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string below a node."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        yield node.lineno, node.value if isinstance(node.value, str) else node.value.decode("latin-1")
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else FILLED for part in node.values)
        yield node.lineno, "".join(map(str, parts))
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)):
            yield from strings(child)


def tags(source: str) -> list[tuple[int, str]]:
    """Line and beginning of every tag in a file's strings."""
    return [(line, found.group()) for line, text in strings(ast.parse(source)) for found in TAG.finditer(text)]


def sources() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def test_no_string_of_python_holds_a_tag() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {tag}"
        for path in sources()
        for line, tag in tags(path.read_text(encoding="utf-8"))
    ]
    assert len(sources()) > 100 and found == []


@pytest.mark.parametrize(
    "line",
    [
        "x = '<p>text'",
        "x = f'<td class=\"{name}\">{value}</td>'",
        "x = '<svg ' + attributes",
        "x = '<div' + '>'",
        "x = text.replace('</LI>', '')",
        "x = f'{a}' f'{f\"</b>{a}\"}'",
        "x = b'<br/>'",
    ],
)
def test_a_tag_in_a_string_is_found(line: str) -> None:
    assert tags(f'"""Module."""\n\n{line}\n')[0][0] == 3


@pytest.mark.parametrize(
    "line",
    ["x = '<name>'", "x = f'<{tag}>'", "x = 'a < b'", "x = 1\n'''About <p>.'''", "def f():\n    '''<p>'''", "# <p>"],
)
def test_what_is_no_tag_in_a_string_is_not_found(line: str) -> None:
    assert tags(line) == []


def test_no_template_and_few_lines_of_python_make_text_safe() -> None:
    for path in TEMPLATES.glob("*.jinja"):
        tree = Environment(autoescape=True).parse(path.read_text(encoding="utf-8"))
        assert not [node for node in tree.find_all(nodes.Filter) if node.name in ("safe", "forceescape", "xmlattr")]
        assert not list(tree.find_all((nodes.EvalContextModifier, nodes.ScopedEvalContextModifier)))
    found = {
        path.name: text.count("Markup(") - text.count("Markup()")
        for path in sources()
        for text in [path.read_text(encoding="utf-8")]
        if text.count("Markup(") > text.count("Markup()")
    }
    assert found == MADE_SAFE


def test_every_template_is_a_page_or_part_of_one() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in sources())
    text += "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.iterdir())
    for path in TEMPLATES.iterdir():
        assert f'"{path.name}"' in text


def test_texts_are_escaped_and_parts_are_not() -> None:
    """A figure is a template's: its label is escaped, and what matplotlib has drawn stands as it is."""
    figure = render_part("figure.svg.jinja", label=HOSTILE, rest=Markup("><g/></svg>"))
    page = Page(str(figure))
    assert [tag for tag, _ in page.tags] == ["svg", "g"]
    assert page.tags[0][1]["aria-label"] == HOSTILE.replace("\0", "\ufffd")


def test_a_page_without_tables_and_charts_runs_what_makes_boxes_scroll_by_keyboard() -> None:
    text = render_page(
        "predicted.html.jinja", title=HOSTILE, facts={HOSTILE: HOSTILE}, run=None, groups=(), progress=None
    )
    page = Page(text)
    assert running(page) == [str(render_part("scrolling.js"))]
    assert "img" not in {tag for tag, _ in page.tags}
    assert page.text.count(HOSTILE.replace("\0", "\ufffd")) == 2
