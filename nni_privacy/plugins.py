"""Modules of the user's own, imported for what they register: attacks, data sets, strategies."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from nni_privacy.errors import ConfigError

__all__ = ["import_from_here", "import_plugins"]


def import_plugins(modules: Iterable[str]) -> None:
    """Imports ``modules``; those in the current folder are found too, as with ``python -m``.

    Raises:
        ConfigError: if one cannot be imported.
    """
    for module in modules:
        import_from_here()
        try:
            import_module(module)
        except ImportError as error:
            raise ConfigError(f"plugin {module!r} cannot be imported: {error}") from error


def import_from_here() -> None:
    """Lets modules of the current folder be imported; a console script does not look there by itself."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
