"""The ten human-designed networks that the paper compares NAS with, for images of any size from 8 x 8 (timm).

Made for 224 x 224, these networks halve an image five times, the first halvings before any block: of a 32 x 32 image a
single value is left. For small images the first halvings are taken out here, all layers of a halving together, so that
every network gets as large a last feature map as every other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import Field
from torch import Tensor, nn

from nni_privacy.errors import ConfigError, check_keys, nearest
from nni_privacy.schema import Count, Several, checked

__all__ = ["FAMILIES", "NETWORKS", "SMALLEST_IMAGE", "Stem", "build_network", "check_network_options"]
__all__ += ["feature_map_side"]

Stem = Literal["auto", "small", "imagenet"]

SMALLEST_IMAGE = 8
_LARGEST_SMALL = 32
"""Up to this side ``auto`` adapts a network; the paper's own images are 64 x 64, under an ImageNet stem."""

_PROBE = 128
_POOLS = (nn.MaxPool2d, nn.AvgPool2d)


def _without_wide_head(network: Any) -> None:
    """VGG: instead of two layers of 4,096 units on 7 x 7 values, as usual for small images, one linear classifier."""
    features, classes = network.head.fc.in_features, network.num_classes
    last = [module for module in network.features if isinstance(module, nn.Conv2d)][-1].out_channels
    if features != last:
        network.pre_logits = nn.Identity()
        network.head.fc = nn.Linear(last, classes)
        nn.init.normal_(network.head.fc.weight, 0.0, 0.01)
        nn.init.zeros_(network.head.fc.bias)
        network.num_features = network.head_hidden_size = last


FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "bit": "resnetv2_50x1_bit",
        "cspnet": "cspresnet50",
        "densenet": "densenet121",
        "dla": "dla34",
        "efficientnet": "efficientnet_b0",
        "regnet": "regnetx_004",
        "resnet": "resnet18",
        "resnext": "resnext50_32x4d",
        "vgg": "vgg11_bn",
        "wide_resnet": "wide_resnet50_2",
    }
)
"""Name in a configuration, the paper's, to timm's name of the network that stands for it."""

NETWORKS: Mapping[str, Callable[[Any], None]] = MappingProxyType(
    {**dict.fromkeys(sorted(FAMILIES.values()), lambda network: None), "vgg11_bn": _without_wide_head}
)
"""Name, which is timm's, to what else changes in it for small images. BiT is the architecture only, not pre-trained."""

_OPTIONS = ("stem",)


def build_network(name: str, *, in_channels: int, num_classes: int, image_size: int, stem: Stem = "auto") -> nn.Module:
    """An untrained network that maps images (n, in_channels, image_size, image_size) to logits (n, num_classes).

    The classifier is one linear layer in every network, so that white-box attacks need its input alone; timm's own is a
    convolution of 1 x 1 in two of them, which computes the same.

    Args:
        name: of :data:`FAMILIES`, or timm's (of :data:`NETWORKS`).
        in_channels: of the images, 1 or more.
        num_classes: 2 or more.
        image_size: height and width in pixels, 8 or more.
        stem: ``imagenet`` is timm's network as it is. ``small`` takes out the first halvings, so many that the last
            feature map is an eighth of the image wide but no more than 4 and no less than 2, and makes a first
            convolution of 7 x 7 one of 3 x 3. ``auto``: small up to 32 x 32, else imagenet, as in the paper (64 x 64).

    Raises:
        ConfigError: if the network is unknown (with the nearest names), or a number is out of its range.
    """
    check_network_options(name, _OPTIONS)
    if stem not in get_args(Stem):
        raise ConfigError(f"stem: {stem!r}; {nearest(str(stem), get_args(Stem))}")
    checked(Count, in_channels, "in_channels")
    checked(Several, num_classes, "num_classes")
    checked(Annotated[Count, Field(ge=SMALLEST_IMAGE)], image_size, "image_size")
    import timm

    name = FAMILIES.get(name, name)
    network = timm.create_model(name, pretrained=False, in_chans=in_channels, num_classes=num_classes)
    _round_up(network)
    if stem == "small" or (stem == "auto" and image_size <= _LARGEST_SMALL):
        NETWORKS[name](network)
        _take_out_halvings(network, in_channels, image_size)
    _make_classifier_linear(network)
    return network


def check_network_options(name: str, options: Iterable[str]) -> None:
    """Checks what a configuration says of a network, without building it.

    Args:
        name: as in :func:`build_network`.
        options: names of what is given besides; channels, classes and image size come from the data.

    Raises:
        ConfigError: if the network or an option is unknown (with the nearest names).
    """
    if name not in FAMILIES and name not in NETWORKS:
        raise ConfigError(f"unknown network {name!r}; {nearest(str(name), {*FAMILIES, *NETWORKS})}")
    check_keys(f"network {name!r}", options, _OPTIONS)


def feature_map_side(network: nn.Module, *, in_channels: int, image_size: int) -> int:
    """Height and width of the last feature map, before it is pooled, for images of ``image_size``."""
    return int(_running(network, lambda net: net.forward_features(_zeros(in_channels, image_size))).shape[-1])


def _make_classifier_linear(network: Any) -> None:
    classifier = network.get_classifier()
    if not isinstance(classifier, nn.Conv2d):
        return
    linear = nn.Linear(classifier.in_channels, classifier.out_channels)
    linear.load_state_dict(
        {key: value.flatten(1) if value.ndim > 1 else value for key, value in classifier.state_dict().items()}
    )
    path = next(path for path, module in network.named_modules() if module is classifier)
    network.set_submodule(path, nn.Sequential(nn.Flatten(), linear))


def _round_up(network: nn.Module) -> None:
    """Poolings of 2 x 2 make 4 of 7 pixels, as strided convolutions do: branches of odd sizes fit together."""
    for module in network.modules():
        if isinstance(module, _POOLS) and _stride(module) == 2 and module.kernel_size in (2, (2, 2)):
            module.ceil_mode = True


def _take_out_halvings(network: nn.Module, in_channels: int, image_size: int) -> None:
    halvings = _halvings(network, in_channels)
    wanted = max(2, min(4, image_size // 8))
    kept = len(halvings)
    while kept and math.ceil(image_size / 2**kept) < wanted:
        kept -= 1
    for layers, paddings in halvings[: len(halvings) - kept]:
        for path in paddings:
            network.set_submodule(path, nn.Identity())
        for path in layers:
            network.set_submodule(path, _without_stride(network.get_submodule(path)))


def _halvings(network: nn.Module, in_channels: int) -> list[tuple[list[str], list[str]]]:
    """The halvings in the order in which an image goes through them, found by running one of 128 x 128 through it.

    Each is the layers that halve inputs of one size (a block's branches and its shortcut), and the paddings before.
    """
    layers: dict[int, list[str]] = {}
    paddings: dict[int, list[str]] = {}

    def watch(path: str) -> Callable[..., None]:
        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found = paddings if isinstance(module, nn.ConstantPad2d) else layers
            found.setdefault(inputs[0].shape[-1], []).append(path)

        return note

    hooks = [
        module.register_forward_hook(watch(path))
        for path, module in network.named_modules()
        if isinstance(module, nn.ConstantPad2d) or _stride(module) == 2
    ]
    try:
        _running(network, lambda net: net(_zeros(in_channels, _PROBE)))
    finally:
        for hook in hooks:
            hook.remove()
    # A padded input is a few pixels larger than its level, and belongs to the level of what was padded.
    sides = {side: 2 ** round(math.log2(side)) for side in {*layers, *paddings}}
    levels = sorted(set(sides.values()), reverse=True)
    return [
        (
            [path for side in layers if sides[side] == level for path in layers[side]],
            [path for side in paddings if sides[side] == level for path in paddings[side]],
        )
        for level in levels
        if any(sides[side] == level for side in layers)
    ]


def _stride(module: nn.Module) -> int:
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return 1
    return module.stride[0] if isinstance(module.stride, tuple) else int(module.stride)


def _without_stride(module: nn.Module) -> nn.Module:
    """The layer at stride 1; a pooling is left out, a convolution of 7 x 7 keeps its middle, scaled to its variance."""
    if isinstance(module, _POOLS):
        return nn.Identity()
    assert isinstance(module, nn.Conv2d)  # noqa: S101 - for the type checker
    module.stride = (1, 1)
    if module.kernel_size == (7, 7):
        module.weight = nn.Parameter(module.weight.detach()[:, :, 2:5, 2:5] * (7 / 3))
        module.kernel_size, module.padding = (3, 3), (1, 1)
    return module


def _zeros(channels: int, side: int) -> Tensor:
    return torch.zeros(1, channels, side, side)


def _running(network: nn.Module, run: Callable[[Any], Tensor]) -> Tensor:
    """What ``run`` makes of the network in evaluation mode, without gradients; its mode is put back."""
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            return run(network)
    finally:
        network.train(training)
