"""Repairs for packages that are newer than NNI 3.0: what it imports or inherits from has moved, or is gone.

NNI's own requirements keep such versions out of a fresh environment; a project that exists may have them all the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from nni_privacy.nni_runtime.repairing import Original, repair

__all__ = ["PACKAGE_REPAIRS", "with_pkg_resources"]


@contextmanager
def with_pkg_resources() -> Iterator[None]:
    """Lets NNI's command line be imported and run where setuptools (82 or newer) has no ``pkg_resources`` any more.

    Of it, ``nnictl`` uses the version of NNI. The module that stands in is taken away again: whoever tries whether
    there is a real one must not find it.
    """
    if "pkg_resources" in sys.modules or find_spec("pkg_resources") is not None:
        yield
        return
    stand_in: Any = ModuleType("pkg_resources", "What nnictl needs of the module that setuptools had.")
    stand_in.get_distribution = metadata.distribution
    stand_in.ResolutionError = metadata.PackageNotFoundError
    sys.modules["pkg_resources"] = stand_in
    try:
        yield
    finally:
        del sys.modules["pkg_resources"]


@repair(
    "with filelock 3.12 or newer the lock on NNI's list of experiments is never had: every start waits for ever",
    "nni.tools.nnictl.common_utils:SimplePreemptiveLock._acquire",
    "self._lock_file_fd = fd",
)
def taken_lock(original: Original, self: Any) -> None:
    original(self)
    _tell_filelock(self)


@repair(
    "with filelock 3.12 or newer the lock on NNI's list of experiments counts as taken when it has been given back",
    "nni.tools.nnictl.common_utils:SimplePreemptiveLock._release",
    "self._lock_file_fd = None",
)
def given_back_lock(original: Original, self: Any) -> None:
    original(self)
    _tell_filelock(self)


def _tell_filelock(lock: Any) -> None:
    """Puts the descriptor where filelock looks for it since 3.12; NNI keeps it where filelock did before."""
    context = getattr(lock, "_context", None)
    if context is not None:
        context.lock_file_fd = getattr(lock, "_lock_file_fd", None)


PACKAGE_REPAIRS = (taken_lock, given_back_lock)
