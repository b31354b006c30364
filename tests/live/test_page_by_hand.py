"""What people do with the live page: point, click, filter, sort, compare, save; with a mouse and with keys alone."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path
from typing import Any

import pytest
from live_page import Page, made_search, rows_of, served, write
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.slow, pytest.mark.browser]

FOCUS = "const one = document.activeElement; return [one.tagName, one.dataset.trial ?? one.innerText ?? '']"
SAVED = """
window.saved = [];
HTMLAnchorElement.prototype.click = function () { window.saved.push([this.download, this.href]); };
window.made = [];
const make = URL.createObjectURL;
URL.createObjectURL = blob => { window.made.push(blob); return make.call(URL, blob); };"""


def test_pointing_at_a_trial_tells_its_numbers(page: Page, run: Path) -> None:
    row = rows_of(run)[2]
    place = page.open().point(row["trial"])
    page.mouse("mouseMoved", place)
    told = page.wait(
        lambda: next((text for text in page.texts(".tradeoff .canvas div") if "Accuracy:" in text), ""), "a tooltip"
    )
    assert f"#2 {row['trial']}" in told and f"Accuracy: {row['metrics']['accuracy']:.4f}" in told
    assert f"Attack AUC: {row['metrics']['mia_auc']:.4f}" in told and "phase: initial population" in told


def test_a_click_on_a_point_opens_the_trial_and_back_closes_it(page: Page, run: Path) -> None:
    row = rows_of(run)[2]
    place = page.open().point(row["trial"])
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        page.mouse(kind, place)
    page.wait_for_panel()
    assert page.text("#panel-title") == f"Trial {row['trial']}, No. 2" and f"trial={row['trial']}" in page.fragment
    page.driver.back()
    page.wait(lambda: not page.panel, "the panel to close")
    assert "trial" not in page.fragment


def test_a_link_to_a_trial_opens_it(page: Page, run: Path) -> None:
    first, second = (rows_of(run)[number]["trial"] for number in (1, 4))
    page.open(f"#run=0&trial={first}&x=overfitting&f=1").wait_for_panel()
    assert page.js("return document.querySelector('select[name=x]').value") == "overfitting"
    page.js("location.hash = arguments[0]", f"#run=0&trial={second}")
    page.wait(lambda: second in page.text("#panel-title"), "the other trial")
    page.open("#run=0&trial=nobody")
    assert page.wait(lambda: "no finished trial nobody" in page.text("#panel"), "a word on it")


def test_any_two_metrics_can_be_axes(page: Page, run: Path) -> None:
    page.open()
    page.choose("x", "overfitting")
    page.choose("y", "mia_tpr_at_1pct_fpr")
    axes = """const one = echarts.getInstanceByDom(document.querySelector('.tradeoff .canvas')).getOption();
        return [one.xAxis[0].name, one.yAxis[0].name]"""
    assert page.js(axes) == ["Overfitting", "TPR at 1% FPR"]
    assert "x=overfitting" in page.fragment and "Better is to the left and down" in page.text(".tradeoff")
    low = min((row for row in rows_of(run) if row["metrics"]), key=lambda row: row["metrics"]["overfitting"])
    series = page.js("return echarts.getInstanceByDom(document.querySelector('.tradeoff .canvas')).getOption().series")
    front = {
        one["trial"]
        for part in series
        if part["name"] == "Pareto front" and part["type"] == "scatter"
        for one in part["data"]
    }
    assert low["trial"] in front


def test_filters_choose_rows_and_points_and_are_kept_in_the_address(page: Page, run: Path) -> None:
    page.open()
    feasible = {row["trial"] for row in rows_of(run) if row["metrics"] and row["metrics"]["mia_auc"] <= 0.66}
    page.choose("feasible", "yes")
    assert set(page.trials) == feasible and f"{len(feasible)} of 12 shown" in page.text(".filters")
    page.choose("phase", "evolution")
    both = {row["trial"] for row in rows_of(run) if row["sequence"] >= 6 and row["trial"] in feasible}
    assert set(page.trials) == both
    points = page.js("""return echarts.getInstanceByDom(document.querySelector('.tradeoff .canvas')).getOption().series
        .filter(one => one.type === 'scatter').flatMap(one => one.data).map(one => one.trial)""")
    assert set(points) == both
    page.open("#run=0&status=failed")
    assert page.trials == ["fail5"]
    page.click(".filters button")
    assert len(page.trials) == 12


def test_the_search_field_looks_into_ids_and_errors(page: Page) -> None:
    page.open()
    page.js("document.querySelector('input[name=q]').focus()")
    page.press("not finite")
    page.wait(lambda: page.trials == ["fail5"], "the one row")


def test_columns_sort_both_ways_and_what_is_missing_stays_last(page: Page, run: Path) -> None:
    page.open()
    known = {row["trial"]: row["metrics"]["mia_auc"] for row in rows_of(run) if row["metrics"]}
    page.click("button[data-key=mia_auc]")
    assert page.trials == [*sorted(known, key=lambda trial: known[trial]), "fail5"]
    page.click("button[data-key=mia_auc]")
    assert page.trials == [*sorted(known, key=lambda trial: -known[trial]), "fail5"]
    sorted_by = "return document.querySelector('button[data-key=mia_auc]').closest('th').getAttribute('aria-sort')"
    assert page.js(sorted_by) == "descending"


def test_columns_are_added_and_taken_away(page: Page) -> None:
    page.open()
    titles = page.texts(".trials thead button")
    assert "Train accuracy" not in titles
    page.click(".columns summary")
    page.js(
        """[...document.querySelectorAll('.menu label')].find(one => one.innerText === 'Train accuracy')
            .querySelector('input').click()"""
    )
    assert "Train accuracy" in page.texts(".trials thead button")
    page.js("document.querySelector('.menu input').focus()")
    page.press(Keys.ESCAPE)
    assert page.js("return document.querySelector('.columns').open") is False


def test_two_trials_stand_side_by_side_with_what_differs(page: Page, run: Path) -> None:
    first, second = rows_of(run)[1], rows_of(run)[4]
    page.open()
    for row in (first, second):
        page.js(
            """[...document.querySelectorAll('tr')].find(one => one.dataset.trial === arguments[0])
                .querySelector('input').click()""",
            row["trial"],
        )
    page.click(".pairs .primary")
    page.wait_for_panel()
    rows = {
        cells[0]: cells
        for cells in page.js(
            """return [...document.querySelectorAll('.comparison tbody tr')].map(
                tr => [...tr.cells].map(cell => cell.innerText))"""
        )
    }
    accuracies = [row["metrics"]["accuracy"] for row in (first, second)]
    assert rows["Accuracy"][1].startswith(f"{accuracies[0]:.4f}") and rows["Accuracy"][2].startswith(
        f"{accuracies[1]:.4f}"
    )
    assert "better" not in "".join(rows["Accuracy"]) and rows["Accuracy"][4] == ""
    assert rows["Attack AUC"][4] == "intervals overlap" and "better" not in "".join(rows["Attack AUC"])
    assert page.js("return document.querySelectorAll('#panel .cell img').length") == 4
    assert page.js("return document.querySelectorAll('#panel mark').length") > 2
    assert f"with={second['trial']}" in page.fragment
    page.press(Keys.ESCAPE)
    page.wait(lambda: not page.panel, "the panel to close")


def test_better_is_said_of_intervals_that_lie_apart_and_of_costs(chromium: Any, tmp_path: Path) -> None:
    folder = made_search(tmp_path / "run", trials=2, failed=())
    rows = rows_of(folder)
    for at, row in enumerate(rows):
        low = 0.5 + at / 5
        row["metrics"] |= {"mia_auc": low + 0.05, "mia_auc_low": low, "mia_auc_high": low + 0.1, "parameters": 900 - at}
    write(folder, rows)
    said = (
        "return [...document.querySelectorAll('.comparison .badge')].map(one => one.closest('tr').cells[0].innerText)"
    )
    bold = "return [...document.querySelectorAll('.comparison tr.differs')].map(one => one.cells[0].innerText)"
    with served(folder) as address:
        page = Page(chromium, address).open(f"#trial={rows[0]['trial']}&with={rows[1]['trial']}")
        page.wait_for_panel()
        assert page.js(said) == ["Attack AUC", "Weights"]
        assert {"Attack AUC", "Weights"} <= set(page.js(bold)) and "Accuracy" not in page.js(bold)


def test_keys_alone_are_enough(page: Page, run: Path) -> None:
    page.open()
    page.press(Keys.TAB)
    assert page.js(FOCUS)[1] == "Skip to the table"
    page.press(Keys.ENTER)
    newest = [row["trial"] for row in reversed(rows_of(run))]
    assert page.js(FOCUS) == ["TR", newest[0]]
    page.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP)
    assert page.js(FOCUS) == ["TR", newest[1]]
    assert page.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press(Keys.ENTER)
    page.wait_for_panel()
    assert newest[1] in page.text("#panel-title") and page.js(
        "return document.activeElement.closest('dialog') !== null"
    )
    page.press(Keys.ARROW_RIGHT)
    page.wait(lambda: newest[2] in page.text("#panel-title"), "the next trial")
    page.press(Keys.ESCAPE)
    page.wait(lambda: not page.panel, "the panel to close")
    assert page.js(FOCUS)[0] == "TR"


def test_every_control_can_be_reached_by_the_tabulator_and_has_a_name(page: Page) -> None:
    page.open()
    page.js("document.activeElement.blur()")
    seen = []
    for _ in range(60):
        page.press(Keys.TAB)
        tag, text = page.js(FOCUS)
        seen.append((tag, text))
        if tag == "BODY":
            break
    kinds = {tag for tag, _ in seen}
    assert {"A", "BUTTON", "SELECT", "INPUT", "SUMMARY", "TR"} <= kinds
    names = """return [...document.querySelectorAll('button, select, input, a[href], summary')].filter(one =>
        one.checkVisibility()
        && !(one.innerText || one.getAttribute('aria-label') || one.labels?.length || one.title)).length"""
    assert page.js(names) == 0


def test_charts_are_saved_as_png_and_svg(page: Page) -> None:
    page.open()
    page.js(SAVED)
    for button in page.driver.find_elements("css selector", ".tradeoff .tools button"):
        button.click()
    (png, png_data), (svg, svg_data) = page.js("return window.saved")
    assert (png, svg) == ("made-tradeoff.png", "made-tradeoff.svg")
    assert base64.b64decode(png_data.partition("base64,")[2])[:8] == b"\x89PNG\r\n\x1a\n"
    drawn = page.js(
        "const text = decodeURIComponent(arguments[0].slice(arguments[0].indexOf(',') + 1)); return text", svg_data
    )
    assert drawn.lstrip().startswith("<svg") and "Accuracy" in drawn


def test_the_rows_that_are_shown_are_saved_as_csv(page: Page, run: Path) -> None:
    page.open("#run=0&feasible=yes")
    page.js(SAVED)
    page.js("[...document.querySelectorAll('button')].find(one => one.innerText === 'CSV of those shown').click()")
    assert page.js("return window.saved[0][0]") == "made-shown.csv"
    text = page.driver.execute_async_script("window.made[0].text().then(arguments[0])")
    rows = {row["trial"]: row for row in csv.DictReader(io.StringIO(text))}
    assert set(rows) == set(page.trials)
    for row in rows_of(run):
        if row["trial"] in rows:
            assert float(rows[row["trial"]]["mia_auc_low"]) == row["metrics"]["mia_auc_low"]
    everything = page.driver.execute_async_script(
        """fetch([...document.querySelectorAll('a')].find(one => one.innerText === 'CSV of all').href)
            .then(one => one.text()).then(arguments[0])"""
    )
    assert len(list(csv.DictReader(io.StringIO(everything)))) == 12
    assert set(text.splitlines()) < set(everything.splitlines())
