"""NNI strategies that know about cell patterns. Imported as ``nni_privacy.strategies``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_names

if TYPE_CHECKING:
    from nni_privacy.analysis.constraints import Constraints
    from nni_privacy.strategies.constrained_search import ConstrainedSearch
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

__all__ = ["ENAS", "GDAS", "PCDARTS", "SDARTS", "SETN", "TENAS", "ConstrainedSearch", "Constraints"]
__all__ += ["DARTSFirstOrder", "DARTSSecondOrder", "DrNAS"]
__all__ += ["FixedPattern", "ParetoEvolution", "PredictedFilter", "RandomSearch", "build_strategy", "strategy_names"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "strategies.constrained_search": ["ConstrainedSearch"],
        "analysis.constraints": ["Constraints"],
        "strategies.darts": ["DARTSFirstOrder", "DARTSSecondOrder"],
        "strategies.drnas": ["DrNAS"],
        "strategies.enas": ["ENAS"],
        "strategies.fixed_pattern": ["FixedPattern"],
        "strategies.gdas": ["GDAS"],
        "strategies.pareto_evolution": ["ParetoEvolution"],
        "strategies.pc_darts": ["PCDARTS"],
        "strategies.predicted_filter": ["PredictedFilter"],
        "strategies.random_search": ["RandomSearch"],
        "strategies.registry": ["build_strategy", "strategy_names"],
        "strategies.sdarts": ["SDARTS"],
        "strategies.setn": ["SETN"],
        "strategies.tenas": ["TENAS"],
    },
)
