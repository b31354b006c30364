"""Small spaces and data for tests of one-shot search; everything here runs in a second or so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from nni.mutable import Mutable
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import SimplifiedModelSpace
from torch import Tensor, nn

from nni_privacy.patterns import load_pattern
from nni_privacy.search_spaces import DARTS
from nni_privacy.search_spaces.constraints import FixedEdges
from nni_privacy.search_spaces.nasbench201 import NasBench201
from nni_privacy.search_spaces.searchable import Searchable, open_space
from nni_privacy.strategies import FixedPattern
from nni_privacy.strategies.one_shot import OneShotStrategy

SIZE = 6


class LayerSpace(ModelSpace):
    """One label in two places, one in a third; BatchNorm with running statistics, dropout, a label with a dot."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width))
        self.first = self._choice(width)
        self.second = self._choice(width)
        self.activation = LayerChoice([nn.ReLU(), nn.Tanh(), nn.Identity()], label="head.activation")
        self.classifier = nn.Sequential(nn.Dropout(0.3), nn.Linear(width, 10))

    @staticmethod
    def _choice(width: int) -> LayerChoice:
        layers = {
            "skip_connect": nn.Identity(),
            "conv_1x1": nn.Conv2d(width, width, 1),
            "conv_3x3": nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)),
        }
        return LayerChoice(layers, label="conv")

    def forward(self, images: Tensor) -> Tensor:
        state = self.second(self.first(self.stem(images)))
        return self.classifier(self.activation(state).mean(dim=(2, 3)))


SPACES = {
    "darts": lambda: DARTS(channels=2, cells=3, nodes=3, in_channels=1),
    "nasbench201": lambda: NasBench201(channels=4, cells=1, in_channels=1),
    "layers": LayerSpace,
}
"""Builders of unfrozen spaces."""


def images_and_labels(count: int = 48, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random images (count, 1, 6, 6) whose mean tells the class a little."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (count,), generator=generator)
    noise = torch.rand((count, 1, SIZE, SIZE), generator=generator)
    return (noise + labels.view(-1, 1, 1, 1) / 10) / 2, labels


def simplified(space: ModelSpace, evaluator: Any = None) -> SimplifiedModelSpace:
    return SimplifiedModelSpace.from_model(space, evaluator)


def prepared(strategy: OneShotStrategy, space: ModelSpace, *, budget: int = 0) -> Any:
    """``strategy`` ready to search ``space``, the first ``budget`` edges of demotion-reduction fixed."""
    if budget:
        FixedPattern(strategy, "demotion-reduction", budget=budget).initialize(simplified(space), None)
    else:
        strategy.prepare(simplified(space))
    return strategy


def darts_choices(fixed: FixedEdges | None = None, *, nodes: int = 4) -> dict[str, tuple[str, ...]]:
    """Label to what is left of the DARTS space with ``fixed``."""
    choices: Mapping[str, Mutable] = DARTS.choices(nodes)
    return {
        label: tuple(choice.values)  # type: ignore[attr-defined]
        for label, choice in DARTS.constrain(choices, fixed or FixedEdges()).items()
    }


def opened(name: str, *, budget: int = 0) -> Searchable:
    """The space called ``name``, its choices narrowed by demotion-reduction."""
    space = SPACES[name]()
    model_space = simplified(space)
    if not budget:
        return open_space(model_space)
    pattern = load_pattern("demotion-reduction").first(budget)
    fixed = getattr(space, "fixed_edges", FixedEdges.of)(pattern)
    return open_space(SimplifiedModelSpace(model_space.model, space.constrain(dict(model_space.mutables), fixed), None))
