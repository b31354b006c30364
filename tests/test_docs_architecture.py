"""docs/architecture.md names the rooms that there are, in the order that tests/test_rooms.py gives, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from runpy import run_path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSE = run_path(str(ROOT / "tests" / "test_rooms.py"))
MAPPED, PACKAGE, ROOMS = HOUSE["MAPPED"], HOUSE["PACKAGE"], HOUSE["ROOMS"]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"`([\w/.]+(?:\.py|/))`", PAGE)))


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def place(room: str) -> str:
    """A room as the table writes it."""
    if room in (PACKAGE, "__main__"):
        return "__init__.py" if room == PACKAGE else "__main__.py"
    folder = ROOT / room if room in MAPPED else ROOT / PACKAGE / room
    return f"{room}/" if folder.is_dir() else f"{room}.py"


def exists(path: str) -> bool:
    """Whether a path is there, from the repository's root or from the package."""
    return any((ROOT / top / path).exists() for top in ("", PACKAGE))


def test_the_picture_shows_the_rooms_in_their_order() -> None:
    picture = re.search(r"```text\n(.*?)```", section("The rooms"), re.DOTALL)
    assert picture is not None
    rows = [line.split("│")[2].split("·") for line in picture[1].splitlines() if line.count("│") == 3]
    assert [room.strip() for row in reversed(rows) for room in row] == list(ROOMS)


def test_the_table_has_a_line_for_every_room() -> None:
    rows = re.findall(r"^\| `([\w./]+)` \| (.+) \|$", section("The rooms"), re.MULTILINE)
    assert [name for name, _ in rows] == [place(room) for room in ROOMS]
    assert {HOUSE["room_of"](module) for module in HOUSE["modules_of"](ROOT)} == set(ROOMS)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_on_the_page_exists(path: str) -> None:
    assert exists(path)


def test_the_page_names_many_files() -> None:
    assert len(PATHS) > 60


def test_every_term_of_the_glossary_stands_once() -> None:
    terms = re.findall(r"^\| ([^|]+) \|", section("Glossary"), re.MULTILINE)[1:]
    assert terms == sorted(set(terms), key=lambda term: term.removeprefix("the ").lower()) and len(terms) > 30
