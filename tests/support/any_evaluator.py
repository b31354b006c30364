"""Evaluators that are not ours, with what people report and give as options; the trials import them, too."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nni
import numpy as np
import torch
from nni.nas.evaluator import Evaluator

REPORTS: tuple[Callable[[], Any], ...] = (
    lambda: 0.25,
    lambda: torch.tensor(0.5),
    lambda: "very good",
    lambda: {"accuracy": 0.5},
    lambda: math.nan,
    lambda: {"default": 0.5, "confusion": torch.ones(3)},
    lambda: {"default": 0.75, "mia_auc": np.float32(0.5)},
)
"""What the trial of each sequence number reports."""


def report_in_turn(model: Any) -> None:
    nni.report_final_result(REPORTS[int(os.environ["NNI_TRIAL_SEQ_ID"])]())


def report_number(model: Any, **options: Any) -> None:
    nni.report_final_result(0.5)


@nni.trace
class WithOptions(Evaluator):
    """Options as people give them."""

    def __init__(self, folder: Path, rate: Any, table: Any) -> None:
        self.folder, self.rate, self.table = folder, rate, table
        self.seed, self.device = np.int64(3), torch.device("cpu")

    def evaluate(self, model: Any) -> None:
        nni.report_final_result(float(self.rate))
