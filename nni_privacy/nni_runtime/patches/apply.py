"""Patches of NNI's node package, applied exactly or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nni_privacy.errors import RuntimeRepairError

__all__ = ["Edit", "Patch", "patched_texts"]


@dataclass(frozen=True)
class Edit:
    """One replacement of text in one file.

    Attributes:
        file: path inside ``nni_node``, or a pattern that fits exactly one file (the web UI's names carry a hash).
        anchor: the exact text that is replaced; it must stand in the file exactly ``count`` times.
        replacement: what takes its place.
        count: how often the anchor stands in the file.
    """

    file: str
    anchor: str
    replacement: str
    count: int = 1


@dataclass(frozen=True)
class Patch:
    """One fault of NNI and the edits that mend it.

    Attributes:
        name: how users, tests and ``nni-privacy doctor`` call it.
        why: the fault, in one sentence.
        edits: applied in order; all of them or none.
    """

    name: str
    why: str
    edits: tuple[Edit, ...]

    @classmethod
    def of(cls, *, name: str, why: str, edits: Mapping[str, Mapping[str, str]]) -> Patch:
        """A patch of edits whose anchors stand once in their file: file to anchor to replacement."""
        made = [Edit(file, anchor, new) for file, texts in edits.items() for anchor, new in texts.items()]
        return cls(name, why, tuple(made))


def patched_texts(package: Path, patches: Iterable[Patch]) -> dict[str, str]:
    """Applies patches in memory.

    Args:
        package: the folder ``nni_node`` to read from; it is not changed.
        patches: several may edit the same file, one after the other.

    Returns:
        The new text of each file that changes, by its path inside the package.

    Raises:
        RuntimeRepairError: when an anchor does not stand where it should, as often as it should.
    """
    texts: dict[str, str] = {}
    for patch in patches:
        for edit in patch.edits:
            matches = [path for path in package.glob(edit.file) if path.is_file()]
            if len(matches) != 1:
                raise RuntimeRepairError(
                    f"patch {patch.name!r} does not fit: expected one file {edit.file} in {package}, found "
                    f"{len(matches)}; nni-privacy repairs NNI 3.0 as published, and this copy differs"
                )
            name = matches[0].relative_to(package).as_posix()
            if name not in texts:
                # newline="": what is not replaced stays as it was, byte for byte.
                with (package / name).open(encoding="utf-8", newline="") as file:
                    texts[name] = file.read()
            found = texts[name].count(edit.anchor)
            if found != edit.count:
                raise RuntimeRepairError(
                    f"patch {patch.name!r} does not fit {name}: expected {edit.count} time(s), found {found} time(s): "
                    f"{_short(edit.anchor)}; nni-privacy repairs NNI 3.0 as published, and this copy differs"
                )
            texts[name] = texts[name].replace(edit.anchor, edit.replacement)
    return texts


def _short(text: str, limit: int = 160) -> str:
    flat = repr(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
