"""How a shadow's model is built, in this process or in another, and what makes two of them the same architecture."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
from torch import nn

from nni_privacy.cells.spaces import SPACES
from nni_privacy.errors import ConfigError, PrivacyError
from nni_privacy.rng import isolated
from nni_privacy.training.fit import seed_everything

__all__ = ["CallableModel", "ModelSource", "ModelSpec", "fingerprint", "frozen_space", "network_of", "spec_for"]

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # in the text of a layer that holds a function


@dataclass(frozen=True)
class ModelSpec:
    """A model by the import path of a factory and its arguments: any process can build it.

    Attributes:
        factory: ``package.module:callable``, or the class or function itself; called with ``arguments`` it returns an
            untrained ``nn.Module``. One that can be imported becomes its path; any other (typed in a notebook, or in
            the script that runs) is trained in this process only, with ``workers=0``, and not remembered.
        arguments: keyword arguments, of JSON's types only.

    Raises:
        ConfigError: if the factory is no path with a colon, no class and no function, or the arguments cannot be
            written as JSON.
    """

    factory: str | Callable[..., nn.Module]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.factory, nn.Module):
            name = type(self.factory).__qualname__
            raise ConfigError(f"model factory is a {name} that is there already: give its class, ModelSpec({name})")
        if callable(self.factory) and _is_importable(_path_of(self.factory), self.factory):
            object.__setattr__(self, "factory", _path_of(self.factory))
        module, _, name = self.factory.partition(":") if isinstance(self.factory, str) else ("", "", "")
        if not callable(self.factory) and not (module and name):
            raise ConfigError(
                f"model factory is {self.factory!r:.80}: expected 'package.module:callable', or a class or function"
            )
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
        if callable(self.factory):
            return self.factory
        try:
            found = resolve_name(self.factory)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(f"model factory {self.factory} cannot be imported: {error}") from error
        if not callable(found):
            raise ConfigError(f"model factory {self.factory} is a {type(found).__name__}, expected a callable")
        return found

    def build(self) -> nn.Module:
        """A fresh model, its weights drawn from torch's global generator.

        Raises:
            ConfigError: if the factory cannot be imported, fails, or returns something else.
        """
        return _build(self.resolve(), _name_of(self.factory), self.arguments)


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
        return _build(self.factory, _name_of(self.factory), {})


ModelSource = ModelSpec | CallableModel


def _name_of(factory: str | Callable[..., Any]) -> str:
    return factory if isinstance(factory, str) else getattr(factory, "__qualname__", type(factory).__qualname__)


def _path_of(factory: Callable[..., Any]) -> str:
    return f"{getattr(factory, '__module__', None)}:{getattr(factory, '__qualname__', None)}"


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


def frozen_space(*, space: str, arguments: Mapping[str, Any], sample: Mapping[str, Any]) -> nn.Module:
    """The model that a sample of any NNI model space stands for: a factory for spaces of users' own.

    Args:
        space: import path of the class, ``package.module:Class``.
        arguments: keyword arguments of its constructor (NNI keeps them as ``trace_kwargs``).
        sample: what is chosen, label to value.

    Raises:
        ConfigError: if the space cannot be built.
    """
    from nni.nas.space import model_context  # audits of other models do without NNI

    with model_context(dict(sample)):  # as a trial builds it; freeze() is not there in every space
        return ModelSpec(space, arguments).build()


def spec_for(model: ModelSource | nn.Module | str | Callable[..., nn.Module], **arguments: Any) -> ModelSource:
    """The source of more models like ``model``.

    Args:
        model: the network of a genotype, or a frozen model of a registered space; or a factory: its import path or the
            callable itself. What can be imported becomes a :class:`ModelSpec`, anything else a :class:`CallableModel`.
        **arguments: of the factory, plain JSON values.

    Raises:
        ConfigError: if it is a network of another kind (only its factory can build it again) or arguments do not fit.
    """
    if isinstance(model, ModelSpec) and not isinstance(model.factory, str):
        return CallableModel(partial(model.factory, **model.arguments) if model.arguments else model.factory)
    if isinstance(model, ModelSpec | CallableModel):
        return model
    if isinstance(model, nn.Module):
        return _spec_of_network(model)
    if isinstance(model, str):
        return ModelSpec(model, arguments)
    path = _path_of(model)
    if _is_importable(path, model):
        return ModelSpec(path, arguments)
    if arguments:
        raise ConfigError(f"model factory {path} cannot be imported: give a callable without arguments instead")
    return CallableModel(model)


def _is_importable(path: str, wanted: Callable[..., nn.Module]) -> bool:
    """Whether another process can import ``wanted``; the main script's module is another one there."""
    module = path.partition(":")[0]
    if module == "__main__" or getattr(sys.modules.get(module), "__spec__", None) is None:
        return False
    try:
        return ModelSpec(path).resolve() is wanted
    except ConfigError:
        return False


def network_of(model: nn.Module) -> nn.Module:
    """The network itself, of a frozen model of a registered space; any other model as it is."""
    # Where the modules of a space are not imported, the model is none of its.
    model_spaces = [_imported(record.model_space) for record in SPACES.values()]
    network: nn.Module = model.network if type(model) in model_spaces else model  # type: ignore[assignment]
    return network


def _spec_of_network(model: nn.Module) -> ModelSpec:
    network: Any = network_of(model)
    for path in (record.network for record in SPACES.values()):
        if type(network) is _imported(path):
            spec = ModelSpec(f"{path}.of", {"genotype": str(network.genotype), **network.sizes})
            with isolated():
                twin = spec.build()
            if str(twin) == str(network):
                return spec
            from nni_privacy.training.dp_layers import make_private_layers

            make_private_layers(twin)  # as training with DP-SGD leaves it
            if str(twin) == str(network):
                return spec
    # A network of another kind, or someone has put other layers into it.
    name = type(model).__name__
    raise ConfigError(
        f"a {name} cannot be built again from itself: give its factory, "
        f"shadow=ShadowOptions(model=ModelSpec('module:factory')), or its class, ModelSpec({name}); "
        'see docs/auditing.md, "On your own model"'
    )


def _imported(path: str) -> Any:
    """What ``module:name`` stands for; None where the module is not imported."""
    module, _, name = path.partition(":")
    return getattr(sys.modules.get(module), name, None)


def fingerprint(source: ModelSource) -> str | None:
    """A digest of what the source builds: layers, initial weights, and the code of the factory and the layers' classes.

    So an edit of the user's network is noticed though names stay. Helpers in further files are not seen; the versions
    of torch and nni-privacy stand for theirs (see :class:`~nni_privacy.auditing.shadows.plan.ShadowTask`). ``None``: a
    callable without a fingerprint of its own.

    Raises:
        ConfigError: if the model cannot be built.
    """
    source = spec_for(source)
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
