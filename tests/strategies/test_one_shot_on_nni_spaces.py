"""The ten one-shot algorithms on NNI's own choices: the hub's cells with a pattern, and widths, kernels and depths."""

from __future__ import annotations

from typing import Any

import nni
import pytest
import torch
from nni.mutable import ensure_frozen
from nni.nas.hub.pytorch import MobileNetV3Space, ProxylessNAS, nasnet
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, MutableBatchNorm2d, MutableConv2d, MutableLinear, Repeat
from one_shot_spaces import images_and_labels, simplified
from torch import Tensor, nn

from nni_privacy.errors import ConfigError
from nni_privacy.patterns import load_pattern
from nni_privacy.strategies import GDAS, FixedPattern, build_strategy
from nni_privacy.strategies.registry import ONE_SHOT, strategy_options

SLOW = ("darts_v2", "sdarts", "tenas")
"""Those whose steps take several passes; the others stand for them in the fast suite."""
FEW: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 8,
    "candidates": 2,
    "controller_steps": 1,
    "samples_per_step": 2,
    "draws": 4,
}
IMAGES = 24
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in sorted(ONE_SHOT)]
HUB_NAMES = [one for one in NAMES if one != "tenas" and "tenas" not in getattr(one, "values", ())]
"""TE-NAS tries every candidate of the hub's 14 choices a cell, each in a network of its own: minutes."""


class Widths(ModelSpace):
    """An operation, a width, a kernel, an expression of the width, and a depth."""

    def __init__(self) -> None:
        super().__init__()
        width, kernel = nni.choice("width", [2, 4]), nni.choice("kernel", [1, 3])
        self.stem = MutableConv2d(1, width, kernel, padding=kernel // 2)
        self.blocks = Repeat(lambda index: MutableConv2d(width, width, 3, padding=1), (1, 3), label="depth")
        self.expanded = MutableConv2d(width, 2 * width, 1)
        self.activation = LayerChoice([nn.ReLU(), nn.Tanh()], label="activation")
        self.head = MutableLinear(2 * width, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.activation(self.expanded(self.blocks(self.stem(images)))).mean((2, 3)))


def strategy(name: str, *, channels: int = 1, **options: Any) -> Any:
    images, labels = images_and_labels(IMAGES)
    given = {key: value for key, value in FEW.items() if key in strategy_options(name).model_fields}
    return type(build_strategy(name, seed=0))(
        data=(images.repeat(1, channels, 1, 1), labels), seed=0, **given, **options
    )


@pytest.mark.parametrize("name", NAMES)
def test_widths_kernels_and_depths_are_searched(name: str) -> None:
    search = strategy(name)
    search.prepare(simplified(Widths()))
    (sample,) = search.search()
    assert set(sample) == {"width", "kernel", "depth", "activation"}
    network = Widths().freeze(sample)
    assert network(images_and_labels(4)[0]).shape == (4, 10)


@pytest.mark.parametrize("name", HUB_NAMES)
def test_the_hubs_cells_are_searched_with_a_pattern(name: str) -> None:
    search = strategy(name, channels=3)
    fixed = FixedPattern(search, "demotion-reduction", budget=3)
    fixed.initialize(simplified(nasnet.DARTS(width=2, num_cells=3)), None)
    (sample,) = search.search()
    for edge in load_pattern("demotion-reduction").edges[:3]:
        slots = [(sample[f"reduce/input_{edge.target}_{k}"], sample[f"reduce/op_{edge.target}_{k}"]) for k in (0, 1)]
        assert ([edge.source], edge.op) in slots
    assert nasnet.DARTS(width=2, num_cells=3).contains(sample)


@pytest.mark.slow
@pytest.mark.parametrize(
    "space",
    [
        lambda: MobileNetV3Space(num_labels=10, base_widths=(4, 4, 8, 8, 8, 8, 8, 16, 16)),
        lambda: ProxylessNAS(num_labels=10, base_widths=(8, 4, 8, 8, 8, 8, 8, 16, 16)),
        lambda: nasnet.DARTS(width=(4, 8), num_cells=(3, 6)),
    ],
    ids=["mobilenetv3", "proxylessnas", "darts with sizes"],
)
@pytest.mark.parametrize("name", ["gdas", "random_search"])
def test_other_spaces_of_the_hub_are_searched(space: Any, name: str) -> None:
    images = torch.rand(IMAGES, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    given = {key: value for key, value in FEW.items() if key in strategy_options(name).model_fields}
    data = (images, images_and_labels(IMAGES)[1])
    search: Any = type(build_strategy(name, seed=0))(data=data, seed=0, **given)
    search.prepare(simplified(space()))
    (sample,) = search.search()
    assert space().contains(sample)


class Shapeless(ModelSpace):
    """Candidates of different shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = LayerChoice([nn.Flatten(), nn.Identity()], label="layer")

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images)


class WithoutAffine(ModelSpace):
    """NNI cannot take a part of a BatchNorm without weights: a mixture works, paths do not."""

    def __init__(self) -> None:
        super().__init__()
        width = nni.choice("width", [2, 4])
        self.layers = nn.Sequential(MutableConv2d(1, width, 3), MutableBatchNorm2d(width, affine=False))
        self.head = MutableLinear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.layers(images).mean((2, 3)))


class Unplaced(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.layer = LayerChoice([nn.ReLU(), nn.Tanh()], label="layer")
        self.rate = ensure_frozen(self.add_mutable(nni.choice("rate", [0.1, 0.2])))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Shapeless, r"\.Shapeless cannot be searched as one network: "),
        (Unplaced, r"\.Unplaced in the space .* has a choice of its own, 'rate'"),
        (WithoutAffine, r"\.WithoutAffine cannot be searched as one network: TypeError"),
    ],
)
def test_what_cannot_be_mixed_is_refused_before_the_search(space: type[ModelSpace], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GDAS(epochs=1, batch_size=8, data=images_and_labels(IMAGES)).check(simplified(space()))
