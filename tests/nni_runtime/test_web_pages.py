"""NNI's own pages of a search of the DARTS space, in a real browser: what they show, and what they lack unrepaired."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from typing import Any

import pytest
from support_browser import shown
from support_manager import Manager, final_metrics, parameters
from support_pages import Page, serve_pages, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.browser]

NAVIGATION = ".nav-slider"
CARDS = ".focus-status-metric > div"
ORDER, KEY = ".top-order .ms-Dropdown-title", ".metric-key .ms-Dropdown-title"
MODE, MODES = ".para-filter .ms-Dropdown-title", ".default-metric .ms-Dropdown-title"
SEARCHED = 6


def best(run: Manager, key: str, *, low: bool = False) -> tuple[str, float]:
    """Number and value of the best trial."""
    found = [(str(trial["sequenceId"]), float(final_metrics(trial)[key])) for trial in run.succeeded]
    return (min if low else max)(found, key=lambda one: one[1])


# --- navigation ---


def test_the_privacy_page_is_a_click_away_and_looks_like_its_neighbours(page: Page) -> None:
    page.open("oview")
    links = page.run(f"""return [...document.querySelectorAll('{NAVIGATION} a')].map(link => {{
        const box = link.firstChild.firstChild.getBoundingClientRect();
        return [link.getAttribute('aria-label') ?? link.getAttribute('href'), box.left, box.width, box.height]}})""")
    assert [name for name, *_ in links] == ["/oview", "/detail", "Privacy", "/experiment"]
    assert len({tuple(box) for _, *box in links}) == 1
    page.click(f"{NAVIGATION} .privacy-link")
    assert wait_for(lambda: page.run("return location.pathname") == "/privacy/")


def test_addresses_keep_the_prefix_of_the_manager(driver: Any, darts_run: Manager) -> None:
    with serve_pages(darts_run.port, prefix="/lab") as address:
        page = Page(driver, address)
        page.open("oview")
        assert page.run("return document.querySelector('.privacy-link').getAttribute('href')") == "/lab/privacy/"


@pytest.mark.parametrize("unrepaired", [["privacy_link"]], indirect=True)
def test_without_the_patch_there_is_no_link(unrepaired: Page) -> None:
    unrepaired.open("oview")
    assert len(unrepaired.texts(f"{NAVIGATION} a")) == 3


# --- numbers ---


def long_numbers(texts: list[str]) -> list[str]:
    """Numbers of more than four digits that are no integers; leading zeros are none."""
    found = [number for text in texts for number in re.findall(r"\d+\.\d+", text)]
    return [number for number in found if len(number.replace(".", "").lstrip("0")) > 4]


def test_metrics_have_four_digits_and_the_whole_number_as_title(page: Page, darts_run: Manager) -> None:
    page.open("detail")
    cell = "#tableList [data-automation-key='metric/mia_auc'] .name"
    values = [final_metrics(trial)["mia_auc"] for trial in darts_run.trials][:20]
    assert page.texts(cell) == [shown(value) for value in values]
    assert page.titles(cell) == [str(value) for value in values]
    default = "#tableList [data-automation-key=latestAccuracy] .name"
    values = [final_metrics(trial)["default"] for trial in darts_run.trials][:20]
    assert page.texts(default) == [f"{shown(value)} (FINAL)" for value in values]
    assert page.titles(default) == [str(value) for value in values]
    assert long_numbers(page.texts("body")) == []
    page.open("oview")
    assert long_numbers(page.texts("body")) == []


@pytest.mark.parametrize("unrepaired", [["four_digits", "overview_cards"]], indirect=True)
def test_without_the_patch_numbers_are_long(unrepaired: Page) -> None:
    for name in ("detail", "oview"):
        unrepaired.open(name)
        assert long_numbers(unrepaired.texts("body")) != []


def tooltip(page: Page, selector: str) -> tuple[str, str | None]:
    """Text of the first point's tooltip, and the title of the number in it."""
    page.chart(selector, "dispatchAction({type: 'showTip', seriesIndex: 0, dataIndex: 0})")
    assert wait_for(lambda: page.texts(".tooldetailAccuracy"))
    return page.texts(".tooldetailAccuracy")[0], page.run(
        "return document.querySelector('.tooldetailAccuracy b')?.title"
    )


def test_tooltips_have_four_shown(page: Page, darts_run: Manager) -> None:
    first = darts_run.trials[0]
    page.open("detail")
    text, whole = tooltip(page, ".default-metric-graph")
    assert f"default: {shown(final_metrics(first)['default'])}\n" in text
    assert whole == str(final_metrics(first)["default"])
    page.click("[role=tab]", "Intermediate")
    assert wait_for(lambda: page.texts(".intermediate-graph"))
    text, whole = tooltip(page, ".intermediate-graph")
    assert whole and f"Intermediate: {shown(float(whole))}\n" in text


@pytest.mark.parametrize("unrepaired", [["tooltips_of_charts"]], indirect=True)
def test_without_the_patch_tooltips_are_long(unrepaired: Page) -> None:
    unrepaired.open("detail")
    assert long_numbers([tooltip(unrepaired, ".default-metric-graph")[0]]) != []


# --- the overview ---


def test_cards_show_best_accuracy_and_lowest_auc_with_their_trials(page: Page, darts_run: Manager) -> None:
    page.open("oview")
    (high, accuracy), (low, auc) = best(darts_run, "accuracy"), best(darts_run, "mia_auc", low=True)
    assert [text.split("\n") for text in page.texts(CARDS)[1:]] == [
        [shown(accuracy), "Best accuracy", f"trial {high}"],
        [shown(auc), "Lowest AUC", f"trial {low}"],
    ]
    assert page.titles(f"{CARDS} .bestMetric > [title]") == [str(accuracy), str(auc)]


@pytest.mark.parametrize("unrepaired", [["overview_cards"]], indirect=True)
def test_without_the_patch_one_card_knows_no_trial(unrepaired: Page) -> None:
    unrepaired.open("oview")
    (text,) = unrepaired.texts(CARDS)[1:]
    assert "Best metric" in text and "trial" not in text


def test_top_trials_have_both_columns_and_can_be_ordered_by_the_auc(page: Page, darts_run: Manager) -> None:
    page.open("oview")
    numbers = "#succTable [data-automation-key=sequenceId]"
    assert page.texts("#succTable [role=columnheader]")[-2:] == ["Default metric", "mia_auc"]
    assert page.texts(numbers)[0] == best(darts_run, "accuracy")[0]
    page.choose(ORDER, "mia_auc")
    aucs = sorted((final_metrics(trial)["mia_auc"], str(trial["sequenceId"])) for trial in darts_run.succeeded)[:10]
    assert wait_for(lambda: page.texts(numbers) == [number for _, number in aucs])
    assert page.texts("#succTable [data-automation-key=mia_auc]") == [shown(auc) for auc, _ in aucs]
    assert "Minimize" in page.texts(".overviewBestMetric .active")[0]
    assert page.chart(".overviewChart", "getOption().yAxis[0].name") == "mia_auc"
    drawn = page.chart(".overviewChart", "getOption().series[0].data.map(point => [point[1], String(point[0])])")
    assert [tuple(point) for point in drawn] == aucs
    # The choice is of this page: the next one starts with its own metric and that metric's direction.
    page.click(f"{NAVIGATION} a[href='/detail']")
    assert wait_for(lambda: "Maximize" in page.texts(MODES))


@pytest.mark.parametrize("unrepaired", [["top_trials"]], indirect=True)
def test_without_the_patch_top_trials_know_no_auc(unrepaired: Page) -> None:
    unrepaired.open("oview")
    assert "mia_auc" not in unrepaired.texts("body")[0]


# --- graphs ---


def test_a_graph_is_named_after_its_metric_and_starts_in_its_direction(page: Page) -> None:
    page.open("detail")
    graph = ".default-metric-graph"
    assert page.chart(graph, "getOption().yAxis[0].name") == "Default metric"
    page.choose(KEY, "overfitting")
    assert wait_for(lambda: page.chart(graph, "getOption().yAxis[0].name") == "overfitting")
    assert "Minimize" in page.texts(MODES)
    page.choose(KEY, "balanced_accuracy")
    assert wait_for(lambda: "Maximize" in page.texts(MODES))


@pytest.mark.parametrize("unrepaired", [["named_metric_axes"]], indirect=True)
def test_without_the_patch_every_axis_is_the_default_metric(unrepaired: Page) -> None:
    unrepaired.open("detail")
    unrepaired.choose(MODES, "overfitting", shown="default")
    assert unrepaired.chart(".default-metric-graph", "getOption().yAxis[0].name") == "Default metric"
    assert "Maximize" in unrepaired.texts(MODES)


AXES = """return [...document.querySelectorAll('.parcoords .dimension')]
    .sort((one, other) => one.getCTM().e - other.getCTM().e)
    .map(axis => { const label = axis.querySelector('.label'); return label.dataset.whole ?? label.textContent; })"""
LABELS = """return [...document.querySelectorAll('.parcoords text')].filter(text => text.textContent !== '')
    .map(text => [text, text.getBoundingClientRect()]).filter(([, box]) => box.width > 0)
    .map(([text, box]) => [text.textContent, box.left, box.top, box.right, box.bottom])"""


def open_chart(page: Page) -> list[str]:
    page.open("detail")
    page.click("[role=tab]", "Hyper-parameter")
    assert wait_for(lambda: page.run(AXES))
    return list(page.run(AXES))


def overlaps(page: Page) -> list[tuple[str, str]]:
    """Pairs of labels of the chart whose boxes share more than a hair."""
    return [
        (one, other)
        for (one, *a), (other, *b) in combinations(page.run(LABELS), 2)
        if min(a[2], b[2]) - max(a[0], b[0]) > 0.5 and min(a[3], b[3]) - max(a[1], b[1]) > 0.5
    ]


@pytest.mark.parametrize("width", [1400, 1000, 390])
def test_labels_of_the_hyper_parameter_chart_do_not_overlap(page: Page, width: int) -> None:
    page.resize(width)
    open_chart(page)
    assert len(page.run(LABELS)) > 50
    assert overlaps(page) == []
    left = page.run("return document.querySelector('.parcoords').getBoundingClientRect().left")
    assert min(box[1] for box in page.run(LABELS)) >= left


@pytest.mark.parametrize("unrepaired", [["chart_axes"]], indirect=True)
def test_without_the_patch_all_choices_are_axes_and_labels_overlap(unrepaired: Page) -> None:
    assert len(open_chart(unrepaired)) > 20
    assert len(overlaps(unrepaired)) > 50


def test_the_chart_starts_with_what_the_metric_varies_most_with(page: Page, darts_run: Manager) -> None:
    axes = open_chart(page)
    assert axes[0] == "normal_3_op1"
    assert axes[SEARCHED:] == ["default", "train_accuracy", "overfitting", "mia_auc", "parameters", "multiply_adds"]
    assert page.texts(MODE) == ["Maximize", "Top 100%", "default"]
    page.choose(".para-filter .metric-key .ms-Dropdown-title", "mia_auc")
    assert wait_for(lambda: page.run(AXES)[0] == "reduction_5_op1")
    assert page.texts(MODE) == ["Minimize", "Top 100%", "mia_auc"]
    assert overlaps(page) == []
    assert set(page.run(AXES)[:SEARCHED]) <= set(parameters(darts_run.trials[0])["mutation_summary"])


def test_the_strength_of_an_axis_is_what_statistics_say(page: Page, darts_run: Manager) -> None:
    import numpy as np
    from scipy.stats import spearmanr

    page.open("oview")
    rng = np.random.default_rng(0)
    outcomes = rng.normal(size=40)
    groups = rng.integers(0, 4, size=40)
    outcomes += groups == 2
    between = sum(
        (groups == group).sum() * (outcomes[groups == group].mean() - outcomes.mean()) ** 2 for group in range(4)
    )
    eta_squared = between / ((outcomes - outcomes.mean()) ** 2).sum()
    names = [f"op{group}" for group in groups]
    script = "return self.nniPrivacy.strength(...arguments)"
    assert page.run(script, names, outcomes.tolist(), True) == pytest.approx(1 - (1 - eta_squared) * 39 / 36)
    numbers = (outcomes + rng.normal(size=40)).round(1)
    rho = spearmanr(numbers, outcomes).statistic
    expected = 1 - (1 - rho**2) * 39 / 38
    assert page.run(script, numbers.tolist(), outcomes.tolist(), False) == pytest.approx(expected)
    assert page.run(script, ["a"] * 40, outcomes.tolist(), True) == 0
    assert page.run(script, names, [1.0] * 40, True) == 0


def test_chosen_axes_are_kept(page: Page) -> None:
    open_chart(page)
    page.click(".para-filter button", "Add/Remove axes")
    page.click(".ms-Dialog-main .ms-Checkbox-label", "Select all")
    page.click(".ms-Dialog-main .ms-Checkbox-label", "Select all")
    for name in ("normal_2_op1", "mia_auc"):
        page.run(
            "[...document.querySelectorAll('.ms-Dialog-main .ms-Checkbox')]"
            ".find(box => box.innerText.trim().endsWith(arguments[0])).querySelector('input').click()",
            name,
        )
    page.click(".ms-Dialog-main button", "Save")
    assert wait_for(lambda: page.run(AXES) == ["normal_2_op1", "mia_auc"])
    assert open_chart(page) == ["normal_2_op1", "mia_auc"]


# --- trials ---


@pytest.mark.parametrize("name", ["oview", "detail"])
def test_parameters_show_what_the_pattern_fixed(page: Page, darts_run: Manager, name: str) -> None:
    page.open(name)
    fixed = parameters(darts_run.trials[0])["fixed_choices"]
    assert fixed["reduction_2_op1"] == fixed["reduction_2_op2"] == "avg_pool_3x3"
    page.click(".ms-DetailsRow [data-icon-name=ChevronRight]")
    assert wait_for(lambda: page.texts(".bgHyper"))
    tree = page.texts(".bgHyper")[0].partition("fixed:")[2]
    assert all(re.search(rf'{label}:\s*"{re.escape(value)}"', tree) for label, value in fixed.items())
    assert "reduction_5_op1" in page.texts(".bgHyper")[0].partition("fixed:")[0]


def test_no_button_is_dead(page: Page) -> None:
    page.open("detail")
    page.click(".ms-DetailsRow [data-icon-name=ChevronRight]")
    assert wait_for(lambda: len(page.texts(".openRow [role=tab]")) == 2)
    assert not page.run("return document.body.innerText.includes('Visualization')")
    assert page.run("return document.querySelectorAll('[title=\"Customized trial\"]').length") == 0


@pytest.mark.parametrize("unrepaired", [["no_dead_buttons", "fixed_choices"]], indirect=True)
def test_without_the_patches_netron_is_there_and_fixed_edges_are_not(unrepaired: Page) -> None:
    unrepaired.open("detail")
    unrepaired.click(".ms-DetailsRow [data-icon-name=ChevronRight]")
    assert wait_for(lambda: len(unrepaired.texts(".openRow [role=tab]")) == 3)
    assert "reduction_2_op1" not in unrepaired.texts(".bgHyper")[0]


def test_the_log_panel_has_logs_only(page: Page) -> None:
    page.open("oview")
    page.click("img[alt=log]")
    assert wait_for(lambda: "Start NNI manager" in " ".join(page.texts(".logPanel .view-line")).replace("\xa0", " "))
    assert page.texts(".logPanel [role=tab]") == ["NNIManager log"]
    assert page.errors() == []


@pytest.mark.parametrize("unrepaired", [["dispatcher_log"]], indirect=True)
def test_without_the_patch_a_log_is_the_page_itself(unrepaired: Page) -> None:
    unrepaired.open("oview")
    unrepaired.click("img[alt=log]")
    assert wait_for(lambda: "doctype" in " ".join(unrepaired.texts(".logPanel .view-line")))


def sort_by(page: Page, table: str, column: str) -> list[str]:
    """Clicks a title; the numbers of the trials as they stand then."""
    page.click(f"{table} [role=columnheader][data-item-key='{column}'] .ms-DetailsHeader-cellTitle")
    return wait_for(lambda: page.texts(f"{table} [data-automation-key=sequenceId]"))


def numbers_of_rows(page: Page) -> list[str]:
    return page.texts("[data-automation-key=sequenceId]")


def test_an_address_leads_to_the_row_of_a_trial(page: Page, darts_run: Manager) -> None:
    wanted = darts_run.succeeded[3]
    page.open(f"detail?trial={wanted['trialJobId']}")
    assert wait_for(lambda: numbers_of_rows(page) == [str(wanted["sequenceId"])]), numbers_of_rows(page)
    assert page.run("return document.querySelector('input[placeholder=Search]').value").startswith("Trial id:")
    page.open("detail?trial=%3Cscript%3E")
    assert wait_for(lambda: len(numbers_of_rows(page)) > 1)


@pytest.mark.parametrize("unrepaired", [["linked_trial"]], indirect=True)
def test_without_the_patch_an_address_shows_all_trials(unrepaired: Page, darts_run: Manager) -> None:
    unrepaired.open(f"detail?trial={darts_run.succeeded[3]['trialJobId']}")
    assert wait_for(lambda: len(numbers_of_rows(unrepaired)) > 1)


@pytest.mark.parametrize("column", ["latestAccuracy", "metric/mia_auc"])
def test_each_click_on_a_title_sorts(page: Page, darts_run: Manager, column: str) -> None:
    key = {"latestAccuracy": "default", "metric/mia_auc": "mia_auc"}[column]
    order = [str(one["sequenceId"]) for one in sorted(darts_run.succeeded, key=lambda one: final_metrics(one)[key])]
    page.open("detail")
    sort_by(page, "#tableList", column)
    assert wait_for(lambda: page.texts("#tableList [data-automation-key=sequenceId]") == order[:20])
    sort_by(page, "#tableList", column)
    assert wait_for(lambda: page.texts("#tableList [data-automation-key=sequenceId]") == order[::-1][:20])
    assert page.errors() == []


@pytest.mark.parametrize("unrepaired", [["sorting"]], indirect=True)
def test_without_the_patch_a_click_is_an_error(unrepaired: Page) -> None:
    unrepaired.open("detail")
    before = unrepaired.texts("#tableList [data-automation-key=sequenceId]")
    assert sort_by(unrepaired, "#tableList", "metric/mia_auc") == before
    assert any("TypeError" in error for error in unrepaired.errors())


def test_top_trials_can_be_sorted_by_either_metric(page: Page, darts_run: Manager) -> None:
    page.open("oview")
    top = page.texts("#succTable [data-automation-key=sequenceId]")
    by_number = {str(trial["sequenceId"]): final_metrics(trial) for trial in darts_run.succeeded}
    for column, key in (("accuracy", "default"), ("mia_auc", "mia_auc")):
        order = sorted(top, key=lambda number: by_number[number][key])
        sort_by(page, "#succTable", column)
        first = wait_for(lambda: one_of(page, order, order[::-1]))  # noqa: B023
        sort_by(page, "#succTable", column)
        assert first and wait_for(lambda: one_of(page, first[::-1]))  # noqa: B023


def one_of(page: Page, *orders: list[str]) -> list[str]:
    """The order in which Top trials stand, if it is one of these."""
    order = page.texts("#succTable [data-automation-key=sequenceId]")
    return order if order in orders else []


# --- the dialog that compares ---

CELLS = """return [...document.querySelectorAll('.compare-modal-table tr')].map(row => [...row.children].map(cell => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    const [text, box] = [range.getBoundingClientRect(), cell.getBoundingClientRect()];
    const clipped = getComputedStyle(cell).overflow === 'hidden';
    return [text.left, clipped ? Math.min(text.right, box.right) : text.right]; }))"""


def compare(page: Page, trials: int = 2) -> None:
    page.open("detail")
    for place in range(trials):
        page.run("document.querySelectorAll('.detail-check input')[arguments[0]].click()", place)
    page.click("#tableList button:not([disabled])", "Compare")
    assert wait_for(lambda: page.run(CELLS))


def overlapping_rows(page: Page) -> int:
    return sum(any(one[1] > other[0] for one, other in pairwise(cells)) for cells in page.run(CELLS))


def test_compared_trials_have_four_digits_and_no_name_lies_over_a_value(page: Page, darts_run: Manager) -> None:
    compare(page)
    assert overlapping_rows(page) == 0
    assert long_numbers(page.texts(".compare-modal-table")) == []
    titles = " ".join(page.titles(".compare-modal-table td"))  # type: ignore[arg-type]
    assert all(str(final_metrics(trial)["mia_auc"]) in titles for trial in darts_run.trials[:2])
    page.choose(".selectKeys .ms-Dropdown-title", "loss_threshold_mia_auc")
    name = "getOption().yAxis[0].name"
    assert wait_for(lambda: page.chart(".compare-modal", name) == "loss_threshold_mia_auc")


@pytest.mark.parametrize("unrepaired", [["compared_trials"]], indirect=True)
def test_without_the_patch_names_lie_over_values(unrepaired: Page) -> None:
    compare(unrepaired)
    assert overlapping_rows(unrepaired) > 5


# --- all pages ---


@pytest.mark.parametrize("name", ["oview", "detail", "experiment"])
def test_pages_are_no_wider_than_a_phone_and_log_no_errors(page: Page, name: str) -> None:
    page.resize(390, 844)
    page.open(name)
    tabs = ("Hyper-parameter", "Duration", "Intermediate", "Default") if name == "detail" else ("",)
    for tab in tabs:
        if tab:
            page.click("[role=tab]", tab)
            assert wait_for(lambda: page.run("return document.querySelector('canvas, .parcoords') !== null"))
        assert page.run("return document.documentElement.scrollWidth") <= 390
    assert page.errors() == []


@pytest.mark.parametrize("unrepaired", [["narrow_windows"]], indirect=True)
def test_without_the_patch_pages_are_as_wide_as_a_screen(unrepaired: Page) -> None:
    unrepaired.resize(390, 844)
    for name in ("oview", "detail", "experiment"):
        unrepaired.open(name)
        assert unrepaired.run("return document.documentElement.scrollWidth") > 1000
