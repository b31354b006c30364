"""Architecture-to-MIA data: architectures with the AUC that an attack on them was measured to have."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import Genotype
from nni_privacy.errors import DataError

__all__ = ["MINIMUM_ROWS", "DuplicateArchitectureWarning", "MIAData", "Measurement", "gather", "write_mia_data"]

MINIMUM_ROWS = 50
"""With fewer, nothing about architectures can be told from the noise of training."""

Floats = npt.NDArray[np.float64]


class DuplicateArchitectureWarning(UserWarning):
    """An architecture was measured several times, with different results; their mean is used."""


@dataclass(frozen=True)
class Measurement:
    """One row: an architecture, its attack AUC, and its test accuracy if known; ``where`` it was read, for errors."""

    genotype: Genotype
    mia_auc: float
    accuracy: float | None = None
    where: str = ""


@dataclass(frozen=True, eq=False)
class MIAData:
    """Measured architectures, each once.

    Attributes:
        genotypes: n different ones, in the order in which they were first read.
        mia_auc: (n,), fractions between 0 and 1; 0.5 means that the attack guesses.
        accuracy: (n,), test accuracy, fractions; None unless all are known.
        sources: what was read.
        repeated: how many rows were merged into others.
    """

    genotypes: tuple[Genotype, ...]
    mia_auc: Floats
    accuracy: Floats | None = None
    sources: tuple[str, ...] = ()
    repeated: int = 0

    def __post_init__(self) -> None:
        lengths = {len(self.genotypes), *(len(x) for x in (self.mia_auc, self.accuracy) if x is not None)}
        if len(lengths) != 1:
            raise DataError(f"genotypes, mia_auc and accuracy have different lengths: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.genotypes)

    def summary(self) -> str:
        """One line: how many architectures, and how their AUC is distributed."""
        low, high = (float(np.min(self.mia_auc)), float(np.max(self.mia_auc)))
        merged = f" ({self.repeated} repeated rows merged)" if self.repeated else ""
        spread = f"mean {self.mia_auc.mean():.3f}, sd {self.mia_auc.std():.3f}, {low:.3f} to {high:.3f}"
        correlation = ""
        if self.accuracy is not None and np.ptp(self.accuracy) > 0 and np.ptp(self.mia_auc) > 0:
            correlation = f"; correlation with accuracy {np.corrcoef(self.accuracy, self.mia_auc)[0, 1]:+.3f}"
        return f"{len(self)} architectures{merged}; attack AUC {spread}{correlation}"


def gather(rows: Iterable[Measurement], *, sources: Iterable[str], minimum: int = MINIMUM_ROWS) -> MIAData:
    """Merges rows of the same architecture.

    Args:
        rows: in any order.
        sources: what they were read from, for messages.
        minimum: the fewest architectures allowed.

    Raises:
        DataError: if there are too few, or their numbers of nodes differ.
    """
    names = tuple(sources)
    groups: dict[Genotype, list[Measurement]] = {}
    count = 0
    for row in rows:
        groups.setdefault(row.genotype, []).append(row)
        count += 1
    where = ", ".join(names)
    if len(groups) < minimum:
        raise DataError(f"{where}: {len(groups)} different measured architectures; at least {minimum} are needed")
    nodes = {genotype.nodes for genotype in groups}
    if len(nodes) > 1:
        raise DataError(f"{where}: architectures with different numbers of intermediate nodes: {sorted(nodes)}")
    _warn_of_differences(where, groups.values())
    accuracies = [_mean([row.accuracy for row in group]) for group in groups.values()]
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    return MIAData(
        tuple(groups),
        np.array([np.mean([row.mia_auc for row in group]) for group in groups.values()]),
        np.array(known) if len(known) == len(groups) else None,
        names,
        count - len(groups),
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _warn_of_differences(where: str, groups: Iterable[list[Measurement]]) -> None:
    differing = [group for group in groups if len({row.mia_auc for row in group}) > 1]
    if differing:
        first = differing[0]
        rows = ", ".join(row.where for row in first if row.where)
        values = ", ".join(f"{row.mia_auc:g}" for row in first)
        warnings.warn(
            f"{where}: {len(differing)} architectures were measured several times with different AUC; the mean is "
            f"used (the first: {rows}: {values})",
            DuplicateArchitectureWarning,
            stacklevel=4,
        )


def write_mia_data(data: MIAData, path: str | Path) -> None:
    """Writes a CSV file with the columns genotype, mia_auc and, if known, accuracy; whole or not at all.

    Raises:
        DataError: if the file cannot be written.
    """
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.partial")
    columns = [data.mia_auc] if data.accuracy is None else [data.mia_auc, data.accuracy]
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["genotype", "mia_auc", "accuracy"][: 1 + len(columns)])
            for genotype, *values in zip(data.genotypes, *columns, strict=True):
                writer.writerow([str(genotype), *(repr(float(value)) for value in values)])
        draft.replace(target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror or error}") from None
    finally:
        draft.unlink(missing_ok=True)
