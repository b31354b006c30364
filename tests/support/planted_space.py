"""The DARTS space with an evaluator that trains nothing: its metrics are planted, so that pages fill in seconds.

A trial's accuracy comes from the operation at node 3 of the normal cell, its AUC from that at node 5 of the reduction
cell, with little noise: of all choices these two vary most with them.
"""

from __future__ import annotations

import zlib
from typing import Any

import nni
from nni.nas.evaluator import FunctionalEvaluator

from nni_privacy.cells.darts import DARTS_OPERATIONS
from nni_privacy.evaluator import architecture_text
from nni_privacy.search_spaces import DARTS

EPOCHS, BUDGET = 3, 2
DECIDES_ACCURACY, DECIDES_AUC = ("normal", 3), ("reduction", 5)


def planted(architecture: str, operations: dict[tuple[str, int], str]) -> dict[str, Any]:
    """What a trial reports at its end; the keys are those of PrivacyEvaluator."""
    noise = zlib.crc32(architecture.encode()) / 2**32
    accuracy = 0.6 + 0.04 * DARTS_OPERATIONS.index(operations[DECIDES_ACCURACY]) + noise / 70
    auc = 0.52 + 0.03 * DARTS_OPERATIONS.index(operations[DECIDES_AUC]) + (1 - noise) / 90
    return {
        "default": accuracy,
        "accuracy": accuracy,
        "train_accuracy": accuracy + auc / 9,
        "overfitting": auc / 9,
        "balanced_accuracy": accuracy - 0.01,
        "mia_auc": auc,
        "mia_auc_low": auc - 0.02,
        "mia_auc_high": auc + 0.02,
        "mia_tpr_at_1pct_fpr": auc / 20,
        "black_box_partial_mia_auc": auc,
        "loss_threshold_mia_auc": auc - 0.01,
        "parameters": 12_000 + int(noise * 9000),
        "multiply_adds": 2_000_000 + int(noise * 90_000),
        "notices": "few records: fewer than 100 attacked",
        "architecture": architecture,
        "seconds": 1.234567,
    }


def evaluate(model: DARTS) -> None:
    """Reports, and trains nothing."""
    genotype = model.genotype
    operations = {
        (cell, target): next(edge.op for edge in genotype.cell(cell).edges if edge.target == target)
        for cell, target in (DECIDES_ACCURACY, DECIDES_AUC)
    }
    metrics = planted(architecture_text(model), operations)
    for epoch in range(1, EPOCHS + 1):
        part = {key: metrics[key] * epoch / EPOCHS for key in ("default", "accuracy", "loss_threshold_mia_auc")}
        nni.report_intermediate_result(part)
    nni.report_final_result(metrics)


def space() -> DARTS:
    return DARTS(channels=2, cells=3)


def evaluator() -> FunctionalEvaluator:
    return FunctionalEvaluator(evaluate)
