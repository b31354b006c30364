"""Any NNI space made of LayerChoice as a supernet, and what of other spaces is refused."""

from __future__ import annotations

import nni
import pytest
import torch
from nni.mutable import ensure_frozen
from nni.nas.nn.pytorch import InputChoice, LayerChoice, ModelSpace, Repeat
from nni.nas.space import RawFormatModelSpace, model_context
from one_shot_spaces import LayerSpace, simplified
from torch import nn

from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.layer_choice_supernet import MixedLayer
from nni_privacy.search_spaces.searchable import open_space
from nni_privacy.search_spaces.supernet import Gate

IMAGES = torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("model_format", ["simplified", "raw"])
def test_a_label_in_two_places_is_one_decision(model_format: str) -> None:
    space = LayerSpace()
    model_space = simplified(space) if model_format == "simplified" else RawFormatModelSpace.from_model(space, None)
    supernet = open_space(model_space).supernet(seed=0)
    assert [(decision.key, decision.candidates) for decision in supernet.decisions] == [
        ("conv", ("skip_connect", "conv_1x1", "conv_3x3")),
        ("head.activation", ("0", "1", "2")),
    ]
    assert all(type(decision.key) is str for decision in supernet.decisions)
    layers = [module for module in supernet.modules() if isinstance(module, MixedLayer)]
    assert [layer.decision.key for layer in layers if layer.decision] == ["conv", "conv", "head.activation"]


@pytest.mark.parametrize("operation", ["skip_connect", "conv_1x1", "conv_3x3"])
@pytest.mark.parametrize("activation", [0, 1, 2])
def test_a_path_is_the_frozen_space(operation: str, activation: int) -> None:
    sample = {"conv": operation, "head.activation": activation}
    supernet = open_space(simplified(LayerSpace())).supernet(seed=0).eval()
    with model_context(sample):
        frozen = LayerSpace().eval()
    weights = supernet.network.space.state_dict()
    for name, tensor in frozen.state_dict().items():
        owner, _, rest = name.partition(".")
        known = f"{owner}.layers.{operation}.{rest}" if owner in ("first", "second") else name
        tensor.copy_(weights[known])
    path = supernet.path_gates(sample)
    assert torch.allclose(supernet(IMAGES, path), frozen(IMAGES), atol=1e-6)
    weighted = {
        key: Gate(weights=nn.functional.one_hot(torch.tensor(gate.active[0]), 3).float())
        for key, gate in path.items()
        if gate.active
    }
    assert torch.allclose(supernet(IMAGES, weighted), frozen(IMAGES), atol=1e-6)


def test_exports_have_the_values_that_the_space_gave() -> None:
    supernet = open_space(simplified(LayerSpace())).supernet(seed=0)
    scores = {"conv": torch.tensor([1.0, 0.0, 0.0]), "head.activation": torch.tensor([0.0, 0.0, 1.0])}
    sample = supernet.layout.export(scores)
    assert sample == {"conv": "skip_connect", "head.activation": 2}
    assert LayerSpace().contains(sample)
    assert supernet.layout.skip_connections(sample) == 1


def test_candidates_that_are_not_left_are_taken_out() -> None:
    searchable = open_space(simplified(LayerSpace()))
    supernet = searchable.supernet(seed=0, candidates={"conv": ["skip_connect", "conv_3x3"]})
    assert supernet.decisions[0].candidates == ("skip_connect", "conv_3x3")
    assert not [name for name, _ in supernet.named_parameters() if "conv_1x1" in name]


class Nested(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        inner = LayerChoice([nn.ReLU(), nn.Tanh()], label="inner")
        self.outer = LayerChoice([nn.Sequential(inner), nn.Identity()], label="outer")


class WithNumber(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.layer = LayerChoice([nn.ReLU(), nn.Tanh()], label="layer")
        self.width = ensure_frozen(self.add_mutable(nni.choice("width", [8, 16])))


class WithInputs(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.layer = LayerChoice([nn.ReLU(), nn.Tanh()], label="layer")
        self.inputs = InputChoice(n_candidates=3, n_chosen=1, label="inputs")


class WithDepth(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.layer = LayerChoice([nn.ReLU(), nn.Tanh()], label="layer")
        self.blocks = Repeat(lambda index: nn.ReLU(), (1, 3), label="depth")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Nested, "'outer' holds another choice.*nested"),
        (WithNumber, "'width' of WithNumber is not a LayerChoice"),
        (WithInputs, "'inputs'.*"),
        (WithDepth, "'depth'.*"),
    ],
)
def test_other_spaces_are_refused(space: type[ModelSpace], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_space(simplified(space())).supernet(seed=0)


def test_a_gate_that_lets_nothing_run_is_an_error() -> None:
    supernet = open_space(simplified(LayerSpace())).supernet(seed=0)
    gates = {**supernet.path_gates({"conv": "conv_1x1", "head.activation": 1}), "conv": Gate(active=())}
    with pytest.raises(ConfigError, match="'conv': its gate lets no candidate run"):
        supernet(IMAGES, gates)
