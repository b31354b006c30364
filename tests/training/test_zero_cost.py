"""Zero-cost proxies, compared with closed forms and definitions written out, and on the networks of the spaces."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable
from pkgutil import resolve_name

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

from nni_privacy.cells.genotypes import parse_genotype
from nni_privacy.cells.spaces import SPACES
from nni_privacy.errors import AuditError
from nni_privacy.search_spaces.nasbench201_network import NasBench201Network
from nni_privacy.training.zero_cost import PROXIES, zero_cost_proxies


def batch(count: int = 8, channels: int = 3, side: int = 6, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, channels, side, side, generator=generator),
        torch.randint(classes, (count,), generator=generator),
    )


def small(*, norm: bool = True, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(1)
    middle = [nn.BatchNorm2d(5)] if norm else []
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), *middle, activation(), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(20, 4)
    )


class Rectified(nn.Module):
    """The same function with torch's functions in place of layers."""

    def __init__(self, network: nn.Sequential, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.before, self.after, self.relu = network[:2], network[3:], relu

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.relu(self.before(images)))


def test_gradients_of_a_linear_classifier_have_their_closed_form() -> None:
    images, labels = batch()
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
    weight, bias = (value.detach().double().numpy() for value in network[1].parameters())
    x = images.flatten(1).double().numpy()
    logits = x @ weight.T + bias
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    slope = (shares - np.eye(4)[labels.numpy()]).T @ x / len(x)
    found = zero_cost_proxies(network, images, labels)
    assert found["grad_norm"] == pytest.approx(np.linalg.norm(slope), rel=1e-5)
    assert found["snip"] == pytest.approx(np.abs(weight * slope).sum(), rel=1e-5)
    assert found["synflow"] == pytest.approx(np.log10(np.abs(weight).sum()), rel=1e-6)
    assert "naswot" not in found


def test_gradients_of_layers_are_those_of_backward() -> None:
    images, labels = batch()
    network = small()
    found = zero_cost_proxies(network, images, labels)
    functional.cross_entropy(network(images), labels).backward()
    weights = [network[0].weight, network[5].weight]
    assert found["grad_norm"] == pytest.approx(sum(one.grad.norm().item() for one in weights), rel=1e-5)
    assert found["snip"] == pytest.approx(sum((one.grad * one).abs().sum().item() for one in weights), rel=1e-5)


@pytest.mark.parametrize("norm", [True, False])
def test_flow_through_every_layer_is_the_same_without_biases(norm: bool) -> None:
    """Tanaka et al., theorem 1: the flow of a layer is R, so that of three layers is 3 R; a normalisation is passed."""
    torch.manual_seed(0)
    middle = [nn.BatchNorm1d(7)] if norm else []
    layers = [nn.Linear(12, 7, bias=False), nn.Linear(7, 5, bias=False), nn.Linear(5, 3, bias=False)]
    network = nn.Sequential(nn.Flatten(), layers[0], *middle, nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    flow = np.ones(12)
    for layer in layers:
        flow = np.abs(layer.weight.detach().double().numpy()) @ flow
    found = zero_cost_proxies(network, *batch(channels=3, side=2, classes=3))
    assert found["synflow"] == pytest.approx(np.log10(3 * flow.sum()), rel=1e-12)


def test_the_flow_of_a_deep_network_does_not_overflow() -> None:
    layers = [nn.Linear(64, 64, bias=False) for _ in range(40)]
    for layer in layers:
        nn.init.constant_(layer.weight, 100.0)
    network = nn.Sequential(nn.Flatten(), *layers)
    found = zero_cost_proxies(network, *batch(channels=1, side=8, classes=64))
    assert found["synflow"] == pytest.approx(math.log10(40 * 64) + 40 * math.log10(6400))


def test_naswot_is_the_log_determinant_of_the_agreements() -> None:
    images, labels = batch(count=5)
    network = small()
    codes = (network[:2](images) > 0).flatten(1).numpy()
    kernel = np.array([[np.sum(one == two) for two in codes] for one in codes], dtype=float)
    sign, expected = np.linalg.slogdet(kernel)
    assert sign == 1
    assert zero_cost_proxies(network, images, labels)["naswot"] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("relu", [functional.relu, torch.relu, torch.relu_, Tensor.relu, nn.ReLU(inplace=True)])
def test_units_are_seen_however_they_are_rectified(relu: Callable[[Tensor], Tensor]) -> None:
    images, labels = batch()
    network = small()
    assert zero_cost_proxies(Rectified(network, relu), images, labels) == zero_cost_proxies(network, images, labels)


def test_what_does_not_exist_is_left_out() -> None:
    images, labels = batch()
    assert list(zero_cost_proxies(small(), images, labels)) == list(PROXIES)
    assert list(zero_cost_proxies(small(activation=nn.SiLU), images, labels)) == ["synflow", "grad_norm", "snip"]
    twice = torch.cat([images[:1], images[:1], images[2:]])
    assert "naswot" not in zero_cost_proxies(small(), twice, labels)
    nothing = NasBench201Network(
        parse_genotype("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"), channels=4, cells=1, num_classes=4
    )
    assert zero_cost_proxies(nothing, *batch(side=8)) == {"grad_norm": 0.0, "snip": 0.0}


def _state(network: nn.Module) -> list[object]:
    values = [*network.parameters(), *network.buffers()]
    grads = [one.grad for one in network.parameters()]
    return [
        *(one.detach().clone() for one in values),
        *(None if one is None else one.clone() for one in grads),
        [one.requires_grad for one in network.parameters()],
        [one.training for one in network.modules()],
        [len(one._forward_hooks) for one in network.modules()],
    ]


def _same(one: object, two: object) -> bool:
    return torch.equal(one, two) if isinstance(one, Tensor) and isinstance(two, Tensor) else one == two


@pytest.mark.parametrize("name", ["darts", "nasbench201"])
def test_network_images_and_generators_stay_as_they_are(name: str) -> None:
    record = SPACES[name]
    network = resolve_name(record.network)(record.sample(1, 0, {"nodes": 4})[0], channels=4, cells=3)
    images, labels = batch(side=8)
    functional.cross_entropy(network(images), labels).backward()
    network.eval()
    network.stem.train()
    network.classifier.weight.requires_grad_(False)
    before, given = _state(network), images.clone()
    generators = [random.getstate(), torch.get_rng_state(), torch.get_num_threads()]
    found = zero_cost_proxies(network, images, labels)
    assert all(_same(*pair) for pair in zip(before, _state(network), strict=True))
    assert torch.equal(images, given)
    assert all(
        _same(*pair)
        for pair in zip(generators, [random.getstate(), torch.get_rng_state(), torch.get_num_threads()], strict=True)
    )
    torch.manual_seed(99)
    fresh = copy.deepcopy(network).train()
    fresh.classifier.weight.requires_grad_(True)
    assert zero_cost_proxies(fresh, images, labels) == found  # whatever its modes and the generators


def test_random_layers_depend_on_the_seed_alone() -> None:
    images, labels = batch()
    network = nn.Sequential(nn.Dropout(0.5), *small())
    one, two, other = (zero_cost_proxies(network, images, labels, seed=seed) for seed in (0, 0, 1))
    assert one == two
    assert one["snip"] != other["snip"] and one["synflow"] == other["synflow"]


def test_gradients_that_the_caller_has_turned_off_are_there() -> None:
    images, labels = batch()
    expected = zero_cost_proxies(small(), images, labels)
    for turned_off in (torch.no_grad, torch.inference_mode):
        with turned_off():
            assert zero_cost_proxies(small(), images.clone(), labels.clone()) == expected


def test_weights_that_are_computed_count_as_what_they_are() -> None:
    images, labels = batch()
    network = small()
    plain = zero_cost_proxies(network, images, labels)
    parametrizations.weight_norm(network[5])
    expected = network(images)
    assert zero_cost_proxies(network, images, labels) == pytest.approx(plain, rel=1e-5)
    assert torch.equal(network(images), expected) and parametrize.is_parametrized(network[5])  # its class, too


@pytest.mark.parametrize(
    ("images", "labels", "network", "told"),
    [
        (torch.zeros(4, 3, 6), torch.zeros(4, dtype=torch.long), small(), r"images: \(4, 3, 6\)"),
        (torch.zeros(1, 3, 6, 6), torch.zeros(1, dtype=torch.long), small(), "2 or more"),
        (torch.zeros(4, 3, 6, 6, dtype=torch.uint8), torch.zeros(4, dtype=torch.long), small(), "of floats"),
        (torch.zeros(4, 3, 6, 6), torch.zeros(3, dtype=torch.long), small(), r"expected \(4,\) of whole numbers"),
        (torch.zeros(4, 3, 6, 6), torch.zeros(4), small(), "of whole numbers"),
        (torch.zeros(4, 3, 6, 6), torch.full((4,), 7), small(), "labels: 7 to 7; allowed of this network are 0 to 3"),
        (torch.zeros(4, 3, 6, 6), torch.zeros(4, dtype=torch.long), nn.Conv2d(3, 4, 1), r"returns \(4, 4, 6, 6\)"),
        (torch.zeros(4, 3, 6, 6), torch.zeros(4, dtype=torch.long), nn.Flatten(), "no convolution or linear layer"),
    ],
)
def test_what_does_not_fit_is_told(images: Tensor, labels: Tensor, network: nn.Module, told: str) -> None:
    with pytest.raises(AuditError, match=told):
        zero_cost_proxies(network, images, labels)


SKIPS = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"


def test_networks_of_the_spaces_have_all_proxies_of_their_order_of_magnitude() -> None:
    images, labels = batch(side=8)
    for name in ("darts", "nasbench201"):
        record = SPACES[name]
        for genotype in record.sample(2, 5, {"nodes": 4}):
            torch.manual_seed(0)
            narrow, wide = (
                zero_cost_proxies(
                    resolve_name(record.network)(genotype, channels=channels, cells=3, num_classes=4), images, labels
                )
                for channels in (4, 8)
            )
            assert list(narrow) == list(PROXIES)
            assert 0 < narrow["synflow"] < wide["synflow"] < 60
            assert 1e-2 < narrow["grad_norm"] < 1e3
            assert narrow["naswot"] < wide["naswot"] < 8 * math.log(1e6)  # Hadamard: at most B log N


def test_convolutions_let_more_flow_than_skips() -> None:
    images, labels = batch(side=8)
    torch.manual_seed(0)
    skips, convolutions = (
        zero_cost_proxies(NasBench201Network(parse_genotype(text), channels=4, cells=1, num_classes=4), images, labels)
        for text in (SKIPS, SKIPS.replace("skip_connect", "nor_conv_3x3"))
    )
    assert convolutions["synflow"] > skips["synflow"] + 1
    assert convolutions["naswot"] > skips["naswot"]


def test_they_cost_little() -> None:
    record = SPACES["darts"]
    network = resolve_name(record.network)(record.sample(1, 0, {"nodes": 4})[0], channels=8, cells=5)
    images, labels = batch(count=64, side=16)
    zero_cost_proxies(network, images, labels)
    started = time.process_time()
    zero_cost_proxies(network, images, labels)
    assert time.process_time() - started < 3  # about 0.4 s


@pytest.mark.parametrize("name", PROXIES)
def test_one_alone_is_what_it_is_among_all(name: str) -> None:
    images, labels = batch(count=6, side=8)
    torch.manual_seed(0)
    network = nn.Sequential(small(), nn.Dropout(0.2)) if name != "naswot" else small()
    every = zero_cost_proxies(network, images, labels, seed=3)
    assert zero_cost_proxies(network, images, labels, names=(name,), seed=3) == {name: every[name]}
    assert zero_cost_proxies(network, images, labels, names=(), seed=3) == {}
