"""The human-designed networks: every one, at every size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from network_table import network_table

from nni_privacy.auditing.forward import extract_signals
from nni_privacy.errors import ConfigError
from nni_privacy.networks import FAMILIES, NETWORKS, build_network, check_network_options, feature_map_side

PUBLISHED = {
    "cspresnet50": 21.62,
    "densenet121": 7.98,
    "dla34": 15.74,
    "efficientnet_b0": 5.29,
    "regnetx_004": 5.16,
    "resnet18": 11.69,
    "resnetv2_50x1_bit": 25.55,
    "resnext50_32x4d": 25.03,
    "vgg11_bn": 132.87,
    "wide_resnet50_2": 68.88,
}
"""Millions of parameters with 1,000 classes and 3 channels, from the papers and timm's tables."""


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


FURTHER = [(8, 3, 2), (32, 3, 4), (28, 1, 4), (28, 3, 4), (32, 1, 4), (64, 1, 2), (64, 3, 2)]
SIZES = [(8, 1, 2), *(pytest.param(*size, marks=pytest.mark.slow) for size in FURTHER)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("size", "channels", "side"), SIZES)
def test_every_network_trains_at_every_size(name: str, size: int, channels: int, side: int) -> None:
    torch.manual_seed(0)
    network = build_network(name, in_channels=channels, num_classes=10, image_size=size)
    assert network.training
    logits = network(torch.randn(2, channels, size, size))
    assert logits.shape == (2, 10)
    torch.nn.functional.cross_entropy(logits, torch.tensor([3, 7])).backward()
    for parameter in network.parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()
    assert feature_map_side(network, in_channels=channels, image_size=size) == side


@pytest.mark.parametrize("name", NETWORKS)
def test_with_the_imagenet_stem_it_is_the_published_network(name: str) -> None:
    with torch.device("meta"):
        network = build_network(name, in_channels=3, num_classes=1000, image_size=64, stem="imagenet")
    assert parameters(network) / 1e6 == pytest.approx(PUBLISHED[name], abs=0.01)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "vgg11_bn"])
def test_small_images_change_strides_and_the_first_kernel_only(name: str) -> None:
    with torch.device("meta"):
        small = build_network(name, in_channels=3, num_classes=10, image_size=32)
        large = build_network(name, in_channels=3, num_classes=10, image_size=32, stem="imagenet")
    shapes = [(key, tuple(value.shape)) for key, value in large.named_parameters()]
    changed = [
        (key, was, tuple(value.shape))
        for (key, was), value in zip(shapes, small.parameters(), strict=True)
        if was != tuple(value.shape)
    ]
    assert len(changed) <= 1
    for _, was, now in changed:
        assert (was[2:], now[2:]) == ((7, 7), (3, 3)) and was[:2] == now[:2]


def test_the_smaller_kernel_keeps_the_variance_of_the_initial_outputs() -> None:
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    small, large = (
        build_network("resnet18", in_channels=3, num_classes=10, image_size=32, stem=stem).conv1(images).std()
        for stem in ("small", "imagenet")
    )
    assert float(small / large) == pytest.approx(1.0, abs=0.1)


def test_configurations_name_the_papers_ten_families() -> None:
    named = {"resnet", "resnext", "wide_resnet", "vgg", "densenet", "efficientnet", "regnet", "cspnet", "bit", "dla"}
    assert set(FAMILIES) == named and set(FAMILIES.values()) == set(NETWORKS)
    states = []
    for name in ("regnet", "regnetx_004"):
        torch.manual_seed(1)
        states.append(build_network(name, in_channels=3, num_classes=10, image_size=8).state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize("name", ["bit", "dla"])
def test_a_linear_classifier_computes_what_timms_convolution_does(name: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(2)
    own = timm.create_model(FAMILIES[name], num_classes=10).eval()
    torch.manual_seed(2)
    network = build_network(name, in_channels=3, num_classes=10, image_size=64).eval()
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(images), own(images), rtol=1e-5, atol=1e-5)  # as threads round


@pytest.mark.parametrize("name", FAMILIES)
def test_white_box_attacks_find_the_input_of_the_classifier(name: str) -> None:
    network = build_network(name, in_channels=1, num_classes=3, image_size=8)
    images, labels = torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    signals = extract_signals(network, images, labels, np.arange(6) < 3, gradients=True)
    assert signals.features is not None and signals.gradients is None


def test_options_are_checked_without_building() -> None:
    check_network_options("dla", ["stem"])
    with pytest.raises(ConfigError, match="network 'dla': unknown key 'stemm': did you mean 'stem'"):
        check_network_options("dla", ["stemm"])


def test_modes_and_seeds() -> None:
    first, second = [], []
    for states in (first, second):
        torch.manual_seed(4)
        states.append(build_network("regnetx_004", in_channels=1, num_classes=3, image_size=8).state_dict())
    assert all(torch.equal(value, second[0][key]) for key, value in first[0].items())
    network = build_network("resnet18", in_channels=1, num_classes=3, image_size=16).eval()
    assert feature_map_side(network, in_channels=1, image_size=16) == 2 and not network.training
    assert build_network("vgg11_bn", in_channels=3, num_classes=10, image_size=32).head.fc.in_features == 512


@pytest.mark.slow
def test_the_table_in_the_docs_is_that_of_the_code() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "networks.md").read_text(encoding="utf-8")
    found = text.partition("<!-- networks: begin -->\n")[2].partition("<!-- networks: end -->")[0]
    assert found.strip() == network_table().strip(), "print it anew: python tests/support/network_table.py"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet81"}, "unknown network 'resnet81'; did you mean 'resnet18'"),
        ({"name": "resnets"}, "did you mean 'resnet'"),
        ({"name": "transformer"}, "known: bit, cspnet, cspresnet50"),
        ({"image_size": 7}, "image_size: 7; input should be greater than or equal to 8"),
        ({"in_channels": 0}, "in_channels: 0"),
        ({"num_classes": 1}, "num_classes: 1"),
        ({"stem": "smal"}, "stem: 'smal'; did you mean 'small'"),
    ],
)
def test_bad_input_is_named(options: dict[str, object], message: str) -> None:
    given = {"name": "resnet18", "in_channels": 3, "num_classes": 10, "image_size": 32, **options}
    with pytest.raises(ConfigError, match=message):
        build_network(**given)
