"""Quick imports: a package's names when they are first used, and heavy packages without looking for garbage."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

__all__ = ["lazy_names", "quick_imports"]


def lazy_names(
    package: str, offered: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's ``__getattr__`` and ``__dir__`` (PEP 562).

    Args:
        package: the ``__name__`` of the package that offers the names.
        offered: a module of ``nni_privacy``, without that prefix, to the names that are imported from it.
    """
    modules = {name: module for module, names in offered.items() for name in names}

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"nni_privacy.{modules[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted({*vars(sys.modules[package]), *modules})


@contextmanager
def quick_imports() -> Iterator[None]:
    """Imports meanwhile without collecting garbage, which takes a fifth of the time of heavy imports and finds none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
