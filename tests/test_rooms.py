"""The rooms of the package: each imports only from rooms below it, and no two modules import each other in a circle.

All imports count, those inside functions too, in the two mapped folders too. Imports for type checkers count for the
order of the rooms, but not for circles: they run in no program, and a package's face needs them for what it offers
lazily.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "nni_privacy"
MAPPED = ("search_spaces", "strategies")

ROOMS = (
    "errors",
    "lazy",
    "files",
    "schema",
    "plugins",
    "rng",
    "cells",
    "data",
    "runs",
    "networks",
    "patterns",
    "training",
    "attacks",
    "search_spaces",
    "surrogate",
    "auditing",
    "analysis",
    "bench",
    "strategies",
    "evaluator",
    "audited",
    "report",
    "live",
    "release",
    "nni_runtime",
    "config",
    "studies",
    PACKAGE,
    "commands",
    "__main__",
)
"""The rooms from the ground up: packages, and the modules of the root; ``nni_privacy`` is the root's ``__init__``."""


@dataclass(frozen=True)
class Arrow:
    """One import: from a module to a module, as it stands in a file."""

    source: str
    target: str
    typing: bool
    place: str


def modules_of(root: Path) -> dict[str, Path]:
    """Every module of the package by its name."""
    found = {}
    for top in (PACKAGE, *MAPPED):
        for path in sorted((root / top).rglob("*.py")):
            parts = [*((PACKAGE,) if top in MAPPED else ()), *path.relative_to(root).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def arrows_of(root: Path) -> list[Arrow]:
    modules = modules_of(root)
    return [
        Arrow(name, target, typing, f"{path.relative_to(root)}:{line}")
        for name, path in modules.items()
        for target, typing, line in imports_of(name, path, modules)
        if target != name
    ]


def imports_of(name: str, path: Path, modules: dict[str, Path]) -> Iterator[tuple[str, bool, int]]:
    """The modules of the package that a file imports; whether only for type checkers; and the line."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node, typing in statements(ast.parse(path.read_text(encoding="utf-8")), typing=False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from ((target, typing, node.lineno) for target in [known(alias.name, modules)] if target)
            continue
        base = node.module or ""
        if node.level:
            above = package.split(".")
            base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
        if known(base, modules) is None:
            continue
        for alias in node.names:
            target = f"{base}.{alias.name}"
            # ``from package import name``: a submodule of that name, or else the package itself.
            yield (
                (target if target in modules and not defines(modules[base], alias.name) else base),
                typing,
                node.lineno,
            )


def statements(node: ast.AST, *, typing: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """All import statements below a node, at any depth."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, typing
    elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        for inner in node.body:
            yield from statements(inner, typing=True)
        for inner in node.orelse:
            yield from statements(inner, typing=typing)
    else:
        for inner in ast.iter_child_nodes(node):
            yield from statements(inner, typing=typing)


def known(name: str, modules: dict[str, Path]) -> str | None:
    """The module that a dotted name begins with; None if it is none of ours."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


@cache
def defines(path: Path, name: str) -> bool:
    """Whether a package gives a name to something else than its submodule, by a definition or an import."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name == name:
            return True
        if isinstance(statement, ast.ImportFrom) and any(name in (one.asname, one.name) for one in statement.names):
            # ``from package import submodule`` in the package's own face is the submodule.
            return path.parent.name != (statement.module or "").rpartition(".")[2]
    return False


def climbs(root: Path) -> list[str]:
    """Imports of a room that is not below, and rooms that the list does not have."""
    arrows = arrows_of(root)
    rooms = {room_of(module) for module in modules_of(root)}
    found = [f"{room}: not in the list of rooms" for room in sorted(rooms - set(ROOMS))]
    found += [f"{room}: in the list of rooms, but there is none" for room in ROOMS if room not in rooms]
    places = {room: place for place, room in enumerate(ROOMS)}
    for arrow in arrows:
        lower, upper = places.get(room_of(arrow.target)), places.get(room_of(arrow.source))
        if lower is not None and upper is not None and lower > upper:
            found.append(f"{arrow.place}: {room_of(arrow.source)} imports {arrow.target}, which stands above it")
    return found


def circle(root: Path) -> list[str]:
    """The modules of one circle of imports that run, if there is any; the first stands at the end once more."""
    graph: dict[str, set[str]] = {}
    for arrow in arrows_of(root):
        if not arrow.typing:
            graph.setdefault(arrow.source, set()).add(arrow.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_rooms_import_only_from_rooms_below_them() -> None:
    assert climbs(ROOT) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(ROOT) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in (PACKAGE, *MAPPED):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def add(path: Path, *lines: str) -> None:
    path.write_text("\n".join([path.read_text(encoding="utf-8"), *lines, ""]), encoding="utf-8")


@pytest.mark.parametrize(
    "lines",
    [
        ["from nni_privacy.commands import main"],
        ["def late():", "    from nni_privacy.commands import main"],
        ["if TYPE_CHECKING:", "    from nni_privacy.commands.main import main"],
        ["def late():", "    import nni_privacy.commands.main"],
        ["from ..commands import main"],
    ],
    ids=["plain", "in a function", "for type checkers", "import", "relative"],
)
def test_an_import_that_climbs_is_found(copy: Path, lines: list[str]) -> None:
    add(copy / "nni_privacy" / "cells" / "codes.py", *lines)
    (line,) = climbs(copy)
    assert line.startswith("nni_privacy/cells/codes.py:")
    assert "cells imports nni_privacy.commands.main, which stands above it" in line


def test_an_import_that_climbs_out_of_a_mapped_folder_is_found(copy: Path) -> None:
    add(copy / "search_spaces" / "constraints.py", "def late():", "    from nni_privacy.strategies import ENAS")
    assert [line.partition(" ")[2] for line in climbs(copy)] == [
        "search_spaces imports nni_privacy.strategies, which stands above it"
    ]


def test_a_circle_inside_of_a_room_is_found(copy: Path) -> None:
    add(copy / "nni_privacy" / "cells" / "darts.py", "def late():", "    from nni_privacy.cells.codes import Codes")
    assert climbs(copy) == []
    first, *others = circle(copy)
    assert {first, *others} == {"nni_privacy.cells.codes", "nni_privacy.cells.darts"} and others[-1] == first


def test_a_circle_for_type_checkers_only_is_none(copy: Path) -> None:
    add(copy / "nni_privacy" / "cells" / "darts.py", "if TYPE_CHECKING:", "    from nni_privacy.cells import codes")
    assert circle(copy) == []


def test_a_new_room_must_be_given_a_place(copy: Path) -> None:
    (copy / "nni_privacy" / "cellar.py").write_text("")
    assert climbs(copy) == ["cellar: not in the list of rooms"]
