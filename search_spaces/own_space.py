"""Model spaces of the user's own by the name of their class, ``mypackage.spaces:MySpace``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

import torch
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import SimplifiedModelSpace
from torch import Tensor

from nni_privacy.errors import ConfigError, nearest
from nni_privacy.plugins import import_from_here, plugin_faults, told

__all__ = ["answers_of", "build_own_space", "check_section", "own_space"]

_CHANNELS = ("in_channels",)
_CLASSES = ("num_classes", "num_labels")
"""Arguments that the data set gives, where a class has them and the configuration does not; the last is NNI's hub's."""


def own_space(name: str) -> type[ModelSpace]:
    """The class of a model space.

    Args:
        name: ``module:Class``; the module is installed, or in the working folder, or in one that was named to
            :func:`~nni_privacy.plugins.import_from`.

    Raises:
        ConfigError: if there is no such class, or it is no model space; one line that begins with ``name:``.
    """
    module, _, kind = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), kind)):
        raise ConfigError(f"name: {name!r:.80}; a class of your own is named mypackage.spaces:MySpace")
    import_from_here()
    try:
        found = import_module(module)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"name: {name}: module {module!r} cannot be imported: {told(error, module)}") from error
    space = getattr(found, kind, None)
    if space is None:
        spaces = [known for known, value in vars(found).items() if _is_space(value)]
        hint = nearest(kind, spaces) if spaces else "there is no model space of NNI in it"
        raise ConfigError(f"name: {name}: {module} has no {kind!r}; {hint}")
    if not _is_space(space):
        raise ConfigError(f"name: {name}: no model space; allowed is a subclass of nni.nas.nn.pytorch.ModelSpace")
    checked: type[ModelSpace] = space
    return checked


def _is_space(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, ModelSpace) and value is not ModelSpace


def check_section(name: str, further: Mapping[str, Any]) -> None:
    """Checks a section ``search_space`` of a user's own space, as far as that can be done without building it.

    Args:
        name: ``module:Class``.
        further: the section's other keys.

    Raises:
        ConfigError: if the class cannot be used, or does not take the options; one line that begins with the field.
    """
    for key in further:
        if key != "options":
            raise ConfigError(f"{key}: unknown key; the arguments of {name} stand in options: {{{key}: ...}}")
    options = further.get("options") or {}
    if not isinstance(options, Mapping):
        raise ConfigError(f"options: {options!r:.80}; allowed is a mapping of the arguments of {name}")
    known = _arguments(own_space(name))
    free = any(argument.kind is Parameter.VAR_KEYWORD for argument in known.values())
    names = [key for key, argument in known.items() if argument.kind in _BY_NAME]
    for key in options:
        if key not in names and not free:
            hint = nearest(str(key), names) if names else f"{name} takes none"
            raise ConfigError(f"options.{key}: unknown key; {hint}")
    for key in names:
        if known[key].default is Parameter.empty and key not in (*options, *_CHANNELS, *_CLASSES):
            raise ConfigError(f"options.{key}: missing; {name} needs it")


_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def _arguments(kind: type[ModelSpace]) -> Mapping[str, Parameter]:
    """The arguments of a class as it was written: NNI wraps every constructor of a space, and hides them."""
    written = (vars(base).get("_init_wrapped") for base in kind.__mro__)
    constructor = next((one for one in written if one is not None and one.__name__ == "__init__"), kind.__init__)
    _, *arguments = signature(constructor).parameters.values()
    return {argument.name: argument for argument in arguments}


def build_own_space(
    name: str, options: Mapping[str, Any], *, in_channels: int | None = None, num_classes: int | None = None
) -> ModelSpace:
    """The space itself.

    Args:
        name: ``module:Class``.
        options: arguments of its constructor.
        in_channels: channels of the images, for an argument of that name which is not given.
        num_classes: the same of ``num_classes``, or ``num_labels``.

    Raises:
        ConfigError: if it cannot be built, with file and line; or if there is nothing to choose.
    """
    kind = own_space(name)
    of_data = {**dict.fromkeys(_CHANNELS, in_channels), **dict.fromkeys(_CLASSES, num_classes)}
    fitting = {key: value for key, value in of_data.items() if value is not None and key in _arguments(kind)}
    with plugin_faults(f"search space {name!r}", name):
        space = kind(**{**fitting, **options})
        choices = space.simplify()
    if not choices:
        raise ConfigError(f"search_space.name: {name}: there is nothing to choose in it")
    return space


def answers_of(space: ModelSpace, images: Tensor) -> Any:
    """What an architecture of the space, built as in a trial, answers for images (n, C, h, w).

    Whatever the user's code raises is raised.
    """
    network = SimplifiedModelSpace.from_model(space).robust_default().executable_model()
    with torch.no_grad():
        return network.eval()(images)
