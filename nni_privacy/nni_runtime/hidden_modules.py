"""Modules of a working folder that hide those which trials need."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder, all_suffixes
from pathlib import Path

from nni_privacy.errors import ConfigError

__all__ = ["check_folder", "hidden_modules"]

LATE = frozenset({"sklearn", "scipy", "torchvision", "opacus", "timm", "safetensors", "threadpoolctl", "json_tricks"})
"""Packages that a trial may import although this process has not."""


def hidden_modules(folder: Path) -> list[str]:
    """Modules that a trial which is started in ``folder`` needs, and finds there instead of where they are installed.

    What trials need is what this process has imported by now, and :data:`LATE`.
    """
    folder = folder.resolve()
    needed = {name.partition(".")[0] for name in list(sys.modules)} | LATE
    elsewhere = [entry for entry in sys.path if Path(entry or ".").resolve() != folder]
    return sorted(name for name in set(_modules_in(folder)) & needed if _is_hidden(name, folder, elsewhere))


def check_folder(folder: Path) -> None:
    """Raises ConfigError if a module in ``folder`` hides one that trials need."""
    if os.environ.get("PYTHONSAFEPATH"):
        return  # they do not look there
    for name in hidden_modules(folder):
        raise ConfigError(
            f"{folder}: its module {name!r} hides the one that trials need: rename it, or start in another folder"
        )


def _modules_in(folder: Path) -> Iterator[str]:
    for entry in folder.iterdir() if os.access(folder, os.R_OK) else ():
        if entry.is_dir() and (entry / "__init__.py").is_file():
            yield entry.name
        elif any(entry.name.endswith(suffix) for suffix in all_suffixes()):
            yield entry.name.partition(".")[0]


def _is_hidden(name: str, folder: Path, elsewhere: list[str]) -> bool:
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if name in sys.builtin_module_names or getattr(loaded, "origin", None) == "frozen":
        return False  # Python has it before it looks into folders
    found = PathFinder.find_spec(name, elsewhere)
    return found is not None and found.origin is not None and not Path(found.origin).resolve().is_relative_to(folder)
