"""Fixtures of this folder. The managers of the slow tests are real: each is started once, when a test asks for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support_browser import open_browser
from support_manager import Manager, run_manager
from support_pages import Page, serve_pages

from nni_privacy.nni_runtime.overlay import MARKER
from nni_privacy.nni_runtime.patches.web import WEB_PATCHES
from nni_privacy.nni_runtime.repairing import Repair
from nni_privacy.nni_runtime.repairs import REPAIRS

# NNI as it is published, as far as the slow tests go: each of them is shown to fail on it.
LEFT_OUT = ",".join(
    [
        *("pairing", "routes", "loopback", "traversal", "chart_parameters", "chart_search_space"),
        *(patch.name for patch in WEB_PATCHES),
    ]
)


@pytest.fixture
def nni_as_published() -> Iterator[None]:
    """Takes back what install() did to this process, and does it again afterwards: other tests may count on it."""
    path = list(sys.path)
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "nni_node"}
    active = [repair for repair in REPAIRS.values() if repair.active]
    sys.path[:] = [entry for entry in path if not (Path(entry) / MARKER).is_file()]
    _reset(modules={}, active=[])
    yield
    sys.path[:] = path
    _reset(modules=modules, active=active)


def _reset(modules: dict[str, ModuleType], active: list[Repair]) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "nni_node"]:
        del sys.modules[name]
    sys.modules.update(modules)
    for repair in REPAIRS.values():
        repair.remove()
    for repair in active:
        repair.apply()


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


@pytest.fixture(scope="session")
def darts_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """24 architectures of the DARTS space, two edges of them fixed; nothing is trained."""
    folder = tmp_path_factory.mktemp("darts")
    with run_manager("darts", folder / "run", trials=24, concurrency=2) as manager:
        yield manager


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for all tests of NNI's own pages."""
    with open_browser(tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.fixture
def page(driver: Any, darts_run: Manager) -> Page:
    """The pages as the manager serves them, 1400 pixels wide, with nothing remembered."""
    made = Page(driver, f"http://127.0.0.1:{darts_run.port}")
    made.resize(1400)
    driver.get(f"{made.address}/logo.png")
    made.run("localStorage.clear()")
    made.errors()
    return made


@pytest.fixture
def unrepaired(request: pytest.FixtureRequest, driver: Any, darts_run: Manager) -> Iterator[Page]:
    """The same pages without the patches that a test names."""
    with serve_pages(darts_run.port, without=request.param) as address:
        made = Page(driver, address)
        made.resize(1400)
        driver.get_log("browser")
        yield made


@pytest.fixture
def secret(repaired_run: Manager) -> Path:
    """A file outside of every trial's folder, which no route may show."""
    path = repaired_run.work / "secret.txt"
    path.write_text("the secret of this machine")
    return path
