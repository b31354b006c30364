"""Sizes: no file is longer than 500 lines, no function than 40 without its docstring; and every room is installed."""

from __future__ import annotations

import ast
import configparser
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

HOUSE = run_path(str(Path(__file__).resolve().with_name("test_rooms.py")))
MODULES = HOUSE["modules_of"](HOUSE["ROOT"])
LINES, FUNCTION_LINES = 500, 40

LONG = {
    "nni_privacy.auditing.audit:audit",
    "nni_privacy.auditing.shadows.references:reference_shadows",
    "nni_privacy.commands.audit:run_audit",
    "nni_privacy.patterns.evidence:find_edges",
}
"""Functions that are longer, most of them for a dozen keyword arguments; the list only shrinks."""


def functions() -> Iterator[tuple[str, int]]:
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                doc = len(ast.get_docstring(node, clean=False).splitlines()) if ast.get_docstring(node) else 0
                yield f"{module}:{node.name}", (node.end_lineno or 0) - node.lineno + 1 - doc


def test_no_file_is_longer_than_500_lines() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lengths.items() if count > LINES} == {}


def test_no_function_is_longer_than_40_lines_but_those_that_are_named() -> None:
    assert {name for name, count in functions() if count > FUNCTION_LINES} == LONG


def test_every_folder_of_modules_is_a_package_that_is_installed() -> None:
    settings = configparser.ConfigParser()
    settings.read(HOUSE["ROOT"] / "setup.cfg")
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert sorted(settings["options"]["packages"].split()) == sorted(packages)
