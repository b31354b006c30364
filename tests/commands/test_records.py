"""The command ``records`` on a run, an audit, and what is neither."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from report.samples import run_directory  # noqa: F401 - a fixture

from nni_privacy.analysis.exposed import exposures_of
from nni_privacy.attacks import TargetSignals
from nni_privacy.attacks.exposure import found_members
from nni_privacy.auditing.audit import audit_signals
from nni_privacy.commands.main import main
from nni_privacy.report.audit_page import write_audit


@pytest.fixture
def audit_folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(500, 4)), rng.integers(0, 4, 500)
    member = rng.permutation(np.arange(500) < 200)
    logits[np.arange(500), labels] += 2 * member
    report = audit_signals(TargetSignals.from_logits(logits, labels, member), attacks=["loss_threshold", "gap"])
    return write_audit(report, tmp_path / "audit").parent


def test_a_run_is_listed_and_written(run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    path = tmp_path / "exposed.csv"
    assert main(["records", str(run_directory), "--top", "7", "--csv", str(path)]) == 0
    found = exposures_of(run_directory)
    rows = list(csv.DictReader(path.open()))
    assert [(int(row["index"]), int(row["class"])) for row in rows] == [
        (one.index, one.label) for one in found.records[:7]
    ]
    assert [int(row["found"]) for row in rows] == sorted((one.found for one in found.records), reverse=True)[:7]
    head, title, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith(f"{len(found.records)} members attacked by black_box_partial, loss_threshold in ")
    assert title.split() == ["index", "class", "percentile", "found", "attacks", "trials"] and len(lines) == 7
    first = found.records[0]
    assert lines[0].split()[3] == f"{first.found}/{first.attacked}"


def test_an_audit_is_listed_by_places_among_the_members(audit_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["records", str(audit_folder), "--top", "500"]) == 0
    with np.load(audit_folder / "scores.npz", allow_pickle=False) as file:
        member = file["loss_threshold/is_member"]
        places = file["record_index"][file["loss_threshold/records"]][member]
        mask = found_members(file["loss_threshold/scores"], member)
    assert sorted(places.tolist()) == list(range(200)) and mask is not None
    found = {one.index: one for one in exposures_of(audit_folder).records}
    assert len(found) == 200 and len(capsys.readouterr().out.splitlines()) == 202
    assert all(found[place].found >= hit for place, hit in zip(places.tolist(), mask, strict=True))
    assert {one.attacks_of for one in found.values()} == {2} and {one.trials_of for one in found.values()} == {1}


def test_what_cannot_be_listed_is_told_in_a_line(
    audit_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "trials.jsonl").touch()
    for words, *arguments in (
        ("no such directory", tmp_path / "nothing"),
        ("not a run directory", tmp_path / "empty"),
        ("there are no scores", tmp_path / "run"),
        ("--top: 0; allowed are", audit_folder, "--top", "0"),
        ("--csv: ", audit_folder, "--csv", tmp_path / "nowhere" / "file.csv"),
    ):
        assert main(["records", *map(str, arguments)]) == 2
        said = capsys.readouterr().err
        assert words in said and len(said.splitlines()) == 1
