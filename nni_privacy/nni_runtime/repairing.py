"""Repairs of NNI's Python side: functions replaced in memory, each only where NNI's own is what it was written for."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any

from nni_privacy.errors import RuntimeRepairError

__all__ = ["ORIGINAL", "Original", "Repair", "repair"]

Original = Callable[..., Any]
"""NNI's own function or method, the first argument of the one that takes its place."""

ORIGINAL = "__nni_privacy_original__"
"""Marks a replaced function and keeps NNI's own, so that applying twice changes nothing and a repair can be undone."""


@dataclass(frozen=True)
class Repair:
    """One fault of NNI's Python side and the function that mends it.

    Attributes:
        name: how users, tests and ``nni-privacy doctor`` call it.
        why: the fault, in one sentence.
        target: what is replaced: ``module:Class.method`` or ``module:function``.
        expects: texts that must stand in the source of NNI's own.
        replacement: takes NNI's own, then the arguments of a call.
        everywhere: whether a function that other modules of NNI hold under their own names is replaced there, too.
    """

    name: str
    why: str
    target: str
    expects: tuple[str, ...]
    replacement: Callable[..., Any]
    everywhere: bool = False

    @property
    def active(self) -> bool:
        """Whether the repair is in place now, in this process."""
        return hasattr(self._current(), ORIGINAL)

    def make(self, original: Original) -> Callable[..., Any]:
        """The function that takes the place of ``original``."""

        @wraps(original)
        def repaired(*arguments: Any, **options: Any) -> Any:
            return self.replacement(original, *arguments, **options)

        setattr(repaired, ORIGINAL, original)
        return repaired

    def apply(self) -> None:
        """Puts the repair in place; does nothing where it is already.

        Raises:
            RuntimeRepairError: when NNI's own is not what the repair was written for.
        """
        current = self._current()
        if not hasattr(current, ORIGINAL):
            self._check(current)
            self._put(self.make(current), instead_of=current)

    def remove(self) -> None:
        """Puts NNI's own back."""
        current = self._current()
        if hasattr(current, ORIGINAL):
            self._put(getattr(current, ORIGINAL), instead_of=current)

    @property
    def _path(self) -> str:
        return self.target.partition(":")[2]

    def _put(self, function: Callable[..., Any], *, instead_of: Callable[..., Any]) -> None:
        setattr(self._owner(), self._path.rpartition(".")[2], function)
        if self.everywhere:
            modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "nni"]
            for module in modules:
                for name in [name for name, value in vars(module).items() if value is instead_of]:
                    setattr(module, name, function)

    def _owner(self) -> Any:
        """The module or class whose attribute is replaced."""
        module, owner = import_module(self.target.partition(":")[0]), self._path.rpartition(".")[0]
        found = getattr(module, owner, None) if owner else module
        if owner and not isinstance(found, type):
            raise RuntimeRepairError(f"repair {self.name!r} does not fit: {module.__name__} has no class {owner}")
        return found

    def _current(self) -> Callable[..., Any]:
        found = vars(self._owner()).get(self._path.rpartition(".")[2])
        if not callable(found):
            raise RuntimeRepairError(f"repair {self.name!r} does not fit: there is no {self.target}")
        return found

    def _check(self, original: Original) -> None:
        try:
            source = inspect.getsource(original)
        except (OSError, TypeError) as error:
            raise RuntimeRepairError(f"repair {self.name!r}: the source of {self._path} cannot be read") from error
        for text in self.expects:
            if text not in source:
                raise RuntimeRepairError(
                    f"repair {self.name!r} does not fit {self._path}: expected {text!r} in its source; "
                    "nni-privacy repairs NNI 3.0 as published, and this copy differs"
                )


def repair(why: str, target: str, *expects: str, everywhere: bool = False) -> Callable[[Callable[..., Any]], Repair]:
    """Makes a :class:`Repair` of the decorated function, under its name."""

    def decorate(replacement: Callable[..., Any]) -> Repair:
        return Repair(replacement.__name__, why, target, expects, replacement, everywhere=everywhere)

    return decorate
