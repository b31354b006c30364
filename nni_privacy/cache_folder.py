"""Where this user's caches are, and that nobody else can put anything there.

What lies in a cache is used again without being made again: an overlay of NNI's manager is even run. A folder that
another user of the machine could write to would be a way in, so it is refused, not mended.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nni_privacy.errors import ConfigError

__all__ = ["CACHE_VARIABLE", "cache_folder", "private_folder"]

CACHE_VARIABLE = "NNI_PRIVACY_CACHE"

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def cache_folder(*parts: str) -> Path:
    """A folder of the user's cache: ``$NNI_PRIVACY_CACHE``, else ``nni-privacy`` in the user's cache folder.

    Args:
        parts: the folder inside it, e.g. ``"shadows"``.

    Returns:
        Its absolute path; ``~`` is the user's home. It may not exist yet: see :func:`private_folder`.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        root = Path(chosen).expanduser().absolute()
    else:
        base = os.environ.get("XDG_CACHE_HOME")
        root = (Path(base).expanduser().absolute() if base else Path.home() / ".cache") / "nni-privacy"
    return root.joinpath(*parts)


def private_folder(folder: Path) -> Path:
    """Makes a folder that is this user's alone (mode 0700), or checks that it is.

    Where it lies in the user's cache (:func:`cache_folder`), the folders between are made and checked, too. One of ours
    that others may read but not write to is closed to them.

    Args:
        folder: an absolute path.

    Returns:
        ``folder``.

    Raises:
        ConfigError: if it is another user's, or others may write to it or to a folder above it; one line.
        OSError: if it cannot be made.
    """
    top = cache_folder()
    inside = [path for path in folder.parents if path == top or top in path.parents]
    for path in (*reversed(inside), folder):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check(path, ours=top in path.parents or (path == top and not os.environ.get(CACHE_VARIABLE)))
    for path in folder.resolve().parents:
        state = path.stat()
        if state.st_mode & stat.S_IWOTH and not state.st_mode & stat.S_ISVTX:
            raise ConfigError(f"cache: {folder}: every user may write to {path}, which it lies in: chmod o-w {path}")
    return folder


def _check(folder: Path, *, ours: bool) -> None:
    """Raises ConfigError unless only this user can write to ``folder``.

    Args:
        folder: exists.
        ours: it is of our making, not one that the user has named: others need not even read it.
    """
    state = folder.lstat()
    if stat.S_ISLNK(state.st_mode):
        if state.st_uid not in (os.getuid(), 0):
            raise ConfigError(f"cache: {folder} is a link of another user's (uid {state.st_uid}): remove it")
        state = folder.stat()
    if not stat.S_ISDIR(state.st_mode):
        raise ConfigError(f"cache: {folder} is not a folder")
    mode = stat.S_IMODE(state.st_mode)
    if state.st_uid != os.getuid():
        raise ConfigError(
            f"cache: {folder} belongs to another user (uid {state.st_uid}); name one of your own in {CACHE_VARIABLE}"
        )
    if mode & _OTHERS_WRITE:
        raise ConfigError(
            f"cache: others may write to {folder} (mode {mode:03o}, allowed is 700); what it holds may be theirs: "
            f"empty it and chmod 700 {folder}, or name another folder in {CACHE_VARIABLE}"
        )
    if ours and mode & _OTHERS:
        folder.chmod(0o700)
