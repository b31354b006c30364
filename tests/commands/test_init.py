"""`init` writes what `search --dry-run` accepts, `--dry-run` writes nothing, `list` knows every name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support_config import BASE
from support_search import free_port

from nni_privacy.attacks import attack_names
from nni_privacy.commands import list as listing
from nni_privacy.commands.main import main
from nni_privacy.config import load_config
from nni_privacy.data.registry import dataset_names
from nni_privacy.networks import FAMILIES
from nni_privacy.patterns import list_patterns
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.records import TrialRecord
from nni_privacy.strategies.registry import strategy_names
from nni_privacy.surrogate import surrogate_names


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a data set in a file."""
    images = np.random.default_rng(0).integers(0, 255, (200, 12, 12), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", x=images, y=np.arange(200) % 4)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(words) == code
    out, err = capsys.readouterr()
    return out + err


def dry(capsys: pytest.CaptureFixture[str], command: str, *words: str, code: int = 0) -> str:
    return run(capsys, command, *words, "--dry-run", "--port", str(free_port()), code=code)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"dataset.name": "digits", "search_space.name": "darts", "pattern.budget": 4, "trials": 12}),
        (
            ["--dataset", "npz", "path=mine.npz", "limit=160", "--space", "nasbench201", "channels=4", "cells=1"],
            {"dataset.path": "mine.npz", "dataset.limit": 160, "search_space.channels": 4, "search_space.cells": 1},
        ),
        (["--strategy", "gdas", "epochs=2", "--trials", "3", "--pattern", "none"], {"trials": 3, "strategy.top_k": 3}),
        (["--strategy", "pareto", "population_size=4", "--attacks", "gap"], {"strategy.population_size": 4}),
    ],
    ids=["default", "npz", "one-shot", "pareto"],
)
def test_what_init_writes_is_accepted(
    words: Sequence[str], expected: dict[str, Any], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = run(capsys, "init", *words, "--output", "my search.yaml")
    assert "nni-privacy search 'my search.yaml' --dry-run" in text
    resolved = load_config("my search.yaml").resolved()
    for path, value in expected.items():
        found = resolved
        for part in path.split("."):
            found = found[part]
        assert found == value
    assert resolved["name"] == "my search" and (resolved["pattern"] is None) == ("none" in words)
    comments = [line for line in (here / "my search.yaml").read_text().splitlines() if line.startswith("#")]
    assert len(comments) > 10 and max(map(len, comments)) <= 100
    before = sorted(here.rglob("*"))
    assert "nothing has been started or written" in dry(capsys, "search", "my search.yaml")
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "digit"], "dataset: unknown dataset 'digit': did you mean 'digits'"),
        (["--dataset", "npz"], "dataset: dataset 'npz' needs the option 'path'"),
        (["--dataset", "npz", "mine.npz"], "--dataset: 'mine.npz' is not KEY=VALUE"),
        (["--space", "dart"], "search_space.name: unknown search space 'dart'"),
        (["--space", "darts", "cells=1"], "search_space.cells: 1"),
        (["--strategy", "randm"], "strategy.name: unknown strategy 'randm'"),
        (["--pattern", "demote"], "unknown pattern 'demote'"),
        (["--attacks", "lyra"], "evaluator.attacks: unknown attack 'lyra'"),
        (["--trials", "0"], "trials: 0"),
        (["--output", "no/such.yaml"], "output: no/such.yaml: No such file"),
    ],
)
def test_what_cannot_be_is_not_written(
    words: Sequence[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(here.rglob("*"))
    text = run(capsys, "init", *words, code=2)
    assert message in text and text.count("\n") == 1 and sorted(here.rglob("*")) == before


def test_init_overwrites_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "search.yaml").write_text("mine")
    assert "output: search.yaml exists; name a new file" in run(capsys, "init", code=2)
    assert (here / "search.yaml").read_text() == "mine"


# --- dry runs ---


def test_a_dry_run_says_what_would_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "search.yaml").write_text(yaml.safe_dump(BASE))
    text = dry(capsys, "search", "search.yaml", "--trials", "5", "--output", "out")
    for words in (
        "quickstart: 5 trials would run, 2 at a time",
        "darts: channels 8, cells 5, nodes 4",
        "demotion: cells reduction, 4 edges fixed",
        "regularized_evolution: population_size 6",
        "digits: 1,797 images of 1x8x8 in 10 classes; a trial trains on 449 and attacks 898",
        "30 epochs of 7 steps (64 a batch); attacks black_box_partial",
        str(here / "out"),
    ):
        assert words in text


def test_a_dry_run_of_a_study_counts_its_measurements(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = {"name": "s", "datasets": ["digits"], "seeds": [0, 1], "architectures": [{"networks": ["dla", "vgg"]}]}
    (here / "study.yaml").write_text(yaml.safe_dump(study))
    text = dry(capsys, "measure", "study.yaml")
    assert "s: 4 measurements would run, 1 at a time" in text and "architectures  dla, vgg" in text
    assert sorted(path.name for path in here.iterdir()) == ["mine.npz", "study.yaml"]


def test_a_dry_run_of_a_resumption_counts_what_is_finished(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "search.yaml").write_text(yaml.safe_dump(BASE))
    made = RunDirectory(here / "run")
    made.create(load_config("search.yaml").resolved(), {"experiment": "first", "started": "then"})
    made.append(TrialRecord("a", 0, "succeeded", "G", {"accuracy": 0.9}, 1.0))
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert "finished       1 of 12" in dry(capsys, "search", "search.yaml", "--output", "run", "--resume")
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": {"name": "npz", "path": "none.npz"}}, "none.npz"),
        ({"pattern": {"name": "demotion", "cells": "reduction", "budget": 8}}, "pattern.budget: 8"),
        (
            {"strategy": {"name": "pareto", "objectives": {"accuracy": "maximize", "rmia_mia_auc": "minimize"}}},
            "objectives",
        ),
        ({"training_service": {"platform": "remote", "machine_list": []}}, "training_service"),
    ],
)
def test_a_dry_run_finds_what_a_run_would(
    changes: dict[str, Any], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "search.yaml").write_text(yaml.safe_dump(BASE | changes))
    text = dry(capsys, "search", "search.yaml", code=2)
    assert message in text and text.count("\n") == 1


def test_a_dry_run_of_a_search_on_predictions(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {key: BASE[key] for key in ("name", "pattern", "trials")} | {"search_space": "darts"}
    (here / "search.yaml").write_text(
        yaml.safe_dump({**settings, "strategy": "random", "evaluator": {"kind": "predicted"}})
    )
    before = sorted(here.rglob("*"))
    assert "none is trained" in dry(capsys, "search", "search.yaml")
    assert sorted(here.rglob("*")) == before


# --- lists ---


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("attacks", attack_names()),
        ("strategies", strategy_names()),
        ("datasets", dataset_names()),
        ("networks", FAMILIES),
        ("patterns", [pattern.name for pattern in list_patterns()]),
        ("surrogates", surrogate_names()),
        ("spaces", ["darts", "nasbench201"]),
    ],
)
def test_every_name_is_listed_with_a_line(kind: str, names: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (line.partition(" ") for line in run(capsys, "list", kind).splitlines())
    rows = {name: told.strip() for name, _, told in lines}
    assert set(rows) >= set(names)  # other tests may have registered more
    told = [rows[name] for name in names]
    assert all(len(line) > 10 and ":`" not in line and "``" not in line for line in told)


def test_every_kind_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["list", "attack"])
    error = capsys.readouterr().err
    assert all(kind in error for kind in listing.KINDS) and error.count("\n") == 1


def dry_run(command: str, dataset: dict[str, Any], folder: Path) -> int:
    """The exit code of a dry run of a small search or study of ``dataset``."""
    parts = {
        "search": {"dataset": dataset, "strategy": "random", "trials": 1},
        "measure": {"datasets": [dataset], "architectures": [{"sampled": 1}]},
    }
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"name": "x", "search_space": "darts", **parts[command]}))
    return main([command, str(config), "--dry-run"])


@pytest.mark.parametrize("command", ["search", "measure"])
def test_a_dry_run_downloads_nothing(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = {"name": "cifar10", "root": str(tmp_path / "data"), "download": True}
    assert dry_run(command, dataset, tmp_path) == 2
    assert "a run would download it, a dry run downloads nothing" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", ["search", "measure"])
def test_too_few_records_are_told_before_anything_is_trained(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = {"name": "digits", "limit": 60}
    assert dry_run(command, dataset, tmp_path) == 2
    assert "15 members and 15 non-members; an audit needs 20 or more" in capsys.readouterr().err
