"""Real managers for the slow tests of this folder: each is started once, when the first test asks for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for _folder in (Path(__file__).parent, Path(__file__).parent.parent):
    # The helpers of this folder and of tests/ are importable, however pytest was called.
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

from support_manager import Manager, run_manager  # noqa: E402

# What a run without our repairs of the manager, the page and the chart looks like; every slow test is shown to fail on it.
LEFT_OUT = "pairing,loopback,traversal,mia_auc_column,chart_parameters,chart_search_space,chart_numeric_metrics"


@pytest.fixture(scope="session")
def repaired_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """Eight architectures, two at a time, the first of each two late."""
    folder = tmp_path_factory.mktemp("repaired")
    with run_manager("nas", folder / "run", trials=8, concurrency=2, delay=3) as manager:
        yield manager


@pytest.fixture(scope="session")
def broken_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """The same, shorter, on NNI as it is published."""
    folder = tmp_path_factory.mktemp("broken")
    with run_manager("nas", folder / "run", trials=4, concurrency=2, delay=3, without=LEFT_OUT) as manager:
        yield manager


@pytest.fixture
def secret(repaired_run: Manager) -> Path:
    """A file outside of every trial's folder, which no route may show."""
    path = repaired_run.work / "secret.txt"
    path.write_text("the secret of this machine")
    return path
