"""How a shadow's model is built, in this process or in another, and what makes two of them the same architecture."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nni_privacy.errors import ConfigError, PrivacyError
from nni_privacy.rng import isolated
from nni_privacy.training.fit import seed_everything

__all__ = ["CallableModel", "ModelSource", "ModelSpec", "cell_network", "fingerprint", "frozen_space", "spec_for"]

CELL_NETWORK = "nni_privacy.auditing.shadows.models:cell_network"
NASBENCH201_NETWORK = "nni_privacy.auditing.shadows.models:nasbench201_network"

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # in the text of a layer that holds a function


@dataclass(frozen=True)
class ModelSpec:
    """A model by the import path of a factory and its arguments: any process can build it.

    Attributes:
        factory: ``package.module:callable``; called with ``arguments`` it returns an untrained ``nn.Module``.
        arguments: keyword arguments, of JSON's types only.

    Raises:
        ConfigError: if the path has no colon, or the arguments cannot be written as JSON.
    """

    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        module, _, name = self.factory.partition(":")
        if not module or not name:
            raise ConfigError(f"model factory is {self.factory!r}: expected 'package.module:callable'")
        try:
            plain = json.loads(json.dumps(dict(self.arguments), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"model factory {self.factory}: arguments must be plain JSON values ({error})") from None
        object.__setattr__(self, "arguments", plain)

    def resolve(self) -> Callable[..., Any]:
        """The factory itself, imported.

        Raises:
            ConfigError: if it cannot be imported or called.
        """
        module, _, name = self.factory.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"model factory {self.factory} cannot be imported: {error}") from error
        if not callable(found):
            raise ConfigError(f"model factory {self.factory} is a {type(found).__name__}, expected a callable")
        return found

    def build(self) -> nn.Module:
        """A fresh model, its weights drawn from torch's global generator.

        Raises:
            ConfigError: if the factory cannot be imported, fails, or returns something else.
        """
        return _build(self.resolve(), self.factory, self.arguments)


@dataclass(frozen=True)
class CallableModel:
    """A model by a Python callable that cannot be imported (a closure, something typed at a prompt).

    It is built and trained in this process only, and remembered only with a fingerprint.

    Attributes:
        factory: called without arguments; returns an untrained ``nn.Module``.
        fingerprint: a text that changes whenever the model does, or ``None``: nothing is cached.
    """

    factory: Callable[[], nn.Module]
    fingerprint: str | None = None

    def build(self) -> nn.Module:
        """As :meth:`ModelSpec.build`."""
        return _build(self.factory, getattr(self.factory, "__qualname__", repr(self.factory)), {})


ModelSource = ModelSpec | CallableModel


def _build(factory: Callable[..., Any], name: str, arguments: Mapping[str, Any]) -> nn.Module:
    try:
        model = factory(**arguments)
    except PrivacyError:
        raise
    except Exception as error:  # a user's code may raise anything
        raise ConfigError(f"model factory {name} failed: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model factory {name} returned a {type(model).__name__}, expected a torch.nn.Module")
    return model


def cell_network(*, genotype: str, **sizes: int) -> nn.Module:
    """The network of a genotype's text: the factory behind the specs of ``CellNetwork`` and ``DARTS``."""
    from nni_privacy.cells.darts import Genotype
    from nni_privacy.search_spaces.network import CellNetwork

    return CellNetwork(Genotype.parse(genotype), **sizes)


def nasbench201_network(*, genotype: str, **sizes: int) -> nn.Module:
    """As :func:`cell_network`, behind the specs of ``NasBench201Network`` and ``NasBench201``."""
    from nni_privacy.cells.nasbench201 import NasBench201Genotype
    from nni_privacy.search_spaces.nasbench201_network import NasBench201Network

    return NasBench201Network(NasBench201Genotype.parse(genotype), **sizes)


def frozen_space(*, space: str, arguments: Mapping[str, Any], sample: Mapping[str, Any]) -> nn.Module:
    """The model that a sample of any NNI model space stands for: a factory for spaces of users' own.

    Args:
        space: import path of the class, ``package.module:Class``.
        arguments: keyword arguments of its constructor (NNI keeps them as ``trace_kwargs``).
        sample: what is chosen, label to value.

    Raises:
        ConfigError: if the space cannot be built.
    """
    return ModelSpec(space, arguments).build().freeze(dict(sample))  # type: ignore[operator]


def spec_for(model: ModelSource | nn.Module | str | Callable[..., nn.Module], **arguments: Any) -> ModelSource:
    """The source of more models like ``model``.

    Args:
        model: a ``CellNetwork``, a ``NasBench201Network`` or a frozen ``DARTS`` or ``NasBench201`` network; or a
            factory: its import path or the callable itself. What can be imported becomes a :class:`ModelSpec`,
            anything else a :class:`CallableModel`.
        **arguments: of the factory, plain JSON values.

    Raises:
        ConfigError: if it is a network of another kind (only its factory can build it again) or arguments do not fit.
    """
    if isinstance(model, ModelSpec | CallableModel):
        return model
    if isinstance(model, nn.Module):
        return _spec_of_network(model)
    if isinstance(model, str):
        return ModelSpec(model, arguments)
    path = f"{getattr(model, '__module__', None)}:{getattr(model, '__qualname__', None)}"
    if _is_importable(path, model):
        return ModelSpec(path, arguments)
    if arguments:
        raise ConfigError(f"model factory {path} cannot be imported: give a callable without arguments instead")
    return CallableModel(model)


def _is_importable(path: str, wanted: Callable[..., nn.Module]) -> bool:
    """Whether another process can import ``wanted``; the main script's module is another one there."""
    module = path.partition(":")[0]
    if module == "__main__" or module not in sys.modules:
        return False
    try:
        return ModelSpec(path).resolve() is wanted
    except ConfigError:
        return False


def _spec_of_network(model: nn.Module) -> ModelSpec:
    from nni_privacy.search_spaces import SPACES

    # Where the modules of our spaces are not imported, the model is none of them.
    modules = (sys.modules.get(f"nni_privacy.search_spaces.{name}") for name in SPACES)
    kinds = [getattr(module, name) for module, name in zip(modules, SPACES.values(), strict=True) if module]
    network: Any = model.network if type(model) in kinds else model
    spec = _own_network_spec(network)
    if spec is not None:
        with isolated():
            twin = spec.build()
        if str(twin) == str(network):
            return spec
        from nni_privacy.training.dp_layers import make_private_layers

        make_private_layers(twin)  # as training with DP-SGD leaves it
        if str(twin) == str(network):
            return spec
    # A network of another kind, or someone has put other layers into it.
    raise ConfigError(
        f"a {type(model).__name__} cannot be built again from itself: give its factory ('package.module:callable')"
    )


def _own_network_spec(network: Any) -> ModelSpec | None:
    """The spec of a network whose class is one of ours, by the sizes of its layers; None for others."""
    from nni_privacy.search_spaces.nasbench201_network import NasBench201Network
    from nni_privacy.search_spaces.network import STEM_MULTIPLIER, CellNetwork

    cells: Any
    if type(network) is CellNetwork:
        factory, widening, cells = CELL_NETWORK, STEM_MULTIPLIER, network.cells
    elif type(network) is NasBench201Network:
        factory, widening, cells = NASBENCH201_NETWORK, 1, network.stages[0]
    else:
        return None
    arguments = {
        "genotype": str(network.genotype),
        "channels": network.stem[0].out_channels // widening,
        "cells": len(cells),
        "in_channels": network.stem[0].in_channels,
        "num_classes": network.classifier.out_features,
    }
    return ModelSpec(factory, arguments)


def fingerprint(source: ModelSource) -> str | None:
    """A digest of what the source builds: layers, initial weights, and the code of the factory and the layers' classes.

    So an edit of the user's network is noticed though names stay. Helpers in further files are not seen; the versions
    of torch and nni-privacy stand for theirs (see :class:`~nni_privacy.auditing.shadows.plan.ShadowTask`). ``None``: a
    callable without a fingerprint of its own.

    Raises:
        ConfigError: if the model cannot be built.
    """
    if isinstance(source, CallableModel):
        return source.fingerprint
    digest = hashlib.sha256()
    with isolated():
        seed_everything(0)
        model = source.build()
    digest.update(_ADDRESS.sub("", str(model)).encode())
    for name, value in model.state_dict().items():
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        else:
            digest.update(f"{name} {value!r}".encode())
    kinds = {type(module) for module in model.modules()}
    for code in _source_files([source.resolve(), *kinds]):
        digest.update(code)
    return digest.hexdigest()


def _source_files(things: Iterable[Any]) -> list[bytes]:
    """Digests of the files that define ``things``, torch's own left out, in an order that no path has a part in."""
    files = set()
    for thing in things:
        if str(getattr(thing, "__module__", "")).partition(".")[0] == "torch":
            continue
        try:
            files.add(inspect.getfile(thing))
        except (TypeError, OSError):
            continue  # built in, or typed at a prompt
    return sorted(hashlib.sha256(Path(file).read_bytes()).digest() for file in files if Path(file).is_file())
