"""What a repair of NNI's Python side is, and how it is applied: only where NNI's own is what it was written for."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any

from nni_privacy.errors import RuntimeRepairError

__all__ = ["ORIGINAL", "Repair"]

ORIGINAL = "__nni_privacy_original__"
"""Marks a replaced method and keeps NNI's own, so that applying twice changes nothing and a repair can be undone."""


@dataclass(frozen=True)
class Repair:
    """One fault of NNI's Python side and the method that mends it.

    Attributes:
        name: how users, tests and ``nni-privacy doctor`` call it.
        why: the fault, in one sentence.
        module: where the class is imported from.
        owner: the class; empty where the method is a function of the module.
        method: the method that is replaced.
        expects: texts that must stand in the source of NNI's method.
        make: NNI's method -> the one that takes its place.
        everywhere: a function that other modules of NNI hold under their own names: it is replaced there, too.
    """

    name: str
    why: str
    module: str
    owner: str
    method: str
    expects: tuple[str, ...]
    make: Callable[[Callable[..., Any]], Callable[..., Any]]
    everywhere: bool = False

    @property
    def active(self) -> bool:
        """Whether the repair is in place now, in this process."""
        return hasattr(self._current(self._class()), ORIGINAL)

    def apply(self) -> None:
        """Puts the repair in place; does nothing where it is already."""
        owner = self._class()
        method = self._current(owner)
        if hasattr(method, ORIGINAL):
            return
        self._check(method)
        repaired = wraps(method)(self.make(method))
        setattr(repaired, ORIGINAL, method)
        self._put(owner, repaired, instead_of=method)

    def remove(self) -> None:
        """Puts NNI's own method back."""
        owner = self._class()
        repaired = self._current(owner)
        original = getattr(repaired, ORIGINAL, None)
        if original is not None:
            self._put(owner, original, instead_of=repaired)

    def _put(self, owner: Any, method: Callable[..., Any], *, instead_of: Callable[..., Any]) -> None:
        setattr(owner, self.method, method)
        if self.everywhere:
            modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "nni"]
            for module in modules:
                names = [name for name, value in vars(module).items() if value is instead_of]
                for name in names:
                    setattr(module, name, method)

    def _class(self) -> Any:
        if not self.owner:
            return import_module(self.module)
        owner = getattr(import_module(self.module), self.owner, None)
        if not isinstance(owner, type):
            raise RuntimeRepairError(f"repair {self.name!r} does not fit: {self.module} has no class {self.owner}")
        return owner

    def _current(self, owner: Any) -> Callable[..., Any]:
        method = vars(owner).get(self.method)
        if not callable(method):
            raise RuntimeRepairError(f"repair {self.name!r} does not fit: {self.owner} has no method {self.method}")
        return method

    def _check(self, method: Callable[..., Any]) -> None:
        try:
            source = inspect.getsource(method)
        except (OSError, TypeError) as error:
            raise RuntimeRepairError(
                f"repair {self.name!r}: the source of {self.owner}.{self.method} cannot be read"
            ) from error
        for text in self.expects:
            if text not in source:
                raise RuntimeRepairError(
                    f"repair {self.name!r} does not fit {self.owner}.{self.method}: expected {text!r} in its source; "
                    "nni-privacy repairs NNI 3.0 as published, and this copy differs"
                )
