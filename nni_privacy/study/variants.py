"""Variants of a genotype: what a pattern, or one of its controls, makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from nni_privacy.errors import ConfigError
from nni_privacy.patterns import Cells, Pattern, load_pattern
from nni_privacy.sections import Section, one_line

__all__ = ["ORIGINAL", "Control", "Variant", "VariantsConfig", "expand_variants", "parse_variants"]

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


def expand_variants(entries: Iterable[str | VariantsConfig]) -> tuple[Variant, ...]:
    """The variants that a list of ``original`` and sections stands for.

    Raises:
        ConfigError: if one is there twice.
    """
    found: dict[str, Variant] = {}
    for entry in entries:
        for variant in [ORIGINAL] if isinstance(entry, str) else entry.variants():
            if variant.label in found:
                raise ConfigError(f"variants: {variant.label!r} is there twice")
            found[variant.label] = variant
    return tuple(found.values())


def parse_variants(entry: Any) -> str | VariantsConfig:
    """Reads one entry of ``variants``: ``original``, or the mapping of a :class:`VariantsConfig`.

    Raises:
        ConfigError: if it is neither, or a value is not valid.
    """
    if entry == ORIGINAL.label or isinstance(entry, VariantsConfig):
        return entry
    if not isinstance(entry, Mapping):
        raise ConfigError(f"variants: {entry!r:.80}; allowed are 'original' and mappings with a pattern")
    try:
        return VariantsConfig.model_validate(dict(entry))
    except ValidationError as error:
        raise ConfigError(f"variants: {one_line(error, VariantsConfig)}") from None
