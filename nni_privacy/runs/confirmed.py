"""``confirmed.json`` of a search's run directory: what its best architectures are when they are trained anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nni_privacy.errors import ConfigError, DataError
from nni_privacy.files import atomic_write
from nni_privacy.runs.records import CONFIRM, CONFIRMED
from nni_privacy.schema import Section, validated

__all__ = ["CONFIRM", "CONFIRMED", "Confirmed", "ConfirmedArchitecture", "ConfirmedMean", "Difference", "Shrunken"]
__all__ += ["ShrunkenTrial", "label_of", "means_of", "read_confirmed", "write_confirmed"]


def label_of(sequence: int) -> str:
    """What the architecture of a search's trial is called in the run that confirms it."""
    return f"trial {sequence}"


class ConfirmedMean(Section):
    """A metric of one architecture over seeds.

    Attributes:
        mean: over the seeds that have it.
        low: lower end of the 95% interval of the mean (Student's t); None of a single value.
        high: upper end.
        sd: standard deviation of one training's value; None of a single one.
        count: number of values.
        by_seed: the values in the order of the seeds, None where there is none.
    """

    mean: float
    low: float | None
    high: float | None
    sd: float | None
    count: int
    by_seed: list[float | None]


def means_of(metrics: Mapping[str, ConfirmedMean]) -> dict[str, float]:
    """Name of each metric to its mean over the seeds; those of the ends of its interval end in ``_low``, ``_high``."""
    found = {name: one.mean for name, one in metrics.items()}
    ends = {f"{name}_{side}": getattr(one, side) for name, one in metrics.items() for side in ("low", "high")}
    return {**found, **{name: end for name, end in ends.items() if end is not None}}


class ConfirmedArchitecture(Section):
    """An architecture that was trained anew with every seed.

    Attributes:
        trial: id of the trial of the search that found it.
        sequence: number of that trial.
        architecture: its text.
        space: name and sizes of its space.
        searched: metrics of that trial.
        trials: ids of the trainings, in ``confirm/trials.jsonl``.
        failed: seeds whose training failed.
        metrics: name to what was measured over the seeds.
        feasible: whether the means keep all constraints.
        certain: whether the intervals' ends do, too.
    """

    trial: str
    sequence: int
    architecture: str
    space: dict[str, Any]
    searched: dict[str, float]
    trials: list[str]
    failed: list[int]
    metrics: dict[str, ConfirmedMean]
    feasible: bool
    certain: bool

    @property
    def means(self) -> dict[str, float]:
        """See :func:`means_of`."""
        return means_of(self.metrics)


class Difference(Section):
    """A paired difference of two architectures: ``first`` less ``second``, seed by seed.

    Attributes:
        metric: its name.
        first: number of the one's trial in the search.
        second: of the other's.
        difference: mean over the seeds that both have.
        low: lower end of its 95% interval (Student's t).
        high: upper end.
        count: number of pairs.
        p_value: two-sided, of no difference.
        adjusted: the same, adjusted for all pairs of the metric (Holm).
        differ: whether that is at most 5%.
    """

    metric: str
    first: int
    second: int
    difference: float
    low: float
    high: float
    count: int
    p_value: float
    adjusted: float
    differ: bool


class ShrunkenTrial(Section):
    """What a trial of the search measured, and its shrunken estimate with a 95% interval."""

    trial: str
    sequence: int
    searched: float
    estimate: float
    low: float
    high: float


class Shrunken(Section):
    """The shrunken estimates of a metric; see :mod:`nni_privacy.analysis.shrinkage`.

    Attributes:
        count: number of different architectures.
        mean: of their searched values.
        within_sd: standard deviation of one training, as the confirming runs measured it.
        within_dof: its degrees of freedom.
        between_sd: standard deviation of the true values, estimated.
        weight: share of its distance from the mean that a value keeps; below 0 where they scatter less than noise does.
        expected_extreme: distance from the mean that the best of so many equal architectures is expected to have.
        trials: all trials of the search.
    """

    count: int
    mean: float
    within_sd: float
    within_dof: int
    between_sd: float
    weight: float
    expected_extreme: float
    trials: list[ShrunkenTrial]


class Confirmed(Section):
    """All that was confirmed of a search.

    Attributes:
        attacks: names, the primary one first.
        seeds: of the trainings; each drives split, initial weights and batches, and is the same for all architectures.
        constraints: what was asked of them, such as ``mia_auc <= 0.6``.
        architectures: in the order in which they were chosen.
        differences: of all pairs, metric by metric.
        shrunken: by metric.
        best: id of the search's trial whose architecture is the most accurate of those whose means keep the
            constraints; None if there is none.
        nearest: of that which comes nearest to them, the same as ``best`` if there is one.
    """

    attacks: list[str]
    seeds: list[int]
    constraints: list[str]
    architectures: list[ConfirmedArchitecture]
    differences: list[Difference]
    shrunken: dict[str, Shrunken]
    best: str | None
    nearest: str

    def of(self, trial: str | None) -> ConfirmedArchitecture | None:
        """That of a trial of the search, by its id."""
        return next((one for one in self.architectures if one.trial == trial), None)


def write_confirmed(directory: Path, confirmed: Confirmed) -> Path:
    """Writes it into a run directory, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    path = directory / CONFIRMED
    atomic_write(path, json.dumps(confirmed.model_dump(mode="json"), indent=2, allow_nan=False) + "\n")
    return path


def read_confirmed(directory: Path) -> Confirmed | None:
    """Reads it from a run directory; None if nothing of the run was confirmed.

    Raises:
        DataError: if the file is not what its name says.
    """
    path = directory / CONFIRMED
    if not path.is_file():
        return None
    try:
        return validated(Confirmed, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, TypeError, ConfigError) as error:
        again = f"nni-privacy confirm {directory} writes it anew"
        raise DataError(f"{path}: not what a confirmed run writes ({' '.join(str(error).split())}); {again}") from None
