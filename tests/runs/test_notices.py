"""Notices of a run's trials, by kind, in the terminal and on the pages."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

from report.pages import Page
from report.samples import make_run, write_rows
from report.study_samples import write_study
from rich.console import Console

from nni_privacy.commands.session import SearchProgress
from nni_privacy.report import read_run, write_report
from nni_privacy.report.facts import data_facts, summary_info
from nni_privacy.runs.notices import notices_of
from nni_privacy.runs.records import TrialRecord

FEW, CHANCE = "few records: fewer than 100 attacked (gap 80)", "accuracy at chance: balanced accuracy 0.100"
GOOD = TrialRecord("good", 0, "succeeded", "G", {"accuracy": 0.9}, notices=(FEW,))
POOR = TrialRecord("poor", 1, "succeeded", "G", {"accuracy": 0.1}, notices=(CHANCE, FEW))
DATA = {
    "split": {"target_train": 40, "target_test": 41, "shadow_train": 40, "shadow_test": 40},
    "classes": {"0": [20, 21], "1": [20, 20]},
}


def test_notices_are_counted_by_kind() -> None:
    few, chance = notices_of([GOOD, POOR, replace(POOR, trial="failed", status="failed")])
    assert (few.kind, few.count, few.trials, few.first) == ("few records", 2, 2, GOOD)
    assert (chance.kind, chance.count, chance.text) == ("accuracy at chance", 1, CHANCE)
    assert str(few) == f"{FEW} (in every trial)" and str(chance) == f"{CHANCE} (in 1 of 2 trials, here of #1)"
    assert [str(one) for one in notices_of([GOOD])] == [FEW] and notices_of([]) == ()


def test_the_terminal_tells_each_kind_once_and_all_of_them_at_the_end() -> None:
    said = io.StringIO()
    progress = SearchProgress(3, "http://127.0.0.1:1", console=Console(file=said, width=400))
    for record in (GOOD, POOR, replace(POOR, trial="third", sequence=2)):
        progress(record)
    lines = [line for line in said.getvalue().splitlines() if line.startswith("notice")]
    assert lines == [f"notice, trial good: {FEW}", f"notice, trial poor: {CHANCE}"]
    assert progress.notices() == [f"{FEW} (in every trial)", f"{CHANCE} (in 2 of 3 trials, here of #1)"]


def rewrite(folder: Path, *, notices: tuple[str, ...]) -> None:
    rows = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    told = {"notices": list(notices), "data": DATA}
    write_rows(folder, [{**row, **told} if row["status"] == "succeeded" else row for row in rows])


def test_the_pages_of_searches_and_studies_tell_them_above_all_numbers(tmp_path: Path) -> None:
    few = {"humans": ("resnet",), "searched": ("gdas",), "datasets": ("digits",), "seeds": (0, 1)}
    for folder in (make_run(tmp_path / "run", trials=3), write_study(tmp_path / "study", **few)):
        rewrite(folder, notices=(CHANCE,))
        run = read_run(folder)
        assert [one.count for one in summary_info(run).notices] == [len(run.succeeded)]
        text = write_report(folder).read_text(encoding="utf-8")
        root = Page(text).root
        assert [one.words for one in root.all("p", "notice")][-1] == f"{CHANCE} (in every trial)"
        assert text.index(CHANCE) < text.index('<div class="cards">')
        terms, values = ([one.words for one in root.all(tag)] for tag in ("dt", "dd"))
        facts = dict(zip(terms, values, strict=True))
        assert {name: facts[name] for name in ("Records", "Classes")} == data_facts(run)
        assert facts["Records"] == "40 target-train, 41 target-test, 40 shadow-train, 40 shadow-test"
        assert facts["Classes"] == "2, with members + non-members: 0 (20 + 21), 1 (20 + 20)"
        assert facts["Device"] and int(facts["Epochs"]) > 0


def test_many_classes_are_told_by_their_range_and_odd_counts_are_passed_over(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run", trials=1))
    many = {"classes": {str(label): [label, 1] for label in range(100)} | {"odd": 3}}
    (trial,) = run.trials
    found = data_facts(replace(run, trials=(replace(trial, data=many),)))
    assert found == {"Classes": "100, of 1 to 100 members and non-members"}
    assert data_facts(run) == {}
