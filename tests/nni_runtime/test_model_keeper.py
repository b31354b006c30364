"""The keeper of models: it takes what is to be kept, asks for nothing else, and goes on after an interruption."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime import model_keeper
from nni_privacy.nni_runtime.experiment import PrivacyExperiment
from nni_privacy.nni_runtime.model_keeper import ModelKeeper
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.records import TrialRecord

CONTENT = save({"a": np.zeros(3, np.float32)})
AUCS = {"a": (0.8, 0.60), "b": (0.7, 0.65), "c": (0.9, 0.70), "d": (0.8, 0.55)}
"""Trial to accuracy and AUC: ``b`` is dominated by ``a``, and ``a`` in the end by ``d``."""


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path / "run")
    made.create({"name": "x"}, {})
    return made


def finish(run: RunDirectory, keeper: ModelKeeper, *trials: str, content: bytes | None = CONTENT) -> list[str]:
    """Lets trials end; those whose file was asked for."""
    asked = []
    for number, trial in enumerate(trials):
        accuracy, auc = AUCS[trial]
        record = TrialRecord(trial, number, "succeeded", "G", {"accuracy": accuracy, "mia_auc": auc})

        def read(trial: str = trial) -> bytes | None:
            asked.append(trial)
            return content

        keeper.take(record, read)
        run.append(record)
        keeper.recorded(record)
    return asked


def kept(run: RunDirectory) -> list[str]:
    return sorted(path.name for path in run.models.folder.iterdir()) if run.models.folder.exists() else []


@pytest.mark.parametrize(
    ("keep", "asked", "left"), [("front", "acd", "cd"), ("all", "abcd", "abcd"), ("none", "", "")]
)  # fmt: skip
def test_what_leaves_the_front_is_removed(run: RunDirectory, keep: Any, asked: str, left: str) -> None:
    assert finish(run, ModelKeeper(run, keep=keep, config={}), *AUCS) == list(asked)
    assert kept(run) == list(left)


def test_those_that_keep_the_constraints_have_a_front_of_their_own(run: RunDirectory) -> None:
    config = {"constraints": {"accuracy": "<= 0.75"}}
    finish(run, ModelKeeper(run, keep="front", config=config), *AUCS)
    assert kept(run) == ["b", "c", "d"]


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_run_that_goes_on_ends_with_the_same_models(run: RunDirectory, cut: int) -> None:
    finish(run, ModelKeeper(run, keep="front", config={}), *list(AUCS)[:cut])
    run.models.save("cut off before it was recorded", CONTENT)
    (run.models.folder / ".x.1-2.partial").mkdir()
    again = ModelKeeper(run, keep="front", config={}, finished=run.records())
    finish(run, again, *list(AUCS)[cut:])
    assert kept(run) == ["c", "d"]


def test_the_copy_in_nnis_own_folder_goes_also_where_it_is_not_kept(run: RunDirectory) -> None:
    originals = [run.path / "nni" / "exp" / "environments" / "local-env" / "trials" / name / "model.safetensors"
                 for name in AUCS]  # fmt: skip
    originals.append(run.path / "nni" / "exp" / "trials" / "a" / "model.safetensors")
    for path in originals:
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT)
        (path.parent / "trial.log").touch()
    finish(run, ModelKeeper(run, keep="front", config={}), *AUCS)
    assert not any(path.exists() for path in originals) and all(
        (path.parent / "trial.log").exists() for path in originals
    )


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_a_trial_without_usable_weights_counts_all_the_same(
    run: RunDirectory, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        finish(run, ModelKeeper(run, keep="front", config={}), "a", content=content)
    assert kept(run) == [] and [record.trial for record in run.records()] == ["a"]
    assert ("the weights of trial a are not kept" in caplog.text) == (content is not None)


def test_weights_that_a_full_disk_cut_off_stop_the_run(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_keeper, "full_disk", lambda folder: "full")
    keeper = ModelKeeper(run, keep="front", config={})
    with pytest.raises(OSError, match="No space left") as caught:
        finish(run, keeper, "a", content=CONTENT[:-1])
    assert caught.value.errno == errno.ENOSPC and run.records() == []


def test_an_unknown_keep_is_named() -> None:
    with pytest.raises(ConfigError, match=r"keep: 'frond'; did you mean 'front'\?"):
        PrivacyExperiment(None, None, None, keep="frond")  # type: ignore[arg-type]
