"""The live page shows what the files of a run say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from live_page import Page, made_search, rows_of, served
from report.effects_samples import study_rows, variants, write_study

pytestmark = pytest.mark.browser


NUMBERS = """
const found = {};
for (const tr of document.querySelectorAll('.trials tbody tr'))
    found[tr.dataset.trial] = [...tr.querySelectorAll('.number, .interval')].map(one => [one.innerText, one.title]);
return found"""


def test_every_number_of_the_table_is_that_of_the_file_with_four_digits_and_whole_on_hover(
    page: Page, run: Path
) -> None:
    shown = page.open().js(NUMBERS)
    rows = rows_of(run)
    assert set(shown) == {row["trial"] for row in rows}
    for row in rows:
        metrics = row["metrics"]
        told = dict(tuple(pair) for pair in shown[row["trial"]])
        for name in ("accuracy", "mia_auc", "overfitting") if metrics else ():
            assert told[f"{metrics[name]:.4f}"] in (repr(metrics[name]), str(metrics[name]))
        if metrics:
            low, high = metrics["mia_auc_low"], metrics["mia_auc_high"]
            assert told[f"{low:.4f} to {high:.4f}"] == f"95% interval: {low} to {high}"


def test_all_trials_are_there_failed_ones_too_the_newest_first(page: Page, run: Path) -> None:
    assert page.open().trials == [row["trial"] for row in reversed(rows_of(run))]
    assert page.cells("fail5")["status"] == "failed" and page.cells("fail5")["accuracy"] == "–"


def test_cards_name_the_best_trials(page: Page, run: Path) -> None:
    cards = page.open().texts(".card")
    rows = [row for row in rows_of(run) if row["metrics"]]
    best = max(rows, key=lambda row: row["metrics"]["accuracy"])
    lowest = min(rows, key=lambda row: row["metrics"]["mia_auc"])
    kept = [row for row in rows if row["metrics"]["mia_auc"] <= 0.66]
    feasible = max(kept, key=lambda row: row["metrics"]["accuracy"])
    assert cards[0].startswith("Trials finished\n12 of 12") and "1 failed" in cards[0]
    assert f"{best['metrics']['accuracy']:.4f}\n{best['trial']}" in cards[1]
    assert f"{lowest['metrics']['mia_auc']:.4f}\n{lowest['trial']}" in cards[2]
    assert (
        f"{feasible['metrics']['accuracy']:.4f}\n{feasible['trial']}" in cards[3]
        and f"{len(kept)} trials keep" in cards[3]
    )


def test_the_chart_has_every_measured_trial_the_front_and_what_breaks_the_constraint_shaded(
    page: Page, run: Path
) -> None:
    page.open()
    option = page.js("return echarts.getInstanceByDom(document.querySelector('.tradeoff .canvas')).getOption().series")
    rows = {row["trial"]: row["metrics"] for row in rows_of(run) if row["metrics"]}
    points = {
        one["trial"]: one["value"]
        for series in option
        if series["type"] == "scatter"
        for one in series["data"]
        if isinstance(one, dict)
    }
    assert points == {trial: [metrics["accuracy"], metrics["mia_auc"]] for trial, metrics in rows.items()}
    beaten = {
        one
        for one in rows
        for other in rows
        if rows[other]["accuracy"] >= rows[one]["accuracy"] and rows[other]["mia_auc"] < rows[one]["mia_auc"]
    }
    front = next(series for series in option if series["type"] == "scatter" and series["name"] == "Pareto front")
    assert {one["trial"] for one in front["data"]} == set(rows) - beaten
    (area,) = next(series["markArea"]["data"] for series in option if series.get("markArea", {}).get("data"))
    assert area[0]["coord"][1] == 0.66 and area[1]["coord"][1] > 0.66
    assert set(page.texts(".tradeoff .chart-legend button")) >= {
        "keeps the constraints",
        "breaks a constraint",
    }


def test_a_trial_has_its_cells_curves_classes_records_log_and_configuration(page: Page, run: Path) -> None:
    row = rows_of(run)[3]
    page.open(f"#trial={row['trial']}").wait_for_panel()
    assert page.text("#panel-title") == f"Trial {row['trial']}, No. 3"
    assert f"{row['metrics']['mia_auc']:.4f}" in page.text("#panel .main-numbers")
    assert page.texts("#panel .cell figcaption") == ["normal cell", "reduction cell"]
    drawn = """return [...document.querySelectorAll('#panel .cell img')].map(
        one => [one.complete, one.naturalWidth > 100, one.alt])"""
    pictures = page.wait(
        lambda: [one for one in page.js(drawn) if one[0] and one[1]][1:] and page.js(drawn), "drawings"
    )
    assert "8 edges, 4 of them fixed by the pattern" in pictures[1][2]
    assert page.texts("#panel .chart h3") == ["ROC", "By class", "Epoch by epoch"]
    roc = page.js("return echarts.getInstanceByDom(document.querySelector('#panel .canvas')).getOption()")
    assert roc["xAxis"][0]["type"] == roc["yAxis"][0]["type"] == "log"
    assert len(page.js("return [...document.querySelectorAll('#panel tbody')].at(-1).rows.length ? [1] : []")) == 1
    assert "The most exposed records" in page.texts("#panel h3")
    assert "name: made" in page.js("return document.querySelector('#panel .texts').textContent")


def test_a_person_who_does_no_research_is_told_what_an_auc_says(page: Page, run: Path) -> None:
    row = rows_of(run)[3]
    page.open(f"#trial={row['trial']}").wait_for_panel()
    times = round(row["metrics"]["mia_auc"] * 100)
    assert f"an attacker tells them apart {times} times in 100; a guess does 50" in page.text("#panel")
    assert ".5 is guessing, 1 is certain" in page.text(".tradeoff")


def test_why_a_trial_failed_is_told(page: Page) -> None:
    page.open("#trial=fail5").wait_for_panel()
    assert "the loss is not finite in epoch 3" in page.text("#panel .error")


def test_a_study_has_its_factors_as_filters_and_columns(chromium: Any, tmp_path: Path) -> None:
    rows = study_rows(treated=variants(budgets=(2, 4)), architectures=3)
    with served(write_study(tmp_path / "study", rows)) as address:
        page = Page(chromium, address).open()
        assert page.text(".panel h2:first-child") and "All measurements" in page.texts("h2")
        labels = page.texts(".filters label:not([hidden]) span")
        assert {"architecture", "variant", "seed"} <= set(labels)
        page.choose("f.variant", "original")
        wanted = {row["trial"] for row in rows_of(tmp_path / "study") if row["factors"]["variant"] == "original"}
        assert set(page.trials) == wanted and page.cells(page.trials[0])["f.variant"] == "original"


def test_an_audit_opens_with_a_row_for_each_attack(chromium: Any, tmp_path: Path) -> None:
    import numpy as np

    from nni_privacy.attacks import TargetSignals
    from nni_privacy.auditing.audit import audit_signals
    from nni_privacy.report.audit_page import write_audit

    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 400)
    signals = TargetSignals.from_logits(generator.normal(size=(400, 4)), labels, np.arange(400) < 200)
    report = audit_signals(signals, attacks=["loss_threshold", "gap"])
    write_audit(report, tmp_path / "audit", title="Audit of mine", facts={})
    with served(tmp_path / "audit") as address:
        page = Page(chromium, address).open()
        assert sorted(page.trials) == ["combined", "gap", "loss_threshold"]
        assert str(report.verdict) in page.text(".facts") and "epsilon is at least" in page.text(".facts")
        assert page.text(".tradeoff h2") == "What each attack learns"
        page.click(".trials tbody tr")
        page.wait_for_panel()
        assert page.text("#panel-title") == f"Attack {page.trials[0]}"


def test_several_runs_have_an_index_and_are_switched_between(chromium: Any, run: Path, tmp_path: Path) -> None:
    with served(run, made_search(tmp_path / "second", trials=3, failed=(), name="second")) as address:
        page = Page(chromium, address).open()
        assert [text.split("\n")[0] for text in page.texts(".runs tbody th")] == ["made", "second"]
        page.click(".runs tbody tr:nth-child(2) a")
        page.wait(lambda: len(page.trials) == 3, "the second run")
        assert page.text(".run-name") == "second"
        page.choose("run", "0")
        page.wait(lambda: len(page.trials) == 12, "the first run")
        page.driver.back()
        page.wait(lambda: len(page.trials) == 3, "the second run again")


def test_runs_of_the_same_name_are_told_apart_by_their_folders(chromium: Any, run: Path, tmp_path: Path) -> None:
    other = made_search(tmp_path / "second", trials=3, failed=())
    with served(run, other) as address:
        page = Page(chromium, address).open("#run=1")
        page.wait(lambda: page.text(".run-name") == "made (second)", "the name")
        options = page.js(
            "return [...document.querySelectorAll('select[name=run] option')].map(one => [one.text, one.title])"
        )
        assert options[1:] == [[f"made ({run.name})", str(run)], ["made (second)", str(other)]]
        assert page.js("return document.querySelector('.run-name').title") == str(other)


def test_an_address_of_nothing_is_told_in_a_line(chromium: Any, run: Path, tmp_path: Path) -> None:
    with served(run, made_search(tmp_path / "second", trials=3, failed=())) as address:
        page = Page(chromium, address).open("#trial=nosuch")
        assert "There is no such trial here: nosuch." in page.text("main")
        page.open("#run=0&trial=nosuch")
        page.wait(lambda: "There is no finished trial nosuch in this run." in page.text("#panel"), "the line")
        page.open("#run=999", rows=0)
        page.wait(lambda: "The server does not know this run" in page.text("main"), "the line")
        assert "Asking" not in page.text("body")
