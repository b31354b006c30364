"""Shared fixtures: files of measured architectures, and one thread, so that numbers are reproducible."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before torch is loaded: tests run side by side, a thread each, and sums are those of one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else onnxruntime reports to its makers, through proxies of tests

# And before NNI is, which notes every experiment in a file of its user's home, found when it is imported.
os.environ["HOME"] = tempfile.mkdtemp(prefix="nni-privacy-tests-")

import hypothesis
import pytest
from measured_sample import SAMPLE

# New examples at each run of a person's, the same ones in continuous integration.
hypothesis.settings.register_profile("nni-privacy", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("nni-privacy")

HOME = Path(os.environ["HOME"])
ROOT = Path(__file__).resolve().parents[1]
MEASURED = Path(os.environ.get("NNI_PRIVACY_SHARED_DATA", ROOT.parent / "shared" / "data")) / "architecture_to_mia.csv"
"""2,410 architectures that others measured. Not part of the repository: where it is, tests run on it, too."""


@pytest.fixture(scope="session", params=[SAMPLE, *filter(Path.is_file, [MEASURED])], ids=lambda path: path.stem)
def measured_file(request: pytest.FixtureRequest) -> Path:
    """A file of measured architectures: the sample of the repository, whose AUCs are planted."""
    path: Path = request.param
    return path


@pytest.fixture(scope="session")
def measured_genotypes(measured_file: Path) -> list[str]:
    """The genotypes of :func:`measured_file`."""
    with measured_file.open(newline="") as file:
        return [row["genotype"] for row in csv.DictReader(file)]


@pytest.fixture(autouse=True)
def _no_trial_left_behind() -> Iterator[None]:
    """NNI's sequential engine leaves its last model as the process' current trial; its evaluators refuse a second."""
    yield
    if "nni.trial" in sys.modules:
        sys.modules["nni.trial"]._params = None  # type: ignore[attr-defined]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 64 KB; where nothing may be mounted, the tests that use it are skipped."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a tmpfs: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def pytest_unconfigure() -> None:
    """Removes the home of these tests."""
    shutil.rmtree(HOME, ignore_errors=True)
