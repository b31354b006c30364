from __future__ import annotations

import csv
import io

import pytest
from report.samples import make_run
from report.study_samples import study_row, study_run, write_study

from nni_privacy.analysis.matched import matched_infos
from nni_privacy.analysis.study import overfitting_info, study_info, table1_rows
from nni_privacy.files import to_csv
from nni_privacy.report import read_run, write_report
from nni_privacy.report.study_page import study_tables

FILES = {"study.csv", "table1.csv", "bars.csv", "overfitting.csv", "matched_accuracy.csv"}


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_files_stand_beside_the_page(tmp_path):
    path = write_study(tmp_path / "study", datasets=["digits"], seeds=[0])
    write_report(path)
    assert {file.name for file in path.iterdir()} >= FILES
    write_report(make_run(tmp_path / "search"))
    assert not FILES & {file.name for file in (tmp_path / "search").iterdir()}


def test_every_measurement_is_a_row_with_its_factors_and_metrics(tmp_path):
    run = read_run(write_study(tmp_path, datasets=["digits"], seeds=[0, 1], failed=["vgg"]))
    rows = rows_of(study_tables(run)["study.csv"])
    assert len(rows) == 40
    for row, trial in zip(rows, run.trials, strict=True):
        assert (row["trial"], row["architecture"], row["seed"]) == (
            trial.trial,
            trial.factors["architecture"],
            str(trial.factors["seed"]),
        )
        assert row["mia_auc"] == ("" if trial.mia_auc is None else repr(trial.mia_auc))
    failed = [row for row in rows if row["status"] == "failed"]
    assert len(failed) == 2 and all("OutOfMemoryError" in row["error"] for row in failed)


def test_files_have_the_numbers_of_the_page(tmp_path):
    run = read_run(write_study(tmp_path, datasets=["cifar10", "stl10"], seeds=[0, 1, 2]))
    study, tables = study_info(run), study_tables(run)
    for row, known in zip(rows_of(tables["table1.csv"]), table1_rows(study), strict=True):
        assert (row["attack"], row["kind"], row["whose"]) == (known.attack, known.kind, known.whose)
        assert float(row["mean"]) == known.spread.mean and float(row["highest"]) == known.highest
    for row, info in zip(rows_of(tables["matched_accuracy.csv"]), matched_infos(study), strict=True):
        assert info.adjusted is not None and float(row["difference"]) == info.adjusted.difference
    for row in rows_of(tables["overfitting.csv"]):
        found = overfitting_info(study, row["data set"], row["attack"]).correlation
        assert found is not None and float(row["rho"]) == found.rho
    assert len(rows_of(tables["bars.csv"])) == 20 * 2 * 6


def test_a_text_is_no_formula_to_a_spreadsheet(tmp_path):
    run = study_run(tmp_path, [study_row("=cmd|' /C calc'!A0", 0.7, 0.6)])
    (row,) = rows_of(study_tables(run)["study.csv"])
    assert row["architecture"].startswith("'=")
    assert row["accuracy"] == "0.7"


def test_negative_numbers_stay_numbers():
    assert to_csv([{"a": -0.5, "b": "-x"}], ("a",)) == "a,b\n-0.5,'-x\n"


def test_a_nul_becomes_the_replacement_character():
    assert to_csv([{"a\0": "\0=x", "b": 1}]) == "a\ufffd,b\n\ufffd=x,1\n"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_study_without_measurements_has_only_headings(tmp_path, name):
    text = study_tables(study_run(tmp_path, [], architectures=["resnet"]))[name]
    assert len(text.splitlines()) == 1
