"""Files of fitted surrogates: one ``.npz`` of plain arrays and a JSON text. Never a pickle: a file cannot run code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from nni_privacy.errors import ConfigError, DataError
from nni_privacy.spoiled import SPOILED
from nni_privacy.surrogate.base import State, Surrogate
from nni_privacy.surrogate.registry import build_surrogate

__all__ = ["FORMAT", "VERSION", "load_surrogate", "save_surrogate"]

FORMAT = "nni-privacy surrogate"
VERSION = 1
METADATA = "metadata"
SHIPPED = Path(__file__).parent / "shipped" / "default.npz"


def save_surrogate(surrogate: Surrogate, path: str | Path) -> None:
    """Writes a fitted surrogate; the file appears whole or not at all.

    Raises:
        DataError: if it has not been fitted, or the file cannot be written.
    """
    state = surrogate.state()
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "surrogate": surrogate.name,
        "options": dict(surrogate.options),
        "facts": state.facts,
    }
    target = Path(path)
    # A foreign process may write the same target; its draft has another name.
    draft = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with draft.open("wb") as file:
            arrays: dict[str, Any] = {**state.arrays, METADATA: np.array(json.dumps(metadata, sort_keys=True))}
            np.savez_compressed(file, allow_pickle=False, **arrays)
        draft.replace(target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror or error}") from None
    finally:
        draft.unlink(missing_ok=True)


def load_surrogate(path: str | Path | None = None) -> Surrogate:
    """Reads a fitted surrogate.

    Args:
        path: a file that :meth:`Surrogate.save` wrote; by default the one that ships with the package, which learned
            from White-Box/Partial attacks on CIFAR-10 networks of the DARTS space (4 intermediate nodes).

    Raises:
        DataError: if the file is missing or is no such file, or is of a newer version.
    """
    source = SHIPPED if path is None else Path(path)
    try:
        with np.load(source, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error.strerror or error}") from None
    except SPOILED:
        raise DataError(f"{source}: not a surrogate's file; write one with `nni-privacy surrogate fit`") from None
    metadata = _metadata(source, content.pop(METADATA, None))
    try:
        surrogate = build_surrogate(metadata["surrogate"], **metadata["options"])
        surrogate.restore(State(content, metadata["facts"]))
    except (DataError, ConfigError, KeyError, TypeError) as error:
        raise DataError(f"{source}: not a valid surrogate: {error}") from None
    return surrogate


def _metadata(source: Path, text: Any) -> dict[str, Any]:
    try:
        metadata = json.loads(str(text))
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise DataError(f"{source}: not a surrogate's file; write one with `nni-privacy surrogate fit`")
    if metadata.get("version") != VERSION:
        raise DataError(
            f"{source}: its format has version {metadata.get('version')!r}; this nni-privacy reads version {VERSION}"
        )
    return metadata
