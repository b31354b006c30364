"""Layers of which DP-SGD can be had: what is replaced, what is refused, and that records do not mix."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from private_training import EVERY_OPERATION, darts_network, private_fit, random_records
from torch import Tensor, nn

from nni_privacy.auditing.shadows.models import spec_for
from nni_privacy.data import load_dataset
from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces import CellNetwork
from nni_privacy.training.dp_layers import make_private_layers
from nni_privacy.training.fit import seed_everything


def test_norms_are_replaced_inside_the_model_and_keep_scale_and_shift() -> None:
    model = darts_network()
    stem = model.get_submodule("stem.1")
    with torch.no_grad():
        stem.weight.fill_(0.5)  # type: ignore[union-attr,operator]
    norms = [path for path, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    free = [path for path in norms if not dict(model.get_submodule(path).named_parameters())]
    assert free  # those after a pooling: Opacus' own walk passes them by
    weights = {name: value.shape for name, value in model.named_parameters()}
    make_private_layers(model)
    assert all(type(model.get_submodule(path)) is nn.GroupNorm for path in norms)
    assert {name: value.shape for name, value in model.named_parameters()} == weights
    assert torch.equal(model.get_submodule("stem.1").weight, torch.full((12,), 0.5))  # type: ignore[arg-type]
    assert not dict(model.named_buffers())
    text = str(model)
    make_private_layers(model)
    assert str(model) == text


def test_a_record_is_treated_alike_in_any_company() -> None:
    model = darts_network()
    make_private_layers(model)
    model.double().train()
    images, _ = random_records(6, 1, 8)
    torch.testing.assert_close(model(images)[:1], model(images[:1]))


def test_what_the_classifier_sees_still_depends_on_the_image() -> None:
    """With a group a channel, every pooled feature after a norm would be the same constant for all images."""
    seed_everything(0)
    model = CellNetwork(EVERY_OPERATION, channels=8, cells=3, in_channels=1, num_classes=10)
    make_private_layers(model)
    features = model.eval().features(random_records(20, 1, 8, dtype=torch.float32)[0])
    varying = features.std(0) > 1e-3
    assert float(varying.float().mean()) > 0.9


def test_a_private_network_can_be_built_again_for_shadows() -> None:
    model = darts_network()
    expected = spec_for(model)
    make_private_layers(model)
    assert spec_for(model) == expected


class OwnBatchNorm(nn.BatchNorm2d):
    pass


class RunningMean(nn.Module):
    """Remembers the mean of what it saw, without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean.lerp_(x.detach().mean(), 0.1)
        return x - self.mean


class ScaledByBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale - self.mean


class NoVmap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return gradients[0] * weight, (gradients[0] * x).sum()


class OwnFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return NoVmap.apply(x, self.weight)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (OwnBatchNorm(4), r"layer '1.1' \(OwnBatchNorm\) normalises over the batch"),
        (RunningMean(), r"layer '1.1' \(RunningMean\) keeps statistics of the records it has seen"),
        (ScaledByBuffer(), r"layer '1.1' \(ScaledByBuffer\) has weights and buffers"),
        (OwnFunction(), r"layer '1.1' \(OwnFunction\) has no gradients of single records in Opacus"),
    ],
)
def test_a_layer_that_cannot_be_private_is_named_before_training(layer: nn.Module, message: str) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Sequential(nn.ReLU(), layer), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10)
    )
    before = {name: value.clone() for name, value in model.state_dict().items() if not name.startswith("2.")}
    with pytest.raises(ConfigError, match=message) as caught:
        private_fit(model, load_dataset("digits", limit=120))
    assert "\n" not in str(caught.value)
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value)
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(vars(parameter) for parameter in model.parameters())
