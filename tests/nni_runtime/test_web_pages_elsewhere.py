"""NNI's own pages where nothing is audited: an optimization of hyper-parameters that reports numbers; hostile names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support_browser import browser, shown  # noqa: F401
from support_manager import Manager, final_metrics, run_manager
from support_pages import Page, serve_pages, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.browser]

HOSTILE = "<img src=x onerror=\"document.title='it ran'\">"


@contextmanager
def hpo(folder: Path, **environment: str) -> Iterator[Manager]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"TEST_TRIAL": "plain_trial.py", **environment}.items():
            patch.setenv(name, value)
        with run_manager("hpo", folder / "run", trials=4, concurrency=2) as manager:
            yield manager


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    with hpo(tmp_path_factory.mktemp("plain")) as manager:
        yield manager


def test_pages_of_plain_numbers_are_as_ever(browser: Any, plain_run: Manager) -> None:  # noqa: F811
    page = Page(browser, f"http://127.0.0.1:{plain_run.port}")
    page.resize(1400)
    found = [(float(final_metrics(trial)), str(trial["sequenceId"])) for trial in plain_run.succeeded]  # type: ignore[arg-type]
    value, number = max(found)
    page.open("oview")
    (card,) = page.texts(".focus-status-metric > div")[1:]
    assert card.split("\n") == [shown(value), "Best metric", f"trial {number}"]
    assert page.texts(".top-order") == [] and page.texts("#succTable [role=columnheader]")[-1] == "Default metric"
    assert page.texts("#succTable [data-automation-key=sequenceId]") == [one for _, one in sorted(found, reverse=True)]
    assert "Tuner" in page.texts(".overviewBasicInfo")[0]
    page.click(".overviewBestMetric button", "Minimize")
    least = [one for _, one in sorted(found)]
    assert wait_for(lambda: page.texts("#succTable [data-automation-key=sequenceId]") == least)
    page.open("detail")
    assert page.texts(".default-metric .ms-Dropdown-title") == ["Maximize"]
    assert page.run("return document.querySelectorAll('[title=\"Customized trial\"]').length") == 4
    for tab, drawn in (
        ("Hyper-parameter", ".parcoords .dimension"),
        ("Duration", "canvas"),
        ("Intermediate", "canvas"),
    ):
        page.click("[role=tab]", tab)
        assert wait_for(lambda: page.texts(drawn))  # noqa: B023
    page.click(".ms-DetailsRow [data-icon-name=ChevronRight]")
    assert wait_for(lambda: "x:" in "".join(page.texts(".bgHyper")))
    assert page.errors() == []


def test_the_chart_of_one_hyper_parameter_has_both_axes(browser: Any, plain_run: Manager) -> None:  # noqa: F811
    page = Page(browser, f"http://127.0.0.1:{plain_run.port}")
    page.open("detail")
    page.click("[role=tab]", "Hyper-parameter")
    assert wait_for(lambda: page.texts(".parcoords .dimension .label") == ["x", "default"])


def test_a_tuner_has_its_log(browser: Any, plain_run: Manager) -> None:  # noqa: F811
    page = Page(browser, f"http://127.0.0.1:{plain_run.port}")
    page.open("oview")
    page.click("img[alt=log]")
    assert wait_for(lambda: page.texts(".logPanel [role=tab]") == ["Dispatcher log", "NNIManager log"])
    page.click(".logPanel [role=tab]", "Dispatcher")
    assert wait_for(lambda: "dispatcher" in " ".join(page.texts(".logPanel .view-line")).lower())


def show_hostile(page: Page) -> str:
    """The title of the page after the tooltip of a metric whose name is HTML has been shown."""
    page.open("detail")
    page.choose(".metric-key .ms-Dropdown-title", HOSTILE)
    assert wait_for(lambda: page.chart(".default-metric-graph", "getOption().yAxis[0].name") == HOSTILE)
    page.chart(".default-metric-graph", "dispatchAction({type: 'showTip', seriesIndex: 0, dataIndex: 0})")
    assert wait_for(lambda: page.texts(".tooldetailAccuracy"))
    wait_for(lambda: page.run("return document.title") == "it ran", seconds=2)
    return str(page.run("return document.title"))


def test_a_name_that_is_html_stays_a_name(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    with hpo(tmp_path, TEST_HOSTILE=HOSTILE) as manager:
        page = Page(browser, f"http://127.0.0.1:{manager.port}")
        assert show_hostile(page) != "it ran"
        assert f"{HOSTILE}: 0.1235" in page.texts(".tooldetailAccuracy")[0]
        with serve_pages(manager.port, without=["tooltips_of_charts"]) as address:
            assert show_hostile(Page(browser, address)) == "it ran"
