"""Searches small enough for a unit test, on random images."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import RawFormatModelSpace
from torch import Tensor, nn

from nni_privacy.search_spaces import DARTS
from nni_privacy.search_spaces.nasbench201 import NasBench201
from nni_privacy.strategies import FixedPattern
from nni_privacy.strategies.differentiable import Differentiable
from nni_privacy.strategies.one_shot import Batch

CLASSES = 3
PATTERN = "demotion-reduction"


class LayerChoiceSpace(ModelSpace):
    """Two choices of a layer, with batch normalisation that keeps running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.first = LayerChoice([nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Identity()], label="first")
        self.norm = nn.BatchNorm2d(4)
        self.second = LayerChoice([nn.MaxPool2d(3, 1, 1), nn.Identity()], label="second")
        self.classifier = nn.Linear(4, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.second(self.norm(self.first(self.stem(images))))
        return self.classifier(hidden.mean(dim=(2, 3)))


def darts(nodes: int = 2) -> ModelSpace:
    return DARTS(channels=4, cells=3, nodes=nodes, in_channels=1, num_classes=CLASSES)


def nasbench201() -> ModelSpace:
    return NasBench201(channels=4, cells=1, in_channels=1, num_classes=CLASSES)


SPACES: Mapping[str, Any] = {"darts": darts, "nasbench201": nasbench201, "layer_choice": LayerChoiceSpace}


def records(count: int = 32) -> Batch:
    """Random images (count, 1, 8, 8) and labels."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 1, 8, 8, generator=generator), torch.arange(count) % CLASSES


def prepared(kind: type[Differentiable], space: ModelSpace, *, budget: int = 0, **options: Any) -> Any:
    """A search of two batches an epoch, ready to run; ``budget`` edges of a pattern are fixed."""
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 8, "seed": 1, "device": "cpu", "data": records(), **options}
    strategy = kind(**settings)
    model_space = RawFormatModelSpace.from_model(space, FunctionalEvaluator(print))
    (FixedPattern(strategy, PATTERN, budget=budget) if budget else strategy).initialize(model_space, None)
    return strategy


def ready_to_step(strategy: Any, *, epoch: int = 0) -> Any:
    """The strategy as it is at the start of an epoch, for steps that a test makes by hand."""
    strategy.generator = torch.Generator().manual_seed(epoch)
    strategy.supernet.train()
    strategy.before_epoch(epoch)
    return strategy


def copied(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


def all_equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def check_reproducible(kind: type[Differentiable], space: str, *, budget: int, folder: Path, **options: Any) -> None:
    """Same seed, same search; one interrupted after an epoch ends in the very tensors of one that was not."""

    def start(**more: Any) -> Any:
        made = darts(nodes=4 if budget else 2) if space == "darts" else SPACES[space]()
        return prepared(kind, made, budget=budget, **options, **more)

    whole, again, broken = start(), start(), start(folder=folder, on_epoch=_interrupt)
    cells = whole.search()
    assert again.search() == cells
    with pytest.raises(KeyboardInterrupt):
        broken.search()
    resumed = start(folder=folder)
    assert resumed.epoch == 1
    assert resumed.search() == cells
    for parameters in ("architecture_parameters", "supernet.parameters"):
        first, second, third = (list(attrgetter(parameters)(search)()) for search in (whole, again, resumed))
        assert all_equal(first, second)
        assert all_equal(first, third)


def _interrupt(record: Any) -> None:
    raise KeyboardInterrupt
