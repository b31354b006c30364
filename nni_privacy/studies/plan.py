"""The list of measurements that a study's configuration stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any
from zlib import crc32

from nni_privacy.cells.genotypes import parse_genotype
from nni_privacy.data import Dataset
from nni_privacy.errors import ConfigError, PatternError
from nni_privacy.patterns import Pattern
from nni_privacy.studies.config import StudyConfig, defence_called
from nni_privacy.studies.entries import Architecture, Control
from nni_privacy.studies.sources import GenotypeSource, Source
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
        return {name: "-" if self.factors[name] is None else self.factors[name] for name in KEY}


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
    if settings.snapshots is not None:
        for one in recipes.values():
            settings.snapshots.check(one)
    architectures = [entry for part in settings.architectures for entry in part.architectures(settings.search_space)]
    sources = {
        dataset.called: [source for entry in architectures for source in _sources(entry, data[dataset.called])]
        for dataset in settings.datasets
    }
    planned: dict[tuple[Any, ...], Measurement] = {}
    for seed, dataset, defence in product(settings.seeds, settings.datasets, recipes):
        options = {"name": dataset.name, **dataset.options}
        for factors, source in sources[dataset.called]:
            whole = {**factors, "dataset": dataset.called, "defence": defence, "seed": seed}
            measurement = Measurement(whole, source, options, recipes[defence], seed)
            key = tuple(measurement.sample.values())
            if key in planned:
                raise ConfigError(
                    f"architectures: {factors['architecture']!r} ({factors['variant']}) is there twice; give one of "
                    "the entries a label of its own"
                )
            planned[key] = measurement
    return list(planned.values())


def _defended(recipe: Recipe, defence: str | Mapping[str, Any]) -> Recipe:
    if isinstance(defence, str):
        return recipe
    from nni_privacy.training.defences import apply_defence

    return apply_defence(recipe, defence)


def _sources(architecture: Architecture, data: Dataset) -> Iterator[tuple[dict[str, Any], Source]]:
    """What is measured of an architecture, each with its factors but data set, defence and seed."""
    architecture.source.check(data)
    named = {"architecture": architecture.label, "kind": architecture.kind}
    for variant in architecture.variants:
        source = architecture.source
        if isinstance(source, GenotypeSource) and variant.pattern is not None:
            try:
                source = _CONTROLS[variant.control](source, variant.pattern, data)
            except PatternError as error:
                raise ConfigError(f"architectures: {architecture.label}, {variant.label}: {error}") from None
        yield {**named, **variant.factors(), **_size(architecture.source.space, source)}, source


def _modified(original: GenotypeSource, pattern: Pattern, data: Dataset) -> GenotypeSource:
    return replace(original, genotype=str(pattern.apply(parse_genotype(original.genotype))))


def _placebo(original: GenotypeSource, pattern: Pattern, data: Dataset) -> GenotypeSource:
    from nni_privacy.patterns.controls import placebo

    # Another draw for each genotype, the same one in every study.
    seed = crc32(original.genotype.encode())
    return replace(original, genotype=str(placebo(parse_genotype(original.genotype), pattern, seed=seed)))


def _size_matched(original: GenotypeSource, pattern: Pattern, data: Dataset) -> GenotypeSource:
    return original.resized_like(_modified(original, pattern, data), data)


_CONTROLS: Mapping[Control, Callable[[GenotypeSource, Pattern, Dataset], GenotypeSource]] = {
    "none": _modified,
    "placebo": _placebo,
    "size-matched": _size_matched,
}


def _size(asked: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """The size that was asked for, which pairs have in common; ``channels`` are those of the network that is built."""
    if not asked:
        return dict.fromkeys(("size", "channels", "network_cells", "nodes"))
    nodes, channels = source.nodes, source.space["channels"]
    size = f"{asked['channels']} channels, {asked['cells']} cells" + (f", {nodes} nodes" if nodes else "")
    return {"size": size, "channels": channels, "network_cells": asked["cells"], "nodes": nodes}
