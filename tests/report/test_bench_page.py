"""The page of a table: what it says is what the results say, and it says so where there is nothing to say."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from bench.planted_bench import DEMOTION, PROTOCOL, PROTOCOLS, SIZE_MATCHED, WIDTHS, whole_table
from report.overlaps import overlapping_ticks
from report.pages import HOSTILE, Page, running

from nni_privacy.analysis.rules import UNDECIDED
from nni_privacy.bench.compared import Compared
from nni_privacy.bench.results import BenchResults, bench_results
from nni_privacy.bench.variance import split_between_cells
from nni_privacy.report.bench_figures import draw_frontiers, draw_predictors, draw_shares
from nni_privacy.report.bench_infos import (
    AUC,
    LOG_TPR,
    adjusted_away,
    answers,
    claim_text,
    dataset_titles,
    frontier_panels,
    needed_rows,
    outcome_name,
    predictor_rows,
    unanswered,
)
from nni_privacy.report.bench_page import render_bench
from nni_privacy.report.html import figure_files
from nni_privacy.report.style import drawing_style

SECTIONS = ["frontiers", "variance", "verdicts", "prices", "beyond", "equal", "predictors", "agreement", "decide"]
SECTIONS += ["about"]


def analysed(table: pd.DataFrame) -> BenchResults:
    return bench_results(table, rounds=100)


@pytest.fixture(scope="module")
def results() -> BenchResults:
    return analysed(whole_table())


@pytest.fixture(scope="module")
def page(results: BenchResults) -> str:
    return render_bench(results, PROTOCOLS)


def words_of(page: str, section: str) -> str:
    found = [one for one in Page(page).root.all("section") if one.attributes.get("id") == section]
    assert len(found) == 1
    return re.sub(r"\s+", " ", found[0].words)


def test_the_sections_stand_in_their_order_and_ids_once(page: str) -> None:
    tree = Page(page)
    ids = [attributes["id"] for _, attributes in tree.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    sections = [one.attributes.get("id") for one in tree.root.all("section")]
    assert [one for one in sections if one] == ["summary", *SECTIONS]
    assert len(running(tree)) == 2  # sorting and scrolling
    assert not re.search(r"\bnan\b|\binf\b", " ".join(tree.text))


def test_the_same_results_give_the_same_page(results: BenchResults, page: str) -> None:
    assert render_bench(results, PROTOCOLS) == page


def test_every_verdict_stands_there_with_estimate_interval_cells_and_word(results: BenchResults, page: str) -> None:
    rows = [
        [re.sub(r"\s+", " ", cell.words) for cell in row.all("td")]
        for section in Page(page).root.all("section")
        if section.attributes.get("id") == "verdicts"
        for row in section.all("tr")
    ]
    rows = [row for row in rows if row]
    assert len(rows) == len(results.verdicts) > 10
    for line in results.verdicts:
        claim = claim_text(line.claim, line.outcome)
        (row,) = (one for one in rows if one[:3] == [claim, line.dataset, outcome_name(line.outcome)])
        for number in (line.value, line.low, line.high):
            assert re.search(rf"(?<![\d.]){re.escape(f'{number:+.3f}').replace(re.escape('+'), '[+]?')}", row[3])
        assert str(line.cells) in row and row[-1].endswith(line.verdict)


def test_answers_are_made_of_the_verdicts_and_of_nothing_else(results: BenchResults, page: str) -> None:
    found = answers(results)
    assert len(found) == 5
    shown = [line for one in found for lines in one.claims.values() for line in lines]
    assert all(line in results.verdicts for line in shown) and len(set(map(id, shown))) == len(shown)
    counted = len(shown) + sum(sum(one.others.values()) + sum(one.by_tpr.values()) for one in found)
    assert counted == len(results.verdicts)
    summary = words_of(page, "summary")
    for line in shown:
        assert f"{line.value:.3f}".lstrip("-") in summary and f"n = {line.cells} cells".replace(" ", " ") in summary
    (demotion,) = (one for one in found if "early stopping" in one.heading)
    assert list(demotion.claims) == [f"{DEMOTION} leaks less than early-stopped originals at equal accuracy"]


def test_an_interval_without_zero_that_many_comparisons_leave_undecided_says_so(results: BenchResults) -> None:
    line = next(one for one in results.verdicts if one.question == "width at equal accuracy")
    away = replace(line, low=-0.02, high=-0.001, p_holm=0.081, verdict=UNDECIDED)
    assert adjusted_away(away) and not adjusted_away(replace(away, high=0.001))
    assert not adjusted_away(replace(away, verdict="holds")) and not adjusted_away(replace(away, p_holm=None))
    changed = replace(results, verdicts=tuple(away if one is line else one for one in results.verdicts))
    assert "adjusted p = 0.081" in words_of(render_bench(changed, PROTOCOLS), "summary").replace(" ", " ")


def test_the_tables_are_sorted_by_the_numbers_that_they_show(page: str) -> None:
    tables = list(Page(page).root.all("table", "sortable"))
    assert len(tables) > 12
    for table in tables:
        heads = list(table.all("th"))
        for row in list(table.all("tr"))[1:]:
            cells = list(row.all("td"))
            assert len(cells) == len(heads)
            for head, cell in zip(heads, cells, strict=True):
                value = cell.attributes["data-value"]
                assert value is not None
                if head.attributes["data-kind"] == "number" and value:
                    assert math.isfinite(float(value))


def test_prices_and_equal_accuracies_are_all_there(results: BenchResults, page: str) -> None:
    (one,) = results.datasets
    rows = {
        section.attributes["id"]: sum(1 for row in section.all("tr") if any(True for _ in row.all("td")))
        for section in Page(page).root.all("section")
        if section.attributes.get("id")
    }
    assert rows["prices"] == len(one.prices)
    assert rows["equal"] == len(one.demotions) + len(one.widths)
    assert rows["beyond"] == len(one.beyond) and rows["variance"] == len(one.splits)
    assert rows["agreement"] == len(one.agreements) + len(one.thirds)


def test_frontiers_hold_every_epoch_and_draw_it(results: BenchResults) -> None:
    (one,) = results.datasets
    for log in (False, True):
        panels = frontier_panels(one.frontiers, log=log)
        assert [panel.space for panel in panels] == ["darts", "nasbench201"]
        assert [list(panel.lines) for panel in panels] == [list(WIDTHS)] * 2
        assert [list(panel.marks) for panel in panels] == [[DEMOTION, SIZE_MATCHED], []]
        with drawing_style():
            figure = draw_frontiers(panels, log=log)
            assert overlapping_ticks(figure) == []
        for axes, panel in zip(figure.axes, panels, strict=True):
            drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()]
            for points in panel.lines.values():
                leaks = [math.exp(point.value) if log else point.value for point in points]
                assert ([point.accuracy for point in points], leaks) in drawn
            for point in (*panel.marks.values(), *(points[-1] for points in panel.lines.values())):
                assert point.accuracy_estimate is not None
                assert [point.accuracy_estimate.low, point.accuracy_estimate.high] in [xs for xs, _ in drawn]


def test_bars_are_as_long_as_the_shares_and_sum_to_one(results: BenchResults) -> None:
    rows = [(name, split) for one in results.datasets for name, split in one.splits.items()]
    with drawing_style():
        (axes,) = draw_shares(rows).axes
    widths = [patch.get_width() for patch in axes.patches]
    expected = [share.value for _, split in rows for share in split.parts.values()]
    assert widths[: len(expected)] == pytest.approx(expected) and sum(expected) == pytest.approx(len(rows))


def test_predictors_are_drawn_in_both_scopes_with_the_ceiling(results: BenchResults) -> None:
    info = results.datasets[0].predictors[AUC]
    rows = predictor_rows(info)
    assert [row.name for row in rows][: len(info.overall.predictors)] == [one.name for one in info.overall.predictors]
    with drawing_style():
        figure = draw_predictors(info)
        assert overlapping_ticks(figure) == []
    for axes, ranking in zip(figure.axes, (info.overall, info.within), strict=True):
        drawn = [list(line.get_xdata()) for line in axes.get_lines()]
        assert all([one.low, one.high] in drawn and [one.rho] in drawn for one in ranking.predictors)
        assert ranking.ceiling is not None and len(axes.patches) >= 1


def test_figures_can_be_taken_out_of_the_page(page: str) -> None:
    names = list(figure_files(page))
    assert len(names) == 5 and len(set(names)) == 5 and names[0] == "accuracy-against-auc-of-the-attack-cifar10.svg"


def test_what_would_decide_it_says_cells_there_and_cells_needed(results: BenchResults, page: str) -> None:
    rows, text = needed_rows(results), words_of(page, "decide")
    assert [row.outcome for row in rows] == [AUC, LOG_TPR]
    for row in rows:
        assert row.cells == 20 and row.planned == results.datasets[0].needed[row.outcome]
        assert f"{row.outcome} 20 {row.half_width:.3f} {row.planned:,}" in text


def hostile(table: pd.DataFrame) -> pd.DataFrame:
    cells = table["cell"] + HOSTILE
    return table.assign(dataset=HOSTILE, protocol=HOSTILE, cell=cells)


def test_labels_are_escaped() -> None:
    page = render_bench(analysed(hostile(whole_table(darts=10, nasbench201=0))), {HOSTILE: {"name": HOSTILE}})
    assert "<script>alert" not in page and "<img" not in page
    assert len(running(Page(page))) == 2


WITHOUT: dict[str, tuple[Callable[[], pd.DataFrame], set[str], str]] = {
    "one seed": (
        lambda: whole_table(seeds=1),
        {"variance"},
        "the rows of a cell and width have one seed",
    ),
    "few cells": (
        lambda: whole_table(darts=4, nasbench201=0),
        {"variance", "predictors"},
        "an interval needs at least 8",
    ),
    "no TPR": (
        lambda: whole_table().drop(columns=["rmia_tpr", "rmia_tpr_se"]),
        {"agreement"},
        "no AUC and TPR of attack 'rmia'",
    ),
    "no variants": (
        lambda: whole_table().query("variant == 'original'"),
        {"beyond"},
        "not answered, as the table does not have what it takes",
    ),
}


@pytest.mark.parametrize("case", WITHOUT)
def test_what_a_table_cannot_tell_is_said_and_not_drawn(case: str) -> None:
    make, gone, reason = WITHOUT[case]
    page = render_bench(analysed(make()), PROTOCOLS)
    sections = {one.attributes.get("id") for one in Page(page).root.all("section")} - {None, "summary"}
    assert sections == set(SECTIONS) - gone
    assert reason in " ".join(Page(page).text).replace(" ", " ")
    assert "nan" not in page.lower().split("<svg")[0]


def test_without_any_row_there_is_a_page_that_says_so() -> None:
    page = render_bench(BenchResults((), (), None, 100, 0), {})
    assert "there is nothing to show" in page
    assert {one.attributes.get("id") for one in Page(page).root.all("section")} >= {"summary", "about"}


def test_two_protocols_of_one_data_set_are_told_apart_and_unknown_settings_said() -> None:
    tables = [whole_table(darts=10, nasbench201=0, protocol=name) for name in (PROTOCOL, "other000")]
    found = analysed(pd.concat(tables))
    assert dataset_titles(found) == ["cifar10 (other000)", f"cifar10 ({PROTOCOL})"]
    text = words_of(render_bench(found, PROTOCOLS), "about")
    assert "Its settings are not known" in text and "name: planted" in text


def test_claims_without_an_interval_have_their_reason() -> None:
    found = analysed(whole_table(darts=2, nasbench201=0))
    rows = unanswered(found)
    assert {row.dataset for row in rows} == {"cifar10"} and all(row.reason for row in rows)
    assert any(row.what.startswith(DEMOTION) for row in rows)


def test_measurements_of_others_stand_beside_the_split(results: BenchResults) -> None:
    rng = np.random.default_rng(0)
    columns = {"parameters": rng.uniform(1e4, 1e5, 60), "accuracy": rng.uniform(0.7, 0.9, 60)}
    foreign = pd.DataFrame({**columns, "mia_auc": rng.uniform(0.5, 0.8, 60)})
    compared = Compared("theirs.csv", 60, split_between_cells(foreign, "mia_auc", rounds=200))
    page = render_bench(replace(results, compared=compared), PROTOCOLS)
    assert "60 architectures that others have measured" in page and "theirs.csv" in page
    assert f"{compared.split.parts['size'].value:.3f}" in page
    assert "theirs.csv" not in render_bench(results, PROTOCOLS)
