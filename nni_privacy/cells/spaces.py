"""The search spaces, one record each: whatever reads, names, draws, samples or builds architectures asks here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from nni_privacy.cells.codes import random_architectures
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, Edge, Genotype
from nni_privacy.cells.nasbench201 import NASBENCH201_CELL, NASBENCH201_OPERATIONS, NasBench201Genotype, random_cells
from nni_privacy.cells.operations import OPERATION_KINDS, OperationKind
from nni_privacy.errors import ConfigError
from nni_privacy.rng import stream_seed

__all__ = ["MOST", "SPACES", "AnyGenotype", "SpaceRecord", "register_space", "space_of", "space_title"]

MOST: Mapping[str, int] = MappingProxyType({"channels": 4096, "cells": 100, "nodes": 16})
"""The largest sizes of a network, in a configuration too."""


class AnyGenotype(Protocol):
    """An architecture as an immutable value; ``str(genotype)`` is the text that :meth:`parse` reads."""

    @classmethod
    def parse(cls, text: str) -> AnyGenotype:
        """Reads the text; GenotypeError if it describes no legal genotype."""

    def edges_by_cell(self) -> dict[str, tuple[Edge, ...]]:
        """Name of each searched cell to its edges."""


@dataclass(frozen=True, kw_only=True)
class SpaceRecord:
    """What is to be known of a search space.

    Attributes:
        name: in configurations and studies.
        title: in sentences.
        prefix: how the text of its genotypes begins, and that of no other space.
        genotype: the class of its architectures.
        cells: names of the searched cells. They are drawn with node 0 as input and the last node as output; only a
            :class:`~nni_privacy.cells.Cell` has two inputs and concatenates its nodes.
        operations: each to its kind.
        sizes: ``module:Class`` of the model space's options in a configuration, a :class:`~nni_privacy.schema.Section`
            with ``channels`` and ``cells``, which the network has too, and others.
        model_space: the same of the model space, a :class:`~nni_privacy.search_spaces.space.CellSpace`.
        network: the same of the network of one genotype, a :class:`~nni_privacy.search_spaces.network.Skeleton`. Other
            processes import this path only: a plugin's module must register the space, or import what does.
        sample: number, seed and sizes to as many random genotypes; more with one seed begin with the same.
    """

    name: str
    title: str
    prefix: str
    genotype: type[AnyGenotype]
    cells: tuple[str, ...]
    operations: Mapping[str, OperationKind]
    sizes: str
    model_space: str
    network: str
    sample: Callable[[int, int, Mapping[str, Any]], Sequence[AnyGenotype]]


_SPACES: dict[str, SpaceRecord] = {}
SPACES: Mapping[str, SpaceRecord] = MappingProxyType(_SPACES)
"""All spaces by name."""


def register_space(record: SpaceRecord) -> None:
    """Makes a space known to all that goes by records.

    Raises:
        ConfigError: if its name or prefix is taken, or one of its operations is of another kind elsewhere.
    """
    if record.name in _SPACES:
        raise ConfigError(f"search space {record.name!r} is registered already")
    for other in _SPACES.values():
        if record.prefix.startswith(other.prefix) or other.prefix.startswith(record.prefix):
            raise ConfigError(f"search space {record.name!r}: genotypes of {other.name} begin with {other.prefix!r}")
    for op, kind in record.operations.items():
        if OPERATION_KINDS.setdefault(op, kind) != kind:
            raise ConfigError(f"operation {op!r}: a {OPERATION_KINDS[op]} in another space, not a {kind}")
    _SPACES[record.name] = record


def space_of(genotype: AnyGenotype) -> SpaceRecord:
    """The space of an architecture."""
    return next(record for record in _SPACES.values() if isinstance(genotype, record.genotype))


def space_title(name: str | None) -> str:
    """What a space is called in a sentence; None is that of what is no genotype."""
    return "human-designed" if name is None else SPACES[name].title


register_space(
    SpaceRecord(
        name="darts",
        title="DARTS space",
        prefix="Genotype",
        genotype=Genotype,
        cells=CELL_TYPES,
        operations={op: OPERATION_KINDS[op] for op in DARTS_OPERATIONS},
        sizes="nni_privacy.search_spaces.config:DartsSizes",
        model_space="nni_privacy.search_spaces.darts:DARTS",
        network="nni_privacy.search_spaces.network:CellNetwork",
        # A seed for each architecture: with more of them the first stay what they were.
        sample=lambda count, seed, sizes: [
            random_architectures(1, seed=stream_seed(seed, number), nodes=sizes["nodes"]).to_genotypes()[0]
            for number in range(count)
        ],
    )
)
register_space(
    SpaceRecord(
        name="nasbench201",
        title="NAS-Bench-201",
        prefix="|",
        genotype=NasBench201Genotype,
        cells=(NASBENCH201_CELL,),
        operations={op: OPERATION_KINDS[op] for op in NASBENCH201_OPERATIONS},
        sizes="nni_privacy.search_spaces.config:NasBench201Sizes",
        model_space="nni_privacy.search_spaces.nasbench201:NasBench201",
        network="nni_privacy.search_spaces.nasbench201_network:NasBench201Network",
        sample=lambda count, seed, _sizes: random_cells(count, seed),
    )
)
