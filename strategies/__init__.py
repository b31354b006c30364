"""NNI strategies that know about cell patterns. Imported as ``nni_privacy.strategies``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nni_privacy.strategies.fixed_pattern import FixedPattern
    from nni_privacy.strategies.registry import build_strategy, strategy_names

__all__ = ["FixedPattern", "build_strategy", "strategy_names"]

_LAZY = {
    "FixedPattern": "nni_privacy.strategies.fixed_pattern",
    "build_strategy": "nni_privacy.strategies.registry",
    "strategy_names": "nni_privacy.strategies.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
