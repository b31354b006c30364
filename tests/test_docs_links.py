"""The documentation points at what is there: links, anchors, modules, names and files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "experiments").glob("*.md")])
FOLDERS = ("nni_privacy", "search_spaces", "strategies", "experiments", "tests", "docs", "benchmarks")
PRIVATE = re.compile(r"\b(DESIGN|target|paper)\.md\b|\breference/")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


def known(dotted: str) -> bool:
    """Whether a dotted name leads to a module, or to an attribute of one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def names(page: Path) -> set[str]:
    """Modules and names of the package that a page speaks of or imports."""
    text = page.read_text(encoding="utf-8")
    found = set(re.findall(r"(?<![\w/.~-])nni_privacy(?:\.\w+)+(?!/)", text))
    for module, imported in re.findall(r"from (nni_privacy[\w.]*) import ([\w, ]+)", text):
        found |= {f"{module}.{name.partition(' as ')[0].strip()}" for name in imported.split(",")}
    return found


def files(page: Path) -> set[str]:
    """Files of the repository, or patterns of them, that a page speaks of."""
    text = page.read_text(encoding="utf-8")
    return set(re.findall(rf"(?<![\w/.~-])((?:{'|'.join(FOLDERS)})/[\w/.*-]*[\w/*])", text))


def references(module: Path) -> set[str]:
    """Names of the package that docstrings refer to."""
    roles = re.findall(r":(?:mod|class|func|meth|attr|data):`([^`]+)`", module.read_text(encoding="utf-8"))
    found = {" ".join(role.split()).rpartition("<")[2].strip("~>() ") for role in roles}
    return {name for name in found if name.startswith("nni_privacy.")}


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


@pages
def test_every_module_and_name_exists(page: Path) -> None:
    assert sorted(name for name in names(page) if not known(name)) == []


@pages
def test_every_file_exists(page: Path) -> None:
    assert sorted(name for name in files(page) if not any(ROOT.glob(name))) == []


def test_every_experiment_of_the_table_exists() -> None:
    text = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.(?:yaml|py))`", text))
    assert len(named) > 20 and {name for name in named if not (ROOT / "experiments" / name).exists()} == set()


def test_every_name_that_a_docstring_refers_to_exists() -> None:
    modules = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in FOLDERS[:3]]
    referred = set().union(*map(references, modules))
    assert len(referred) > 50 and {name for name in referred if not known(name)} == set()


def test_every_page_that_the_code_speaks_of_exists() -> None:
    cited = {name for path in SOURCES for name in re.findall(r"docs/\w+\.md", path.read_text(encoding="utf-8"))}
    assert len(cited) > 5 and {name for name in cited if not (ROOT / name).exists()} == set()


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(docs/(\w+\.md)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - linked <= {"contours.md", "defences.md", "resume.md"}


def test_nothing_cites_what_users_do_not_get() -> None:
    others = [path for path in (*PAGES, *SOURCES) if path != Path(__file__)]
    assert [path for path in others if PRIVATE.search(path.read_text(encoding="utf-8"))] == []
