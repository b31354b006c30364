"""NNI strategies that know about cell patterns. Imported as ``nni_privacy.strategies``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_attributes

if TYPE_CHECKING:
    from nni_privacy.strategies.darts import DARTSFirstOrder, DARTSSecondOrder
    from nni_privacy.strategies.drnas import DrNAS
    from nni_privacy.strategies.enas import ENAS
    from nni_privacy.strategies.fixed_pattern import FixedPattern
    from nni_privacy.strategies.gdas import GDAS
    from nni_privacy.strategies.pareto_evolution import ParetoEvolution
    from nni_privacy.strategies.pc_darts import PCDARTS
    from nni_privacy.strategies.predicted_filter import PredictedFilter
    from nni_privacy.strategies.random_search import RandomSearch
    from nni_privacy.strategies.registry import build_strategy, strategy_names
    from nni_privacy.strategies.sdarts import SDARTS
    from nni_privacy.strategies.setn import SETN
    from nni_privacy.strategies.tenas import TENAS

__all__ = ["ENAS", "GDAS", "PCDARTS", "SDARTS", "SETN", "TENAS", "DARTSFirstOrder", "DARTSSecondOrder", "DrNAS"]
__all__ += ["FixedPattern", "ParetoEvolution", "PredictedFilter", "RandomSearch", "build_strategy", "strategy_names"]

_LAZY = {
    "DARTSFirstOrder": "nni_privacy.strategies.darts",
    "DARTSSecondOrder": "nni_privacy.strategies.darts",
    "DrNAS": "nni_privacy.strategies.drnas",
    "ENAS": "nni_privacy.strategies.enas",
    "FixedPattern": "nni_privacy.strategies.fixed_pattern",
    "GDAS": "nni_privacy.strategies.gdas",
    "PCDARTS": "nni_privacy.strategies.pc_darts",
    "ParetoEvolution": "nni_privacy.strategies.pareto_evolution",
    "PredictedFilter": "nni_privacy.strategies.predicted_filter",
    "RandomSearch": "nni_privacy.strategies.random_search",
    "SDARTS": "nni_privacy.strategies.sdarts",
    "SETN": "nni_privacy.strategies.setn",
    "TENAS": "nni_privacy.strategies.tenas",
    "build_strategy": "nni_privacy.strategies.registry",
    "strategy_names": "nni_privacy.strategies.registry",
}

__getattr__ = lazy_attributes(__name__, _LAZY)
