"""Spoiled files: one clear line and exit code 2, or a valid run; never a traceback, never half a run."""

from __future__ import annotations

import importlib
import os
import pickle
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import audited_model
import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from mutations import spoiled_bytes, spoiled_yaml

from nni_privacy import patterns
from nni_privacy.commands.main import main
from nni_privacy.commands.session import Session
from nni_privacy.errors import DataError
from nni_privacy.nni_runtime.probe import free_port


def fuzz(examples: int) -> settings:
    """The same examples at every run."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


SMALL: dict[str, Any] = {
    "name": "small",
    "seed": 1,
    "dataset": {"name": "digits"},
    "search_space": {"name": "darts", "channels": 4, "cells": 3, "nodes": 2},
    "strategy": {"name": "regularized_evolution", "population_size": 6, "sample_size": 3},
    "evaluator": {
        "recipe": {"epochs": 1, "batch_size": 64, "learning_rate": 0.01},
        "attacks": ["loss_threshold"],
        "device": "cpu",
        "threads": 1,
        "effort": {"views": 2, "boundary_records": 10},
        "shadow": {"count": 2, "workers": 0},
    },
    "trials": 2,
    "concurrency": 1,
    "gpus_per_trial": 0,
    "training_service": {
        "platform": "remote",
        "machine_list": [{"host": "127.0.0.1", "user": "user", "password": "word", "gpu_indices": [0]}],
    },
}
FILTERED: dict[str, Any] = {
    "name": "filtered",
    "dataset": {"name": "digits"},
    "search_space": {"name": "darts", "channels": 4, "cells": 3},
    "pattern": {"name": "demotion", "cells": "reduction", "budget": 2},
    "filter": {"quantile": 0.5, "max_rejections": 10},
    "strategy": {"name": "random"},
    "evaluator": {"recipe": {"epochs": 1}, "attacks": ["loss_threshold"]},
    "trials": 2,
}
SHARED: dict[str, Any] = {
    "name": "shared",
    "dataset": {"name": "digits"},
    "search_space": {"name": "nasbench201", "channels": 4, "cells": 1},
    "strategy": {"name": "gdas", "epochs": 1, "batch_size": 64},
    "evaluator": {"recipe": {"epochs": 1}, "attacks": ["loss_threshold"]},
    "trials": 1,
}


class Runs:
    """Runs the command line in this process, where a search that is valid stops short of its start."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.started = 0
        self._capsys = capsys

    def fresh(self, name: str) -> Path:
        """A name in an empty folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        return self.folder / name

    def __call__(self, words: Sequence[str | Path], *, lines: int = 1) -> int:
        """Runs a command and checks what every command promises: to say what is wrong in so many lines at most."""
        before = set(self.folder.rglob("*"))
        self._capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = self._capsys.readouterr()
        assert code in (0, 2)
        assert "Traceback" not in said.err
        assert set(self.folder.rglob("*")) == before
        if code == 2:
            assert said.out == ""
            assert said.err.startswith("nni-privacy") and 1 <= said.err.count("\n") <= lines and len(said.err) < 2000
        return code


@pytest.fixture
def runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    found = Runs(tmp_path / "here", capsys)
    found.folder.mkdir()
    monkeypatch.chdir(found.folder.parent)

    def start(*_: Any, **__: Any) -> bool:
        found.started += 1
        return True

    monkeypatch.setattr(Session, "run_to_end", start)
    monkeypatch.setattr(Session, "conclude", lambda *_, **__: 0)
    yield found
    assert not list(tmp_path.rglob("pwned")) and not Path("pwned").exists()


def search_file(runs: Runs, content: bytes) -> int:
    path = runs.fresh("config.yaml")
    path.write_bytes(content)
    return runs(["search", path, "--output", runs.folder / "run", "--port", str(free_port())])


def test_the_files_that_are_spoiled_are_valid(runs: Runs) -> None:
    for base in (SMALL, FILTERED, SHARED):
        assert search_file(runs, yaml.safe_dump(base).encode()) == 0
    assert runs.started == 3


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("search_space", "channels", 10**12),
        ("search_space", "cells", 10**5),
        ("search_space", "nodes", 10**9),
        ("dataset", "image_size", 10**9),
        ("evaluator", "threads", 10**12),
        ("", "trials", 10**30),
        ("", "concurrency", 10**30),
        ("", "gpus_per_trial", 10**30),
        ("", "name", "é" * 300),
        ("", "name", "a\x00b"),
        ("", "name", "two\nlines"),
    ],
)
def test_what_no_machine_can_do_is_refused_at_once(runs: Runs, section: str, key: str, value: Any) -> None:
    content = {**SMALL, "training_service": None}
    if section:
        content[section] = {**content[section], key: value}
    else:
        content[key] = value
    assert search_file(runs, yaml.safe_dump(content).encode()) == 2


@pytest.mark.slow
@fuzz(100)
@given(content=spoiled_yaml(SMALL))
def test_spoiled_configurations_of_a_search(runs: Runs, content: bytes) -> None:
    started = runs.started
    assert (search_file(runs, content) == 0) == (runs.started == started + 1)


@pytest.mark.slow
@fuzz(50)
@given(content=spoiled_yaml(FILTERED))
def test_spoiled_configurations_with_pattern_and_filter(runs: Runs, content: bytes) -> None:
    started = runs.started
    assert (search_file(runs, content) == 0) == (runs.started == started + 1)


@pytest.mark.slow
@fuzz(50)
@given(content=spoiled_yaml(SHARED))
def test_spoiled_configurations_of_a_one_shot_search(runs: Runs, content: bytes) -> None:
    started = runs.started
    assert (search_file(runs, content) == 0) == (runs.started == started + 1)


PATTERN = yaml.safe_load(
    (Path(patterns.__file__).parent / "shipped" / "demotion-reduction.yaml").read_text(encoding="utf-8")
)


@fuzz(100)
@given(content=spoiled_yaml(PATTERN))
def test_spoiled_patterns(runs: Runs, content: bytes) -> None:
    path = runs.fresh("pattern.yaml")
    path.write_bytes(content)
    runs(["patterns", "show", path])


class StoppedError(DataError):
    """Raised where an audit would begin."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands read besides the spoiled file, and the valid files."""
    from safetensors.torch import save_file

    from nni_privacy.surrogate.base import SHIPPED

    folder = tmp_path_factory.mktemp("inputs")
    state = audited_model.build().state_dict()
    torch.save(state, folder / "whole.pt")
    save_file(state, folder / "whole.safetensors")
    shutil.copy(str(SHIPPED), folder / "whole.npz")
    for name, value in (("members", 1), ("nonmembers", 2)):
        images = np.full((4, 1, 8, 8), value, np.uint8)
        np.savez(folder / f"{name}.npz", images=images, labels=np.zeros(4, np.int64))
    (folder / "genotypes.txt").write_text(GENOTYPE + "\n")
    return folder


GENOTYPE = (
    "Genotype(normal=[" + ", ".join(f"('skip_connect', {i}), ('sep_conv_3x3', {i + 1})" for i in range(4)) + "], "
    "normal_concat=[2, 3, 4, 5], reduce=["
    + ", ".join(f"('skip_connect', {i}), ('sep_conv_3x3', {i + 1})" for i in range(4))
    + "], reduce_concat=[2, 3, 4, 5])"
)


def audit_words(inputs: Path, path: Path) -> list[str | Path]:
    words: list[str | Path] = [
        "audit",
        "--model",
        "audited_model:build",
        "--weights",
        path,
        "--output",
        path.parent / "o",
    ]
    return [*words, "--members", inputs / "members.npz", "--nonmembers", inputs / "nonmembers.npz"]


def predict_words(inputs: Path, path: Path) -> list[str | Path]:
    return ["surrogate", "predict", "--surrogate", path, inputs / "genotypes.txt"]


COMMANDS = {"pt": audit_words, "safetensors": audit_words, "npz": predict_words}


@pytest.mark.parametrize("kind", sorted(COMMANDS))
def test_spoiled_checkpoints(runs: Runs, inputs: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (inputs / f"whole.{kind}").read_bytes()

    def stop(*_: Any, **__: Any) -> None:
        raise StoppedError("the audit would begin here")

    monkeypatch.setattr(importlib.import_module("nni_privacy.auditing.audit"), "audit", stop)

    @fuzz(34)
    @given(content=spoiled_bytes(whole))
    def spoil(content: bytes) -> None:
        path = runs.fresh(f"file.{kind}")
        path.write_bytes(content)
        runs(COMMANDS[kind](inputs, path), lines=3)  # of weights with other names, or of those taken off and the end

    spoil()


def test_a_pickle_in_place_of_weights_is_not_run(runs: Runs, inputs: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("touch pwned",)

    for kind in sorted(COMMANDS):
        path = runs.fresh(f"file.{kind}")
        path.write_bytes(pickle.dumps({"0.weight": Evil()}))
        assert runs(COMMANDS[kind](inputs, path)) == 2
