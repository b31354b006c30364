"""Networks, records and a short DP-SGD training for the tests of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.cells.darts import Genotype
from nni_privacy.search_spaces import CellNetwork
from nni_privacy.training.fit import fit, seed_everything
from nni_privacy.training.recipe import Recipe

EVERY_OPERATION = Genotype.parse(
    "Genotype(normal=[('sep_conv_3x3', 0), ('max_pool_3x3', 1), ('dil_conv_5x5', 0), ('skip_connect', 2), "
    "('avg_pool_3x3', 0), ('sep_conv_5x5', 1), ('skip_connect', 0), ('dil_conv_3x3', 1)], normal_concat=range(2, 6), "
    "reduce=[('skip_connect', 0), ('max_pool_3x3', 1), ('dil_conv_5x5', 0), ('skip_connect', 2), "
    "('avg_pool_3x3', 0), ('sep_conv_5x5', 1), ('skip_connect', 0), ('dil_conv_3x3', 1)], reduce_concat=range(2, 6))"
)
DP = {"noise_multiplier": 1.0}


def darts_network(seed: int = 0) -> nn.Module:
    seed_everything(seed)
    return CellNetwork(EVERY_OPERATION, channels=4, cells=3, in_channels=1, num_classes=10)


def small_network(seed: int = 0) -> nn.Module:
    seed_everything(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Dropout(0.2), nn.Linear(144, 10)
    )


def private_fit(
    model: nn.Module, data: Any, *, seed: int = 0, dp: dict[str, float] | None = None, **options: Any
) -> Any:
    recipe = Recipe.from_mapping({"epochs": 2, "batch_size": 32, "dp": dp or DP, **options})
    return fit(model, data.images, data.labels, recipe=recipe, seed=seed, device="cpu")


def random_records(
    count: int, channels: int, side: int, *, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, channels, side, side, generator=generator, dtype=dtype)
    return images.contiguous(memory_format=torch.channels_last), torch.arange(count)


def gradients_one_by_one(model: nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    """Autograd's gradient of each record alone: one tensor (n, ...) a parameter."""
    rows = []
    # Not image[None]: of such a view torch's grouped convolutions take wrong gradients in double precision.
    for image, label in zip(images.split(1), labels.split(1), strict=True):
        model.zero_grad(set_to_none=True)
        functional.cross_entropy(model(image), label).backward()
        rows.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    model.zero_grad(set_to_none=True)
    return [torch.stack(parts) for parts in zip(*rows, strict=True)]


def without_dropout(model: nn.Module) -> nn.Module:
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return model
