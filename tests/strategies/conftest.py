"""Conformance with the second pattern is among the slow tests: each case has a twin with the first one."""

from __future__ import annotations

import pytest

TWIN = "promotion-3"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks them."""
    for item in items:
        if item.path.name == "test_conformance.py" and TWIN in item.name:
            item.add_marker(pytest.mark.slow)
