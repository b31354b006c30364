"""docs/security.md says what the code does: every route stands there, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nni_privacy.nni_runtime.overlay import find_node_package

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")


def routes() -> list[str]:
    handler = (find_node_package() / "rest_server" / "restHandler.js").read_text(encoding="utf-8")
    return re.findall(r"router\.(?:get|put|post|delete)\('([^']+)'", handler)


@pytest.mark.parametrize("route", sorted(set(routes())))
def test_every_route_is_on_the_page(route: str) -> None:
    assert f"{route}`" in PAGE


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    written = "".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in written} == set()
