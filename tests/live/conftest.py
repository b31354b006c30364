"""A browser, and the live page of a finished run in it, for a whole module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_page import Page, made_search, served
from support_browser import open_browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_search(tmp_path_factory.mktemp("live") / "run")


@pytest.fixture(scope="module")
def page(chromium: Any, run: Path) -> Iterator[Page]:
    with served(run) as address:
        yield Page(chromium, address)
