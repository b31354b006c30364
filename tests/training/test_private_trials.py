"""Whole trials with DP-SGD: every kind of attack on a private model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nni
import pytest
from nni.nas.space import SimplifiedModelSpace
from opacus.accountants import RDPAccountant
from private_training import DP, EVERY_OPERATION

from nni_privacy import PrivacyEvaluator, load_pattern
from nni_privacy.cells.darts import Genotype
from nni_privacy.search_spaces import DARTS


def trial(attacks: tuple[str, ...], cache: str) -> dict[str, Any]:
    """A trial of a cell with the demotion pattern, trained with DP-SGD."""
    genotype = load_pattern("demotion-reduction").first(4).apply(EVERY_OPERATION)
    evaluator = PrivacyEvaluator(
        {"name": "digits", "limit": 240},
        recipe={"epochs": 2, "batch_size": 16, "dp": DP},
        attacks=attacks,
        effort={"boundary_records": 20, "boundary_queries": 60},
        shadow={"count": 4, "cache": cache},
    )
    space = SimplifiedModelSpace.from_model(DARTS(channels=4, cells=3, in_channels=1), evaluator)
    model = space.freeze(genotype.to_sample())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nni, "report_intermediate_result", lambda _: None)
        with evaluator.mock_runtime(model):
            metrics = dict(model.execute())
    assert Genotype.parse(metrics["architecture"]) == genotype
    json.dumps(metrics, allow_nan=False)
    return metrics


def check_numbers(metrics: dict[str, Any], attacks: tuple[str, ...]) -> None:
    accountant = RDPAccountant()
    accountant.history = [(1.0, 16 / 60, 2 * 4)]
    assert metrics["epsilon"] == pytest.approx(accountant.get_epsilon(delta=1e-5), rel=1e-9)
    numbers = [value for name, value in metrics.items() if "mia_auc" in name or "accuracy" in name]
    assert len(numbers) > 3 * len(attacks) and all(0 <= value <= 1 for value in numbers)


def test_a_private_trial_with_a_pattern_ends_in_valid_numbers(tmp_path: Path) -> None:
    attacks = ("white_box_partial",)  # it takes gradients of the trained model
    check_numbers(trial(attacks, str(tmp_path)), attacks)


@pytest.mark.slow
def test_every_kind_of_attack_works_on_a_private_model_with_private_shadows(tmp_path: Path) -> None:
    attacks = (
        "white_box_shadow",
        "black_box_shadow",
        "lira",
        "rmia",
        "label_only",
        "white_box_partial",
        "loss_threshold",
    )
    check_numbers(trial(attacks, str(tmp_path)), attacks)
