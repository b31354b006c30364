"""The folder of models: each is there whole or not at all, also on a full disk, and what is not kept is gone."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from nni_privacy import files
from nni_privacy.errors import DataError
from nni_privacy.runs.models import DIGEST, METADATA, ModelStore, metadata_of, weights_digest

WEIGHTS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "empty": np.zeros((0, 3), np.float32)}
CONTENT = save(WEIGHTS, metadata={METADATA: '{"format": 1}\n'})


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def names(store: ModelStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir()) if store.folder.exists() else []


def test_a_model_has_its_weights_and_its_record(store: ModelStore) -> None:
    store.save("t", CONTENT)
    assert "t" in store and "u" not in store and names(store) == ["t"]
    assert (store.path("t") / "model.json").read_text() == '{"format": 1}\n'
    loaded = load_file(store.path("t") / "model.safetensors")
    assert all((loaded[name] == value).all() for name, value in WEIGHTS.items())


def test_weights_of_another_evaluator_are_kept_without_a_record(store: ModelStore) -> None:
    store.save("t", save(WEIGHTS))
    assert [path.name for path in store.path("t").iterdir()] == ["model.safetensors"]


def test_a_model_replaces_an_older_one(store: ModelStore) -> None:
    store.save("t", CONTENT)
    store.save("t", save({"b": WEIGHTS["a"]}))
    assert names(store) == ["t"] and list(load_file(store.path("t") / "model.safetensors")) == ["b"]
    assert not (store.path("t") / "model.json").exists()


NO_MAPPING = len(b"[]").to_bytes(8, "little") + b"[]"
HEADER = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()


@pytest.mark.parametrize(
    "content",
    [b"", b"12345678", CONTENT[:-1], CONTENT + b"x", CONTENT[:20], b"\xff" * 8 + CONTENT, NO_MAPPING,
     len(HEADER).to_bytes(8, "little") + HEADER, b"PK\x03\x04" + b"\0" * 60],
)  # fmt: skip
def test_what_is_no_whole_safetensors_file_is_refused(store: ModelStore, content: bytes) -> None:
    with pytest.raises(DataError, match="safetensors file"):
        metadata_of(content)
    with pytest.raises(DataError):
        store.save("t", content)
    assert names(store) == []


@pytest.mark.parametrize("at", [-1, -17, -24])
def test_weights_that_are_not_those_that_were_written_are_refused(store: ModelStore, at: int) -> None:
    digest = hashlib.sha256(WEIGHTS["a"].tobytes()).hexdigest()
    content = save(WEIGHTS, metadata={METADATA: "{}", DIGEST: digest})
    assert weights_digest(content) == digest and metadata_of(content) == "{}"
    damaged = bytearray(content)
    damaged[at] ^= 1
    with pytest.raises(DataError, match="not those that it was written with"):
        metadata_of(bytes(damaged))
    with pytest.raises(DataError):
        store.save("t", bytes(damaged))


@pytest.mark.parametrize("at", [1, 2])
def test_a_full_disk_leaves_what_was_there_and_no_half_of_a_model(
    store: ModelStore, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save("before", CONTENT)
    fsync, count = os.fsync, [0]

    def full(descriptor: int) -> None:
        count[0] += 1
        if count[0] == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.save("t", CONTENT)
    assert names(store) == ["before"]


def test_a_disk_that_is_really_full_leaves_no_half_of_a_model(small_disk: Path) -> None:
    store = ModelStore(small_disk / "models")
    store.save("before", CONTENT)
    with pytest.raises(OSError, match="No space left"):
        store.save("t", save({"a": np.zeros(100_000, np.float32)}))
    assert names(store) == ["before"]
    store.save("t", CONTENT)
    assert names(store) == ["before", "t"]


def test_what_is_not_kept_is_removed_and_what_a_killed_process_left(store: ModelStore) -> None:
    store.keep({"a"})
    assert names(store) == []
    for name in ("a", "b", "c"):
        store.save(name, CONTENT)
    (store.folder / ".d.12-ab.partial").mkdir()
    (store.folder / "note.txt").write_text("mine")
    store.keep({"a", "c", "not there"})
    assert names(store) == ["a", "c", "note.txt"]
