"""The snapshot of a run: its numbers are those of the file, computed another way here, and it grows with the file."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from live_run import CONFIG, records, write_run
from many_trials import make_many

from nni_privacy.errors import DataError
from nni_privacy.live.run_view import RunView
from nni_privacy.runs.epochs import EpochRecord, SearchLog
from nni_privacy.runs.lock import LOCK
from nni_privacy.runs.processes import ProcessId
from nni_privacy.runs.progress import Progress, ProgressWriter
from nni_privacy.runs.records import TrialRecord


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", records(12))


def frame(folder: Path) -> pd.DataFrame:
    """The file, read by pandas."""
    rows = pd.read_json(folder / "trials.jsonl", lines=True)
    metrics = pd.json_normalize(rows["metrics"].map(lambda one: one if isinstance(one, dict) else {}).tolist())
    return pd.concat([rows.drop(columns="metrics"), metrics], axis=1)


def dominated(points: list[tuple[float, float]], at: int) -> bool:
    accuracy, auc = points[at]
    return any(a >= accuracy and u <= auc and (a > accuracy or u < auc) for a, u in points)


def test_its_numbers_are_those_of_the_file(folder: Path) -> None:
    snapshot, table = RunView(folder).snapshot(), frame(folder)
    json.dumps(snapshot, allow_nan=False, default=dict)
    assert [row["trial"] for row in snapshot["rows"]] == table["trial"].tolist()
    for row, line in zip(snapshot["rows"], table.to_dict("records"), strict=True):
        for name in ("accuracy", "mia_auc", "mia_auc_low", "parameters", "loss_threshold_mia_auc"):
            value = row["metrics"].get(name)
            assert math.isnan(line[name]) if value is None else value == pytest.approx(line[name], rel=1e-12)
        assert (row["status"], row["seconds"]) == (line["status"], line["seconds"])
    assert snapshot["planned"] == 20 and snapshot["reset"] and snapshot["kind"] == "search"
    assert RunView(folder).entry()["best_accuracy"] == pytest.approx(table["accuracy"].max())
    assert RunView(folder).entry()["lowest_auc"] == pytest.approx(table["mia_auc"].min())


def test_the_front_is_what_nothing_dominates_and_the_hypervolume_is_its_area(folder: Path) -> None:
    snapshot, table = RunView(folder).snapshot(), frame(folder).dropna(subset=["accuracy", "mia_auc"])
    points = list(zip(table["accuracy"], table["mia_auc"], strict=True))
    front = {trial for at, trial in enumerate(table["trial"]) if not dominated(points, at)}
    assert set(snapshot["front"]) == front
    # The area by counting cells of a fine grid.
    size = 400
    middles = [(one + 0.5) / size for one in range(size)]
    covered = sum(any(a >= x and u <= y for a, u in points) for x in middles for y in middles) / size**2
    assert snapshot["hypervolume"][-1][1] == pytest.approx(covered, abs=0.01)
    values = [value for _, value in snapshot["hypervolume"]]
    assert values == sorted(values) and snapshot["hypervolume"][-1][0] == table["sequence"].max()


def test_what_is_feasible_is_what_keeps_all_bounds(folder: Path) -> None:
    snapshot, table = RunView(folder).snapshot(), frame(folder)
    keeps = table.set_index("trial").eval("mia_auc <= 0.6 and parameters <= 30000")
    for row in snapshot["rows"]:
        assert row["feasible"] == (bool(keeps[row["trial"]]) if row["status"] == "succeeded" else None)
    best = table[table["trial"].map(keeps)].sort_values("accuracy").iloc[-1]
    assert snapshot["best_feasible"] == best["trial"]
    told = [(one["metric"], one["relation"], one["bound"]) for one in snapshot["constraints"]]
    assert told == [("mia_auc", "<=", 0.6), ("parameters", "<=", 30000.0)]


def test_phases_fixed_edges_and_ends_of_intervals(tmp_path: Path) -> None:
    trials = records(6)
    edge = trials[0].genotype.edges_by_cell()["normal"][0]  # type: ignore[union-attr]
    fixed = {"normal": [[edge.source, edge.target, edge.op]], "reduction": []}
    view = RunView(write_run(tmp_path / "run", trials, fixed_edges=fixed))
    snapshot = view.snapshot()
    for row, trial in zip(snapshot["rows"], trials, strict=True):
        assert row["pattern"] == (
            f"('{edge.op}', {edge.source})" in trial.architecture and not trial.missing({"normal": (edge,)})
        )
    assert snapshot["rows"][0]["pattern"] is True and snapshot["fixed"] == fixed
    assert [row["phase"] for row in snapshot["rows"]] == ["initial population"] * 4 + ["evolution"] * 2
    metrics = {one["name"]: one for one in snapshot["metrics"]}
    assert (metrics["mia_auc"]["low"], metrics["mia_auc"]["high"]) == ("mia_auc_low", "mia_auc_high")
    assert "mia_auc_low" not in metrics and metrics["parameters"]["group"] == "cost"
    assert list(metrics)[:2] == ["accuracy", "mia_auc"]


def test_only_what_is_new_is_told_again(folder: Path) -> None:
    view = RunView(folder)
    cursor = view.snapshot()["cursor"]
    assert view.snapshot(cursor)["rows"] == [] and not view.snapshot(cursor)["reset"]
    new = records(14)[12:]
    with (folder / "trials.jsonl").open("a") as file:
        for record in new:
            file.write(record.to_json() + "\n")
    told = view.snapshot(cursor)
    assert [row["trial"] for row in told["rows"]] == ["t12", "t13"] and not told["reset"]
    assert len(view.snapshot("another-1")["rows"]) == 14 and view.snapshot("x" * 99)["reset"]
    # Two pages at different places get what each of them lacks.
    assert [row["trial"] for row in view.snapshot(cursor)["rows"]] == ["t12", "t13"]


def test_a_mended_file_is_told_as_a_whole(folder: Path) -> None:
    view = RunView(folder)
    cursor = view.snapshot()["cursor"]
    lines = (folder / "trials.jsonl").read_text().splitlines(keepends=True)
    other = folder / "other"
    other.write_text("".join(lines[1:]))
    other.replace(folder / "trials.jsonl")
    told = view.snapshot(cursor)
    assert told["reset"] and [row["trial"] for row in told["rows"]] == [f"t{number}" for number in range(1, 12)]


def test_other_constraints_make_all_rows_new(folder: Path) -> None:
    view = RunView(folder)
    cursor = view.snapshot()["cursor"]
    text = (folder / "config.yaml").read_text().replace("<= 0.6", "<= 0.99")
    (folder / "config.yaml").write_text(text)
    told = view.snapshot(cursor)
    assert told["reset"] and told["constraints"][0]["bound"] == 0.99


def test_a_broken_configuration_is_told_and_once_mended_nothing_is_lost(folder: Path) -> None:
    view = RunView(folder)
    cursor = view.snapshot()["cursor"]
    good = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text("a: [")
    with (folder / "trials.jsonl").open("a") as file:
        file.write(records(13)[12].to_json() + "\n")
    for _ in range(2):
        with pytest.raises(DataError, match=r"config\.yaml"):
            view.snapshot(cursor)
    (folder / "config.yaml").write_text(good)
    assert [row["trial"] for row in view.snapshot(cursor)["rows"]] == ["t12"]


def test_weights_that_come_and_go_are_told(folder: Path) -> None:
    view = RunView(folder)
    cursor = view.snapshot()["cursor"]
    (folder / "models" / "t2").mkdir(parents=True)
    (told,) = view.snapshot(cursor)["rows"]
    assert told["trial"] == "t2" and told["has_weights"]


def hold(folder: Path, *, host: str | None = None) -> None:
    """As a run does that this process runs."""
    own = ProcessId.of(os.getpid())
    assert own is not None
    import socket

    content = {"host": host or socket.gethostname(), "process": own.to_dict()}
    (folder / LOCK).write_text(json.dumps(content))


def test_a_run_that_goes_on_shows_its_trials_and_the_time_that_is_left(folder: Path) -> None:
    import time

    writer = ProgressWriter(folder, Progress(time.time() - 100.0, planned=20, before=2, concurrency=2), interval=0.0)
    writer.began(12)
    writer.began(3)  # has ended meanwhile, says trials.jsonl
    until = time.monotonic() + 5
    hold(folder)
    view = RunView(folder)
    while not (told := view.snapshot())["running"]:
        assert time.monotonic() < until
    assert told["state"] == "running" and [one["sequence"] for one in told["running"]] == [12]
    assert told["elapsed"] == pytest.approx(100, abs=10) and told["seconds_left"] == pytest.approx(80, abs=10)
    writer.close(done=True)
    told = view.snapshot()
    assert told["state"] == "finished" and told["running"] == [] and told["seconds_left"] is None


def test_the_supernet_of_a_one_shot_search_is_under_way_before_its_trials(folder: Path) -> None:
    log, losses = SearchLog(folder / "search"), (2.5, 2.25, 1.5)
    hold(folder)
    view = RunView(folder)
    assert view.snapshot()["running"] == []
    for epoch, loss in enumerate(losses, start=1):
        with log:
            log.write(EpochRecord(epoch, 3, "cell", 1, metrics={"train_loss": loss, "odd": float("nan")}, seconds=2.0))
        running = view.snapshot()["running"]
        if epoch < 3:
            (row,) = running
            assert (row["title"], row["epoch"], row["epochs"], row["since"]) == ("Supernet", epoch, 3, 2.0 * epoch)
            assert row["curves"] == {"train_loss": losses[:epoch]}
    assert running == []
    for torn in ('{"epoch": 1', '{"epoch": "x", "epochs": 3, "architecture": "", "skip_connections": 0}', "[]"):
        (folder / "search" / "epochs.jsonl").write_text(torn)
        assert view.snapshot()["running"] == []


def test_a_run_whose_process_is_gone_was_stopped_unless_it_has_all_trials(folder: Path, tmp_path: Path) -> None:
    assert RunView(folder).entry()["state"] == "stopped"
    (folder / LOCK).write_text(json.dumps({"process": {"pid": 2**22 + 1, "started": "x"}}))
    assert RunView(folder).entry()["state"] == "stopped"
    # What a run that was killed said of its running trials is no longer true.
    trial = {"sequence": 12, "epoch": 1, "epochs": 3, "began": 5.0, "curves": {"loss": [1.0]}}
    (folder / "progress.json").write_text(json.dumps({"started": 1.0, "trials": [trial]}))
    assert RunView(folder).snapshot()["running"] == [] and RunView(folder).snapshot()["state"] == "stopped"
    (folder / "progress.json").unlink()
    hold(folder, host="elsewhere.example")
    assert RunView(folder).entry()["state"] == "running"  # nobody here knows, but it wrote just now
    os.utime(folder / "trials.jsonl", (0, 0))
    assert RunView(folder).entry()["state"] == "stopped"
    full = write_run(tmp_path / "full", records(20))
    assert RunView(full).entry()["state"] == "finished"


def test_a_copied_directory_shows_the_same(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(folder, copy)
    ours, theirs = RunView(folder).snapshot(), RunView(copy).snapshot()
    assert {**ours, "cursor": ""} == {**theirs, "cursor": ""}


def test_hostile_texts_stay_texts_and_numbers_stay_finite(tmp_path: Path) -> None:
    nasty = "</script><script>alert(1)</script>\ud800\x00"
    row: dict[str, Any] = {"trial": nasty, "status": nasty, "metrics": {nasty: 1e400, "accuracy": 0.5}, "error": nasty}
    row["factors"] = {nasty: float("nan"), "x": nasty}
    folder = write_run(tmp_path / "run", [], {**CONFIG, "name": nasty[:-2]})
    (folder / "trials.jsonl").write_text(json.dumps(row) + "\n")
    (told,) = RunView(folder).snapshot()["rows"]
    assert told["trial"] == nasty and told["error"] == nasty and told["factors"] == {"x": nasty} and told["nni"] is None
    json.dumps(RunView(folder).snapshot(), allow_nan=False, default=dict)


def test_a_study_shows_its_factors(tmp_path: Path) -> None:
    config = {
        "name": "s",
        "architectures": [{"sampled": 1}],
        "datasets": [{"name": "digits"}],
        "evaluator": {"attacks": ["rmia"]},
    }
    trials = [
        TrialRecord(
            "a", 0, "succeeded", "G", {"accuracy": 0.9, "mia_auc": 0.6}, factors={"architecture": "x", "seed": 3}
        )
    ]
    snapshot = RunView(write_run(tmp_path / "study", trials, config)).snapshot()
    assert snapshot["kind"] == "study" and snapshot["rows"][0]["factors"] == {"architecture": "x", "seed": 3}
    assert snapshot["dataset"] == "digits" and snapshot["attacks"] == ["rmia"] and snapshot["state"] == "finished"


def test_of_many_trials_the_pattern_comes_bit_by_bit_and_then_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nni_privacy.live.run_view._JUDGING_SECONDS", 0.02)
    edge = records(1)[0].genotype.edges_by_cell()["normal"][0]  # type: ignore[union-attr]
    source = write_run(tmp_path / "run", records(6), fixed_edges={"normal": [[edge.source, edge.target, edge.op]]})
    view = RunView(make_many(source, tmp_path / "many", 400))
    told = view.snapshot()
    assert len(told["rows"]) == 400
    known: dict[str, Any] = {row["trial"]: row["pattern"] for row in told["rows"]}
    assert None in known.values()
    for _ in range(400):
        told = view.snapshot(told["cursor"])
        known |= {row["trial"]: row["pattern"] for row in told["rows"]}
        if None not in known.values():
            break
    fixed = {"normal": (edge,)}
    assert known == {trial.trial: not trial.missing(fixed) for trial in view.run.trials}
    assert view.snapshot(told["cursor"])["rows"] == []


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run directory"):
        RunView(tmp_path).snapshot()


@pytest.mark.parametrize(
    "content",
    [
        *('{"process": {"pid": 1e400, "started": "x"}}', '{"process": {"pid": -1, "started": "x"}}', "[" * 100_000),
        '{"process": {"pid": 99999999999999999999, "started": "x"}}',
    ],
)
def test_a_lock_that_says_nothing_costs_no_trial(tmp_path: Path, content: str) -> None:
    folder = write_run(tmp_path / "run", records(3))
    (folder / "running.json").write_text(content)
    assert RunView(folder).snapshot()["state"] == "stopped" and RunView(folder).entry()["trials"] == 3


@pytest.mark.parametrize("name", ["running.json", "progress.json", "confirmed.json", "models", "search", "scores"])
@pytest.mark.parametrize("kind", ["pipe", "file", "link", "sparse"])
def test_a_file_beside_the_trials_costs_none_of_them(tmp_path: Path, name: str, kind: str) -> None:
    folder = write_run(tmp_path / "run", records(3))
    _put(folder / name, kind)
    view = RunView(folder)
    assert len(view.snapshot()["rows"]) == 3 and view.entry()["trials"] == 3


@pytest.mark.parametrize("name", ["trials.jsonl", "config.yaml", "environment.json"])
@pytest.mark.parametrize("kind", ["pipe", "link", "sparse"])
def test_a_file_that_is_none_of_the_run_or_too_large_is_told_in_a_line(tmp_path: Path, name: str, kind: str) -> None:
    folder = write_run(tmp_path / "run", records(3))
    _put(folder / name, kind)
    with pytest.raises(DataError, match="it is not read") as caught:
        RunView(folder).snapshot()
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_run_that_a_link_leads_to_is_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(write_run(tmp_path / "run", records(3)))
    assert len(RunView(tmp_path / "link").rows()) == 3


def _put(path: Path, kind: str) -> None:
    """Something else in the place of a file: a pipe, a text, a link to a file elsewhere, or a gigabyte of nothing."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        outside = path.parents[1] / "outside"
        outside.write_text('{"started": 1}')
        path.symlink_to(outside)
    else:
        path.write_text("x")
        if kind == "sparse":
            os.truncate(path, 1 << 30)
