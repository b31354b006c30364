"""The report's section on what confirms a search."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from report.overlaps import overlapping_ticks
from report.pages import Page
from report.samples import make_run

from nni_privacy.analysis.confirmation import confirm_architectures
from nni_privacy.analysis.rows import MeasuredRow
from nni_privacy.analysis.selection import choose_trials
from nni_privacy.errors import DataError
from nni_privacy.report import write_report
from nni_privacy.report.confirmed_page import curse_info, draw_confirmed
from nni_privacy.report.style import drawing_style
from nni_privacy.runs.confirmed import Confirmed, label_of, write_confirmed
from nni_privacy.runs.records import TrialRecord, read_run


def confirm(directory: Path, *, top: int = 3, seeds: int = 5, apart: float = 0.0) -> Confirmed:
    """Writes what trainings say whose AUCs are .70 and ``apart``, rank by rank of the choice."""
    run, rng = read_run(directory), np.random.default_rng(2)
    chosen = choose_trials(run, top)
    trained = []
    for rank, trial in enumerate(chosen):
        for seed in range(seeds):
            metrics = {"accuracy": 0.96 + rng.normal(0, 0.005), "mia_auc": 0.70 + rank * apart + rng.normal(0, 0.01)}
            metrics["rmia_mia_auc"] = metrics["mia_auc"] + 0.01
            record = TrialRecord(f"c{rank}-{seed}", len(trained), "succeeded", trial.architecture, metrics)
            row = MeasuredRow(label_of(trial.sequence), "original", "digits", "none", seed, metrics)
            trained.append((record, row))
    found = confirm_architectures(run, chosen, trained, seeds=range(seeds), attacks=["black_box_partial", "rmia"])
    assert found is not None
    write_confirmed(directory, found)
    return found


def words(directory: Path) -> str:
    return " ".join(Page(write_report(directory).read_text(encoding="utf-8")).root.words.split()).replace(" )", ")")


def test_a_run_of_which_nothing_was_confirmed_has_no_section(run_directory: Path) -> None:
    assert "Confirmed with fresh seeds" not in words(run_directory)


def test_the_section_names_the_best_and_tells_of_the_lowest(run_directory: Path) -> None:
    found = confirm(run_directory)
    text = words(run_directory)
    best = found.of(found.best)
    assert best is not None and f"Best by confirmed numbers: trial #{best.sequence}" in text
    assert "no constraints were set" in text and "none of 3 pairs differs beyond chance" in text
    curse = curse_info(found)
    lowest = min(read_run(run_directory).measured, key=lambda trial: trial.mia_auc or 1)
    assert curse is not None and curse.lowest.trial == lowest.trial and curse.count == 11
    assert f"The lowest searched AUC was {lowest.mia_auc:.3f} (trial #{lowest.sequence})" in text
    assert curse.confirmed is not None
    assert f"Trained anew it has {curse.confirmed:.3f}" in text and f"{curse.lowest.estimate:.3f}" in text
    assert "rmia mia auc" in text


def test_pairs_that_differ_are_named(run_directory: Path) -> None:
    found = confirm(run_directory, apart=0.1)
    first, second = (one.sequence for one in found.architectures[:2])
    text = words(run_directory)
    assert "3 of 3 pairs differ beyond chance" in text
    assert f"#{first} has" in text and f"less than #{second}" in text


def test_where_none_keeps_the_constraints_the_nearest_is_named(tmp_path: Path) -> None:
    directory = make_run(tmp_path / "run")
    config = directory / "config.yaml"
    config.write_text(config.read_text() + "constraints: {mia_auc: '<= 0.5'}\n")
    found = confirm(directory)
    near = found.of(found.nearest)
    text = words(directory)
    assert found.best is None and near is not None
    assert "No architecture keeps the constraints" in text and f"Trial #{near.sequence} comes nearest" in text


def test_the_figure_has_a_row_an_architecture_and_no_labels_that_meet(run_directory: Path) -> None:
    found = confirm(run_directory, top=6)
    with drawing_style():
        figure = draw_confirmed(found)
        assert overlapping_ticks(figure) == []
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"#{one.sequence}" for one in found.architectures]


@pytest.mark.parametrize("text", ["{}", "[", "[]", '{"seeds": "many"}', json.dumps({"best": 3})])
def test_a_file_that_is_none_is_said_in_one_line(text: str, run_directory: Path) -> None:
    (run_directory / "confirmed.json").write_text(text)
    with pytest.raises(DataError, match=r"confirmed.json: not what a confirmed run writes .* writes it anew") as caught:
        write_report(run_directory)
    assert "\n" not in str(caught.value)
