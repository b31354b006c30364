"""A wheel, installed elsewhere: the two mapped folders are in it, and a search runs from another directory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support_search import SMALL, Search

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("nni_privacy", "search_spaces", "strategies", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment that has the wheel; what it depends on comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        path = ROOT / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    paths = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    # A .pth file adds the folder, but not the .pth files in it: the editable install of the tests stays out of sight.
    (Path(paths.stdout.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = folder.glob("*.whl")
    subprocess.run([str(python), "-m", "pip", "--quiet", "install", "--no-deps", str(wheel)], check=True)
    return python


def test_a_search_runs_from_another_directory(python: Path, tmp_path: Path) -> None:
    where = "import nni_privacy.search_spaces as s, nni_privacy.strategies as t; print(s.__file__, t.__file__)"
    found = subprocess.run([str(python), "-c", where], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert str(ROOT) not in found and found.count("site-packages/nni_privacy/") == 2
    run = Search(tmp_path, {**SMALL, "trials": 2}, "--exit-when-done", python=python)
    assert run.wait() == 0, run.text
    assert [trial["status"] for trial in run.trials] == ["succeeded"] * 2
