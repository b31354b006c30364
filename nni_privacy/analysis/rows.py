"""Rows of a study: the factors that a trial was set to, typed, beside its metrics and genotype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nni_privacy.cells.spaces import AnyGenotype, space_of
from nni_privacy.errors import DataError
from nni_privacy.runs.records import TrialRecord

__all__ = ["NO_DEFENCE", "ORIGINAL", "MeasuredRow", "measured_row"]

ORIGINAL = "original"
"""The variant that nothing was done to."""
NO_DEFENCE = "none"

_WHOLE = ("budget", "seed", "channels", "network_cells", "nodes")
_TEXTS = ("architecture", "variant", "dataset", "defence", "kind", "pattern", "cells", "control", "size")
_NEEDED = ("architecture", "variant", "dataset", "defence", "seed")


@dataclass(frozen=True)
class MeasuredRow:
    """A measurement of a study; :func:`measured_row` makes it of a trial.

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
        """Name of the genotype's space, such as ``darts``; None of what is no genotype."""
        return None if self.genotype is None else space_of(self.genotype).name

    @property
    def original(self) -> bool:
        """Whether nothing was done to the architecture."""
        return self.variant == ORIGINAL

    def __str__(self) -> str:
        parts = [self.architecture, self.variant, self.dataset]
        parts += [self.defence] if self.defence != NO_DEFENCE else []
        return ", ".join([*parts, *([self.size] if self.size else []), f"seed {self.seed}"])


def measured_row(trial: TrialRecord) -> MeasuredRow:
    """The row of a trial of a study.

    Raises:
        DataError: if a factor that every measurement has is missing, or is not what its name says.
    """
    factors = trial.factors
    for name in _NEEDED:
        if factors.get(name) is None:
            raise DataError(f"factors: {name}: missing; a measurement has {', '.join(_NEEDED)}")
    whole = {name: factors.get(name) for name in _WHOLE}
    for name, value in whole.items():
        if value is not None and type(value) is not int:
            raise DataError(f"factors: {name}: {value!r} is not a whole number")
    text = {name: None if factors.get(name) is None else str(factors[name]) for name in _TEXTS}
    return MeasuredRow(metrics=trial.metrics, genotype=trial.genotype, **text, **whole)  # type: ignore[arg-type]
