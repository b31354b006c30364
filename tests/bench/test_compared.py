"""Sizes of cells, and the split of measurements that somebody else has made, against planted ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from nni_privacy.bench.compared import compared_split, sizes_of
from nni_privacy.cells.spaces import SPACES
from nni_privacy.errors import DataError
from nni_privacy.search_spaces.network import CellNetwork
from nni_privacy.training.costs import parameters


def test_sizes_are_those_of_networks_that_are_built() -> None:
    cells = SPACES["darts"].sample(3, 1, {"nodes": 4})
    built = [parameters(CellNetwork(one, channels=16, cells=5, in_channels=3, num_classes=10)) for one in cells]
    assert_allclose(sizes_of(cells), built)


def write(path: Path, *, size: float, noise: float) -> Path:
    rng = np.random.default_rng(0)
    cells = SPACES["darts"].sample(80, 2, {"nodes": 4})
    weights = np.log10(sizes_of(cells))
    accuracy = rng.uniform(0.8, 0.9, len(cells))
    auc = 0.7 + size * (weights - weights.mean()) / weights.std() + rng.normal(0, noise, len(cells))
    rows = zip(cells, auc, accuracy, strict=True)
    lines = [f'{number},"{one}",{value},{right}' for number, (one, value, right) in enumerate(rows)]
    path.write_text("\n".join(["architecture_id,genotype,mia_auc,test_accuracy", *lines]))
    return path


def test_the_share_of_size_is_found_again(tmp_path: Path) -> None:
    found = compared_split(write(tmp_path / "measured.csv", size=0.03, noise=0.015), rounds=500)
    parts = found.split.parts
    assert (found.name, found.architectures) == ("measured.csv", 80)
    assert parts["size"].low < 0.8 < parts["size"].high  # .03^2 / (.03^2 + .015^2)
    assert parts["accuracy"].value < 0.05 and parts["remaining, seed and records"].value == pytest.approx(0.2, abs=0.06)


def test_without_accuracies_there_is_nothing_to_split_by(tmp_path: Path) -> None:
    path = write(tmp_path / "measured.csv", size=0.0, noise=0.01)
    path.write_text("\n".join(line.rpartition(",")[0] for line in path.read_text().splitlines()))
    with pytest.raises(DataError, match="test_accuracy"):
        compared_split(path)
