"""NNI's web UI with the patches, in a real browser, on a finished run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support_browser import browser, shown  # noqa: F401
from support_manager import Manager, final_metrics

pytestmark = [pytest.mark.slow, pytest.mark.browser]

# parcoord-es draws the lines of the trials on the canvas "foreground"; the axes are SVG.
DRAWN_PIXELS = """
const canvas = document.querySelector('.parcoords canvas.foreground');
if (canvas === null || canvas.width === 0) return 0;
const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
let drawn = 0;
for (let i = 3; i < pixels.length; i += 4) drawn += pixels[i] > 0;
return drawn;
"""
CLICK_CHART = """
const tab = [...document.querySelectorAll('[role=tab]')].find(tab => tab.innerText.includes('Hyper-parameter'));
if (tab) tab.click();
return Boolean(tab);
"""
AXES = "return [...document.querySelectorAll('.parcoords svg .dimension .label')].map(label => label.textContent)"
HEADERS = "return [...document.querySelectorAll('[role=columnheader]')].map(header => header.innerText.trim())"
ROWS = """return [...document.querySelectorAll('#tableList [role=row] ')].map(
    row => [...row.querySelectorAll('[role=gridcell]')].map(cell => cell.innerText.trim())).filter(row => row.length)"""


def wait_for(question: Callable[[], Any], seconds: float = 20) -> Any:
    """The first true answer, or the last one."""
    deadline = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < deadline:
        time.sleep(0.25)
    return answer


def open_page(driver: Any, manager: Manager, page: str) -> None:
    driver.get(f"http://127.0.0.1:{manager.port}/{page}")


def open_chart(driver: Any, manager: Manager) -> None:
    open_page(driver, manager, "detail")
    assert wait_for(lambda: driver.execute_script(CLICK_CHART))
    assert wait_for(lambda: driver.execute_script("return document.querySelector('.parcoords') !== null"))


def screenshot(driver: Any, name: str) -> None:
    folder = os.environ.get("NNI_PRIVACY_SCREENSHOTS")
    if folder:
        time.sleep(2)  # rows and charts fade in
        driver.save_screenshot(str(Path(folder) / f"{name}.png"))


def test_mia_auc_is_a_default_column_beside_the_default_metric(browser: Any, repaired_run: Manager) -> None:  # noqa: F811
    open_page(browser, repaired_run, "detail")
    headers = wait_for(lambda: [text for text in browser.execute_script(HEADERS) if text])
    screenshot(browser, "detail")
    at = headers.index("Default metric") + 1
    assert headers[at : at + 2] == ["mia_auc (metric)", "notices (metric)"]
    cells = " ".join(cell for row in browser.execute_script(ROWS) for cell in row)
    for trial in repaired_run.succeeded:
        assert trial["trialJobId"] in cells
        assert shown(final_metrics(trial)["mia_auc"]) in cells
        assert final_metrics(trial)["notices"] in cells


def test_without_the_patch_mia_auc_is_hidden(browser: Any, broken_run: Manager) -> None:  # noqa: F811
    open_page(browser, broken_run, "detail")
    headers = wait_for(lambda: [text for text in browser.execute_script(HEADERS) if text])
    assert "Default metric" in headers
    assert "mia_auc (metric)" not in headers


def test_the_hyper_parameter_chart_draws_lines(browser: Any, repaired_run: Manager) -> None:  # noqa: F811
    open_chart(browser, repaired_run)
    drawn = wait_for(lambda: browser.execute_script(DRAWN_PIXELS))
    screenshot(browser, "hyper_parameter")
    assert drawn > 1000
    axes = browser.execute_script(AXES)
    assert {"op", "width", "pair", "default", "mia_auc"} <= set(axes)
    # The architecture as a text, NNI's own fields of the model: no axis is made of them.
    assert not {"ran", "trial", "sample", "evaluator", "status", "__instance_type__"} & set(axes)


def test_without_the_repairs_the_chart_does_not_show_the_choices(browser: Any, broken_run: Manager) -> None:  # noqa: F811
    open_chart(browser, broken_run)
    time.sleep(3)
    screenshot(browser, "hyper_parameter_broken")
    # The axes of the sent space stand there, but no trial has a value on them; NNI's own fields become axes.
    assert {"sample", "evaluator", "ran"} <= set(browser.execute_script(AXES))


@pytest.mark.parametrize("page", ["oview", "detail", "experiment"])
def test_pages_work_with_texts_among_the_metrics_and_ask_no_other_host(
    browser: Any,  # noqa: F811
    repaired_run: Manager,
    page: str,
) -> None:
    open_page(browser, repaired_run, page)
    assert wait_for(lambda: len(browser.execute_script("return document.body.innerText")) > 200)
    time.sleep(1)
    screenshot(browser, f"page_{page}")
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [entry["message"] for entry in errors if "TypeError" in entry["message"]] == []
    assert hosts_asked(browser) <= {"127.0.0.1"}


def test_the_overview_is_no_wider_than_the_window(browser: Any, repaired_run: Manager) -> None:  # noqa: F811
    open_page(browser, repaired_run, "oview")
    command = "return document.body.innerText.includes('trial_entry')"
    assert wait_for(lambda: browser.execute_script(command))
    screenshot(browser, "overview")
    excess = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(excess) <= 0
    lines = "return [...document.querySelectorAll('.bottomval')].map(item => item.getBoundingClientRect().height)"
    assert max(browser.execute_script(lines)) < 60  # two lines below a title: the card has room for no more


def hosts_asked(driver: Any) -> set[str]:
    from urllib.parse import urlsplit

    hosts = set()
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = urlsplit(message["params"]["request"]["url"])
            if url.scheme in {"http", "https", "ws", "wss"}:
                hosts.add(url.hostname or "")
    return hosts
