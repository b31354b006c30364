"""Strategies by the names of a configuration, each with its validated options."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import ArgsKwargs

from nni_privacy.errors import ConfigError, nearest
from nni_privacy.plugins import expect, is_plugins, plugin_faults
from nni_privacy.schema import (
    Count,
    Fraction,
    OpenFraction,
    Options,
    Section,
    Seed,
    Several,
    Share,
    checked,
    options,
    validated,
)
from nni_privacy.strategies.scores import PREDICTED, SCORES, KnownScore

if TYPE_CHECKING:
    from nni.nas.strategy import Strategy

__all__ = ["ONE_SHOT", "FilterOptions", "StrategyOptions", "build_strategy", "register_strategy", "strategy_names"]
__all__ += ["strategy_options"]


class StrategyOptions(Section):
    """Base of every strategy's options: unknown ones and wrong types are errors."""

    def metrics_read(self) -> Mapping[str, Collection[str]]:
        """Option to the metrics of a trial that it names; a search whose trials do not report them is not started."""
        return {}


_STRATEGIES: dict[str, tuple[type[StrategyOptions], Callable[[Any, int], Strategy]]] = {}
"""Name to the options of a strategy, and what makes it of them and a seed."""

ONE_SHOT: Mapping[str, str] = MappingProxyType(
    {
        "darts_v1": "darts.DARTSFirstOrder",
        "darts_v2": "darts.DARTSSecondOrder",
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
        ConfigError: if the name is taken.
    """

    def register(build: Callable[[Any, int], Strategy]) -> Callable[[Any, int], Strategy]:
        if name in _STRATEGIES or name in ONE_SHOT:
            raise ConfigError(f"strategy {name!r} is registered already")
        _STRATEGIES[name] = (options, build)
        return build

    return register


def strategy_names() -> list[str]:
    """The names that a configuration may use."""
    return sorted([*_STRATEGIES, *ONE_SHOT])


def _entry(name: str) -> tuple[type[StrategyOptions], Callable[[Any, int], Strategy]]:
    if name in ONE_SHOT:
        module, kind = ONE_SHOT[name].split(".")
        module = f"nni_privacy.strategies.{module}"
        return getattr(import_module(module), kind).Options, _built_by(module, kind)
    if name in _STRATEGIES:
        return _STRATEGIES[name]
    raise ConfigError(f"strategy.name: unknown strategy {name!r}; {nearest(str(name), strategy_names())}")


def strategy_options(name: str) -> type[StrategyOptions]:
    """The options of strategy ``name``.

    Raises:
        ConfigError: if there is no such strategy.
    """
    return _entry(name)[0]


def build_strategy(name: str, options: Mapping[str, Any] | StrategyOptions | None = None, *, seed: int) -> Strategy:
    """The strategy ``name`` with ``options``, its random choices driven by ``seed``.

    Raises:
        ConfigError: if there is no such strategy, or an option is unknown, has the wrong type or is out of range.
    """
    kind, build = _entry(name)
    valid = options if isinstance(options, kind) else validated(kind, dict(options or {}))
    what, seed = f"strategy {name!r}", checked(Seed, seed, "seed")
    with plugin_faults(what, build):
        strategy = build(valid, seed)
    if is_plugins(build):
        expect(strategy, import_module("nni.nas.strategy").Strategy, what, build)
    return strategy


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
    """NSGA-II, which seeks the best trade-offs of several metrics (ParetoEvolution)."""

    objectives: dict[str, str] = Field(
        {"accuracy": "maximize", "mia_auc": "minimize"}, description="metric to maximize or minimize"
    )
    population_size: Several = Field(20, description="architectures kept; the first ones are random")
    mutation_prob: Share | None = Field(
        None, description="chance that a choice is drawn anew; by default two choices a child"
    )
    crossover: bool = True
    dedup: bool = True

    def metrics_read(self) -> Mapping[str, Collection[str]]:
        """The objectives."""
        return {"objectives": self.objectives}

    @model_validator(mode="after")
    def _objectives_exist(self) -> ParetoOptions:
        from nni_privacy.strategies.objectives import Objectives, check_metric_name

        Objectives.of(self.objectives)
        for name in self.objectives:
            check_metric_name(name)
        return self


@options(section="filter")
class FilterOptions(Options):
    """The proposals that a :class:`~nni_privacy.strategies.predicted_filter.PredictedFilter` passes on.

    Attributes:
        below: only what has a score below this bound, such as a predicted AUC; the lowest are kept.
        above: instead, only what has a score above this bound; the highest are kept.
        quantile: instead, only this share of the searched architectures, those of the lowest or highest scores.
        surrogate: file of a fitted surrogate, for predicted AUCs; by default the one that ships.
        by: the score, one of :data:`~nni_privacy.strategies.scores.SCORES`.
        keep: ``lowest`` or ``highest``; a bound says so by itself.
        max_rejections: the search ends with an error when so many proposals in a row are skipped.
    """

    below: float | None = None
    above: float | None = None
    quantile: OpenFraction | None = None
    surrogate: str | None = None
    by: str = PREDICTED
    keep: Literal["lowest", "highest"] = "lowest"
    max_rejections: Count = 1000

    @property
    def score(self) -> KnownScore:
        """What is known of the score."""
        return SCORES[self.by]

    @property
    def bound(self) -> float | None:
        """What is given as ``below`` or ``above``; None: a quantile is."""
        return self.above if self.below is None else self.below

    @model_validator(mode="before")
    @classmethod
    def _keeps_what_its_bound_says(cls, content: Any) -> Any:
        given = content.kwargs or {} if isinstance(content, ArgsKwargs) else content
        if not isinstance(given, Mapping) or given.get("keep") is not None:
            return content
        given = {**given, "keep": "lowest" if given.get("above") is None else "highest"}
        return ArgsKwargs(content.args, given) if isinstance(content, ArgsKwargs) else given

    @field_validator("by")
    @classmethod
    def _is_known(cls, by: str) -> str:
        if by not in SCORES:
            raise ValueError(f"{by!r:.80}; {nearest(by, SCORES)}")
        return by

    @model_validator(mode="after")
    def _has_one_bound(self) -> FilterOptions:
        kept = {"below": "lowest", "above": "highest"}
        given = [name for name in (*kept, "quantile") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ConfigError(
                f"give either below or above, a {self.score.label}, or quantile, a share of the architectures"
                + f"; {' and '.join(given)} are given" * bool(given)
            )
        (name,) = given
        if name in kept:
            checked(self.score.bounds, self.bound, name)
            if self.keep != kept[name]:
                raise ConfigError(f"keep: {self.keep!r}; with {name} the {kept[name]} are kept, leave it out")
        if self.surrogate is not None and self.by != PREDICTED:
            raise ConfigError(f"surrogate: {self.surrogate!r:.80}; only by: {PREDICTED} has one")
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
    from nni_privacy.strategies.tpe import TPE

    # NNI's default is to minimise; what a trial reports as "default" is its accuracy.
    arguments = {"n_startup_jobs": options.startup_trials, "n_ei_candidates": options.candidates}
    return TPE(optimize_mode="maximize", seed=seed, tpe_args=arguments)
