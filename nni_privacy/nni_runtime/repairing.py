"""Repairs of NNI's Python side: functions replaced in memory, each only where NNI's own is what it was written for.

A module of NNI that is not imported yet is repaired as soon as it is: most programs need a few of them only, and those
of architecture search import torch and Lightning, which take seconds.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
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
        """Whether the repair is in place now, in this process; imports what is repaired."""
        return hasattr(self._current(), ORIGINAL)

    @property
    def module(self) -> str:
        """The module of NNI that is repaired."""
        return self.target.partition(":")[0]

    def make(self, original: Original) -> Callable[..., Any]:
        """The function that takes the place of ``original``."""

        @wraps(original)
        def repaired(*arguments: Any, **options: Any) -> Any:
            return self.replacement(original, *arguments, **options)

        setattr(repaired, ORIGINAL, original)
        return repaired

    def apply(self) -> None:
        """Puts the repair in place, now or as soon as its module is imported; does nothing where it is already.

        Raises:
            RuntimeRepairError: when NNI's own is not what the repair was written for; later, the import raises it.
        """
        if self.module in sys.modules:
            self.put()
        _late_repairs().setdefault(self.module, {}).setdefault(self.target, self)

    def put(self) -> None:
        """Puts the repair in place now, which imports its module.

        Raises:
            RuntimeRepairError: as :meth:`apply`.
        """
        current = self._current()
        if not hasattr(current, ORIGINAL):
            self._check(current)
            self._put(self.make(current), instead_of=current)

    def remove(self) -> None:
        """Puts NNI's own back."""
        _late_repairs().get(self.module, {}).pop(self.target, None)
        if self.module not in sys.modules:
            return
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
        module, owner = import_module(self.module), self._path.rpartition(".")[0]
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


class _Finder(MetaPathFinder):
    """Finder of no modules of its own: what others find is repaired when it has been executed.

    Attributes:
        repairs: name of a module to the repairs of it, each by its target.
    """

    def __init__(self) -> None:
        self.repairs: dict[str, dict[str, Repair]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the other finders find, which repairs a module that it loads; None for modules without repairs."""
        if not self.repairs.get(fullname):
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            self._repair_after(spec.loader, fullname)
        return spec

    def _repair_after(self, loader: Any, name: str) -> None:
        execute = loader.exec_module

        def execute_and_repair(module: ModuleType) -> None:
            execute(module)
            for found in list(self.repairs[name].values()):
                found.put()

        loader.exec_module = execute_and_repair


def _late_repairs() -> dict[str, dict[str, Repair]]:
    """The repairs that wait for their modules; they stay for a module that is imported once more."""
    known = next((finder for finder in sys.meta_path if isinstance(finder, _Finder)), None)
    if known is None:
        known = _Finder()
        sys.meta_path.insert(0, known)
    return known.repairs


def repair(why: str, target: str, *expects: str, everywhere: bool = False) -> Callable[[Callable[..., Any]], Repair]:
    """Makes a :class:`Repair` of the decorated function, under its name."""

    def decorate(replacement: Callable[..., Any]) -> Repair:
        return Repair(replacement.__name__, why, target, expects, replacement, everywhere=everywhere)

    return decorate
