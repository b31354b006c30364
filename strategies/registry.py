"""Strategies by the names of a configuration, each with its validated options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from nni_privacy.errors import ConfigError, nearest
from nni_privacy.schema import Count, Fraction, Section, Seed, Several, Share, checked, validated

if TYPE_CHECKING:
    from nni.nas.strategy import Strategy

__all__ = ["ONE_SHOT", "StrategyOptions", "build_strategy", "register_strategy", "strategy_names", "strategy_options"]


class StrategyOptions(Section):
    """Base of every strategy's options: unknown ones and wrong types are errors."""


@dataclass(frozen=True)
class _Entry:
    options: type[StrategyOptions]
    build: Callable[[Any, int], Strategy]


_STRATEGIES: dict[str, _Entry] = {}

ONE_SHOT: Mapping[str, str] = MappingProxyType(
    {
        "darts_v1": "darts_first_order.DARTSFirstOrder",
        "darts_v2": "darts_second_order.DARTSSecondOrder",
        "drnas": "drnas.DrNAS",
        "enas": "enas.ENAS",
        "gdas": "gdas.GDAS",
        "pc_darts": "pc_darts.PCDARTS",
        "random_search": "random_search.RandomSearch",
        "sdarts": "sdarts.SDARTS",
        "setn": "setn.SETN",
        "tenas": "tenas.TENAS",
    }
)
"""The paper's ten algorithms: name to module and class in this package; they import torch, so they wait until named."""


def register_strategy(
    name: str, options: type[StrategyOptions]
) -> Callable[[Callable[[Any, int], Strategy]], Callable[[Any, int], Strategy]]:
    """Decorates a function ``(options, seed) -> Strategy`` that makes the strategy called ``name`` in a configuration.

    Raises:
        ValueError: if the name is taken.
    """

    def register(build: Callable[[Any, int], Strategy]) -> Callable[[Any, int], Strategy]:
        if name in _STRATEGIES or name in ONE_SHOT:
            raise ValueError(f"a strategy called {name!r} is registered already")
        _STRATEGIES[name] = _Entry(options, build)
        return build

    return register


def strategy_names() -> list[str]:
    """The names that a configuration may use."""
    return sorted([*_STRATEGIES, *ONE_SHOT])


def _entry(name: str) -> _Entry:
    if name in ONE_SHOT:
        module, kind = ONE_SHOT[name].split(".")
        module = f"nni_privacy.strategies.{module}"
        return _Entry(getattr(import_module(module), kind).Options, _built_by(module, kind))
    if name in _STRATEGIES:
        return _STRATEGIES[name]
    raise ConfigError(f"strategy.name: unknown strategy {name!r}; {nearest(str(name), strategy_names())}")


def strategy_options(name: str) -> type[StrategyOptions]:
    """The options of strategy ``name``.

    Raises:
        ConfigError: if there is no such strategy.
    """
    return _entry(name).options


def build_strategy(name: str, options: Mapping[str, Any] | StrategyOptions | None = None, *, seed: int) -> Strategy:
    """The strategy ``name`` with ``options``, its random choices driven by ``seed``.

    Raises:
        ConfigError: if there is no such strategy, or an option is unknown, has the wrong type or is out of range.
    """
    kind = strategy_options(name)
    valid = options if isinstance(options, kind) else validated(kind, dict(options or {}))
    return _entry(name).build(valid, checked(Seed, seed, "seed"))


class RandomOptions(StrategyOptions):
    """NNI's random search."""

    dedup: bool = Field(True, description="never propose an architecture twice")


class EvolutionOptions(StrategyOptions):
    """NNI's regularised evolution (Real et al., AAAI 2019)."""

    population_size: Count = Field(100, description="architectures kept; the first ones are random")
    sample_size: Count = Field(25, description="architectures in a tournament")
    mutation_prob: Fraction = Field(0.05, description="chance that a choice is drawn anew")
    crossover: bool = False
    dedup: bool = True

    @model_validator(mode="after")
    def _tournament_fits(self) -> EvolutionOptions:
        if self.sample_size > self.population_size:
            raise ValueError(
                f"sample_size: {self.sample_size} is larger than population_size, which is {self.population_size}"
            )
        return self


class TPEOptions(StrategyOptions):
    """NNI's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011)."""

    startup_trials: Count = Field(20, description="random trials before the estimator takes over")
    candidates: Count = Field(24, description="candidates a proposal")


class GridSearchOptions(StrategyOptions):
    """NNI's grid search."""

    shuffle: bool = Field(True, description="shuffle within every 100 candidates")
    dedup: bool = True


class ParetoOptions(StrategyOptions):
    """:class:`~nni_privacy.strategies.ParetoEvolution`."""

    objectives: dict[str, str] = Field(
        {"accuracy": "maximize", "mia_auc": "minimize"}, description="metric to maximize or minimize"
    )
    population_size: Several = Field(20, description="architectures kept; the first ones are random")
    mutation_prob: Share | None = Field(
        None, description="chance that a choice is drawn anew; by default two choices a child"
    )
    crossover: bool = True
    dedup: bool = True

    @model_validator(mode="after")
    def _objectives_exist(self) -> ParetoOptions:
        from nni_privacy.strategies.objectives import Objectives, check_metric_name

        Objectives.of(self.objectives)
        for name in self.objectives:
            check_metric_name(name)
        return self


def _built_by(module: str, kind: str) -> Callable[[Any, int], Strategy]:
    """What imports a class when it is needed, and gives it the options as they are."""

    def build(options: StrategyOptions, seed: int) -> Strategy:
        return getattr(import_module(module), kind)(**options.model_dump(), seed=seed)

    return build


register_strategy("pareto", ParetoOptions)(_built_by("nni_privacy.strategies.pareto_evolution", "ParetoEvolution"))
register_strategy("random", RandomOptions)(_built_by("nni.nas.strategy", "Random"))
register_strategy("regularized_evolution", EvolutionOptions)(_built_by("nni.nas.strategy", "RegularizedEvolution"))
register_strategy("grid_search", GridSearchOptions)(_built_by("nni.nas.strategy", "GridSearch"))


@register_strategy("tpe", TPEOptions)
def _tpe(options: TPEOptions, seed: int) -> Strategy:
    from nni.nas.strategy import TPE

    # NNI's default is to minimise; what a trial reports as "default" is its accuracy.
    arguments = {"n_startup_jobs": options.startup_trials, "n_ei_candidates": options.candidates}
    return TPE(optimize_mode="maximize", seed=seed, tpe_args=arguments)
