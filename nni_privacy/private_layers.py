"""Makes a model trainable record by record: layers that mix the records of a batch are replaced by ones that do not."""

from __future__ import annotations

import math
from typing import Any

from opacus.validators import ModuleValidator
from torch import nn

from nni_privacy.errors import ConfigError

__all__ = ["GROUP_CHANNELS", "make_private_layers", "refused"]

GROUP_CHANNELS = 8
"""Channels that a group of a GroupNorm has at least. With Opacus' default, gcd(32, channels) groups, the narrow layers
of cell networks would get one channel a group: every channel of every image then has mean zero, and the global average
pooling at the end sees the same constant for all images."""

_MOST_GROUPS = 32

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def refused(path: str, layer: nn.Module, why: str) -> ConfigError:
    """The error for a layer that DP-SGD cannot take."""
    return ConfigError(f"recipe: dp: layer {path or '(the model itself)'!r} ({type(layer).__name__}) {why}")


def make_private_layers(model: nn.Module) -> None:
    """Replaces layers inside ``model`` by what Opacus' ModuleValidator replaces them by, BatchNorm by GroupNorm.

    Unlike ``ModuleValidator.fix`` it changes the model that is given rather than a copy, keeps a norm's scale and
    shift, and sees to norms without parameters too: they mix records as the others do. A model without such layers
    stays as it is.

    Raises:
        ConfigError: with path and type of a layer that mixes records and has no replacement; then nothing is replaced.
    """
    replacements: dict[int, nn.Module] = {}
    places = []
    for path, layer in model.named_modules(remove_duplicate=False):
        if id(layer) not in replacements:
            replacement = _replacement(path, layer)
            if replacement is None:
                continue
            if not path:
                raise refused(path, layer, "mixes the records of a batch and is all there is")
            replacements[id(layer)] = replacement.train(layer.training)
        places.append((path, replacements[id(layer)]))
    for path, replacement in places:
        model.set_submodule(path, replacement)


def _replacement(path: str, layer: Any) -> nn.Module | None:
    """What stands for ``layer`` in a model whose records are independent; None: the layer itself."""
    if type(layer) in _BATCH_NORMS:
        return _group_norm(layer)
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        # timm's BatchNorm with an activation: a subclass, which Opacus does not know.
        further: list[Any] = [getattr(layer, name, None) for name in ("drop", "act")]
        if all(isinstance(part, nn.Module) for part in further):
            return nn.Sequential(_group_norm(layer), *further)
        raise refused(path, layer, "normalises over the batch, and Opacus has no replacement for it")
    validate = ModuleValidator.VALIDATORS.get(type(layer))
    if validate is None or not validate(layer):
        return None
    if type(layer) not in ModuleValidator.FIXERS:
        raise refused(path, layer, "cannot be trained with differential privacy, says Opacus")
    fixed: nn.Module = ModuleValidator.FIXERS[type(layer)](layer)
    return fixed


def _group_norm(layer: Any) -> nn.Module:
    channels = layer.num_features
    groups = math.gcd(channels, min(_MOST_GROUPS, max(1, channels // GROUP_CHANNELS)))
    norm: nn.Module = ModuleValidator.FIXERS[nn.BatchNorm2d](layer, num_groups=groups)
    parameters = dict(layer.named_parameters(recurse=False))
    norm.load_state_dict({name: value.detach() for name, value in parameters.items()})
    for name, value in norm.named_parameters():
        value.requires_grad_(parameters[name].requires_grad)
    return norm.to(next(iter(parameters.values())).device) if parameters else norm
