"""NNI strategies that know about cell patterns. Imported as ``nni_privacy.strategies``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_attributes

if TYPE_CHECKING:
    from nni_privacy.strategies.fixed_pattern import FixedPattern
    from nni_privacy.strategies.pareto_evolution import ParetoEvolution
    from nni_privacy.strategies.registry import build_strategy, strategy_names

__all__ = ["FixedPattern", "ParetoEvolution", "build_strategy", "strategy_names"]

_LAZY = {
    "FixedPattern": "nni_privacy.strategies.fixed_pattern",
    "ParetoEvolution": "nni_privacy.strategies.pareto_evolution",
    "build_strategy": "nni_privacy.strategies.registry",
    "strategy_names": "nni_privacy.strategies.registry",
}

__getattr__ = lazy_attributes(__name__, _LAZY)
