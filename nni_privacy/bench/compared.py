"""The variance of AUCs that somebody else has measured, one training a cell: a comparison for the table's own split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from nni_privacy.bench.variance import VarianceSplit, split_between_cells
from nni_privacy.cells.spaces import AnyGenotype, space_of
from nni_privacy.errors import DataError
from nni_privacy.surrogate import read_mia_data

__all__ = ["Compared", "compared_split", "sizes_of"]

_SIZES = {"channels": 16, "cells": 5, "in_channels": 3, "num_classes": 10}
"""Of the networks whose parameters stand for the cells' sizes: their order hardly depends on it."""


@dataclass(frozen=True)
class Compared:
    """The split of foreign measurements.

    Attributes:
        name: of the file.
        architectures: number of different cells.
        split: of the AUC's variance: size, accuracy, and the rest, which no repetition takes apart.
    """

    name: str
    architectures: int
    split: VarianceSplit


def compared_split(path: Path, *, rounds: int = 2000, seed: int = 0) -> Compared:
    """Splits the variance of a file of measured architectures.

    Args:
        path: what :func:`nni_privacy.surrogate.read_mia_data` reads, with an accuracy.
        rounds: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        DataError: if it cannot be read, has no accuracies, or too few architectures.
    """
    import pandas as pd

    data = read_mia_data(path)
    if data.accuracy is None:
        raise DataError(f"{path}: not every architecture has a test_accuracy, by which the AUC's variance is split")
    columns = {"parameters": sizes_of(data.genotypes), "accuracy": data.accuracy, "mia_auc": data.mia_auc}
    split = split_between_cells(pd.DataFrame(columns), "mia_auc", rounds=rounds, seed=seed)
    return Compared(path.name, split.cells, split)


def sizes_of(genotypes: Sequence[AnyGenotype]) -> list[int]:
    """The number of weights of each genotype's network, all networks being of one width and depth."""
    import torch

    from nni_privacy.training.costs import parameters

    found = []
    for genotype in genotypes:
        with torch.device("meta"):  # shapes only: nothing is allocated or drawn
            found.append(parameters(resolve_name(space_of(genotype).network)(genotype, **_SIZES)))
    return found
