"""Deque's axe-core on a page that is open: the file that axe-playwright-python ships, put in by selenium."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

GRAVE = ("serious", "critical")

_RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ['violations']}).then(
    found => done(found.violations.map(rule => ({
        impact: rule.impact, rule: rule.id, help: rule.help,
        nodes: rule.nodes.map(node => node.target.join(' ') + ': ' + (node.any.concat(node.all)[0] || {}).message)}))),
    error => done(String(error)))"""


def axe_faults(driver: Any, *, impacts: tuple[str, ...] = GRAVE) -> list[str]:
    """What axe-core finds on the page as it is shown now, a line each; skips the test where axe is not installed."""
    spec = find_spec("axe_playwright_python")  # found, not imported: it would import playwright
    if spec is None or spec.origin is None:
        pytest.skip("needs axe-core (pip install axe-playwright-python)")
    driver.execute_script(Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8"))
    driver.set_script_timeout(60)
    found = driver.execute_async_script(_RUN)
    assert isinstance(found, list), found
    return [
        f"{one['impact']}: {one['rule']} ({one['help']}): {'; '.join(one['nodes'][:4])}"
        for one in found
        if one["impact"] in impacts
    ]
