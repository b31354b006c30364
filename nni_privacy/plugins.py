"""Modules of the user's own, imported for what they register: attacks, data sets, strategies."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import model_validator

from nni_privacy.errors import ConfigError
from nni_privacy.schema import Section

__all__ = ["PluginsFirst", "import_from_here", "import_plugins"]


class PluginsFirst(Section):
    """A section with an ``evaluator``, whose plugins are imported first: data sets and strategies are known then."""

    @model_validator(mode="before")
    @classmethod
    def _import_plugins(cls, content: Any) -> Any:
        evaluator = content.get("evaluator") if isinstance(content, Mapping) else None
        plugins = evaluator.get("plugins") if isinstance(evaluator, Mapping) else None
        if isinstance(plugins, list) and all(isinstance(module, str) for module in plugins):
            try:
                import_plugins(plugins)
            except ConfigError as error:
                raise ConfigError(f"evaluator.plugins: {error}") from error
        return content


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
