from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from damage import LINES, damage
from report.samples import ATTACKS, FIXED, make_run, write_rows

from nni_privacy.cells.darts import Edge, Genotype
from nni_privacy.errors import DataError
from nni_privacy.report import read_run


def test_a_run_is_read_into_typed_rows(run_directory):
    run = read_run(run_directory)
    assert run.name == "quickstart"
    assert run.attacks == ATTACKS
    assert [trial.sequence for trial in run.trials] == list(range(12))
    assert len(run.succeeded) == len(run.measured) == 11
    assert run.fixed_edges == {"normal": (), "reduction": tuple(Edge(*edge) for edge in FIXED)}
    first = run.trials[0]
    assert isinstance(first.genotype, Genotype)
    assert str(first.genotype) == first.architecture
    assert first.metrics["accuracy"] == first.accuracy
    assert "mia_tpr_at_01pct_fpr" not in first.metrics
    assert all(not trial.missing(run.fixed_edges) for trial in run.succeeded)
    assert not run.trials[5].succeeded and "not finite" in run.trials[5].error


def test_rows_are_sorted_by_sequence_and_the_last_line_of_a_trial_wins(run_directory):
    path = run_directory / "trials.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    again = {**rows[3], "metrics": {"accuracy": 0.25}}
    write_rows(run_directory, [*reversed(rows), again])
    trials = read_run(run_directory).trials
    assert [trial.sequence for trial in trials] == list(range(12))
    assert trials[3].accuracy == 0.25


def test_a_truncated_last_line_is_skipped(run_directory):
    path = run_directory / "trials.jsonl"
    path.write_text(path.read_text()[:-40])
    run = read_run(run_directory)
    assert len(run.trials) == 11
    assert run.corrupt_lines == (12,)


def test_missing_and_odd_metrics_become_none(run_directory):
    (run_directory / "trials.jsonl").write_text(
        '{"trial": "a", "status": "succeeded", "metrics": {"accuracy": NaN, "mia_auc": "high", "epsilon": true}}\n'
        '{"trial": "b", "status": "succeeded"}\n'
        f'{{"trial": "c", "sequence": 1, "metrics": {{"accuracy": {10**400}}}, "seconds": null}}\n'
        "[1, 2]\n"
    )
    run = read_run(run_directory)
    assert [dict(trial.metrics) for trial in run.trials] == [{}, {}, {}]
    assert [trial.sequence for trial in run.trials] == [0, 1, 1]
    assert run.trials[0].interval is None and run.trials[0].seconds is None
    assert run.trials[2].status == "unknown"
    assert run.corrupt_lines == (4,)
    assert run.measured == ()


def test_a_trial_without_all_fixed_edges_is_found(run_directory, tmp_path):
    free = read_run(make_run(tmp_path / "free", trials=1, pattern=False)).trials[0]
    fixed = read_run(run_directory).fixed_edges
    assert free.missing(fixed)
    assert all(edge not in free.genotype.reduction.edges for _, edge in free.missing(fixed))


def test_a_run_before_its_first_trial_is_a_run(run_directory):
    (run_directory / "trials.jsonl").unlink()
    assert read_run(run_directory).trials == ()


def test_trials_alone_are_enough(run_directory):
    (run_directory / "config.yaml").unlink()
    (run_directory / "environment.json").unlink()
    run = read_run(run_directory)
    assert run.name == "run" and run.attacks == () and not any(run.fixed_edges.values())


@pytest.mark.parametrize("content", [None, "config.yaml", "notes.txt"])
def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path, content):
    if content:
        (tmp_path / content).write_text("name: other")
    with pytest.raises(DataError, match="not a run directory") as caught:
        read_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_and_a_file_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("nowhere", "file"):
        with pytest.raises(DataError, match="no such directory"):
            read_run(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.yaml", "a: [", "not valid YAML"),
        ("config.yaml", "- a", "found a list"),
        ("config.yaml", "!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("environment.json", "{", "not valid JSON"),
        ("environment.json", '{"fixed_edges": [[0, 2, "skip_connect"]]}', "fixed_edges"),
        ("environment.json", '{"fixed_edges": {"normal": [[0, 2]]}}', "fixed_edges: normal"),
        ("environment.json", '{"fixed_edges": {"reduction": [[2, 2, "skip_connect"]]}}', "fixed_edges: reduction"),
    ],
)
def test_files_that_are_not_what_they_say_are_refused_in_one_line(run_directory: Path, name, text, message):
    (run_directory / name).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_run(run_directory)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("kind", [*LINES, "missing"])
def test_readers_take_what_is_whole_of_a_damaged_file_and_leave_it_as_it_is(run_directory: Path, kind: str) -> None:
    path = run_directory / "trials.jsonl"
    content, whole = path.read_bytes(), {trial.trial: trial for trial in read_run(run_directory).trials}
    for seed in range(4):
        path.write_bytes(content)
        damage(path, kind, random.Random(f"{kind} {seed}"))
        before = {file: file.read_bytes() for file in run_directory.rglob("*") if file.is_file()}
        run = read_run(run_directory)
        assert {file: file.read_bytes() for file in run_directory.rglob("*") if file.is_file()} == before
        assert len({trial.trial for trial in run.trials}) == len(run.trials)
        # A digit that is another one, and two halves that happen to fit, only the journal tells.
        strange = [trial for trial in run.trials if whole.get(trial.trial) != trial]
        assert not strange or (len(strange) == 1 and kind in ("a bit", "cut inside"))
        lost = len(whole) - len(run.trials)
        assert run.corrupt_lines or lost == 0 or kind in ("cut off", "cut inside", "empty", "missing")
