"""Debian's Chromium for tests: headless, with an empty profile, and unable to reach anything but this machine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_HALF_UP, Context
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1600,1400",
    # No name but these is resolved, and no proxy is asked: nothing beyond the loopback range is ever contacted.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE 127.0.0.2, EXCLUDE localhost",
    "--no-proxy-server",
)


@contextmanager
def open_browser(profile: Path) -> Iterator[Any]:
    """A selenium driver; skips the test where Chromium, chromedriver or selenium is missing."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("needs Chromium and chromedriver (Debian: apt install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=chromedriver))
    try:
        driver.set_page_load_timeout(60)
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A fresh browser for one test."""
    with open_browser(tmp_path / "profile") as driver:
        yield driver


def shown(value: float) -> str:
    """A metric as the web UI shows it: four digits, of a tie the larger number, as in JavaScript."""
    rounded = Context(prec=4, rounding=ROUND_HALF_UP).create_decimal_from_float(value)
    return f"{rounded.normalize():f}"


_HEADERS = "return [...document.querySelectorAll('[role=columnheader]')].map(header => header.innerText.trim())"
_CELLS = """return [...document.querySelectorAll('#tableList [role=row] [role=gridcell]')].map(
    cell => cell.innerText.trim())"""


def trial_table(driver: Any, page: str, *, seconds: float = 20) -> tuple[list[str], str]:
    """Columns of the web UI's table of trials at the address ``page``, and all that its cells show."""
    driver.get(page)
    deadline = time.monotonic() + seconds
    while not (cells := [cell for cell in driver.execute_script(_CELLS) if cell]) and time.monotonic() < deadline:
        time.sleep(0.25)
    return [header for header in driver.execute_script(_HEADERS) if header], " ".join(cells)
