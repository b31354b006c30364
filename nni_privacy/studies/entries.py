"""Entries of ``architectures:`` in a study, and the architectures and variants that they stand for.

A variant is what a pattern, or one of its controls, makes of a genotype.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from nni_privacy.cells.genotypes import genotype_at, read_genotypes
from nni_privacy.cells.spaces import SPACES, space_of
from nni_privacy.config import PatternConfig, SearchSpaceConfig, StrategyConfig
from nni_privacy.errors import ConfigError, nearest
from nni_privacy.patterns import Cells, Pattern, load_pattern
from nni_privacy.runs.confirmed import label_of
from nni_privacy.schema import Count, Section, validated
from nni_privacy.strategies.registry import ONE_SHOT
from nni_privacy.studies.sources import GenotypeSource, NetworkSource, SearchSource, Source

__all__ = ["Architecture", "ArchitecturesEntry", "Control", "Variant", "parse_entry"]

Control = Literal["none", "placebo", "size-matched"]


@dataclass(frozen=True)
class Variant:
    """What is done to a genotype before it is trained.

    Attributes:
        label: its name in tables, unique among the variants of an architecture.
        pattern: the edges that are written into the cell; None: the genotype is left as it is.
        name: the pattern's family, such as ``demotion``; None without a pattern.
        control: ``placebo`` writes other operations where the pattern writes its own, ``size-matched`` leaves the cell
            as it is and scales its channels until the network is as large as the pattern would have made it.
        budget: number m of edges.
    """

    label: str
    pattern: Pattern | None = None
    name: str | None = None
    control: Control = "none"
    budget: int | None = None

    def factors(self) -> dict[str, Any]:
        """What the record of a trial says of the variant."""
        return {
            "variant": self.label,
            "pattern": self.name,
            "cells": None if self.pattern is None else self.pattern.cells,
            "budget": self.budget,
            "control": None if self.control == "none" else self.control,
        }


ORIGINAL = Variant("original")
"""The genotype as it is."""


class VariantsConfig(Section):
    """An entry of ``variants``: each of the patterns on each of the cells with each budget and control."""

    pattern: list[str] = Field(min_length=1)
    cells: list[Cells | None] = Field([None], min_length=1)
    budget: list[int] = Field([4], min_length=1)
    control: list[Control] = Field(["none"], min_length=1)

    @field_validator("*", mode="before")
    @classmethod
    def _listed(cls, option: Any) -> Any:
        return option if isinstance(option, list) else [option]

    @model_validator(mode="after")
    def _check(self) -> VariantsConfig:
        list(self.variants())
        return self

    def variants(self) -> Iterator[Variant]:
        """All variants of the entry.

        Raises:
            PatternError: if there is no such pattern, or it has fewer edges than the budget.
        """
        for name, cells, budget, control in product(self.pattern, self.cells, self.budget, self.control):
            pattern = load_pattern(name, cells=cells).first(budget)
            family = name.removesuffix(f"-{pattern.cells}")
            label = f"{family.rpartition('/')[2]}-{pattern.cells}-{budget}"
            yield Variant(label if control == "none" else f"{label}-{control}", pattern, family, control, budget)


def _expanded(entries: Iterable[str | VariantsConfig]) -> tuple[Variant, ...]:
    """The variants that a list of ``original`` and sections stands for, none of them twice."""
    found: dict[str, Variant] = {}
    for entry in entries:
        for variant in [ORIGINAL] if isinstance(entry, str) else entry.variants():
            if variant.label in found:
                raise ConfigError(f"variants: {variant.label!r} is there twice")
            found[variant.label] = variant
    return tuple(found.values())


def _parsed(entry: Any) -> str | VariantsConfig:
    """One entry of ``variants``: ``original``, or the mapping of a :class:`VariantsConfig`."""
    if entry == ORIGINAL.label or isinstance(entry, VariantsConfig):
        return entry
    if not isinstance(entry, Mapping):
        raise ConfigError(f"variants: {entry!r:.80}; allowed are 'original' and mappings with a pattern")
    try:
        return validated(VariantsConfig, entry)
    except ConfigError as error:
        raise ConfigError(f"variants: {error}") from None


@dataclass(frozen=True)
class Architecture:
    """One architecture of a study.

    Attributes:
        label: its name in tables.
        kind: who designed it.
        source: how it comes about.
        variants: what is measured of it; of a genotype there may be several.
    """

    label: str
    kind: Literal["human-designed", "NAS"]
    source: Source
    variants: tuple[Variant, ...] = (ORIGINAL,)


class ArchitecturesEntry(Section):
    """Base of the entries: each stands for some architectures."""

    def architectures(self, space: SearchSpaceConfig) -> Iterator[Architecture]:
        """The architectures of this entry.

        Args:
            space: the study's own, for entries that have none.
        """
        raise ConfigError(f"architectures: {type(self).__name__} stands for nothing")


class NetworksEntry(ArchitecturesEntry):
    """``{networks: [resnet, vgg]}`` or ``{networks: all}``: human-designed ones."""

    networks: list[str] | Literal["all"]
    stem: Literal["auto", "small", "imagenet"] = "auto"

    @field_validator("networks", mode="after")
    @classmethod
    def _known(cls, names: list[str] | str) -> list[str]:
        from nni_privacy.networks import FAMILIES, check_network_options

        chosen = sorted(FAMILIES) if isinstance(names, str) else names
        if not chosen:
            raise ConfigError("networks: the list is empty")
        for name in chosen:
            check_network_options(name, [])
        return chosen

    def architectures(self, space: SearchSpaceConfig) -> Iterator[Architecture]:
        """One architecture a name."""
        for name in self.networks:
            label = name if self.stem == "auto" else f"{name}-{self.stem}"
            yield Architecture(label, "human-designed", NetworkSource(name=name, stem=self.stem))


class OneSize(SearchSpaceConfig):
    """``search_space`` of a study, whose networks are of one size."""

    @model_validator(mode="after")
    def _is_one(self) -> OneSize:
        if self.own:
            raise ConfigError(f"name: {self.name}; a study measures genotypes, of {', '.join(SPACES)}: search yours")
        for name, sizes in self.searched_sizes.items():
            raise ConfigError(f"{name}: {sizes}; a study measures at one size: give an entry of its own for each")
        return self


class _VariedEntry(ArchitecturesEntry):
    """Genotypes, and what is measured of each: at the width of the space, or at each of ``widths`` (channels)."""

    label: str | None = Field(None, min_length=1)
    search_space: OneSize | None = None
    widths: list[Count] | None = Field(None, min_length=1)
    variants: list[SerializeAsAny[Any]] = Field(default_factory=lambda: [ORIGINAL.label], min_length=1)

    @field_validator("variants", mode="before")
    @classmethod
    def _entries(cls, entries: Any) -> Any:
        return [_parsed(entry) for entry in entries] if isinstance(entries, list) else entries

    @field_validator("widths")
    @classmethod
    def _widths_differ(cls, widths: list[int] | None) -> list[int] | None:
        if widths is not None and len(set(widths)) != len(widths):
            raise ConfigError(f"{widths}: one is there twice")
        return widths

    @model_validator(mode="after")
    def _variants_differ(self) -> _VariedEntry:
        _expanded(self.variants)
        return self

    def _labelled(self, genotypes: Sequence[Any], label: str, space: SearchSpaceConfig) -> Iterator[Architecture]:
        sizes = (self.search_space or space).options
        variants, digits = _expanded(self.variants), len(str(len(genotypes)))
        for width in self.widths or [sizes["channels"]]:
            for number, genotype in enumerate(genotypes, start=1):
                source = _source_of(genotype, {**sizes, "channels": width})
                yield Architecture(f"{label}-{number:0{digits}}", "NAS", source, variants)


def _source_of(genotype: Any, sizes: Mapping[str, Any]) -> GenotypeSource:
    fitting = {"name": space_of(genotype).name, "channels": sizes["channels"], "cells": sizes["cells"]}
    return GenotypeSource(genotype=str(genotype), space=fitting)


class GenotypesEntry(_VariedEntry):
    """``{genotypes: FILE}`` or a list of texts: architectures that somebody found. The first ``limit`` are taken."""

    genotypes: str | list[str]
    limit: int | None = Field(None, ge=1)

    def architectures(self, space: SearchSpaceConfig) -> Iterator[Architecture]:
        """One architecture a genotype, in the file's order."""
        if isinstance(self.genotypes, str):
            found, label = read_genotypes(self.genotypes), Path(self.genotypes).stem
        else:
            texts = enumerate(self.genotypes)
            found, label = [genotype_at(f"genotypes.{number}", text) for number, text in texts], "genotype"
        yield from self._labelled(found[: self.limit], self.label or label, space)


class TrialEntry(ArchitecturesEntry):
    """``{trial: 7, genotype: TEXT, search_space: {...}}``: what a trial of a search has found."""

    trial: int = Field(ge=0)
    genotype: str
    search_space: SearchSpaceConfig | None = None

    def architectures(self, space: SearchSpaceConfig) -> Iterator[Architecture]:
        """One, called after the trial."""
        genotype = genotype_at("genotype", self.genotype)
        source = _source_of(genotype, (self.search_space or space).options)
        yield Architecture(label_of(self.trial), "NAS", source)


class SampledEntry(_VariedEntry):
    """``{sampled: 10}``: random architectures of the space, all choices equally likely."""

    sampled: int = Field(ge=1)
    seed: int = Field(0, ge=0)

    def architectures(self, space: SearchSpaceConfig) -> Iterator[Architecture]:
        """As many architectures; more of them with the same seed begin with the same ones."""
        chosen = self.search_space or space
        found = SPACES[chosen.name].sample(self.sampled, self.seed, chosen.options)
        yield from self._labelled(found, self.label or "sampled", space)


class SearchedEntry(ArchitecturesEntry):
    """``{strategy: {name: gdas}}``: what a one-shot strategy finds, searched anew in each trial."""

    strategy: StrategyConfig
    label: str | None = Field(None, min_length=1)
    pattern: PatternConfig | None = None
    search_space: OneSize | None = None

    @model_validator(mode="after")
    def _in_one_process(self) -> SearchedEntry:
        if self.strategy.name not in ONE_SHOT:
            raise ConfigError(
                f"strategy.name: {self.strategy.name!r} trains many architectures a search; run it with nni-privacy "
                f"search and give its genotypes here as a file. In a trial search: {', '.join(ONE_SHOT)}"
            )
        if self.strategy.options.get("top_k", 1) != 1:
            raise ConfigError(f"strategy.top_k: {self.strategy.options['top_k']}; a trial measures the best one only")
        return self

    def architectures(self, space: SearchSpaceConfig) -> Iterator[Architecture]:
        """One: the best that the search finds."""
        chosen, pattern = self.search_space or space, self.pattern
        variants: tuple[Variant, ...] = (ORIGINAL,)
        if pattern is not None:
            section = VariantsConfig(pattern=[pattern.name], cells=[pattern.cells], budget=[pattern.budget])
            variants = tuple(section.variants())
        source = SearchSource(
            space={"name": chosen.name, **chosen.options},
            strategy={"name": self.strategy.name, **self.strategy.options},
            pattern=None if pattern is None else pattern.model_dump(),
        )
        yield Architecture(self.label or self.strategy.name, "NAS", source, variants)


_ENTRIES: Mapping[str, type[ArchitecturesEntry]] = {
    "networks": NetworksEntry,
    "genotypes": GenotypesEntry,
    "trial": TrialEntry,
    "sampled": SampledEntry,
    "strategy": SearchedEntry,
}
"""The key by which an entry is told from the others."""


def parse_entry(content: Any) -> ArchitecturesEntry:
    """Reads one entry of ``architectures``.

    Raises:
        ConfigError: if it is of no known kind, or one of its values is not valid.
    """
    if isinstance(content, ArchitecturesEntry):
        return content
    keys = [key for key in _ENTRIES if isinstance(content, Mapping) and key in content]
    if len(keys) != 1:
        found = ", ".join(map(str, content)) if isinstance(content, Mapping) else repr(content)[:80]
        hint = nearest(str(next(iter(content))), _ENTRIES) if isinstance(content, Mapping) and content else ""
        raise ConfigError(f"{found}; an entry is a mapping with one of {', '.join(_ENTRIES)} {hint}".rstrip())
    return validated(_ENTRIES[keys[0]], content)
