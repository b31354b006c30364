"""Any NNI space of layers, inputs, cells, depths and shapes as a supernet, and what of other spaces is refused."""

from __future__ import annotations

import itertools

import nni
import pytest
import torch
from nni.mutable import ensure_frozen
from nni.nas.hub.pytorch import nasnet
from nni.nas.nn.pytorch import (
    Cell,
    InputChoice,
    LayerChoice,
    ModelSpace,
    MutableBatchNorm2d,
    MutableConv2d,
    MutableLinear,
    MutableModule,
    Repeat,
)
from nni.nas.space import RawFormatModelSpace, model_context
from one_shot_spaces import LayerSpace, simplified
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.mixed_modules import MixedCell, MixedLayer
from nni_privacy.search_spaces.searchable import open_space
from nni_privacy.search_spaces.supernet import Gate, Supernet

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

    def forward(self, images: Tensor) -> Tensor:
        return self.outer(images).flatten(1)


class Inputs(ModelSpace):
    """Two of three inputs, reduced in one way."""

    def __init__(self, reduction: str = "sum") -> None:
        super().__init__()
        self.inputs = InputChoice(n_candidates=3, n_chosen=2, reduction=reduction, label="inputs")

    def forward(self, images: Tensor) -> Tensor:
        return self.inputs([images, images.square(), images.exp()]).flatten(1)


class Depth(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = Repeat(lambda index: nn.Conv2d(1, 1, 3, padding=1), (0, 3), label="depth")

    def forward(self, images: Tensor) -> Tensor:
        return self.blocks(images).flatten(1)


class Shapes(ModelSpace):
    """Width, kernel and an expression of the width."""

    def __init__(self) -> None:
        super().__init__()
        width, kernel = nni.choice("width", [2, 4]), nni.choice("kernel", [1, 3])
        self.first = MutableConv2d(1, width, kernel, padding=kernel // 2)
        self.norm = MutableBatchNorm2d(width)
        self.second = MutableConv2d(width, width * 2, 1)
        self.head = MutableLinear(width * 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.second(self.norm(self.first(images))).relu().mean((2, 3)))


def opened(space: ModelSpace) -> Supernet:
    return open_space(simplified(space)).supernet(seed=0).eval()


def test_choices_may_stand_inside_each_other() -> None:
    supernet = opened(Nested())
    for outer, inner in itertools.product((0, 1), repeat=2):
        expected = [torch.relu, torch.tanh][inner](IMAGES) if outer == 0 else IMAGES
        found = supernet(IMAGES, supernet.path_gates({"outer": outer, "inner": inner}))
        torch.testing.assert_close(found, expected.flatten(1))


@pytest.mark.parametrize("reduction", ["sum", "mean", "concat"])
def test_sets_of_inputs_are_candidates(reduction: str) -> None:
    supernet = opened(Inputs(reduction))
    assert supernet.layout.choices == {"inputs": ([0, 1], [0, 2], [1, 2])}
    given = [IMAGES, IMAGES.square(), IMAGES.exp()]
    reduce = {"sum": sum, "mean": lambda parts: sum(parts) / 2, "concat": lambda parts: torch.cat(parts, 1)}[reduction]
    alone = [reduce([given[index] for index in chosen]).flatten(1) for chosen in ([0, 1], [0, 2], [1, 2])]
    for chosen, expected in zip(([0, 1], [0, 2], [1, 2]), alone, strict=True):
        torch.testing.assert_close(supernet(IMAGES, supernet.path_gates({"inputs": chosen})), expected)
    weights = torch.tensor([0.2, 0.3, 0.5])
    expected = sum(weight * part for weight, part in zip(weights, alone, strict=True))
    torch.testing.assert_close(supernet(IMAGES, {"inputs": Gate(weights=weights)}), expected)
    assert supernet.layout.export({"inputs": weights}) == {"inputs": [1, 2]}
    assert Inputs().contains({"inputs": [1, 2]})


def test_a_mixture_of_depths_is_that_of_what_comes_out_at_each() -> None:
    supernet = opened(Depth())
    states, blocks = [IMAGES], supernet.network.space.blocks.blocks
    for block in blocks:
        states.append(block(states[-1]))
    for depth, expected in enumerate(states):
        torch.testing.assert_close(supernet(IMAGES, supernet.path_gates({"depth": depth})), expected.flatten(1))
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4])
    expected = sum(weight * state.flatten(1) for weight, state in zip(weights, states, strict=True))
    torch.testing.assert_close(supernet(IMAGES, {"depth": Gate(weights=weights)}), expected)


@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_narrower_path_is_the_first_channels_and_the_middle_of_the_kernel(width: int, kernel: int) -> None:
    supernet = opened(Shapes())
    found = supernet(IMAGES, supernet.path_gates({"width": width, "kernel": kernel}))
    space = supernet.network.space
    middle = slice(None) if kernel == 3 else slice(1, 2)
    weight = space.first.weight[:width, :, middle, middle]
    x = functional.conv2d(IMAGES, weight, space.first.bias[:width], padding=kernel // 2)
    x = x / (1 + space.norm.eps) ** 0.5  # of an untrained BatchNorm
    x = functional.conv2d(x, space.second.weight[: 2 * width, :width], space.second.bias[: 2 * width])
    x = x.relu().mean((2, 3))
    expected = functional.linear(x, space.head.weight[:, : 2 * width], space.head.bias)
    torch.testing.assert_close(found, expected)


def test_a_mixture_of_widths_has_gradients_by_its_weights() -> None:
    supernet = opened(Shapes()).train()
    weights = {key: torch.tensor([0.4, 0.6], requires_grad=True) for key in ("width", "kernel")}
    supernet(IMAGES, {key: Gate(weights=value) for key, value in weights.items()}).square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().min() > 0 for value in weights.values())
    hard = {key: Gate(weights=torch.tensor([0.0, 1.0])) for key in weights}
    supernet.eval()
    path = supernet.path_gates({"width": 4, "kernel": 3})
    torch.testing.assert_close(supernet(IMAGES, hard), supernet(IMAGES, path))


class WithNumber(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.layer = LayerChoice([nn.ReLU(), nn.Tanh()], label="layer")
        self.width = ensure_frozen(self.add_mutable(nni.choice("width", [8, 16])))


class Chooser(MutableModule):
    def __init__(self) -> None:
        super().__init__()
        self.factor = ensure_frozen(self.add_mutable(nni.choice("factor", [1, 2])))


class OfOwnKind(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.own = Chooser()


class Uniform(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.rate = ensure_frozen(self.add_mutable(nni.uniform("rate", 0.0, 1.0)))


class InForwardToo(ModelSpace):
    """A width that a layer has, and that is read in the forward pass, where no gate reaches it."""

    def __init__(self) -> None:
        super().__init__()
        width = nni.choice("width", [4, 8])
        self.layer = MutableLinear(36, width)
        self.width = ensure_frozen(self.add_mutable(width))


class Listed(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.inputs = InputChoice(3, None, "none", label="inputs")


class Circular(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        kernel = nni.choice("kernel", [1, 3])
        self.layer = MutableConv2d(1, 4, kernel, padding=kernel // 2, padding_mode="circular")


class ManyInputs(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.inputs = InputChoice(n_candidates=12, n_chosen=None, label="inputs")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            WithNumber,
            r"WithNumber in the space .* has a choice of its own, 'width', that stands in none",
        ),
        (OfOwnKind, r"test_nni_supernet\.Chooser in the space .*OfOwnKind has a choice of its own, 'factor'"),
        (InForwardToo, r"InForwardToo in the space .* has a choice of its own, 'width'"),
        (Listed, r"choice 'inputs' takes 1 to 3 inputs with reduction 'none'"),
        (Circular, r"padding_mode 'circular' makes another network; allowed is 'zeros'"),
        (Uniform, r"'rate' of .*Uniform is a Numerical; one-shot search takes choices among finitely many"),
        (ManyInputs, r"'inputs' of .*ManyInputs has more than 256 sets of inputs"),
    ],
)
def test_other_spaces_are_refused(space: type[ModelSpace], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_space(simplified(space())).supernet(seed=0)


class Tied(ModelSpace):
    """One layer of mutable shape in two places."""

    def __init__(self) -> None:
        super().__init__()
        width = nni.choice("width", [4, 8])
        self.first = MutableLinear(36, width)
        layer = MutableLinear(width, width)
        self.one, self.other = nn.Sequential(layer), nn.Sequential(layer)
        self.again = layer
        self.head = MutableLinear(width, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.again(self.other(self.one(self.first(images.flatten(1))))))


def test_a_layer_in_two_places_stays_one() -> None:
    space = opened(Tied()).network.space
    assert space.one[0] is space.other[0] is space.again


class Acts(ModelSpace):
    """A cell whose operations depend on their input, and hold a choice."""

    def __init__(self) -> None:
        super().__init__()

        def operation(node: int, slot: int, source: int | None) -> nn.Module:
            return nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), LayerChoice([nn.ReLU(), nn.Tanh()], label="act"))

        self.cell = Cell({"conv": operation, "skip": lambda *_: nn.Identity()}, 2, 1, 1, label="cell")

    def forward(self, images: Tensor) -> Tensor:
        return self.cell(images).flatten(1)


def test_choices_inside_the_operations_of_a_cell_keep_their_labels() -> None:
    supernet = opened(Acts())
    labels = {f"cell/{part}_{node}_0" for part in ("input", "op") for node in (1, 2)}
    assert set(supernet.layout.choices) == {*labels, "cell/act"}
    sample = supernet.layout.random_sample(torch.Generator().manual_seed(0))
    assert supernet(IMAGES, supernet.path_gates(sample)).shape == (5, 72)


@pytest.mark.parametrize("space", [nasnet.DARTS, nasnet.PNAS], ids=lambda space: space.__name__)
def test_a_path_through_the_hubs_cells_is_the_frozen_space(space: type[ModelSpace]) -> None:
    supernet = open_space(simplified(space(width=4, num_cells=3))).supernet(seed=0).eval()
    sample = supernet.layout.random_sample(torch.Generator().manual_seed(1))
    with model_context(sample):
        frozen = space(width=4, num_cells=3).eval()
    mixed = [module for module in supernet.modules() if isinstance(module, MixedCell)]
    cells = [module for module in frozen.modules() if isinstance(module, Cell)]
    assert len(mixed) == len(cells) == 3
    for theirs, ours in zip(cells, mixed, strict=True):
        theirs.preprocessor.load_state_dict(ours.preprocessor.state_dict())
        for node, slots in enumerate(ours.slots):
            for slot, (sources, operation) in enumerate(slots):
                edge = ours.nodes[node][str(sample[sources][0])][sample[operation]]
                theirs.ops[node][slot].load_state_dict(edge.state_dict())
    for name in ("stem", "classifier"):
        getattr(frozen, name).load_state_dict(getattr(supernet.network.space, name).state_dict())
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(supernet(images, supernet.path_gates(sample)), frozen(images))


def test_a_gate_that_lets_nothing_run_is_an_error() -> None:
    supernet = open_space(simplified(LayerSpace())).supernet(seed=0)
    gates = {**supernet.path_gates({"conv": "conv_1x1", "head.activation": 1}), "conv": Gate(active=())}
    with pytest.raises(ConfigError, match="'conv': its gate lets no candidate run"):
        supernet(IMAGES, gates)
