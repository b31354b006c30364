"""Weights of finished trials: ``models/<trial>/`` of a run directory, each folder there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Collection
from pathlib import Path

from nni_privacy.errors import DataError
from nni_privacy.files import atomic_write

__all__ = ["DIGEST", "METADATA", "MODELS", "MODEL_FILE", "RECORD_FILE", "ModelStore", "metadata_of", "weights_digest"]

MODELS = "models"
MODEL_FILE = "model.safetensors"
"""The weights; a trial writes it to its output folder."""
RECORD_FILE = "model.json"
"""What makes the weights whole: the metadata of the weights' file once more, for people and other programs."""
METADATA = "nni_privacy"
"""Key of the record in the metadata of the weights' file."""
DIGEST = "sha256"
"""Key of :func:`weights_digest` there."""

_LENGTH = 8
_MOST_HEADER = 100_000_000
"""Bytes that the header of a safetensors file may have, as its own library allows."""
_DRAFT = ".partial"

_logger = logging.getLogger(__name__)


def metadata_of(content: bytes) -> str | None:
    """The record in the metadata of a safetensors file; None if there is none.

    Raises:
        DataError: if it is no such file, is cut off, or its weights are not those that it was written with.
    """
    size = int.from_bytes(content[:_LENGTH], "little")
    if len(content) < _LENGTH or size > min(_MOST_HEADER, len(content) - _LENGTH):
        raise DataError("not a safetensors file")
    try:
        header = json.loads(content[_LENGTH : _LENGTH + size])
        metadata = header.pop("__metadata__", {})
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        record, digest = metadata.get(METADATA), metadata.get(DIGEST)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise DataError("not a safetensors file") from None
    if len(content) != _LENGTH + size + end:
        raise DataError(f"a safetensors file that should have {_LENGTH + size + end} bytes and has {len(content)}")
    if digest is not None and digest != weights_digest(content):
        raise DataError("its weights are not those that it was written with: the file was damaged or changed")
    return record if isinstance(record, str) else None


def weights_digest(content: bytes) -> str:
    """The SHA-256 of all weights of a safetensors file, which its metadata has no part in, as hexadecimal digits."""
    return hashlib.sha256(memoryview(content)[_LENGTH + int.from_bytes(content[:_LENGTH], "little") :]).hexdigest()


class ModelStore:
    """The folder ``models`` of a run.

    Args:
        folder: of the models; it may not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __contains__(self, trial: object) -> bool:
        return (self.folder / str(trial) / MODEL_FILE).is_file()

    def path(self, trial: str) -> Path:
        """The folder of a trial's model."""
        return self.folder / trial

    def save(self, trial: str, content: bytes) -> None:
        """Writes ``model.safetensors``, and ``model.json`` where its metadata holds a record; both appear at once.

        Raises:
            DataError: if the content is no safetensors file.
            OSError: if it cannot be written.
        """
        record = metadata_of(content)
        draft = self.folder / f".{trial}.{os.getpid()}-{secrets.token_hex(4)}{_DRAFT}"
        draft.mkdir(parents=True)
        try:
            atomic_write(draft / MODEL_FILE, content)
            if record is not None:
                atomic_write(draft / RECORD_FILE, record)
            shutil.rmtree(self.path(trial), ignore_errors=True)
            draft.rename(self.path(trial))
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def keep(self, trials: Collection[str]) -> None:
        """Removes the models of all other trials, and what a killed process left half-written."""
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.iterdir()):
            if path.name in trials or not path.is_dir():
                continue
            try:
                draft = path
                if not path.name.endswith(_DRAFT):  # gone at once: nobody finds half of it
                    draft = path.rename(path.with_name(f".{path.name}.{secrets.token_hex(4)}{_DRAFT}"))
                shutil.rmtree(draft)
            except OSError as error:
                _logger.warning("%s: a model that is not kept cannot be removed: %s", path, error.strerror or error)
