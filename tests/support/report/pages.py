"""A page as tests look at it: a tree of elements."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>$title ${style} \0&"
VOID = {"meta", "img", "br", "link", "input", "hr"}


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
