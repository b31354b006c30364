"""An evaluation that trains nothing: what a trial costs besides is all that is left. For ``many_trials.py``."""

from __future__ import annotations

import zlib

import nni
from torch import nn

from nni_privacy.evaluator import architecture_text


def report_at_once(model: nn.Module) -> None:
    """Reports numbers that depend on the architecture alone."""
    architecture = architecture_text(model)
    draw = zlib.crc32(architecture.encode()) / 2**32
    nni.report_final_result(
        {"default": draw, "accuracy": draw, "mia_auc": 0.5 + draw / 4, "architecture": architecture, "seconds": 0.0}
    )
