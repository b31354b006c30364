"""The live page of a real search, through the repaired manager: trials as they end, epochs as they come, resumption."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import requests
from support_search import SMALL, Search, wait_for

pytestmark = pytest.mark.slow

SOON = 5.0
"""Seconds after its line that a trial is on the page at the latest."""


class Page:
    """A page that asks as a browser does: every other second, for what is new."""

    def __init__(self, search: Search) -> None:
        self.search, self.told, self.cursor = search, dict[str, tuple[float, dict[str, Any]]](), ""
        self.epochs: dict[int, int] = {}
        self.states: set[str] = set()
        self.session = requests.Session()
        self.session.trust_env = False

    def open(self) -> None:
        """Opens the address that was printed, with the token."""
        wait_for(lambda: "web UI at" in self.search.text, "the address")
        wait_for(lambda: self._opened(), "the page")

    def _opened(self) -> bool:
        try:
            answer = self.session.get(self.search.page("privacy"), timeout=20)
        except requests.RequestException:
            return False
        return answer.status_code == 200 and "text/html" in answer.headers["Content-Type"] and "token" not in answer.url

    def get(self, path: str) -> Any:
        root = self.search.page("privacy/").partition("?")[0]
        answer = self.session.get(root + path, timeout=20)
        answer.raise_for_status()
        return answer.json()

    def poll(self) -> dict[str, Any]:
        told: dict[str, Any] = self.get(f"api/runs/0?after={self.cursor}")
        if told["reset"]:
            self.told.clear()
        self.cursor = told["cursor"]
        self.states.add(told["state"])
        for row in told["rows"]:
            self.told.setdefault(row["trial"], (time.monotonic(), row))
        for trial in told["running"]:
            assert len(trial["curves"].get("loss", ())) in (0, trial["epoch"])
            self.epochs[trial["sequence"]] = max(trial["epoch"], self.epochs.get(trial["sequence"], 0))
        return told


@contextmanager
def lines(search: Search) -> Iterator[dict[str, float]]:
    """When the line of each trial was there; looked at every twentieth of a second."""
    seen: dict[str, float] = {}
    ended = Event()

    def look() -> None:
        while not ended.wait(0.05):
            for row in search.trials:
                seen.setdefault(row["trial"], time.monotonic())

    thread = Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def watched(page: Page, *, trials: int) -> None:
    """Polls until so many trials are on the page."""
    deadline = time.monotonic() + 240
    while len(page.told) < trials:
        assert time.monotonic() < deadline and page.search.process.poll() is None, page.search.text
        page.poll()
        time.sleep(1.0)


def test_each_trial_is_on_the_page_soon_and_a_resumed_run_shows_all(tmp_path: Path) -> None:
    settings = {**SMALL, "trials": 6, "evaluator": {**SMALL["evaluator"], "recipe": {"epochs": 40}}}
    search = Search(tmp_path, settings)
    try:
        page = Page(search)
        page.open()
        with lines(search) as written:
            watched(page, trials=3)
        search.stop()
        first = {row["trial"]: row for row in search.trials}
        assert all(page.told[trial][0] - written[trial] < SOON for trial in page.told)
        assert page.epochs and max(page.epochs.values()) > 0

        search = Search(tmp_path, settings, "--resume")
        page = Page(search)
        page.open()
        with lines(search) as written:
            watched(page, trials=6)
        search.wait_until_it_is_done()
        rows = {row["trial"]: row for row in search.trials}
        assert set(first) < set(rows) == set(page.told)
        for trial, (when, row) in page.told.items():
            assert when - written[trial] < SOON or trial in first
            known = {name: value for name, value in rows[trial]["metrics"].items() if value is not None}
            assert row["metrics"] == known and row["architecture"] == rows[trial]["architecture"]
            # NNI's own pages know those of this start only.
            assert (row["nni"] is None) == (trial in first)
        told = page.poll()
        assert told["state"] == "finished" and told["planned"] == 6 and told["running"] == []
        details = page.get(f"api/runs/0/trials/{next(iter(first))}")
        assert len(details["cells"]) == 2 and details["roc"] and details["curves"]["loss"]
        assert page.get("api/index")["manager"] is True
        assert search.stop() == 0
    finally:
        search.stop()


def test_a_search_and_what_confirms_it_are_on_one_page(tmp_path: Path) -> None:
    settings = {**SMALL, "trials": 2, "confirm": {"top": 1, "seeds": 2, "attacks": []}}
    search = Search(tmp_path, settings)
    try:
        page = Page(search)
        page.open()
        runs: list[dict[str, Any]] = []

        def both() -> bool:
            nonlocal runs
            try:
                runs = page.get("api/index")["runs"]
            except requests.RequestException:  # between the two managers
                return False
            return len(runs) == 2 and runs[1]["trials"] == 2

        wait_for(both, "the run that confirms it")
        assert (runs[0]["kind"], runs[0]["trials"], runs[0]["state"]) == ("search", 2, "finished")
        assert runs[1]["kind"] == "study" and runs[1]["planned"] == 2
        search.wait_until_it_is_done()
        found = page.get(f"api/runs/0/trials/{search.trials[0]['trial']}")["confirmed"]
        other = page.get(f"api/runs/0/trials/{search.trials[1]['trial']}")["confirmed"]
        assert (found is None) != (other is None)
    finally:
        search.stop()
