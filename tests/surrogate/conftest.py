"""A file of measured architectures."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from surrogate.samples import planted_rows


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows under a header; by default 60 architectures with planted AUC."""

    def write(rows: list[list[object]] | None = None, header: tuple[str, ...] = ("genotype", "mia_auc")) -> Path:
        path = tmp_path / "data.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *(planted_rows() if rows is None else rows)])
        return path

    return write
