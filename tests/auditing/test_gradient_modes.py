"""Audits and trainings where the caller has turned gradients off: as with them on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nni_privacy import audit
from nni_privacy.auditing import Effort
from nni_privacy.auditing.shadows import ModelSpec, ShadowOptions
from nni_privacy.training.fit import fit, seed_everything
from nni_privacy.training.recipe import Recipe

MODES = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}
EPOCH = Recipe(epochs=1)
ATTACKS = {
    "few questions": ("loss_threshold", "black_box_partial", "black_box_shadow", "label_only"),
    "gradients": ("white_box_partial", "white_box_shadow"),
    "references": ("lira", "rmia"),
}


class ConvolutionAtItsEnd(nn.Sequential):
    """Ends in no linear layer: its gradients are computed, not derived."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 10, 8), nn.Flatten())


def linear() -> nn.Module:
    """A perceptron."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def records(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(30, 1, 8, 8, generator=generator), torch.arange(30) % 10


def scores(build: Callable[[], nn.Module], attacks: tuple[str, ...]) -> dict[str, Any]:
    """What an audit finds of a network that is made, and whose records are made, where it is called."""
    seed_everything(0)
    options = ShadowOptions(
        recipe=EPOCH,
        model=ModelSpec(f"{build.__module__}:{build.__qualname__}"),
        train=records(3),
        test=records(4),
        count=4,
        cache=False,
    )
    effort = Effort(views=1, boundary_records=5, boundary_queries=20)
    model = build()
    report = audit(model, records(1), records(2), attacks=attacks, shadow=options, effort=effort, device="cpu")
    return {name: one.scores for name, one in report.attacks.items()}


scores_with_gradients = cache(scores)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ATTACKS)
@pytest.mark.parametrize("build", [linear, ConvolutionAtItsEnd], ids=lambda build: build.__name__)
def test_an_audit_finds_the_same_without_gradients(mode: str, kind: str, build: Callable[[], nn.Module]) -> None:
    wanted = scores_with_gradients(build, ATTACKS[kind])
    with MODES[mode]():
        found = scores(build, ATTACKS[kind])
        assert not torch.is_grad_enabled() and torch.is_inference_mode_enabled() == (mode == "inference_mode")
    for name in ATTACKS[kind]:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


@pytest.mark.parametrize("mode", MODES)
def test_a_training_is_the_same_without_gradients(mode: str) -> None:
    def trained() -> dict[str, Tensor]:
        seed_everything(0)
        model = ConvolutionAtItsEnd()
        fit(model, *records(1), recipe=EPOCH, seed=0, device="cpu")
        return model.state_dict()

    wanted = trained()
    with MODES[mode]():
        found = trained()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
