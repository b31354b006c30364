"""All of one trial: cells, curves against scikit-learn's, classes, exposed records, log and configuration."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from live_run import ATTACKS, records, write_audit, write_run, write_scores
from sklearn.metrics import roc_auc_score, roc_curve

from nni_privacy.errors import DataError
from nni_privacy.live import details as module
from nni_privacy.live.audit_view import AuditView
from nni_privacy.live.details import LOG_BYTES, ROC_POINTS, details_of, report_of
from nni_privacy.live.rows import Row
from nni_privacy.live.run_view import RunView
from nni_privacy.live.table import disposition_of, table_of

KEY = "f" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", records(6))


def details(folder: Path, trial: str) -> dict[str, Any]:
    found = details_of(RunView(folder), trial)
    assert found is not None
    json.dumps(found, allow_nan=False, default=dict)
    return found


@pytest.mark.parametrize("count", [40, 5000])
def test_curves_run_through_the_points_of_scikit_learns_and_end_where_they_do(folder: Path, count: int) -> None:
    with np.load(write_scores(folder, "t0", count=count)) as file:
        truth = {name: (file[f"{name}/is_member"], file[f"{name}/scores"]) for name in ATTACKS}
    found = details(folder, "t0")["roc"]
    assert [one["attack"] for one in found] == list(ATTACKS)
    for one in found:
        members, scores = truth[one["attack"]]
        fpr, tpr, _ = roc_curve(members, scores, drop_intermediate=False)
        assert len(one["fpr"]) == len(one["tpr"]) <= ROC_POINTS
        assert (one["fpr"][0], one["tpr"][0], one["fpr"][-1], one["tpr"][-1]) == (0.0, 0.0, 1.0, 1.0)
        points = set(zip(fpr.round(12), tpr.round(12), strict=True))
        assert {(round(x, 12), round(y, 12)) for x, y in zip(one["fpr"], one["tpr"], strict=True)} <= points
        assert np.trapezoid(one["tpr"], one["fpr"]) == pytest.approx(roc_auc_score(members, scores), abs=0.003)
        # The left end, which the log axes are for, is not thinned away.
        least = fpr[fpr > 0][0]
        assert min(x for x in one["fpr"] if x > 0) <= 2 * least
        assert (one["members"], one["non_members"]) == (members.sum(), (~members).sum())


def test_classes_have_the_auc_of_their_records(folder: Path) -> None:
    with np.load(write_scores(folder, "t0")) as file:
        members, scores, labels = file[f"{ATTACKS[0]}/is_member"], file[f"{ATTACKS[0]}/scores"], file["record_label"]
    (folder / "models" / "t1").mkdir(parents=True)
    (folder / "models" / "t1" / "model.json").write_text(json.dumps({"classes": list("vwxyz")}))
    found = details(folder, "t0")["classes"]
    assert [(one["label"], one["name"]) for one in found] == list(enumerate("vwxyz"))
    for one in found:
        mask = labels == one["label"]
        assert one["auc"] == pytest.approx(roc_auc_score(members[mask], scores[mask]))
        assert one["low"] < one["auc"] < one["high"]


def test_the_most_exposed_records_are_members_that_are_above_most_non_members(folder: Path) -> None:
    with np.load(write_scores(folder, "t0")) as file:
        members = file[f"{ATTACKS[0]}/is_member"] | file[f"{ATTACKS[1]}/is_member"]
        labels = file["record_label"]
    found = details(folder, "t0")["exposed"]
    assert 0 < len(found) <= 20
    assert all(members[one["index"]] and labels[one["index"]] == one["class"] for one in found)
    assert [one["found"] for one in found] == sorted((one["found"] for one in found), reverse=True)


def test_cells_are_drawings_with_the_fixed_edges_marked(tmp_path: Path) -> None:
    trials = records(2)
    edge = trials[0].genotype.edges_by_cell()["normal"][0]  # type: ignore[union-attr]
    fixed = {"normal": [[edge.source, edge.target, edge.op]], "reduction": []}
    found = details(write_run(tmp_path / "run", trials, fixed_edges=fixed), "t0")
    assert len(found["cells"]) == 2 and "fixed" in found["reading"]
    assert "1 of them fixed" in found["cells"][0]["label"] and "0 of them fixed" in found["cells"][1]["label"]
    for cell in found["cells"]:
        assert ElementTree.fromstring(cell["svg"]).tag.endswith("svg")  # noqa: S314 - our own drawing
        assert "<script" not in cell["svg"]


def test_the_log_is_the_trials_own_without_the_key_of_its_channel(folder: Path, tmp_path: Path) -> None:
    place = folder / "nni" / "abc" / "environments" / "local-env" / "trials" / "t0"
    place.mkdir(parents=True)
    (place / "trial.log").write_text("x" * 3 * LOG_BYTES + f"\nat ws://127.0.0.1/env?key={KEY} end")
    (folder / "nni" / "_latest").symlink_to(folder / "nni" / "abc")
    secret = tmp_path / "secret"
    secret.write_text("not the run's")
    (place / "trial.stderr").symlink_to(secret)
    log = details(folder, "t0")["log"]
    assert log.rstrip().endswith("?key=... end") and KEY not in log and "secret" not in log
    assert len(log) <= LOG_BYTES and "not the run's" not in log
    assert details(folder, "t1")["log"] is None


def test_a_log_is_not_waited_for(folder: Path) -> None:
    place = folder / "nni" / "abc" / "environments" / "local-env" / "trials" / "t0"
    place.mkdir(parents=True)
    os.mkfifo(place / "trial.log")
    assert details(folder, "t0")["log"] is None


@pytest.mark.parametrize("name", ["../t0", "t0/../t1", "..", "*", "[t]0", "", "nothing", "t0\x00"])
def test_a_name_that_is_no_trials_has_nothing(folder: Path, name: str) -> None:
    assert details_of(RunView(folder), name) is None


def test_a_trial_with_the_name_of_a_path_leads_nowhere(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [])
    write_scores(folder, "x").rename(tmp_path / "outside.npz")
    row = {"trial": "../../outside", "status": "succeeded", "metrics": {"accuracy": 0.5, "mia_auc": 0.5}}
    (folder / "trials.jsonl").write_text(json.dumps(row) + "\n")
    found = details(folder, "../../outside")
    assert found["roc"] == [] and found["log"] is None and found["cells"] == []


def test_a_failed_trial_says_why_and_has_the_configuration(folder: Path) -> None:
    found = details(folder, "t3")
    assert found["error"] == "out of <b>memory</b>" and found["roc"] == [] and found["classes"] == []
    assert "population_size: 4" in found["config"] and found["curves"] == {"loss": (2.0, 1.0, 0.5)}


def test_damaged_scores_cost_the_curves_only(folder: Path) -> None:
    (folder / "scores" / "t0.npz").write_bytes(b"no such thing")
    (folder / "confirmed.json").write_text("{")
    found = details(folder, "t0")
    assert found["roc"] == [] and found["confirmed"] is None and len(found["cells"]) == 2


def test_an_attack_of_an_audit(tmp_path: Path) -> None:
    view = AuditView(write_audit(tmp_path / "audit"))
    snapshot = view.snapshot()
    assert [row["trial"] for row in snapshot["rows"]] == ["rmia", "lira"] and snapshot["kind"] == "audit"
    assert snapshot["rows"][1]["metrics"] == {"mia_auc": 0.6, "mia_auc_low": 0.5, "mia_auc_high": 0.7}
    assert view.snapshot(snapshot["cursor"])["rows"] == [] and snapshot["notices"] == ["few records: 17"]
    found = details_of(view, "lira")
    assert found is not None and [one["attack"] for one in found["roc"]] == ["lira"]
    assert found["classes"] == [
        {"label": 1, "name": "1", "members": 9, "non_members": 8, "auc": 0.7, "low": 0.5, "high": 0.9}
    ]
    assert details_of(view, "gap") is None
    json.dumps(found, allow_nan=False, default=dict)


def test_the_table_has_a_line_a_trial_and_no_formula(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", records(5))
    row = {"trial": "=1+1", "sequence": 9, "status": "failed", "error": "@x"}
    with (folder / "trials.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    table = list(csv.DictReader(io.StringIO(table_of(RunView(folder).rows()))))
    assert [one["trial"] for one in table] == ["t0", "t1", "t2", "t3", "t4", "'=1+1"]
    assert float(table[0]["accuracy"]) == records(5)[0].metrics["accuracy"] and table[5]["error"] == "'@x"


def test_the_table_has_whole_numbers_and_truths_as_the_page_writes_them() -> None:
    metrics = {"parameters": 1200.0, "mia_auc": 0.5, "mia_auc_low": 0.00002, "accuracy": 1e-7, "violation": 0.0}
    row = Row("a", 3, "succeeded", metrics, 2.0, True, 0.0, None, False, {"seed": 1, "shift": "-1", "dp": True})
    assert table_of([row]).splitlines() == [
        "trial,sequence,status,phase,feasible,violation,pattern,seconds,factor seed,factor shift,factor dp,"
        "accuracy,mia_auc,mia_auc_low,parameters,architecture,error",
        "a,3,succeeded,,true,0,false,2,1,-1,true,1e-7,0.5,0.00002,1200,,",
    ]


@pytest.mark.parametrize(
    ("run", "name", "coded"),
    [
        ("my run", "my-run-all.csv", "my-run-all.csv"),
        ('../"x"\r\ny', "x-y-all.csv", "x-y-all.csv"),
        ("später", "sp_ter-all.csv", "sp%C3%A4ter-all.csv"),
        ("...", "privacy-all.csv", "privacy-all.csv"),
    ],
)
def test_the_table_is_named_after_the_run(run: str, name: str, coded: str) -> None:
    assert disposition_of(run) == f"attachment; filename=\"{name}\"; filename*=UTF-8''{coded}"


def test_the_report_is_the_folders_own(folder: Path, tmp_path: Path) -> None:
    assert report_of(folder) is None
    (tmp_path / "other.html").write_text("x")
    (folder / "report.html").symlink_to(tmp_path / "other.html")
    assert report_of(folder) is None
    (folder / "report.html").unlink()
    (folder / "report.html").write_text("<p>")
    assert report_of(folder) == b"<p>"


BOMB = "name: x\na0: &a0 [x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize("text", [BOMB, BOMB.replace("x, x, x", "{k: x}").replace("name: x", "name: &n [*n]")])
def test_aliases_that_make_a_configuration_huge_are_refused_in_a_line(folder: Path, text: str) -> None:
    (folder / "config.yaml").write_text(text)
    with pytest.raises(DataError, match="alias") as caught:
        details(folder, "t0")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_configuration_is_shown_as_it_stands_in_its_file(folder: Path) -> None:
    text = "# why\nname: &n live\nagain: *n\n"
    (folder / "config.yaml").write_text(text + "#" * 2 * LOG_BYTES)
    found = details(folder, "t0")["config"]
    assert text in found and len(found) < 2 * LOG_BYTES


def test_an_audits_facts_are_cut(tmp_path: Path) -> None:
    view = AuditView(write_audit(tmp_path / "audit"))
    content = json.loads((view.folder / "metrics.json").read_text())
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    content |= {"facts": ["x" * 100] * 100_000, "provenance": list(range(10**5)), "privacy": deep}
    (view.folder / "metrics.json").write_text(json.dumps(content))
    found = details_of(view, "lira")
    assert found is not None and len(found["config"]) < 1 << 18


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "sparse", "packed"])
def test_scores_that_are_no_file_of_the_run_or_too_large_cost_the_curves_only(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    path = write_scores(folder, "t0")
    outside = path.rename(tmp_path / "outside.npz")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(outside)
    elif kind == "sparse":
        outside.replace(path)
        os.truncate(path, 1 << 30)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("a/scores.npy", "w") as entry:
            for _ in range(257):
                entry.write(bytes(1 << 20))
    found = details(folder, "t0")
    assert found["roc"] == [] and len(found["cells"]) == 2


def test_what_takes_long_for_one_trial_does_not_hold_up_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, free = threading.Event(), threading.Event()
    real = module.scores_inside

    def slow(directory: Path, path: Path, attacks: Any = ()) -> Any:
        if path.name == "t0.npz":
            began.set()
            free.wait(60)
        return real(directory, path, attacks)

    monkeypatch.setattr(module, "scores_inside", slow)
    waiting = threading.Thread(target=lambda: details(folder, "t0"))
    waiting.start()
    assert began.wait(30) and details(folder, "t1")["trial"] == "t1" and waiting.is_alive()
    free.set()
    waiting.join(30)


def test_a_metric_with_the_name_of_another_column_has_one_of_its_own(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [])
    metrics = {"trial": 0.1, "status": 0.2, "seconds": 0.3, "=1+1": 0.4, "accuracy": 0.5}
    (folder / "trials.jsonl").write_text(json.dumps({"trial": "t", "status": "succeeded", "metrics": metrics}) + "\n")
    (row,) = csv.DictReader(io.StringIO(table_of(RunView(folder).rows())))
    assert (row["trial"], row["status"], row["seconds"]) == ("t", "succeeded", "")
    assert row["'=1+1"] == "0.4" and "=1+1" not in row and row["accuracy"] == "0.5"
