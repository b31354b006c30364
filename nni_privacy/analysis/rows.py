"""Rows of a study: what one trial was set to, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nni_privacy.cells.genotypes import AnyGenotype, parse_genotype
from nni_privacy.cells.nasbench201 import NasBench201Genotype
from nni_privacy.errors import DataError, GenotypeError

__all__ = ["NO_DEFENCE", "ORIGINAL", "MeasuredRow", "measured_row"]

ORIGINAL = "original"
"""The variant that nothing was done to."""
NO_DEFENCE = "none"

_WHOLE = ("budget", "seed", "channels", "network_cells", "nodes")
_NEEDED = ("architecture", "variant", "dataset", "defence", "seed")


@dataclass(frozen=True)
class MeasuredRow:
    """One measurement.

    Attributes:
        architecture: label of the base architecture.
        variant: ``original``, or what was done to its cells.
        dataset: label of the data set.
        defence: label of the defence, or ``none``.
        seed: of training and attack.
        metrics: finite numbers under the names of the run directory, fractions.
        kind: ``human-designed`` or ``NAS``.
        pattern: family of the pattern of a variant, such as ``demotion``.
        cells: which of a genotype's cells the pattern went into.
        budget: number m of its edges.
        control: ``placebo``, ``size-matched``, or None of a variant that is no control.
        size: what channels, cells and nodes the network has, in words.
        channels: initial channels.
        network_cells: number N of cells.
        nodes: number M of intermediate nodes.
        genotype: what was trained; None of a human-designed network.
    """

    architecture: str
    variant: str
    dataset: str
    defence: str
    seed: int
    metrics: Mapping[str, float]
    kind: str | None = None
    pattern: str | None = None
    cells: str | None = None
    budget: int | None = None
    control: str | None = None
    size: str | None = None
    channels: int | None = None
    network_cells: int | None = None
    nodes: int | None = None
    genotype: AnyGenotype | None = None

    @property
    def space(self) -> str | None:
        """``darts`` or ``nasbench201``; None of what is no genotype."""
        if self.genotype is None:
            return None
        return "nasbench201" if isinstance(self.genotype, NasBench201Genotype) else "darts"

    @property
    def original(self) -> bool:
        """Whether nothing was done to the architecture."""
        return self.variant == ORIGINAL

    def __str__(self) -> str:
        parts = [self.architecture, self.variant, self.dataset]
        parts += [self.defence] if self.defence != NO_DEFENCE else []
        return ", ".join([*parts, *([self.size] if self.size else []), f"seed {self.seed}"])


def measured_row(factors: Mapping[str, Any], metrics: Mapping[str, float], trained: str = "") -> MeasuredRow:
    """A row from the parts of a line of ``trials.jsonl``.

    Args:
        factors: what the trial was set to.
        metrics: what was measured.
        trained: the architecture that was really trained, a genotype's text or a network's name.

    Raises:
        DataError: if a factor that every measurement has is missing, or is not what its name says.
    """
    for name in _NEEDED:
        if factors.get(name) is None:
            raise DataError(f"factors: {name}: missing; a measurement has {', '.join(_NEEDED)}")
    whole = {name: _whole(name, factors.get(name)) for name in _WHOLE}
    texts = ("architecture", "variant", "dataset", "defence", "kind", "pattern", "cells", "control", "size")
    text = {name: None if factors.get(name) is None else str(factors[name]) for name in texts}
    return MeasuredRow(metrics=dict(metrics), genotype=_genotype(trained), **text, **whole)  # type: ignore[arg-type]


def _whole(name: str, value: Any) -> int | None:
    if value is None or type(value) is int:
        return value
    raise DataError(f"factors: {name}: {value!r} is not a whole number")


def _genotype(text: str) -> AnyGenotype | None:
    try:
        return parse_genotype(text)
    except GenotypeError:
        return None
