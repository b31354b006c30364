"""How long the live page takes to open with many trials, and how much memory it holds in Chromium.

    python benchmarks/live_page.py [--trials 2000] [--seconds 20]

Opened is: all rows read, the table and the trade-off drawn. Memory is what the page's own process holds and no other
(unique set size), after it has been open for some seconds and has been asked for other axes, filters and pages.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from live_page import TRADEOFF, Page, made_search, rows_of, served, write  # noqa: E402
from many_trials import many_rows  # noqa: E402
from support_browser import open_browser  # noqa: E402

DRAWN = f"return document.querySelector('{TRADEOFF} canvas, {TRADEOFF} svg') !== null"


def main() -> None:
    """Prints both figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=20, help="how long the page stays open")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = made_search(Path(folder) / "run", failed=())
        write(run, list(many_rows(rows_of(run), args.trials)))
        with served(run) as address, open_browser(Path(folder) / "profile") as driver:
            page = Page(driver, address)
            page.open()  # the server reads the run, the browser its scripts
            began, busy = time.monotonic(), work(driver)
            page.open()
            page.wait(lambda: page.js(DRAWN), "the chart", 120)
            seconds, worked = time.monotonic() - began, work(driver) - busy
            print(f"{args.trials} trials: opened in {seconds:.2f} s, {worked:.2f} s of them the browser's work")
            print(f"after opening: {memory(driver):.0f} MB")
            use(page, args.seconds)
            print(f"after {args.seconds:.0f} s of use: {memory(driver):.0f} MB")


def use(page: Page, seconds: float) -> None:
    """Does what people do with the page."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, value in (("x", "overfitting"), ("feasible", "yes"), ("x", "accuracy"), ("feasible", "")):
            page.choose(name, value)
            time.sleep(0.5)


def renderers(driver: Any) -> list[psutil.Process]:
    """The browser's processes that hold pages."""
    children = psutil.Process(driver.service.process.pid).children(recursive=True)
    return [one for one in children if "--type=renderer" in one.cmdline()]


def work(driver: Any) -> float:
    """Seconds of processor time that pages have taken."""
    return float(sum(sum(one.cpu_times()[:2]) for one in renderers(driver)))


def memory(driver: Any) -> float:
    """Megabytes of the largest of the browser's renderer processes: that of the page."""
    return float(max(one.memory_full_info().uss for one in renderers(driver))) / 1e6


if __name__ == "__main__":
    main()
