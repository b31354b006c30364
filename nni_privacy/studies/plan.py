"""The list of measurements that a study's configuration stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from zlib import crc32

from nni_privacy.cells.genotypes import parse_genotype
from nni_privacy.data import Dataset
from nni_privacy.errors import ConfigError, PatternError
from nni_privacy.patterns import Pattern
from nni_privacy.studies.config import StudyConfig, StudyDataset, defence_called
from nni_privacy.studies.entries import Architecture, Control, Variant
from nni_privacy.studies.sources import GenotypeSource, NetworkSource, SearchSource, Source
from nni_privacy.training.recipe import Recipe

__all__ = ["KEY", "Measurement", "plan_study"]

KEY = ("architecture", "variant", "size", "dataset", "defence", "seed")
"""The factors that tell one measurement of a study from all others."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """One architecture, trained once and attacked.

    Attributes:
        factors: what the record of its trial says of it; see ``docs/studies.md``.
        source: how the architecture comes about.
        dataset: the data set's name and options.
        recipe: how it is trained, its defence included.
        seed: of everything.
    """

    factors: Mapping[str, Any] = field(hash=False)
    source: Source
    dataset: Mapping[str, Any]
    recipe: Recipe
    seed: int

    @property
    def sample(self) -> dict[str, Any]:
        """What the web UI shows of it, and what tells it from all others."""
        return {name: _shown(self.factors[name]) for name in KEY}


def plan_study(settings: StudyConfig, data: Mapping[str, Dataset]) -> list[Measurement]:
    """All measurements of a study: the first seed's come first, so that early results are whole tables.

    Args:
        settings: the configuration.
        data: the data sets by label.

    Raises:
        ConfigError: if two measurements could not be told apart, or a network is too large for a data set's images.
        PrivacyError: if a file of genotypes or a pattern is not valid.
    """
    recipe = settings.evaluator.recipe
    recipes = {defence_called(entry): _defended(recipe, entry) for entry in settings.defences}
    architectures = [entry for part in settings.architectures for entry in part.architectures(settings.search_space)]
    sources = {
        dataset.called: [source for entry in architectures for source in _sources(entry, data[dataset.called])]
        for dataset in settings.datasets
    }
    planned = [
        _measurement(factors, source, dataset, defence, recipes[defence], seed)
        for seed in settings.seeds
        for dataset in settings.datasets
        for defence in recipes
        for factors, source in sources[dataset.called]
    ]
    _check_distinct(planned)
    return planned


def _defended(recipe: Recipe, defence: str | Mapping[str, Any]) -> Recipe:
    if isinstance(defence, str):
        return recipe
    from nni_privacy.training.defences import apply_defence

    return apply_defence(recipe, defence)


def _measurement(
    factors: Mapping[str, Any], source: Source, dataset: StudyDataset, defence: str, recipe: Recipe, seed: int
) -> Measurement:
    whole = {**factors, "dataset": dataset.called, "defence": defence, "seed": seed}
    return Measurement(whole, source, {"name": dataset.name, **dataset.options}, recipe, seed)


def _sources(architecture: Architecture, data: Dataset) -> Iterator[tuple[dict[str, Any], Source]]:
    """What is measured of an architecture, each with its factors but data set, defence and seed."""
    for variant in architecture.variants:
        source = _source(architecture, variant, data)
        yield (
            {
                "architecture": architecture.label,
                "kind": architecture.kind,
                **variant.factors(),
                **_size(architecture, source),
            },
            source,
        )


def _source(architecture: Architecture, variant: Variant, data: Dataset) -> Source:
    if architecture.network is not None:
        source = NetworkSource(**architecture.network)
        source.check(data)
        return source
    if architecture.search is not None:
        return SearchSource(space=dict(architecture.space), **architecture.search)
    return _varied(architecture, variant, data)


def _varied(architecture: Architecture, variant: Variant, data: Dataset) -> GenotypeSource:
    if architecture.genotype is None:
        raise ConfigError(f"architectures: {architecture.label!r} has no genotype")
    original = GenotypeSource(genotype=str(architecture.genotype), space=dict(architecture.space))
    if variant.pattern is None:
        return original
    try:
        return _CONTROLS[variant.control](original, variant.pattern, data)
    except PatternError as error:
        raise ConfigError(f"architectures: {architecture.label}, {variant.label}: {error}") from None


def _modified(original: GenotypeSource, pattern: Pattern, data: Dataset) -> GenotypeSource:
    return original.with_genotype(pattern.apply(parse_genotype(original.genotype)))


def _placebo(original: GenotypeSource, pattern: Pattern, data: Dataset) -> GenotypeSource:
    from nni_privacy.patterns.controls import placebo

    # Another draw for each genotype, the same one in every study.
    seed = crc32(original.genotype.encode())
    return original.with_genotype(placebo(parse_genotype(original.genotype), pattern, seed=seed))


def _size_matched(original: GenotypeSource, pattern: Pattern, data: Dataset) -> GenotypeSource:
    return original.resized_like(_modified(original, pattern, data), data)


_CONTROLS: Mapping[Control, Callable[[GenotypeSource, Pattern, Dataset], GenotypeSource]] = MappingProxyType(
    {"none": _modified, "placebo": _placebo, "size-matched": _size_matched}
)


def _size(architecture: Architecture, source: Source) -> dict[str, Any]:
    """The size that was asked for, which pairs have in common; ``channels`` are those of the network that is built."""
    if not architecture.space:
        return {"size": None, "channels": None, "network_cells": None, "nodes": None}
    asked, nodes = architecture.space, source.nodes
    parts = [f"{asked['channels']} channels", f"{asked['cells']} cells", *([f"{nodes} nodes"] if nodes else [])]
    return {
        "size": ", ".join(parts),
        "channels": source.space["channels"],
        "network_cells": asked["cells"],
        "nodes": nodes,
    }


def _check_distinct(planned: Sequence[Measurement]) -> None:
    seen = set()
    for measurement in planned:
        key = tuple(measurement.sample.values())
        if key in seen:
            raise ConfigError(
                f"architectures: {measurement.factors['architecture']!r} ({measurement.factors['variant']}) is there "
                "twice; give one of the entries a label of its own"
            )
        seen.add(key)


def _shown(value: Any) -> Any:
    return "-" if value is None else value
