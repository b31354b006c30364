"""Modules of the user's own, imported for what they register; a fault of theirs is told with its file and line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

from nni_privacy.errors import ConfigError, PrivacyError, RunStoppedError

__all__ = [
    "expect",
    "import_from",
    "import_from_here",
    "import_plugins",
    "is_plugins",
    "place_of",
    "plugin_faults",
    "raised_by",
    "told",
]

_OURS = __name__.partition(".")[0]
_LIBRARIES = ("site-packages", "dist-packages")


def import_plugins(modules: Iterable[str]) -> None:
    """Imports ``modules``; those in the current folder are found too, as with ``python -m``.

    Raises:
        ConfigError: if one cannot be imported, with file and line of what fails in it.
    """
    for module in modules:
        import_from_here()
        try:
            import_module(module)
        except (Exception, SystemExit) as error:
            raise ConfigError(f"plugin {module!r} cannot be imported: {told(error, module)}") from error


def import_from_here() -> None:
    """Lets modules of the current folder be imported; a console script does not look there by itself."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def import_from(folder: Path) -> None:
    """Lets modules of a folder be imported, here and in processes that are started from here, trials among them."""
    import_from_here()
    place = str(folder)
    if place not in sys.path:
        sys.path.append(place)
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{before}{os.pathsep}{place}" if before else place


def is_plugins(owner: Any) -> bool:
    """Whether a function, a class or a dotted name comes from outside of this package."""
    return _root(_module_of(owner)) != _OURS


@contextmanager
def plugin_faults(what: str, owner: Any) -> Iterator[None]:
    """Turns whatever a plugin's code raises meanwhile into one line with its file and line; what is ours passes.

    So does an error that nothing of the plugin's is to blame for: of a stopped run, or raised without its code.

    Args:
        what: is made or asked, e.g. ``dataset 'mine'``; the line begins with it.
        owner: the plugin's function or class, or its dotted name.

    Raises:
        PrivacyError: of the type that the code raised, if it was one, else a ConfigError.
    """
    try:
        yield
    except RunStoppedError:
        raise
    except (Exception, SystemExit) as error:
        known = isinstance(error, PrivacyError)
        if not is_plugins(owner) or (known and not _frames(error, owner)):
            raise
        kind = type(error) if known else ConfigError
        raise kind(f"{what}: {told(error, owner)}") from error


def expect(value: Any, kind: type, what: str, owner: Any) -> None:
    """Raises ConfigError, with the plugin's file and line, unless its ``owner`` returned a ``kind``."""
    if not isinstance(value, kind):
        place = place_of(owner)
        raise ConfigError(f"{what}: {place}returned a {type(value).__name__}, expected a {kind.__name__}")


def place_of(function: Any) -> str:
    """``file:line: `` of a function; empty where nobody knows."""
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}: " if code is not None else ""


def raised_by(error: BaseException, owner: Any) -> bool:
    """Whether the statement that raised an exception stands in the plugin's own code."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return bool(frames) and _is_theirs(frames[-1], _root(_module_of(owner)))


def told(error: BaseException, owner: Any) -> str:
    """An exception in one line, after file and line of the place in the code of ``owner`` that it comes from."""
    words = " ".join(str(error).split())
    if not isinstance(error, PrivacyError):
        words = f"{type(error).__name__}: {words}" if words else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = _frames(error, owner)
    return f"{frames[-1][0].f_code.co_filename}:{frames[-1][1]}: {words}" if frames else words


def _frames(error: BaseException, owner: Any) -> list[tuple[FrameType, int]]:
    """The frames, each with its line, in which an exception went through code of ``owner`` or the user's own."""
    root = _root(_module_of(owner))
    return [(frame, line) for frame, line in walk_tb(error.__traceback__) if _is_theirs(frame, root)]


def _is_theirs(frame: FrameType, root: str) -> bool:
    """Whether a frame runs code of the plugin ``root``, or of another module that is the user's own."""
    name, file = _root(frame.f_globals.get("__name__") or ""), Path(frame.f_code.co_filename)
    if name == root:
        return True
    return name not in (_OURS, *sys.stdlib_module_names) and not set(_LIBRARIES) & set(file.parts)


def _module_of(owner: Any) -> str:
    return owner if isinstance(owner, str) else str(getattr(owner, "__module__", None) or "")


def _root(module: str) -> str:
    return module.replace(":", ".").partition(".")[0]
