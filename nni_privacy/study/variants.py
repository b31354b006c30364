"""Variants of a genotype: what a pattern, or one of its controls, makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from pydantic import Field, model_validator

from nni_privacy.errors import ConfigError
from nni_privacy.patterns import Cells, Pattern, load_pattern
from nni_privacy.sections import Section

__all__ = ["ORIGINAL", "Control", "Variant", "VariantsConfig", "expand_variants"]

Control = Literal["none", "placebo", "size-matched"]

_Strings = str | list[str]


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

    pattern: _Strings
    cells: Cells | list[Cells] | None = None
    budget: int | list[int] = 4
    control: Control | list[Control] = Field("none")

    @model_validator(mode="after")
    def _check(self) -> VariantsConfig:
        for name in ("pattern", "cells", "budget", "control"):
            if getattr(self, name) == []:
                raise ConfigError(f"{name}: the list is empty")
        list(self.variants())
        return self

    def variants(self) -> Iterator[Variant]:
        """All variants of the entry.

        Raises:
            PatternError: if there is no such pattern, or it has fewer edges than the budget.
        """
        options = (self.pattern, self.cells, self.budget, self.control)
        for name, cells, budget, control in product(*(_listed(option) for option in options)):
            pattern = load_pattern(name, cells=cells).first(budget)
            family = name.removesuffix(f"-{pattern.cells}")
            label = f"{family.rpartition('/')[2]}-{pattern.cells}-{budget}"
            yield Variant(label if control == "none" else f"{label}-{control}", pattern, family, control, budget)


def expand_variants(entries: Iterable[str | VariantsConfig]) -> tuple[Variant, ...]:
    """The variants that a list of ``original`` and mappings stands for.

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


def _listed(option: Any) -> list[Any]:
    return option if isinstance(option, list) else [option]
