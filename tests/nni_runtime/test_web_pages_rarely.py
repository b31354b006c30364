"""NNI's own pages in rare moments: trials just begun, quick ones, none at all; the curve of the best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support_manager import Manager, final_metrics
from support_pages import Page, serve_pages, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.browser]

JOBS, METRICS = "/trial-jobs", "/metric-data"
ROWS = "return document.querySelectorAll('.ms-DetailsRow').length"


def without_parameters(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last trial has been made, but nobody knows its parameters or results yet."""
    last = {key: jobs[-1][key] for key in ("trialJobId", "sequenceId", "startTime")} | {"status": "WAITING"}
    return [*jobs[:-1], last]


def with_an_unknown_trial(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A metric is quicker than the list of trials."""
    return [*metrics, {**metrics[0], "trialJobId": "early"}]


BEGINNING: dict[str, Callable[[Any], Any]] = {JOBS: without_parameters, METRICS: with_an_unknown_trial}


@pytest.mark.parametrize("without", [[], ["unknown_parameters"]], ids=["repaired", "without"])
def test_a_trial_that_has_only_just_begun_empties_no_page(driver: Any, darts_run: Manager, without: list[str]) -> None:
    with serve_pages(darts_run.port, without=without, changed=BEGINNING) as address:
        page = Page(driver, address)
        page.resize(1400)
        driver.get_log("browser")
        driver.get(f"{address}/detail")
        assert bool(wait_for(lambda: page.run(ROWS) > 0, seconds=5 if without else 20)) is not bool(without)
        assert any("Error" in error for error in page.errors()) is bool(without)
        if not without:
            page.click("[role=tab]", "Hyper-parameter")
            assert wait_for(lambda: page.texts(".parcoords .dimension"))
            assert not any("object" in label for label in page.texts(".parcoords .label"))


@pytest.mark.parametrize("without", [[], ["empty_details"]], ids=["repaired", "without"])
def test_no_icon_is_without_a_text_and_a_quick_trial_has_a_duration(
    driver: Any, darts_run: Manager, without: list[str]
) -> None:
    quick = {JOBS: lambda jobs: [{**job, "endTime": job["startTime"] + 300} for job in jobs]}
    with serve_pages(darts_run.port, without=without, changed=quick) as address:
        page = Page(driver, address)
        page.resize(1400)
        page.open("oview")
        assert ("" in page.texts(".bottomval")) is bool(without)
        assert set(page.texts("#succTable [data-automation-key=duration]")) == {"" if without else "0s"}


@pytest.mark.parametrize("without", [[], ["page_addresses"]], ids=["repaired", "without"])
def test_before_the_first_result_the_link_to_the_trials_keeps_the_prefix(
    driver: Any, darts_run: Manager, without: list[str]
) -> None:
    nothing = {JOBS: lambda jobs: [], METRICS: lambda metrics: []}
    with serve_pages(darts_run.port, without=without, changed=nothing, prefix="/lab") as address:
        driver.get(f"{address}/oview")
        link = ".succTable-tooltip a"
        page = Page(driver, address)
        assert wait_for(lambda: page.texts(link) == ["Trials detail"])
        expected = "/detail" if without else "/lab/detail"
        assert page.run(f"return document.querySelector('{link}').getAttribute('href')") == expected


@pytest.mark.parametrize("without", [[], ["optimization_curve"]], ids=["repaired", "without"])
def test_the_curve_of_the_best_names_the_best(driver: Any, darts_run: Manager, without: list[str]) -> None:
    values = {trial["trialJobId"]: final_metrics(trial)["default"] for trial in darts_run.succeeded}
    with serve_pages(darts_run.port, without=without) as address:
        page = Page(driver, address)
        page.resize(1400)
        page.open("detail")
        page.click(".default-metric [role=switch]")
        series = "getOption().series"
        graph = ".default-metric-graph"
        assert wait_for(lambda: page.chart(graph, f"{series}.length") == 2)
        points = page.chart(graph, f"{series}[0].data.map(point => [point[1], point[2]])")
        assert all(values[trial] == value for value, trial in points) is not bool(without)
        page.click(".default-metric [role=switch]")
        if not without:
            assert wait_for(lambda: page.chart(graph, f"{series}.length") == 1)
