"""A repaired copy of NNI's node package, made once in a cache folder.

NNI's launcher runs ``import nni_node`` and starts the manager that it finds there (``nni/experiment/launcher.py``), so
a folder that comes first on ``sys.path`` and holds a repaired ``nni_node`` is all that it takes: site-packages is never
written to. Files without a patch are hard links where the file system allows it (the package is 190 MB), otherwise
copies; a patched file is always written fresh, because writing through a hard link would change the installed package.
"""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from nni_privacy.errors import ConfigError, RuntimeRepairError
from nni_privacy.files import CACHE_VARIABLE, cache_folder, private_folder
from nni_privacy.nni_runtime.patches.apply import Patch, patched_texts
from nni_privacy.nni_runtime.patches.registry import PATCHES, check_names

__all__ = ["find_node_package", "make_overlay"]

MARKER = "nni-privacy-overlay.json"
PACKAGE = "nni_node"
# Half-made folders of makers that were killed are removed after this time; a living maker needs seconds.
STALE_SECONDS = 24 * 3600.0


def find_node_package() -> Path:
    """The installed ``nni_node``, even where an overlay of it already comes first on ``sys.path``.

    Raises:
        RuntimeRepairError: when NNI is not installed, or was installed without its node package.
    """
    for folder in _candidate_folders():
        package = folder / PACKAGE
        if (package / "main.js").is_file() and not (folder / MARKER).exists():
            return package
    raise RuntimeRepairError("NNI's node package (nni_node) is not installed here: pip install 'nni>=3.0,<4'")


def make_overlay(*, without: Collection[str] = ()) -> Path:
    """Makes the repaired copy, or finds the one that was made before.

    Args:
        without: names of patches to leave out; tests use it to show that each of them fails without its patch.

    Returns:
        The folder to put first on ``sys.path``; the repaired package is ``nni_node`` inside it.

    Raises:
        RuntimeRepairError: when NNI's files are not the ones that the patches were written for; nothing is made then.
    """
    check_names(without)
    source = find_node_package()
    patches = tuple(patch for patch in PATCHES.values() if patch.name not in without)
    # All texts are made first: a patch that does not fit is found before a single file is written.
    texts = patched_texts(source, patches)
    target = cache_folder("overlays") / _key(source, patches)
    try:
        private_folder(target.parent)
        if _is_whole(source, target, texts):
            return target
        _remove_stale(target.parent)
        _make(source, target, texts, patches)
    except ConfigError as error:
        raise RuntimeRepairError(str(error)) from None
    except OSError as error:
        raise RuntimeRepairError(
            f"the repaired copy of NNI's manager cannot be made in {target.parent}: {error}; "
            f"set {CACHE_VARIABLE} to a folder with room that can be written"
        ) from error
    return target


def _candidate_folders() -> Iterator[Path]:
    # pip's own record comes first: an overlay has none, so it cannot fool this.
    with contextlib.suppress(metadata.PackageNotFoundError):
        yield Path(str(metadata.distribution("nni").locate_file("")))
    yield from (Path(entry or ".") for entry in sys.path)


def _nni_version() -> str:
    try:
        return metadata.version("nni")
    except metadata.PackageNotFoundError:
        return "unknown"


def _files(package: Path) -> Iterator[tuple[str, Path]]:
    """Every file of the package with its relative name, without Python's caches (they belong to one interpreter)."""
    for folder, names, files in os.walk(package):
        names[:] = sorted(name for name in names if name != "__pycache__")
        for file in sorted(files):
            path = Path(folder) / file
            yield path.relative_to(package).as_posix(), path


def _key(source: Path, patches: Collection[Patch]) -> str:
    """Names the overlay after all it depends on: NNI's version, the source's files and the patches' text."""
    digest = hashlib.sha256()
    digest.update(f"{_nni_version()}\n{source.resolve()}\n".encode())
    for name, path in _files(source):
        state = path.lstat()
        digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    for patch in patches:
        digest.update(repr(patch).encode())
    return f"nni-{_nni_version()}-{digest.hexdigest()[:20]}"


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_whole(source: Path, target: Path, texts: Mapping[str, str]) -> bool:
    """Whether an overlay is finished (the marker comes last) and holds what was written: these files and no others.

    Node runs whatever it finds there, and Python what lies in a folder of compiled modules, which is removed.
    """
    if not (target / MARKER).is_file() or target.is_symlink():
        return False
    shutil.rmtree(target / PACKAGE / "__pycache__", ignore_errors=True)
    wanted = dict(_files(source))
    found = {path.relative_to(target / PACKAGE).as_posix(): path for path in _everything(target / PACKAGE)}
    if wanted.keys() != found.keys() or {path.name for path in target.iterdir()} != {MARKER, PACKAGE}:
        return False
    return all(
        hashlib.sha256(path.read_bytes()).hexdigest() == _checksum(texts[name])
        if name in texts
        else _is_same(wanted[name], path)
        for name, path in found.items()
    )


def _everything(folder: Path) -> Iterator[Path]:
    """All files, and links to folders, which node would follow."""
    for place, folders, files in os.walk(folder):
        paths = [Path(place) / name for name in folders]
        yield from (path for path in paths if path.is_symlink())
        yield from (Path(place) / name for name in files)


def _is_same(original: Path, path: Path) -> bool:
    """Whether a file is the installed one (a hard link), or a copy of it, byte for byte."""
    if path.is_symlink():
        return False
    return os.path.samestat(original.stat(), path.stat()) or filecmp.cmp(original, path, shallow=False)


def _make(source: Path, target: Path, texts: Mapping[str, str], patches: Collection[Patch]) -> None:
    """Builds in a sibling folder and moves it into place; of several makers, the first wins and all use its work."""
    work = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    try:
        _copy(source, work / PACKAGE, texts)
        marker = {
            "source": str(source),
            "patches": [patch.name for patch in patches],
            "files": {name: _checksum(text) for name, text in texts.items()},
        }
        (work / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
        _move(source, work, target, texts)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _move(source: Path, work: Path, target: Path, texts: Mapping[str, str]) -> None:
    # rename() of a folder onto one that is not empty fails, which is what makes this safe without a lock.
    for _ in range(2):
        try:
            work.rename(target)
        except OSError:
            if not target.exists():
                raise
        else:
            return
        if _is_whole(source, target, texts):
            return
        # A damaged overlay stands in the way: moved aside first, so that nobody sees it half removed.
        aside = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
        target.rename(aside / "damaged")
        shutil.rmtree(aside, ignore_errors=True)
    raise OSError(f"{target} keeps being replaced by a damaged copy")


def _copy(source: Path, target: Path, texts: Mapping[str, str]) -> None:
    link = True
    for name, path in _files(source):
        destination = target / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        if name in texts:
            with destination.open("w", encoding="utf-8", newline="") as file:
                file.write(texts[name])
            shutil.copymode(path, destination)
            continue
        if link:
            try:
                # Never a symbolic link: node resolves those and would load the file's neighbours from site-packages.
                os.link(path.resolve(), destination)
                continue
            except OSError:
                # Another file system, or a system that forbids links to files of other users: all the rest is copied.
                link = False
        shutil.copy2(path, destination)


def _remove_stale(folder: Path) -> None:
    for path in folder.glob(".making-*"):
        try:
            old = time.time() - path.stat().st_mtime > STALE_SECONDS
        except FileNotFoundError:
            continue
        if old:
            shutil.rmtree(path, ignore_errors=True)
