"""``nni-privacy audit --predictions``: files, gates and refusals are those of any audit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from report.pages import Page

from nni_privacy import audit_predictions
from nni_privacy.commands.main import main

N = 300
FAST = ("--attacks", "loss_threshold,gap")


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A file ``answers.npz`` of a model that leaks, and what is in it."""
    generator = np.random.default_rng(0)
    labels, member = generator.integers(0, 3, N), generator.permutation(N) < N // 2
    logits = generator.normal(size=(N, 3))
    logits[np.arange(N), labels] += 1 + 2 * member
    content = {"logits": logits, "labels": labels, "member": member}
    monkeypatch.chdir(tmp_path)
    np.savez("answers.npz", **content)
    return content


def audited(*options: str) -> int:
    return main(["audit", "--predictions", "answers.npz", "--output", "audit", *options])


def test_the_files_are_those_of_any_audit_and_the_numbers_those_of_python(
    answers: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert audited("--seed", "3") == 0
    assert sorted(path.name for path in Path("audit").iterdir()) == [
        "metrics.csv", "metrics.json", "report.html", "scores.npz"
    ]  # fmt: skip
    found = json.loads(Path("audit/metrics.json").read_text())
    report = audit_predictions(answers["logits"], answers["labels"], answers["member"], outputs="logits", seed=3)
    assert {key: found[key] for key in report.metrics()} == report.metrics()
    assert found["skipped"] == dict(report.skipped) and "lira" in found["skipped"]
    assert found["facts"]["Predictions"].startswith("answers.npz (SHA-256 of the file: ")
    said = capsys.readouterr().out
    assert said.startswith(f"read: {N} records, logits of 3 classes\naccuracy ")
    assert said.splitlines()[-2:] == [f"verdict: {report.verdict}", "report: audit/report.html"]
    (line,) = (line for line in said.splitlines() if line.startswith("not made: ") and "lira" in line)
    assert "needs shadows" in line
    words = Page(Path("audit/report.html").read_text(encoding="utf-8")).root.words
    assert "Not made: " in words and "needs shadows" in words and "accuracy of the model on members" in words


def test_the_most_exposed_records_are_named_by_their_place_in_the_file(answers: dict[str, Any]) -> None:
    assert audited(*FAST) == 0
    with np.load("audit/scores.npz") as scores:
        assert np.array_equal(scores["record_index"], np.arange(N))
    assert main(["records", "audit", "--csv", "exposed.csv", "--top", "5"]) == 0
    places = [int(line.split(",")[0]) for line in Path("exposed.csv").read_text().splitlines()[1:]]
    assert len(places) == 5 and answers["member"][places].all()


def test_gates_and_thresholds_hold_here_too(answers: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert audited(*FAST, "--max-auc", "0.6") == 1
    assert "threshold exceeded" in capsys.readouterr().out
    gate = ("--fail-if", "gap_mia_auc > 0.5", "--fail-if", "mia_auc > 0.999", "--junit", "gate.xml")
    assert main(["audit", "--predictions", "answers.npz", "--output", "second", *FAST, *gate]) == 4
    assert "gap_mia_auc > 0.5: it is 0." in capsys.readouterr().err
    assert ET.parse("gate.xml").getroot().get("failures") == "1"  # noqa: S314 - our own


@pytest.mark.parametrize("outputs", ["loss", "score", "predicted"])
def test_answers_in_part_have_a_page_without_what_is_unknown(outputs: str, answers: dict[str, Any]) -> None:
    logits, labels = answers["logits"], answers["labels"]
    values = logits.argmax(axis=1) if outputs == "predicted" else np.abs(logits[:, 0])
    content = {outputs: values, "member": answers["member"]} | ({"label": labels} if outputs == "predicted" else {})
    np.savez("answers.npz", **content)
    assert audited() == 0
    found = json.loads(Path("audit/metrics.json").read_text())
    assert found["primary"] == {"loss": "loss_threshold", "score": "score", "predicted": "gap"}[outputs]
    known = outputs == "predicted"
    assert (found["accuracy"]["members"] is not None) == (found["records"]["num_classes"] is not None) == known
    words = Page(Path("audit/report.html").read_text(encoding="utf-8")).root.words
    assert ("accuracy of the model" in words) == ("Class by class" in words) == known
    assert found["notices"] == [] or known


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--weights", "w.pt"], "--weights: w.pt; it needs the model, which --predictions goes without"),
        (["--allow-shared"], "--allow-shared: True; it needs the model"),
        (["--shadows", "8"], "--shadows: 8; it needs"),
        (["--recipe", "epochs=3"], "--recipe: ['epochs=3']; it needs"),
        (["--device", "cpu"], "--device: cpu; it needs"),
        (["--effort", "views=3"], "--effort: views; it asks the model, which --predictions goes without"),
        (["--effort", "protocol=papers"], "protocol: 'papers'"),
        (["--attacks", "lira"], "attack 'lira' needs shadows"),
        (["--attacks", "lyra"], "unknown attack 'lyra': did you mean 'lira'?"),
        (["--attacks", "score"], "unknown attack 'score'"),
        (["--fail-if", "lira_mia_auc > 0.6"], "--fail-if: unknown metric 'lira_mia_auc'"),
        (["--max-auc", "0.3"], "max_auc is 0.3"),
        (["--seed", "-1"], "seed is -1"),
    ],
)
def test_what_does_not_go_with_a_file_is_told_in_a_line_before_anything_is_written(
    options: list[str], words: str, answers: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert audited(*options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nni-privacy: ") and words in line
    assert not Path("audit").exists()


def test_a_folder_that_is_not_empty_is_not_written_to(
    answers: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("audit").mkdir()
    Path("audit/mine").touch()
    assert audited() == 2 and "audit exists and is not empty; name a new folder" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--model", "m:build", "--predictions", "answers.npz"]])
def test_a_model_or_answers_are_given_and_not_both(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["audit", "--output", "audit", *options])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--model" in line and "--predictions" in line


def test_a_paper_protocol_attacks_a_third(answers: dict[str, Any]) -> None:
    assert audited("--effort", "protocol=paper", "--attacks", "black_box_partial") == 0
    assert json.loads(Path("audit/metrics.json").read_text())["attacks"]["black_box_partial"]["members"] == 50
