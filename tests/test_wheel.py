"""A source archive and the wheel that is built of it: all is in them, and a search runs from another directory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from support_search import SMALL, Search

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
MAPPED = {"nni_privacy": "nni_privacy", **{name: f"nni_privacy/{name}" for name in ("search_spaces", "strategies")}}
"""Folders of the repository, and where they are in the wheel."""
OTHERS = ("benchmarks", "docs", "experiments", "tests")
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "CHANGELOG.md", "CONTRIBUTING.md")
FILES += ("Makefile", "constraints.txt")
BUILD = "import sys; from setuptools import build_meta; build_meta.{}(sys.argv[1])"


def files_of(name: str) -> set[str]:
    """What is in a folder of the repository, but what Python and tools leave there."""
    paths = (path.relative_to(ROOT) for path in (ROOT / name).rglob("*") if path.is_file())
    return {str(path) for path in paths if not {"__pycache__", ".DS_Store"} & {path.name, path.parent.name}}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source archive of the repository, and the wheel that is built of what is in it."""
    folder = tmp_path_factory.mktemp("archives")
    (folder / "repository").mkdir()
    for name in (*MAPPED, *OTHERS, *FILES):
        path = ROOT / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / "repository" / name)
    build = [sys.executable, "-c", BUILD.format("build_sdist"), str(folder)]
    subprocess.run(build, cwd=folder / "repository", check=True, capture_output=True)
    (source,) = folder.glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    return source, wheel


def test_the_source_archive_holds_the_repository(archives: tuple[Path, Path]) -> None:
    with tarfile.open(archives[0]) as archive:
        held = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    wanted = {name for folder in (*MAPPED, *OTHERS) for name in files_of(folder)} | set(FILES)
    made = {name for name in held - wanted if name.startswith("nni_privacy.egg-info/")}
    assert held - made == wanted | {"PKG-INFO"}


def test_the_wheel_holds_the_package_and_the_two_mapped_folders(archives: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archives[1]) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    pairs = [(where, name) for folder, where in MAPPED.items() for name in files_of(folder)]
    assert held == {f"{where}/{name.partition('/')[2]}" for where, name in pairs}


@pytest.fixture(scope="module")
def python(archives: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment that has the wheel; what it depends on comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
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
    subprocess.run([str(python), "-m", "pip", "--quiet", "install", "--no-deps", str(archives[1])], check=True)
    return python


def test_a_search_runs_from_another_directory(python: Path, tmp_path: Path) -> None:
    where = "import nni_privacy.search_spaces as s, nni_privacy.strategies as t; print(s.__file__, t.__file__)"
    found = subprocess.run([str(python), "-c", where], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert str(ROOT) not in found and found.count("site-packages/nni_privacy/") == 2
    run = Search(tmp_path, {**SMALL, "trials": 2}, "--exit-when-done", python=python)
    assert run.wait() == 0, run.text
    assert [trial["status"] for trial in run.trials] == ["succeeded"] * 2
