"""The page of a search: its numbers, that it needs nothing else, and that no file's text becomes markup."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from report.pages import HOSTILE, Page, own_scripts, running
from report.samples import failed_row, make_run, write_rows
from support_browser import open_browser

from nni_privacy.errors import DataError
from nni_privacy.report import read_run, write_report
from nni_privacy.report.facts import summary_info
from nni_privacy.report.html import duration
from nni_privacy.report.trials_table import operation_counts


def rows_of(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "trials.jsonl").read_text().splitlines()]


def read_page(directory: Path) -> str:
    return write_report(directory).read_text(encoding="utf-8")


def test_the_report_is_one_page_that_needs_nothing_else(run_directory):
    text = read_page(run_directory)
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "base"}
        for name in ("src", "href", "xlink:href"):
            assert re.match(r"#|data:", attributes.get(name) or "#")
    assert not re.search(r"@import|url\((?!#)|@font-face", text)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"][1:] for tag, attributes in page.tags if tag == "a"]
    assert links and set(links) <= set(ids)


def test_the_page_shows_the_numbers_of_the_run(run_directory):
    root, run = Page(read_page(run_directory)).root, read_run(run_directory)
    best = max(run.measured, key=lambda trial: trial.accuracy)
    lowest = min(run.measured, key=lambda trial: trial.mia_auc)
    cards = [[next(card.all("div", css)).words for css in ("value", "more")] for card in root.all("div", "card")]
    low, high = lowest.interval
    assert cards == [
        ["11", "1 failed, 12 planned"],
        [f"{best.accuracy:.3f}", f"#{best.sequence} {best.trial}"],
        [f"{lowest.mia_auc:.3f}", f"#{lowest.sequence} {lowest.trial} , 95% interval [{low:.3f}, {high:.3f}]"],
        ["11 of 11", "4 edges fixed by the pattern"],
    ]
    terms, values = ([one.words for one in root.all(tag)] for tag in ("dt", "dd"))
    facts = dict(zip(terms, values, strict=True))
    assert facts["Data set"] == "digits" and facts["Strategy"].startswith("regularized_evolution (population_size: 6")
    assert facts["Fixed edges"].startswith("reduction cell: 1 → 2 avg_pool_3x3 0 → 2 avg_pool_3x3")
    assert facts["Attacks"].startswith("black_box_partial (primary") and "torch: 2.5.1" in facts["Versions"]
    names = [one.words for one in root.all("div", "name")]
    assert names and {name for name in names if "reduction" in name} == {"reduction cell, 4 of 8 edges fixed"}


def test_the_table_has_every_number_of_every_trial(run_directory):
    root, run = Page(read_page(run_directory)).root, read_run(run_directory)
    table = next(root.all("table", "sortable"))
    heads = [head.words for head in table.all("th")]
    rows = {row.attributes["id"]: list(row.all("td")) for row in table.all("tr") if row.attributes.get("id")}
    assert len(rows) == 12
    for trial in run.trials:
        cells = dict(zip(heads, rows[f"trial-{trial.trial}"], strict=True))
        for head, name in (("Accuracy", "accuracy"), ("TPR at 1% FPR", "mia_tpr_at_1pct_fpr")):
            known = trial.metrics.get(name)
            shown = (cells[head].attributes["data-value"], cells[head].words)
            assert shown == (("", "–") if known is None else (repr(known), f"{known:.3f}"))
        ends = trial.interval
        auc = "–" if ends is None else f"{trial.mia_auc:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]"
        assert cells["Attack AUC [95% interval]"].words == auc
        assert cells["TPR at 0.1% FPR"].words == ("not resolvable" if trial.succeeded else "–")
        assert trial.architecture in [code.words for code in cells["Architecture"].all("code")]
        errors = [error.words for error in cells["Architecture"].all("span", "bad")]
        assert errors == ([] if trial.succeeded else ["TrainingError: the loss is not finite in epoch 3"])


@pytest.mark.slow
def test_the_same_run_gives_the_same_page_in_another_process(run_directory):
    first = read_page(run_directory)
    command = "import sys; from nni_privacy.report import write_report; write_report(sys.argv[1])"
    subprocess.run([sys.executable, "-c", command, str(run_directory)], check=True)
    assert (run_directory / "report.html").read_text(encoding="utf-8") == first
    assert [path.name for path in run_directory.glob(".report*")] == []


def test_twelve_trials_take_less_than_five_seconds(run_directory):
    start = time.process_time()
    write_report(run_directory)
    assert time.process_time() - start < 5


def test_hostile_text_is_only_text(run_directory):
    rows = rows_of(run_directory)
    rows[0].update(trial=HOSTILE, status=HOSTILE, architecture=HOSTILE, error=f"{HOSTILE}\n{HOSTILE}")
    rows[1].update(trial=HOSTILE + "2")
    rows[1]["metrics"].update({"accuracy": 1.0, f"{HOSTILE}_mia_auc": 0.5})
    write_rows(run_directory, rows)
    config = yaml.safe_load((run_directory / "config.yaml").read_text())
    config.update(name=HOSTILE, dataset=HOSTILE, pattern={"name": HOSTILE, HOSTILE: HOSTILE}, strategy=HOSTILE)
    config["evaluator"]["attacks"] = [HOSTILE]
    (run_directory / "config.yaml").write_text(yaml.safe_dump(config))
    environment = {"seed": HOSTILE, "device": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    environment["fixed_edges"] = {"normal": [[0, 2, HOSTILE]]}
    (run_directory / "environment.json").write_text(json.dumps(environment))
    text = read_page(run_directory)
    page = Page(text)
    assert set(running(page)) == own_scripts()
    assert not [attributes for tag, attributes in page.tags if tag == "img" or "onerror" in attributes]
    assert "\0" not in text and "$title" in text and "${style}" in text


def test_hostile_names_of_attacks_are_drawn_as_text(run_directory):
    import numpy as np

    best = max(read_run(run_directory).measured, key=lambda trial: trial.accuracy)
    arrays = {f"{name}/scores": np.arange(4.0) for name in ("$x_{$", "<b>")}
    arrays |= {f"{name}/is_member": np.array([True, False, True, False]) for name in ("$x_{$", "<b>")}
    np.savez(run_directory / "scores" / f"{best.trial}.npz", **arrays)
    page = Page(read_page(run_directory))
    assert "b" not in [tag for tag, attributes in page.tags if attributes.get("id", "").startswith("roc-")]
    assert any("$x_{$, AUC" in data for data in page.text)


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([], "No trial has finished yet"),
        ([failed_row(0, "boom"), failed_row(1, "boom")], "No trial has succeeded"),
        ([{"trial": "a", "status": "succeeded"}], "No trial has both"),
        ([{"trial": "a", "status": "succeeded", "metrics": {"accuracy": 0.5}}], "0.500"),
        ([{"trial": "a", "status": "succeeded", "metrics": {"mia_auc": 0.5}}], "0.500"),
        ([{"trial": "a", "status": "succeeded", "metrics": {"accuracy": 0.5, "mia_auc": 0.5}}], "1 of 1"),
    ],
)
def test_poor_runs_still_have_a_page(run_directory, rows, wanted):
    write_rows(run_directory, rows)
    text = read_page(run_directory)
    Page(text)
    assert wanted in text


def test_a_run_of_one_trial_has_a_full_page(tmp_path):
    text = read_page(make_run(tmp_path / "run", trials=1))
    Page(text)
    assert "cell0n-" in text and "roc-" in text


def test_a_run_without_pattern_says_so(tmp_path):
    text = read_page(make_run(tmp_path / "run", trials=2, pattern=False))
    assert "none: every edge was searched" in text
    assert "edges fixed" not in text


def test_a_run_that_goes_on_and_a_skipped_line_are_told(run_directory):
    path = run_directory / "trials.jsonl"
    path.write_text(path.read_text()[:-40])
    text = read_page(run_directory)
    assert "11 of 12 planned trials are here" in text
    assert "line 12" in text


def test_an_architecture_without_the_fixed_edges_is_told(run_directory, tmp_path):
    free = rows_of(make_run(tmp_path / "free", trials=1, pattern=False))[0]
    rows = rows_of(run_directory)
    rows[0]["architecture"] = free["architecture"]
    write_rows(run_directory, rows)
    summary = summary_info(read_run(run_directory))
    assert (summary.fixed, summary.constrained, [trial.sequence for trial in summary.strays]) == (4, 10, [0])
    assert "lacks an edge" in read_page(run_directory)
    write_rows(run_directory, [{**rows[0], "trial": f"t{number}", "sequence": number} for number in range(40)])
    text = read_page(run_directory)
    assert "#11 (t11) and 28 more." in text and "#12 (t12)," not in text


def test_operations_are_counted(run_directory):
    run = read_run(run_directory)
    for trial in run.trials:
        assert sum(operation_counts(trial, "normal")) == sum(operation_counts(trial, "reduction")) == 8
        assert operation_counts(trial, "reduction")[1] >= 4


def test_a_folder_that_is_no_run_gets_no_page(tmp_path):
    with pytest.raises(DataError):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_is_a_data_error(run_directory):
    (run_directory / "report.html").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write_report(run_directory)
    assert [path.name for path in run_directory.glob(".report*")] == []


def test_importing_the_report_does_not_import_matplotlib():
    command = "import sys, nni_privacy.report.run_page; print('matplotlib' in sys.modules, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True)
    assert result.stdout.split() == ["False", "False"]


def test_durations_read_well():
    assert [duration(value) for value in (0.04, 59.97, 754.0, 3600.0)] == [
        "0.0 s",
        "60.0 s",
        "12 min 34 s",
        "1 h 0 min",
    ]


@pytest.mark.browser
def test_a_click_sorts_the_table_under_the_security_policy(run_directory, tmp_path):
    with open_browser(tmp_path / "profile") as driver:
        driver.get(write_report(run_directory).resolve().as_uri())
        head = next(item for item in driver.find_elements("css selector", "th") if item.text == "Accuracy")
        for direction in ("ascending", "descending"):
            head.find_element("tag name", "button").click()
            assert head.get_attribute("aria-sort") == direction
            cells = driver.find_elements("css selector", "table.sortable tbody td:nth-child(4)")
            values = [cell.get_attribute("data-value") for cell in cells]
            assert values[-1] == ""  # the failed trial stays last
            numbers = [float(value) for value in values[:-1]]
            assert numbers == sorted(numbers, reverse=direction == "descending")
        assert driver.get_log("browser") == []


@pytest.mark.browser
def test_a_long_table_is_folded_until_it_is_asked_for(run_directory, tmp_path):
    trials = run_directory / "trials.jsonl"
    row = json.loads(trials.read_text().splitlines()[0])
    trials.write_text("".join(json.dumps({**row, "trial": f"t{n}", "sequence": n}) + "\n" for n in range(620)))
    with open_browser(tmp_path / "profile") as driver:
        page = write_report(run_directory).resolve().as_uri()
        shown = (
            "return [...document.querySelectorAll('table.sortable tbody tr')].filter(row => row.offsetHeight).length"
        )
        driver.get(page)
        assert driver.execute_script(shown) == 500
        button = driver.find_element("css selector", "button.all")
        assert button.text == "Show all 620 rows"
        button.click()
        assert driver.execute_script(shown) == 620
        driver.get("about:blank")
        driver.get(f"{page}#trial-t601")  # a link to a row that would be folded away
        assert driver.execute_script(shown) == 620
        assert driver.get_log("browser") == []
