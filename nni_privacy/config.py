"""The configuration of a run: a YAML file, checked as a whole before anything is started or written."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, field_serializer, field_validator, model_validator
from pydantic_core import ArgsKwargs

from nni_privacy.analysis.constraints import COSTS, Constraints
from nni_privacy.analysis.model_choice import Keep
from nni_privacy.auditing.options import MeasuringOptions, Names
from nni_privacy.data import check_dataset_options
from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime.training_services import TrainingService, without_secrets
from nni_privacy.patterns import Cells, Pattern, load_pattern
from nni_privacy.plugins import import_from, import_plugins, plugin_faults
from nni_privacy.rng import derived_seed
from nni_privacy.runs.stopping import StopRule, stop_rule
from nni_privacy.schema import (
    Count,
    NamedSection,
    Positive,
    Section,
    Seed,
    checked,
    named,
    options,
    read_section,
    validated,
)
from nni_privacy.search_spaces.config import DartsSizes, NasBench201Sizes, SearchSpaceConfig, is_own
from nni_privacy.strategies.objectives import LATENCIES, check_metrics_given
from nni_privacy.strategies.registry import ONE_SHOT, FilterOptions, StrategyOptions, strategy_options
from nni_privacy.strategies.scores import SCORES
from nni_privacy.training.dp_selection import draw_trials

__all__ = ["ConfirmConfig", "DartsSizes", "DatasetConfig", "EvaluatorConfig", "NasBench201Sizes", "PatternConfig"]
__all__ += ["RunConfig", "SearchConfig", "SearchSpaceConfig", "StrategyConfig", "check_command", "check_run_name"]
__all__ += ["load_config", "parse_config"]


class DatasetConfig(NamedSection):
    """``dataset``: a name and the loader's options."""

    @model_validator(mode="after")
    def _check(self) -> DatasetConfig:
        check_dataset_options(self.name, self.options)
        return self


class PatternConfig(Section):
    """``pattern``: which edges to fix."""

    name: str
    cells: Cells | None = None
    budget: int = Field(4, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _of_a_name(cls, content: Any) -> Any:
        return named(content)

    @model_validator(mode="after")
    def _check(self) -> PatternConfig:
        self.load()
        return self

    def load(self) -> Pattern:
        """The pattern, cut to its first ``budget`` edges."""
        return load_pattern(self.name, cells=self.cells).first(self.budget)


class StrategyConfig(NamedSection):
    """``strategy``: a name and the strategy's options."""

    @model_validator(mode="after")
    def _check(self) -> StrategyConfig:
        kind = strategy_options(self.name)
        with plugin_faults(f"strategy {self.name!r}", kind):
            validated(kind, super().options)
        return self

    @property
    def checked(self) -> StrategyOptions:
        """The strategy's options, defaults included."""
        return strategy_options(self.name)(**super().options)

    @property
    def options(self) -> dict[str, Any]:
        """The same as plain data."""
        return self.checked.model_dump()


@options(section="evaluator")
class EvaluatorConfig(MeasuringOptions):
    """``evaluator``: how an architecture is trained and attacked; or that its AUC is predicted instead."""

    kind: Literal["measured", "predicted"] = "measured"
    surrogate: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_one_kind(cls, content: Any) -> Any:
        given = content.kwargs or {} if isinstance(content, ArgsKwargs) else content
        if not isinstance(given, Mapping):
            return content
        kind, surrogate = given.get("kind", "measured"), given.get("surrogate")
        if kind == "measured" and surrogate is not None:
            raise ConfigError(f"surrogate: {surrogate!r:.80}; only kind: predicted has one")
        further = sorted(set(given) & {field.name for field in fields(MeasuringOptions)})
        if kind == "predicted" and further:
            raise ConfigError(f"{further[0]}: nothing is trained or attacked with kind: predicted; leave it out")
        return content


OF_NNICTL = (
    *("experimentName", "searchSpace", "searchSpaceFile", "trialCommand", "trialConcurrency", "maxTrialNumber"),
    *("trainingService", "experiment_name", "search_space_file", "trial_command"),
    *("searchSpacePath", "maxTrialNum", "trainingServicePlatform"),
)
"""Keys of a configuration of NNI, version 3 and before, that none of ours has."""


class RunConfig(Section):
    """What searches and studies have in common."""

    name: str = Field(min_length=1)
    plugins: Names = ()
    evaluator: EvaluatorConfig = Field(default_factory=EvaluatorConfig)
    concurrency: int = Field(1, ge=1, le=10_000)
    gpus_per_trial: int = Field(0, ge=0, le=1024)
    training_service: TrainingService = None
    trial_timeout: Positive | None = None
    warm_trials: bool = True
    keep: Keep = "front"

    @model_validator(mode="before")
    @classmethod
    def _plugins_first(cls, content: Any) -> Any:
        """Imports what both places name before any section is looked at; both then name all, for trials and records."""
        evaluator = content.get("evaluator") if isinstance(content, Mapping) else None
        inner = evaluator.get("plugins") if isinstance(evaluator, Mapping) else None
        given = {"plugins": content.get("plugins"), "evaluator.plugins": inner} if isinstance(content, Mapping) else {}
        named_there = {field: names for field, names in given.items() if names is not None}
        if not named_there or not all(_are_texts(names) for names in named_there.values()):
            return content  # what is wrong with them is found with their sections
        for field, names in named_there.items():
            with _told_as(field):
                import_plugins(names)
        plugins = list(dict.fromkeys(name for names in named_there.values() for name in names))
        if evaluator is None or isinstance(evaluator, Mapping):
            content = {**content, "evaluator": _with_plugins(evaluator or {}, plugins)}
        return {**content, "plugins": plugins}

    @model_validator(mode="before")
    @classmethod
    def _is_not_nnictls(cls, content: Any) -> Any:
        for key in content if isinstance(content, Mapping) else ():
            if key in OF_NNICTL:
                raise ConfigError(
                    f"{key}: {content[key]!r:.80}; this is a configuration of NNI's own experiments: start it with "
                    "nni-privacy nnictl create --config FILE, or see docs/configuration.md for one of a search"
                )
        return content

    @field_validator("name")
    @classmethod
    def _is_a_file_name(cls, name: str) -> str:
        return check_run_name(name)


def _are_texts(names: Any) -> bool:
    return isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)


@contextmanager
def _told_as(field: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{field}: {error}") from error


def _with_plugins(evaluator: Mapping[str, Any], plugins: list[str]) -> dict[str, Any]:
    """The section as its trials are to see it; where the AUC is predicted there are none."""
    others = {key: value for key, value in evaluator.items() if key != "plugins"}
    return others if evaluator.get("kind") == "predicted" else {**others, "plugins": plugins}


class ConfirmConfig(Section):
    """``confirm``: the ``top`` architectures of a search are trained anew with fresh ``seeds`` and attacked further.

    The search's own attacks come first, so that its metrics are confirmed under their names; ``attacks`` are added.
    """

    top: int = Field(5, ge=1, le=1000)
    seeds: int = Field(5, ge=2, le=1000)
    attacks: Names = ("rmia", "lira")

    @field_validator("attacks")
    @classmethod
    def _known(cls, attacks: tuple[str, ...]) -> tuple[str, ...]:
        from nni_privacy.attacks import get_attack

        for name in attacks:
            get_attack(name)
        if len(set(attacks)) < len(attacks):
            raise ValueError(f"{', '.join(attacks)}: an attack is named twice")
        return attacks

    def evaluator(self, searched: EvaluatorConfig) -> EvaluatorConfig:
        """How the new trainings are measured, of how the search's were.

        Raises:
            ConfigError: if an attack is unknown, or needs more shadow models than there are.
        """
        attacks = dict.fromkeys((*searched.attacks, *self.attacks))
        return EvaluatorConfig(**{**searched.measuring(), "attacks": tuple(attacks)})


class TrialsDrawn(Section):
    """``trials: {distribution, mean}``: a number that is drawn from the seed, for private selection."""

    distribution: Literal["logarithmic", "geometric"]
    mean: float = Field(gt=1, le=10_000)

    def number(self, seed: int) -> int:
        """How many trials there are; the same for the same seed."""
        return draw_trials(self.distribution, self.mean, seed=derived_seed(seed, "trials"))


class SearchConfig(RunConfig):
    """A whole search, as ``nni-privacy search`` runs it."""

    seed: Seed = 0
    dataset: DatasetConfig | None = None
    search_space: SearchSpaceConfig
    pattern: PatternConfig | None = None
    filter: FilterOptions | None = None
    strategy: StrategyConfig
    stop: StopRule | None = None
    constraints: Annotated[Constraints, PlainValidator(Constraints.of), PlainSerializer(Constraints.to_dict)] = (
        Constraints()
    )
    trials: Count
    trials_drawn: TrialsDrawn | None = None
    confirm: ConfirmConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _draws_trials(cls, content: Any) -> Any:
        if not isinstance(content, Mapping) or not isinstance(content.get("trials"), Mapping):
            return content
        with _told_as("trials"):
            drawn = validated(TrialsDrawn, content["trials"])
        seed = checked(Seed, content.get("seed", 0), "seed")
        return {**content, "trials": drawn.number(seed), "trials_drawn": drawn.model_dump()}

    @model_validator(mode="before")
    @classmethod
    def _one_shot(cls, content: Any) -> Any:
        """A one-shot search audits its ``top_k`` architectures: that is its number of trials, and vice versa."""
        strategy = named(content.get("strategy")) if isinstance(content, Mapping) else None
        name = strategy.get("name") if isinstance(strategy, Mapping) else None
        if not isinstance(strategy, Mapping) or not isinstance(name, str) or name not in ONE_SHOT:
            return content
        trials, top_k = content.get("trials"), strategy.get("top_k")
        if trials is None:
            return {**content, "trials": 1 if top_k is None else top_k}
        if top_k is None:
            return {**content, "strategy": {**strategy, "top_k": trials}}
        if trials != top_k:
            raise ConfigError(
                f"trials: {trials!r}, but strategy.top_k is {top_k!r}; a one-shot search audits top_k trials"
            )
        return content

    @model_validator(mode="before")
    @classmethod
    def _keeps_what_may_be_confirmed(cls, content: Any) -> Any:
        """The best by confirmed numbers may be off the search's front: then its weights are wanted all the same."""
        if isinstance(content, Mapping) and content.get("confirm") is not None and "keep" not in content:
            return {**content, "keep": "all"}
        return content

    @field_validator("stop", mode="plain")
    @classmethod
    def _is_a_rule(cls, content: Any) -> StopRule | None:
        return None if content is None else stop_rule(content)

    @field_serializer("stop", when_used="unless-none")
    def _with_its_name(self, stop: StopRule) -> dict[str, Any]:
        return stop.to_mapping()

    @model_validator(mode="after")
    def _fits_together(self) -> SearchConfig:
        name, one_shot = self.strategy.name, self.strategy.name in ONE_SHOT
        if self.predicted and one_shot:
            raise ConfigError(f"strategy.name: {name} trains a supernet, and with evaluator.kind: predicted none is")
        if self.filter is not None and one_shot:
            raise ConfigError(f"filter: {name} proposes its top_k architectures once; there is none to go on to")
        if self.predicted and self.filter is not None and self.filter.score.of_images:
            allowed = " and ".join(by for by, score in SCORES.items() if not score.of_images)
            raise ConfigError(f"filter.by: {self.filter.by}; with evaluator.kind: predicted allowed are {allowed}")
        if not self.predicted and self.dataset is None:
            raise ConfigError("dataset: missing")
        self.check_metrics(self.constraints.metrics, option="constraints")
        return self

    @model_validator(mode="after")
    def _genotypes_are_there(self) -> SearchConfig:
        by_genotype = self.filter is not None and self.filter.score.of_genotypes
        parts = {"confirm": self.confirm, "filter": by_genotype, "evaluator.kind": "predicted" * self.predicted}
        for field in (field for field, given in parts.items() if given and self.search_space.own):
            raise ConfigError(
                f"{field}: not with search_space.name {self.search_space.name}: architectures of a space of your own "
                "are no genotypes, which studies train anew and surrogates predict"
            )
        return self

    @model_validator(mode="after")
    def _trials_are_independent(self) -> SearchConfig:
        drawn = self.trials_drawn
        if drawn is None:
            return self
        if self.strategy.name != "random" or self.stop is not None or self.filter is not None:
            raise ConfigError("trials: drawn at random they are for strategy: random, without stop and filter, only")
        if self.evaluator.recipe.dp is None:
            raise ConfigError("trials: a number is drawn for private selection, and evaluator.recipe has no dp")
        if self.trials != drawn.number(self.seed):
            raise ConfigError(f"trials: {self.trials}; with seed {self.seed} {drawn.number(self.seed)} were drawn")
        return self

    @model_validator(mode="after")
    def _can_stop_early(self) -> SearchConfig:
        if self.stop is None:
            return self
        if self.predicted:
            raise ConfigError("stop: with evaluator.kind: predicted nothing is trained that could be stopped early")
        if self.strategy.name in ONE_SHOT:
            raise ConfigError(f"stop: {self.strategy.name} audits its top_k architectures, each of them to its end")
        self.stop.check_epochs(self.evaluator.recipe.epochs)
        return self

    @model_validator(mode="after")
    def _bounds_can_be_kept(self) -> SearchConfig:
        for one in self.constraints.conditions:
            fraction = one.metric.endswith("accuracy") or "mia_" in one.metric
            if fraction and not 0 <= one.bound <= 1:
                raise ConfigError(f"constraints: {one}: {one.metric} is a fraction, 0 to 1 (90% is 0.9)")
        return self

    @model_validator(mode="after")
    def _can_be_confirmed(self) -> SearchConfig:
        if self.confirm is not None:
            if self.predicted:
                raise ConfigError("confirm: with evaluator.kind: predicted there is no measurement to confirm")
            with _told_as("confirm"):
                self.confirm.evaluator(self.evaluator)
        return self

    def check_metrics(self, names: Iterable[str], *, option: str) -> None:
        """Raises ConfigError unless a trial will have all metrics of these names, which stand under ``option``."""
        if self.predicted:
            # What is not trained has weights all the same; how large its images would be is not known.
            further = COSTS[:1] if option == "constraints" else ()
            check_metrics_given(names, None, option=option, further=further)
            return
        further = (*(LATENCIES if self.evaluator.latency else ()), *(("epsilon",) if self.evaluator.recipe.dp else ()))
        check_metrics_given(names, self.evaluator.attacks, option=option, further=further)

    @property
    def predicted(self) -> bool:
        """Whether nothing is trained: all AUCs are predicted."""
        return self.evaluator.kind == "predicted"

    def resolved(self) -> dict[str, Any]:
        """All values that have an effect, defaults included, as plain data for a YAML file."""
        content = self.model_dump(mode="json")
        content |= {"search_space": self.search_space.content}
        content |= {"strategy": {"name": self.strategy.name, **self.strategy.options}}
        content["training_service"] = without_secrets(self.training_service)
        if self.trials_drawn is None:
            del content["trials_drawn"]
        if self.predicted:
            content["dataset"] = None
            del content["keep"]
            content["evaluator"] = {key: content["evaluator"][key] for key in ("kind", "surrogate")}
        return content


_NAME_BYTES = 200
"""Room for the time behind it: file systems allow 255."""


def check_run_name(name: str) -> str:
    """``name``, if it can be the name of a run's folder; else a ConfigError."""
    if "/" in name or "\\" in name or name.startswith("."):
        raise ConfigError(f"{name!r}; a run's name is used as the name of its folder, so it holds no '/'")
    if not name.isprintable() or len(name.encode()) > _NAME_BYTES:
        raise ConfigError(f"{name!r:.80}; printable, of at most {_NAME_BYTES} bytes: it is the name of a folder, too")
    return name


def load_config(path: str | Path, **overrides: Any) -> SearchConfig:
    """Reads and checks a configuration file.

    Args:
        path: a YAML file.
        **overrides: top-level values that replace those of the file; ``None`` leaves the file's.

    Raises:
        ConfigError: if the file cannot be read or a value is not valid; one line that names file, field, value and what
            is allowed.
    """
    given = {key: value for key, value in overrides.items() if value is not None}

    def change(content: Mapping[str, Any]) -> Mapping[str, Any]:
        check_command(content, "search", path)
        space = content.get("search_space")
        if is_own(space.get("name") if isinstance(space, Mapping) else space):
            import_from(Path(path).absolute().parent)
        return {**content, **given}

    return read_section(SearchConfig, path, change)


_TOLD_BY: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "search": ("a search", ("dataset", "strategy", "trials", "pattern", "filter")),
        "measure": ("a study", ("datasets", "architectures", "seeds", "defences", "contours")),
    }
)
"""Command to what it runs, and the keys that only such a file has."""


def check_command(content: Mapping[str, Any], command: str, path: str | Path) -> None:
    """Raises ConfigError if a file's content is rather what another command than ``command`` runs."""
    found = {name: [key for key in keys if key in content] for name, (_, keys) in _TOLD_BY.items()}
    best = max(found, key=lambda name: (len(found[name]), name == command))
    if best != command:
        raise ConfigError(
            f"this is {_TOLD_BY[best][0]} (it has {', '.join(found[best])}), not {_TOLD_BY[command][0]}; "
            f"run it with: nni-privacy {best} {shlex.quote(str(path))}"
        )


def parse_config(content: Mapping[str, Any]) -> SearchConfig:
    """Checks a configuration given as plain data.

    Raises:
        ConfigError: on the first value that is not valid.
    """
    return validated(SearchConfig, content)
