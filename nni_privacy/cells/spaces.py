"""The search spaces, one record each: whatever reads, names, draws, samples or builds architectures asks here."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from pydantic import Field

from nni_privacy.cells.codes import random_genotypes
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, Edge, Genotype
from nni_privacy.cells.nasbench201 import NASBENCH201_CELL, NASBENCH201_OPERATIONS, NasBench201Genotype
from nni_privacy.cells.nasbench201 import random_genotypes as random_nasbench201_genotypes
from nni_privacy.cells.operations import OperationKind, operation_kind, register_operation
from nni_privacy.errors import ConfigError
from nni_privacy.schema import Section

__all__ = ["MOST", "AnyGenotype", "DartsSizes", "NasBench201Sizes", "SpaceRecord", "cell_titles", "register_space"]
__all__ += ["space_of", "spaces"]

MOST: Mapping[str, int] = MappingProxyType({"channels": 4096, "cells": 100, "nodes": 16})
"""The largest sizes of a network, in a configuration too."""


class AnyGenotype(Protocol):
    """An architecture as an immutable value; ``str(genotype)`` is the text that :meth:`parse` reads."""

    @classmethod
    def parse(cls, text: str) -> AnyGenotype:
        """Reads the text; GenotypeError if it describes no legal genotype."""

    def edges_by_cell(self) -> dict[str, tuple[Edge, ...]]:
        """Name of each searched cell to its edges."""

    def to_sample(self) -> dict[str, str]:
        """The sample of the model space that stands for this genotype."""


@dataclass(frozen=True, kw_only=True)
class SpaceRecord:
    """What is to be known of a search space.

    Attributes:
        name: in configurations and studies.
        title: in sentences.
        prefix: how the text of its genotypes begins, and that of no other space.
        genotype: the class of its architectures.
        cells: name of each searched cell to what it is called in a sentence. Where two spaces have a cell of one name,
            they call it the same. Cells are drawn with node 0 as input and the last node as output; only a
            :class:`~nni_privacy.cells.Cell` has two inputs and concatenates its nodes.
        operations: each to its kind.
        sizes: the options of the model space in a configuration; ``channels`` and ``cells``, which its network has too,
            are among them.
        model_space: ``module:Class`` of the model space, a :class:`~nni_privacy.search_spaces.space.CellSpace`.
        network: ``module:Class`` of the network of one genotype, a
            :class:`~nni_privacy.search_spaces.network.Skeleton`; for a space of a plugin in the module that registers
            the space or one that imports it: other processes import this path only.
        sample: number, seed and sizes to as many random genotypes, more with one seed beginning with the same; without
            it studies have no ``sampled`` entries.
    """

    name: str
    title: str
    prefix: str
    genotype: type[AnyGenotype]
    cells: Mapping[str, str]
    operations: Mapping[str, OperationKind]
    sizes: type[Section]
    model_space: str
    network: str
    sample: Callable[[int, int, Mapping[str, Any]], list[Any]] | None = None

    def load_model_space(self) -> Any:
        """The class of the model space, imported."""
        return pkgutil.resolve_name(self.model_space)

    def load_network(self) -> Any:
        """The class of the network, imported."""
        return pkgutil.resolve_name(self.network)


_SPACES: dict[str, SpaceRecord] = {}


def register_space(record: SpaceRecord) -> None:
    """Makes a space known to all that goes by records.

    Raises:
        ConfigError: if its name or prefix is taken, or one of its cells or operations is something else elsewhere.
    """
    if record.name in _SPACES:
        raise ConfigError(f"search space {record.name!r} is registered already")
    for other in _SPACES.values():
        if record.prefix.startswith(other.prefix) or other.prefix.startswith(record.prefix):
            raise ConfigError(f"search space {record.name!r}: genotypes of {other.name} begin with {other.prefix!r}")
        for cell in record.cells.keys() & other.cells.keys():
            if record.cells[cell] != other.cells[cell]:
                raise ConfigError(f"search space {record.name!r}: {other.name} calls {cell!r} {other.cells[cell]!r}")
    for operation, kind in record.operations.items():
        register_operation(operation, kind)
    _SPACES[record.name] = record


def spaces() -> Mapping[str, SpaceRecord]:
    """All spaces by name."""
    return MappingProxyType(_SPACES)


def space_of(genotype: AnyGenotype) -> SpaceRecord:
    """The space of an architecture."""
    return next(record for record in _SPACES.values() if isinstance(genotype, record.genotype))


def cell_titles() -> dict[str, str]:
    """Name of every searched cell to what it is called in a sentence."""
    return {name: title for record in _SPACES.values() for name, title in record.cells.items()}


class DartsSizes(Section):
    """Sizes of ``search_space: {name: darts}``."""

    channels: int = Field(16, ge=1, le=MOST["channels"])
    cells: int = Field(5, ge=3, le=MOST["cells"])
    nodes: int = Field(4, ge=1, le=MOST["nodes"])


class NasBench201Sizes(Section):
    """Sizes of ``search_space: {name: nasbench201}``; ``cells`` are those of one of its three stages."""

    channels: int = Field(16, ge=1, le=MOST["channels"])
    cells: int = Field(5, ge=1, le=MOST["cells"])


register_space(
    SpaceRecord(
        name="darts",
        title="DARTS space",
        prefix="Genotype",
        genotype=Genotype,
        cells={name: f"{name} cell" for name in CELL_TYPES},
        operations={operation: operation_kind(operation) for operation in DARTS_OPERATIONS},
        sizes=DartsSizes,
        model_space="nni_privacy.search_spaces.darts:DARTS",
        network="nni_privacy.search_spaces.network:CellNetwork",
        sample=lambda count, seed, sizes: random_genotypes(count, seed, nodes=sizes["nodes"]),
    )
)
register_space(
    SpaceRecord(
        name="nasbench201",
        title="NAS-Bench-201",
        prefix="|",
        genotype=NasBench201Genotype,
        cells={NASBENCH201_CELL: "cell"},
        operations={operation: operation_kind(operation) for operation in NASBENCH201_OPERATIONS},
        sizes=NasBench201Sizes,
        model_space="nni_privacy.search_spaces.nasbench201:NasBench201",
        network="nni_privacy.search_spaces.nasbench201_network:NasBench201Network",
        sample=lambda count, seed, _sizes: random_nasbench201_genotypes(count, seed),
    )
)
