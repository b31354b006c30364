"""A model space and an evaluator that train nothing: what a trial says it ran is all that matters (for trials, too)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import nni
from nni.mutable import ensure_frozen
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from torch import nn

BINARY = bytes(range(256)) * 4


class TinySpace(ModelSpace):
    """Three choices: a layer, a number, and a list (which NNI's web UI takes for something else)."""

    def __init__(self) -> None:
        super().__init__()
        self.op = LayerChoice({"relu": nn.ReLU(), "tanh": nn.Tanh(), "identity": nn.Identity()}, label="op")
        self.width = ensure_frozen(self.add_mutable(nni.choice("width", list(range(1, 65)))))
        self.pair = ensure_frozen(self.add_mutable(nni.choice("pair", [[0, 1], [0, 2], [1, 2]])))

    def architecture(self) -> str:
        names = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Identity: "identity"}
        return describe({"op": names[type(self.op)], "width": self.width, "pair": self.pair})


def describe(sample: dict) -> str:
    return f"{sample['op']}|{sample['width']}|{list(sample['pair'])}"


def evaluate(model: TinySpace) -> None:
    accuracy = 0.5 + model.width / 256
    Path(os.environ["NNI_OUTPUT_DIR"], "scores.npz").write_bytes(BINARY)
    nni.report_intermediate_result({"default": accuracy / 2, "mia_auc": 0.5})
    nni.report_final_result(
        {
            "default": accuracy,
            "accuracy": accuracy,
            "mia_auc": 0.5 + model.width / 1000,
            "notices": "few records: fewer than 100 attacked",
            "ran": model.architecture(),
            "trial": nni.get_trial_id(),
        }
    )


def wait_and_report(model: TinySpace) -> None:
    """A trial that tells where it is reached, waits, and reports."""
    work = Path(os.environ["TEST_WORK"])
    (work / f"trial-{nni.get_trial_id()}").write_text(os.environ["NNI_TRIAL_COMMAND_CHANNEL"])
    deadline = time.monotonic() + 120
    while not (work / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    nni.report_final_result({"default": 0.5, "mia_auc": 0.6, "ran": model.architecture()})


def evaluator() -> FunctionalEvaluator:
    return FunctionalEvaluator(evaluate)
