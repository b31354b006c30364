"""What a file is that was given as weights and is none, in words that say what to do."""

from __future__ import annotations

import zipfile
from pathlib import Path

__all__ = ["kind_of_file"]

LOOKED_AT = 64
"""Bytes at the beginning of a file that say what it is."""

_KINDS = {
    b"\x93NUMPY": "a NumPy array; save the model's state_dict() with torch.save",
    b"\x89HDF": "an HDF5 file (Keras); save the model's state_dict() with torch.save",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself (git lfs pull)",
    b"\x80": "a pickle that torch.save has not written, which could run code; save the state_dict() with torch.save",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
}
"""Beginning of a file to what it is."""


def kind_of_file(path: Path) -> str | None:
    """What a file is that torch cannot load; None if its beginning does not tell.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    if start.startswith(b"PK"):
        return _kind_of_archive(path)
    for mark, kind in _KINDS.items():
        if start.startswith(mark):
            return kind
    if not start.strip(b"\0"):
        return "zeros only: it was not written to its end; copy or save it again"
    text = start.decode("utf-8", errors="replace").strip()
    return f"text: {text.splitlines()[0]!r:.50}" if text.isascii() and _is_text(text) else None


def _is_text(text: str) -> bool:
    return all(character.isprintable() or character.isspace() for character in text)


def _kind_of_archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, LookupError):
        return "a damaged archive; copy or save it again"
    if any(name.endswith("data.pkl") for name in names):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays (.npz); save the model's state_dict() with torch.save"
    return f"an archive without weights; it holds {', '.join(map(repr, names[:3]))[:80] or 'nothing'}"
