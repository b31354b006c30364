"""Shared fixtures: where the development data is, and one thread, so that numbers are reproducible."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Before torch is loaded: tests run side by side, a thread each, and sums are those of one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

hypothesis.settings.register_profile("nni-privacy", deadline=None)
hypothesis.settings.load_profile("nni-privacy")

SHARED_DATA = Path(os.environ.get("NNI_PRIVACY_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def measured_genotypes() -> list[str]:
    """The 2,410 genotypes of the development data; skips where the data is absent."""
    path = SHARED_DATA / "architecture_to_mia.csv"
    if not path.is_file():
        pytest.skip(f"development data not there: {path.name}")
    import csv

    with path.open(newline="") as file:
        return [row["genotype"] for row in csv.DictReader(file)]


@pytest.fixture(autouse=True)
def _quiet_nni(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """NNI writes a manifest to $HOME/nni-experiments; tests keep it out of the user's."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp() / "home"))


@pytest.fixture(autouse=True)
def _no_trial_left_behind() -> Iterator[None]:
    """NNI's sequential engine leaves its last model as the process' current trial; its evaluators refuse a second."""
    yield
    if "nni.trial" in sys.modules:
        sys.modules["nni.trial"]._params = None  # type: ignore[attr-defined]
