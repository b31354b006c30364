"""The live page of a real search, reached from NNI's own pages by a click, while the search runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from live_page import Page
from support_browser import open_browser
from support_search import SMALL, Search, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SOON = 5.0
LINK = "a[aria-label='Privacy']"
SETTINGS: dict[str, Any] = {**SMALL, "constraints": {"mia_auc": "<= 0.9"}, "trials": 5}


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    run = Search(tmp_path_factory.mktemp("search"), SETTINGS)
    try:
        yield run
    finally:
        run.stop()


@pytest.fixture(scope="module")
def page(search: Search, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page, opened by a click in NNI's bar as soon as the search has started."""
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        wait_for(lambda: "web UI at" in search.text, "the address")
        wait_for(lambda: opened(driver, search), "NNI's overview", 60)
        script = "const link = document.querySelector(arguments[0]); link?.click(); return link !== null"
        wait_for(lambda: driver.execute_script(script, LINK), "the link in NNI's bar", 60)
        wait_for(lambda: urlsplit(driver.current_url).path == "/privacy/", "the page", 30)
        yield Page(driver, driver.current_url.partition("#")[0])


def opened(driver: Any, search: Search) -> bool:
    """Whether NNI's overview could be opened: the manager takes a while to start."""
    from selenium.common.exceptions import WebDriverException

    try:
        driver.get(search.page("oview"))
    except WebDriverException:
        return False
    return urlsplit(driver.current_url).path == "/oview"


@pytest.fixture(scope="module")
def seen(page: Page, search: Search) -> dict[str, tuple[float, float]]:
    """When each trial's line was in the file, and when its row was on the page; until the search has ended."""
    lines: dict[str, float] = {}
    rows: dict[str, float] = {}
    deadline = time.monotonic() + 500
    while len(rows) < 5 and time.monotonic() < deadline:
        for trial in search.trials:
            lines.setdefault(trial["trial"], time.monotonic())
        for trial in page.trials:
            rows.setdefault(trial, time.monotonic())
        time.sleep(0.1)
    return {trial: (lines[trial], rows[trial]) for trial in rows}


def test_each_finished_trial_is_shown_within_five_seconds_of_its_line(seen: dict[str, tuple[float, float]]) -> None:
    assert len(seen) == 5
    late = {trial: shown - written for trial, (written, shown) in seen.items() if shown - written > SOON}
    assert late == {}


def test_the_numbers_are_those_of_the_file(page: Page, search: Search, seen: Any) -> None:
    for row in search.trials:
        cells = page.cells(row["trial"])
        for name in ("accuracy", "mia_auc"):
            assert cells[name].startswith(f"{row['metrics'][name]:.4f}")


def test_a_click_opens_the_trial_with_its_log_and_its_row_in_nni_s_pages(page: Page, search: Search, seen: Any) -> None:
    trial = search.trials[0]["trial"]
    place = page.point(trial)
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        page.mouse(kind, place)
    page.wait_for_panel()
    assert trial in page.text("#panel-title")
    assert page.texts("#panel .cell figcaption") == ["normal cell", "reduction cell"]
    assert "--- trial." in page.js("return document.querySelector('#panel .texts').textContent")
    link = "return document.querySelector('#panel .trial-facts a').href"
    address = page.js(link)
    assert urlsplit(address).path == "/detail"
    back = page.driver.current_url
    page.driver.get(address)
    numbers = "return [...document.querySelectorAll('[data-automation-key=sequenceId]')].map(one => one.textContent)"
    page.wait(lambda: page.js(numbers) == [str(search.trials[0]["sequence"])], "its row alone", 30)
    page.driver.get(back)
    page.wait_for_panel()


def test_the_bar_leads_back_to_nni_s_own_pages(page: Page, seen: Any) -> None:
    links = page.js("return [...document.querySelectorAll('#bar a')].map(one => new URL(one.href).pathname)")
    assert links == ["/oview", "/detail", "/privacy/"]
    page.click("#bar a")
    page.wait(lambda: "Overview" in page.text("body"), "NNI's overview", 30)
    page.driver.back()
    page.wait(lambda: len(page.trials) == 5, "the page again", 30)


def test_no_request_has_left_this_machine(page: Page, seen: Any) -> None:
    messages = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    asked = {one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"}
    hosts = {urlsplit(url).hostname for url in asked if url.startswith(("http", "ws"))}
    assert hosts == {"127.0.0.1"}


def test_a_resumed_run_shows_all_trials(page: Page, search: Search, seen: Any) -> None:
    search.stop()
    resumed = Search(search.folder, {**SETTINGS, "trials": 7}, "--resume")
    try:
        wait_for(lambda: "web UI at" in resumed.text, "the address")
        wait_for(lambda: opened(page.driver, resumed), "NNI's overview", 60)
        page.driver.get(resumed.page("privacy/"))
        wait_for(lambda: len(resumed.trials) == 7, "the trials")
        page.wait(lambda: len(page.trials) == 7, "their rows", 30)
        assert set(page.trials) == {row["trial"] for row in resumed.trials} and set(seen) < set(page.trials)
    finally:
        resumed.stop()
