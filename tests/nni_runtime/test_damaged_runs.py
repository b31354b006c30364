"""A run whose files were damaged goes on with all its trials, each once, or a line says why not and what to do."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import LINES, WHOLE, damage
from nni.nas.space import SimplifiedModelSpace
from nni.nas.strategy import Strategy
from support_world import Cut, Kill, World

from nni_privacy import files
from nni_privacy.commands.session import differences
from nni_privacy.errors import ConfigError, PrivacyError
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.records import TrialRecord, read_run
from nni_privacy.search_spaces import DARTS
from nni_privacy.strategies import build_strategy

TRIALS = 8
CONFIG = {"name": "x", "seed": 3, "evaluator": {"attacks": ["loss_threshold"]}, "trials": TRIALS}
ENVIRONMENT = {"started": "now", "versions": {"nni": "3.0"}, "fixed_edges": {"normal": [[0, 2, "skip_connect"]]}}
EVOLUTION = {"population_size": 3, "sample_size": 2, "mutation_prob": 0.3}

EVERY = [
    *((name, kind) for name in ("trials.jsonl", "journal.jsonl") for kind in (*LINES, "missing")),
    *((name, kind) for name in ("config.yaml", "environment.json", "scores") for kind in (*WHOLE, "missing")),
]


def metrics(sample: dict[str, Any]) -> dict[str, Any]:
    chance = random.Random(json.dumps(sample, sort_keys=True))
    accuracy = chance.random()
    return {"default": accuracy, "accuracy": accuracy, "mia_auc": 0.5 + chance.random() / 2, "epsilon": None}


def strategy_of(name: str) -> Strategy:
    return build_strategy(name, EVOLUTION if name == "regularized_evolution" else {}, seed=3)


@dataclass
class Start:
    """One start of a run and what came of it."""

    sent: list[dict[str, Any]]
    records: list[TrialRecord]


@dataclass
class Killed:
    """A run that was killed after some trials, and how it goes on."""

    path: Path
    strategy: str
    space: SimplifiedModelSpace
    finished: list[TrialRecord]

    def go_on(self, monkeypatch: pytest.MonkeyPatch) -> Start:
        run = RunDirectory(self.path, resumable=True)
        for path, before, now in differences(run.config(), CONFIG):
            raise ConfigError(f"{path}: {now!r}; the run was started with {before!r}")
        run.open_again(ENVIRONMENT, trials=TRIALS, config=CONFIG)
        with monkeypatch.context() as patch:
            world = World(run, trials=TRIALS, concurrency=2, metrics=metrics)
            world.search(strategy_of(self.strategy), self.space, patch)
        return Start([model.sample for _, model in world.sent], run.records())

    def try_to_go_on(self, monkeypatch: pytest.MonkeyPatch) -> Start | str:
        """What came of it, or why it was refused."""
        try:
            return self.go_on(monkeypatch)
        except PrivacyError as error:
            return str(error)


@pytest.fixture(scope="module")
def space() -> SimplifiedModelSpace:
    return SimplifiedModelSpace.from_model(DARTS(channels=2, cells=3))


@pytest.fixture(scope="module", params=["random", "regularized_evolution"])
def killed(
    request: pytest.FixtureRequest, space: SimplifiedModelSpace, tmp_path_factory: pytest.TempPathFactory
) -> Killed:
    """A run of which five trials are finished, and others under way."""
    run = RunDirectory(tmp_path_factory.mktemp(request.param) / "run")
    run.create(CONFIG, ENVIRONMENT)
    cut = Cut()
    append = cut.append

    def until_five(file: Any, line: str) -> None:
        append(file, line)
        if len(run.records()) == 5 and file.path.name == "journal.jsonl":
            raise Kill

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.LineFile, "append", until_five)
        world = World(run, trials=TRIALS, concurrency=2, metrics=metrics)
        with pytest.raises(Kill):
            world.search(strategy_of(request.param), space, patch)
    finished = run.records()
    for record in finished:
        np.savez(run.path / "scores" / f"{record.trial}.npz", **{"a/scores": np.arange(4.0)})
    return Killed(run.path, request.param, space, finished)


def copy_of(killed: Killed, folder: Path) -> Killed:
    shutil.copytree(killed.path, folder)
    return Killed(folder, killed.strategy, killed.space, killed.finished)


def check_whole(killed: Killed, start: Start) -> None:
    """All trials, each once, those that were finished as they were."""
    assert len(start.records) == TRIALS
    assert len({record.trial for record in start.records}) == TRIALS
    assert len({record.sequence for record in start.records}) == TRIALS
    assert len(start.sent) == TRIALS - len(killed.finished)
    found = {record.trial: record for record in start.records}
    assert all(found[old.trial] == old for old in killed.finished)
    architectures = {old.architecture for old in killed.finished}
    new = [record for record in start.records if record.trial.startswith("start-1-")]
    assert len(new) == len(start.sent)
    assert not architectures & {record.architecture for record in new}
    lines = [json.loads(line) for line in (killed.path / "journal.jsonl").read_text().splitlines()]
    proposed = [line["proposed"] for line in lines if "proposed" in line]
    assert len(set(proposed)) == len(proposed)
    assert len(read_run(killed.path).trials) == TRIALS and not read_run(killed.path).corrupt_lines


def check_kept(folder: Path, name: str, spoiled: bytes) -> None:
    """Nothing that stood in a file of lines is gone: it stands there, or in the file beside it."""
    beside = folder / f"{name}.damaged"
    left = (folder / name).read_bytes() + (beside.read_bytes() if beside.exists() else b"")
    if spoiled[:2] in (b"\xff\xfe", b"\xfe\xff"):
        spoiled = spoiled.decode("utf-16").encode()
    for line in spoiled.removeprefix(b"\xef\xbb\xbf").splitlines():
        assert line.strip() in left


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_a_damaged_run_goes_on_with_each_trial_once_or_is_refused(
    name: str, kind: str, seed: int, killed: Killed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chance = random.Random(f"{name} {kind} {seed}")
    run = copy_of(killed, tmp_path / "run")
    path = run.path / name if name != "scores" else chance.choice(sorted((run.path / name).iterdir()))
    damage(path, kind, chance)
    spoiled = path.read_bytes() if path.exists() else b""
    outcome = run.try_to_go_on(monkeypatch)
    if isinstance(outcome, str):
        assert name == "config.yaml" and "\n" not in outcome
        assert "the run was started with" in outcome or "put back a copy" in outcome
        assert path.read_bytes() == spoiled
        path.unlink()  # as it says
        outcome = run.go_on(monkeypatch)
    check_whole(run, outcome)
    if name.endswith(".jsonl"):
        check_kept(run.path, name, spoiled)
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["fixed_edges"] == ENVIRONMENT["fixed_edges"] and environment["starts"]
    assert RunDirectory(run.path, resumable=True).config() == CONFIG or kind == "a bit"


@pytest.mark.parametrize("kind", ["noise instead", "cut off", "zeros", "line half written"])
def test_both_files_may_be_damaged(kind: str, killed: Killed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for seed in range(3):
        run = copy_of(killed, tmp_path / f"run-{seed}")
        before = {name: (run.path / name).read_bytes() for name in ("trials.jsonl", "journal.jsonl")}
        for name in before:
            damage(run.path / name, kind, random.Random(f"{seed} {name}"))
        spoiled = {name: (run.path / name).read_bytes() for name in before}
        outcome = run.try_to_go_on(monkeypatch)
        if isinstance(outcome, str):
            assert "\n" not in outcome and "put back a copy" in outcome
        else:
            assert len(outcome.records) == len({record.sequence for record in outcome.records}) == TRIALS
        for name, content in spoiled.items():
            check_kept(run.path, name, content)


def test_trials_that_neither_file_knows_are_not_run_again_unasked(
    killed: Killed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = copy_of(killed, tmp_path / "run")
    journal = (run.path / "journal.jsonl").read_bytes()
    for name in ("trials.jsonl", "journal.jsonl"):
        (run.path / name).write_bytes(b"")
    with pytest.raises(PrivacyError, match=r"neither trials\.jsonl nor journal\.jsonl says which: put back a copy"):
        run.go_on(monkeypatch)
    (run.path / "journal.jsonl").write_bytes(journal)
    check_whole(run, run.go_on(monkeypatch))


def test_what_is_set_aside_is_told_in_one_line_of_each_file_and_only_once(
    killed: Killed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = copy_of(killed, tmp_path / "run")
    for name in ("trials.jsonl", "journal.jsonl"):
        lines = (run.path / name).read_bytes().splitlines(keepends=True)
        (run.path / name).write_bytes(b"".join([lines[0], lines[0], b"\0\0\n", b"[]\n", *lines[1:]]))
    check_whole(run, run.go_on(monkeypatch))
    told = [record.getMessage() for record in caplog.records if ".damaged" in record.getMessage()]
    for name, line in zip(("journal.jsonl", "trials.jsonl"), told, strict=True):
        lines_told = "skipped, as no whole JSON object: line 3, 4; repeated: line"
        assert line.startswith(f"{run.path / name}: {lines_told}") and line.endswith(f"set aside in {name}.damaged")
        assert "\n" not in line
