"""The surrogates that a command can name. A user adds one with a decorated function that builds it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from nni_privacy.errors import ConfigError, check_keys, nearest
from nni_privacy.surrogate.base import Surrogate

__all__ = ["build_surrogate", "describe_surrogate", "register_surrogate", "surrogate_names", "surrogates_without_extra"]

Builder = TypeVar("Builder", bound=Callable[..., Surrogate])

_BUILDERS: dict[str, Callable[..., Surrogate]] = {}
_NEED_EXTRA: set[str] = set()
_BUILT_IN = "nni_privacy.surrogate.models"


def register_surrogate(name: str, *, needs_extra: bool = False) -> Callable[[Builder], Builder]:
    """Registers a function that builds an unfitted surrogate; its keyword-only arguments are the options.

    Args:
        name: under which it can be built.
        needs_extra: whether it imports a package that nni-privacy does not depend on.

    Raises:
        ConfigError: if the name is taken.
    """
    if name in _BUILDERS:
        raise ConfigError(f"surrogate {name!r} is registered already")

    def register(builder: Builder) -> Builder:
        _BUILDERS[name] = builder
        if needs_extra:
            _NEED_EXTRA.add(name)
        return builder

    return register


def surrogate_names() -> tuple[str, ...]:
    """The names of all registered surrogates, sorted."""
    import_module(_BUILT_IN)
    return tuple(sorted(_BUILDERS))


def surrogates_without_extra() -> tuple[str, ...]:
    """The names of those that need no further package, sorted."""
    return tuple(name for name in surrogate_names() if name not in _NEED_EXTRA)


def describe_surrogate(name: str) -> str:
    """The first line of what its builder says of it.

    Raises:
        ConfigError: if the name is unknown.
    """
    return (inspect.getdoc(_builder(name)) or "").partition("\n")[0]


def build_surrogate(name: str, **options: Any) -> Surrogate:
    """An unfitted surrogate.

    Args:
        name: of :func:`surrogate_names`.
        **options: its own, see the builder's documentation in :mod:`nni_privacy.surrogate.models`.

    Raises:
        ConfigError: if the name or an option is unknown or a value is not allowed.
    """
    builder = _builder(name)
    check_keys(f"surrogate {name!r}", options, inspect.signature(builder).parameters)
    surrogate = builder(**options)
    surrogate.name, surrogate.options = name, _frozen(options)
    return surrogate


def _frozen(options: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(sorted(options.items()))


def _builder(name: str) -> Callable[..., Surrogate]:
    names = surrogate_names()
    if name not in names:
        raise ConfigError(f"unknown surrogate {name!r}: {nearest(str(name), names)}")
    return _BUILDERS[name]
