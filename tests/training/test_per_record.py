"""Gradients of single records against autograd, one record at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from private_training import darts_network, gradients_one_by_one, random_records, small_network, without_dropout
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.cells.nasbench201 import NasBench201Genotype
from nni_privacy.networks import build_network
from nni_privacy.search_spaces import NasBench201Network
from nni_privacy.training.dp_layers import RecordGradients, make_private_layers

NASBENCH201 = NasBench201Genotype.parse(
    "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
)


class Residual(nn.Module):
    """Changes its layers' outputs in place, as residual networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.classifier = nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        shortcut = self.first(images)
        x = self.second(functional.relu_(self.norm(shortcut)))
        x += shortcut
        return self.classifier(x.mul_(2).mean((2, 3)))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "darts": darts_network,
    "nasbench201": lambda: NasBench201Network(NASBENCH201, channels=4, cells=1, in_channels=1, num_classes=10),
    "in place": Residual,
    "plain": lambda: without_dropout(small_network()),
    **{
        name: lambda name=name: build_network(name, in_channels=1, num_classes=10, image_size=8)
        for name in ("densenet", "efficientnet", "regnet", "resnet", "vgg")
    },
}


LARGE = ("densenet", "resnet", "vgg")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in NETWORKS]
)
def test_gradients_of_single_records_are_autograds(name: str) -> None:
    model = without_dropout(NETWORKS[name]()).double().to(memory_format=torch.channels_last)
    make_private_layers(model)
    model.double().train()
    images, labels = random_records(3, 1, 8)
    expected = gradients_one_by_one(model, images, labels)
    recorded = RecordGradients(model)
    functional.cross_entropy(model(images), labels).backward()
    found: list[Any] = [parameter.grad_sample for parameter in model.parameters()]  # type: ignore[attr-defined]
    recorded.cleanup()
    assert len(found) == len(expected)
    for mine, truth in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, truth, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 2, "dilation": 2},
        {"stride": 2, "padding": 1, "bias": False},
        {"groups": 4, "stride": 2},
        {"groups": 2, "padding": "same"},
        {"padding": "same", "dilation": 2},
        {"padding": 1, "padding_mode": "reflect"},
    ],
)
def test_convolutions_of_all_kinds_have_autograds_gradients(options: dict[str, Any]) -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3, **options), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10))
    model.double().to(memory_format=torch.channels_last)
    images, labels = random_records(3, 4, 7)
    expected = gradients_one_by_one(model, images, labels)
    recorded = RecordGradients(model)
    functional.cross_entropy(model(images), labels).backward()
    for parameter, truth in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad_sample, truth)  # type: ignore[attr-defined]
    recorded.cleanup()
