"""A plugin of each kind from the command line: attack, data set, strategy, surrogate and space."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support_search import Search, free_port
from surrogate.samples import random_codes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^```\w+\n# (\w+\.\w+)[^\n]*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
OWN: dict[str, Any] = yaml.safe_load(EXAMPLES["own.yaml"])
PREDICTED: dict[str, Any] = {
    "name": "predicted",
    "plugins": ["own_surrogate", "own_strategy"],
    "search_space": "darts",
    "strategy": {"name": "own_hill_climb", "minimize": "predicted_mia_auc"},
    "evaluator": {"kind": "predicted", "surrogate": "line.npz"},
    "trials": 5,
}
STUDY: dict[str, Any] = {
    "name": "study",
    "plugins": ["triangle", "own_data", "own_attack"],
    "datasets": [{"name": "own_stripes", "records": 200}],
    "search_space": {"name": "triangle", "channels": 2, "cells": 1},
    "architectures": [{"sampled": 2}],
    "evaluator": {"recipe": {"epochs": 1, "batch_size": 16}, "attacks": ["own_entropy"]},
}
TRIANGLES: dict[str, Any] = {
    **{key: OWN[key] for key in ("trials", "evaluator")},
    "name": "triangles",
    "plugins": ["triangle", "own_data", "own_strategy", "own_attack"],
    "dataset": "own_stripes",
    "search_space": {"name": "triangle", "channels": 2, "cells": 1},
    "strategy": "own_hill_climb",
}


@pytest.fixture
def folder(tmp_path: Path, write_csv: Callable[..., Path]) -> Path:
    """The plugins, 60 measured architectures and three more."""
    write_csv()
    for name in ("own_attack.py", "own_data.py", "own_strategy.py", "own_surrogate.py"):
        (tmp_path / name).write_text(EXAMPLES[name], encoding="utf-8")
    shutil.copy(ROOT / "tests" / "support" / "triangle.py", tmp_path)
    (tmp_path / "three.txt").write_text("\n".join(map(str, random_codes(3, seed=8).to_genotypes())))
    return tmp_path


def run(folder: Path, *words: str, code: int = 0) -> str:
    """What the command says, in a process of its own: nothing is registered there before."""
    command = [sys.executable, "-W", "ignore", "-m", "nni_privacy", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def config(folder: Path, content: dict[str, Any]) -> str:
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return "config.yaml"


def test_a_surrogate_is_fitted_asked_and_searched_on(folder: Path) -> None:
    plugins = ("--plugins", "own_surrogate")
    run(folder, "surrogate", "fit", "data.csv", "--model", "own_line", "--output", "line.npz", *plugins)
    values = [
        float(line)
        for line in run(folder, "surrogate", "predict", "three.txt", "--surrogate", "line.npz", *plugins).split()
    ]
    assert len(values) == 3 and all(0.6 < value < 0.9 for value in values)
    text = run(folder, "search", config(folder, PREDICTED), "--output", "run")
    assert "done: 5 trials, lowest PREDICTED AUC 0." in text
    recorded = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    assert recorded["plugins"] == PREDICTED["plugins"] and "plugins" not in recorded["evaluator"]
    filtered = {**OWN, "plugins": [*OWN["plugins"], "own_surrogate"], "search_space": {"name": "darts", "channels": 2}}
    filtered["filter"] = {"quantile": 0.5, "surrogate": "line.npz"}
    text = run(folder, "search", config(folder, filtered), "--dry-run", "--port", str(free_port()))
    assert "filter         quantile 0.5, surrogate line.npz" in text


def test_patterns_are_extracted_by_a_surrogate(folder: Path) -> None:
    words = ("--surrogate", "own_line", "--plugins", "own_surrogate", "--resamples", "20")
    words += ("--low", "0.785", "--high", "0.79", "--output", "mine")
    run(folder, "patterns", "extract", "data.csv", *words)
    assert (folder / "mine" / "report.html").is_file()


@pytest.mark.parametrize(("command", "content"), [("search", OWN), ("search", TRIANGLES), ("measure", STUDY)])
def test_a_dry_run_knows_them_all_and_writes_nothing(folder: Path, command: str, content: dict[str, Any]) -> None:
    path = config(folder, content)
    before = {file for file in folder.rglob("*") if "__pycache__" not in file.parts}
    text = run(folder, command, path, "--dry-run", "--output", "run", "--port", str(free_port()))
    assert "nothing has been started or written" in text and "own_entropy" in text and "own_stripes" in text
    assert {file for file in folder.rglob("*") if "__pycache__" not in file.parts} == before


def test_they_are_listed(folder: Path) -> None:
    text = run(folder, "list", "strategies", "--plugins", "own_strategy")
    assert "own_hill_climb" in text and "Options of strategy: {name: own_hill_climb}" in text.replace("`", "")
    assert "triangle" in run(folder, "list", "spaces", "--plugins", "triangle")


def test_a_fault_in_an_attack_ends_an_audit_before_anything_is_read(folder: Path) -> None:
    broken = EXAMPLES["own_attack.py"].replace("signals.posteriors", "signals.posterior")
    (folder / "own_attack.py").write_text(broken)
    line = 1 + broken[: broken.index("signals.posterior,")].count("\n")
    files = ("--weights", "w.pt", "--members", "a.npz", "--nonmembers", "b.npz", "--output", "out")
    options = ("--attacks", "own_entropy", "--plugins", "own_attack")
    text = run(folder, "audit", "--model", "a:b", *files, *options, code=2)
    assert f"own_attack.py:{line}: AttributeError" in text and text.count("\n") == 1


def broken_strategy(folder: Path) -> int:
    """Lets the strategy fail when it has a result; the line."""
    text = EXAMPLES["own_strategy.py"].replace("costs = self.objectives.costs(", "costs = self.objective.costs(")
    (folder / "own_strategy.py").write_text(text)
    return 1 + text[: text.index("self.objective.costs")].count("\n")


def test_a_strategy_that_fails_on_the_way_is_told_and_what_there_is_is_reported(folder: Path) -> None:
    line = broken_strategy(folder)
    content = {**PREDICTED, "plugins": ["own_strategy"], "evaluator": {"kind": "predicted"}}
    text = run(folder, "search", config(folder, content), "--output", "run", code=2)
    assert f"strategy 'own_hill_climb': {folder / 'own_strategy.py'}:{line}: AttributeError" in text


def test_a_strategy_that_fails_in_a_search_leaves_a_report_and_no_process(folder: Path) -> None:
    line = broken_strategy(folder)
    search = Search(folder, OWN, "--exit-when-done")
    assert search.wait() == 2, search.text
    assert f"own_strategy.py:{line}: AttributeError" in search.text and "Traceback" not in search.text
    assert (search.output / "report.html").is_file() and len(search.trials) == 1


@pytest.mark.parametrize(("command", "content", "trials"), [("search", TRIANGLES, 3), ("measure", STUDY, 2)])
def test_a_run_of_a_space_an_attack_a_data_set_and_a_strategy(
    folder: Path, command: str, content: dict[str, Any], trials: int
) -> None:
    search = Search(folder, content, "--exit-when-done", command=command)
    assert search.wait() == 0, search.text
    assert [trial["status"] for trial in search.trials] == ["succeeded"] * trials
    assert all(trial["architecture"].startswith("Triangle(") for trial in search.trials)
    recorded = yaml.safe_load((search.output / "config.yaml").read_text())
    assert recorded["plugins"] == recorded["evaluator"]["plugins"] == content["plugins"]
    scores = [np.load(path)["own_entropy/scores"] for path in (search.output / "scores").iterdir()]
    assert len(scores) == trials and json.dumps(search.trials[0]["metrics"])
