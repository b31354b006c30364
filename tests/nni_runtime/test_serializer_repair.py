"""Checkpoints of NNI's own strategies can be read again, and still run nothing that a file says."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import nni
import numpy as np
import pytest
import torch
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import SimplifiedModelSpace
from nni.nas.strategy import TPE, GridSearch, Random, RegularizedEvolution
from nni.nas.utils.serializer import TorchSerializer

from nni_privacy.nni_runtime.repairs import REPAIRS, apply_repairs
from nni_privacy.search_spaces import DARTS
from nni_privacy.strategies import FixedPattern

pytestmark = pytest.mark.usefixtures("nni_as_published")

STRATEGIES = {
    "random": lambda: Random(seed=0),
    "grid": lambda: GridSearch(seed=0),
    "tpe": lambda: TPE(seed=0),
    "evolution": lambda: RegularizedEvolution(population_size=3, sample_size=2, seed=0),
    "pattern": lambda: FixedPattern(RegularizedEvolution(population_size=3, sample_size=2, seed=0), "demotion-normal"),
}


def report(model: Any) -> None:
    nni.report_final_result(0.5)


@pytest.fixture(params=STRATEGIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    strategy = STRATEGIES[request.param]()
    space = SimplifiedModelSpace.from_model(DARTS(channels=2, cells=3), FunctionalEvaluator(report))
    strategy(space, SequentialExecutionEngine(max_model_count=4))
    state = {"strategy": strategy.state_dict()}
    TorchSerializer().save(state, tmp_path / "state.ckpt")
    return state, tmp_path / "state.ckpt"


def test_a_strategys_state_reads_back(checkpoint: tuple[dict[str, Any], Path]) -> None:
    apply_repairs()
    state, path = checkpoint
    np.testing.assert_equal(TorchSerializer().load(path), state)


def test_without_the_repair_evolution_cannot(tmp_path: Path) -> None:
    apply_repairs(without=["safe_checkpoints"])
    TorchSerializer().save(np.random.RandomState(0).get_state(), tmp_path / "state.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        TorchSerializer().load(tmp_path / "state.ckpt")
    assert not REPAIRS["safe_checkpoints"].active


class Gadget:
    """What a file would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def test_a_file_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apply_repairs()
    monkeypatch.chdir(tmp_path)
    torch.save({"strategy": Gadget()}, tmp_path / "state.ckpt.torch")
    with pytest.raises(pickle.UnpicklingError):
        TorchSerializer().load(tmp_path / "state.ckpt")
    assert not (tmp_path / "pwned").exists()
