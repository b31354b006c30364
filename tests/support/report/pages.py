"""A page as tests look at it: a tree of elements."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html.parser import HTMLParser

from nni_privacy.report.chart_scripts import SCRIPTS, chart_script
from nni_privacy.report.html import render_part

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>$title ${style} \0&"
VOID = {"meta", "img", "br", "link", "input", "hr"}


def running(page: Page) -> list[str]:
    """The texts of the scripts that a browser runs, each of which the page's policy must name, and no other."""
    scripts = [one for one in page.root.all("script") if one.attributes.get("type") != "application/json"]
    assert all(one.attributes == {} and len(one.content) == 1 for one in scripts)
    texts = [str(one.content[0]) for one in scripts]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
    policy = next(attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes)
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {sources}"
    return texts


def own_scripts() -> set[str]:
    """The texts of all scripts that pages may run."""
    written = {str(render_part(name)) for name in ("report.js", "scrolling.js", "sorting.js")}
    return written | {chart_script(name) for name in SCRIPTS}


class Element:
    """An element with what is in it: texts and elements."""

    def __init__(self, tag: str, attributes: dict[str, str | None]) -> None:
        self.tag, self.attributes = tag, attributes
        self.content: list[str | Element] = []

    @property
    def words(self) -> str:
        """All text in it, white space folded."""
        texts = (part if isinstance(part, str) else part.words for part in self.content)
        return " ".join(" ".join(texts).split())

    def all(self, tag: str, css: str = "") -> Iterator[Element]:
        """The elements in it with this tag and this class."""
        for part in self.content:
            if isinstance(part, Element):
                if part.tag == tag and (not css or css in (part.attributes.get("class") or "").split()):
                    yield part
                yield from part.all(tag, css)


class Page(HTMLParser):
    """Checks that tags are balanced, and collects what the tests look at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == [self.root]

    def handle_starttag(self, tag, attrs):
        element = self._add(tag, attrs)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self._add(tag, attrs)

    def _add(self, tag, attrs) -> Element:
        element = Element(tag, dict(attrs))
        self.open[-1].content.append(element)
        self.tags.append((tag, element.attributes))
        return element

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.open[-1].content.append(data)
        self.text.append(data)
