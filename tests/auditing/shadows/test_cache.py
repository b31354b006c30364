import hashlib
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from nni_privacy.auditing.shadows import ShadowCache
from nni_privacy.auditing.shadows.cache import opened_cache
from nni_privacy.errors import ConfigError

DESCRIPTION = '{"a":1}'
KEY = hashlib.sha256(DESCRIPTION.encode()).hexdigest()
ARRAYS = {"logits": np.arange(24, dtype=np.float32).reshape(4, 2, 3), "features": np.ones((4, 5), dtype=np.float32)}


@pytest.fixture
def cache(tmp_path):
    return ShadowCache(tmp_path / "cache")


def filled(cache):
    cache.write(KEY, ARRAYS, description=DESCRIPTION)
    return cache.path(KEY)


def test_what_is_written_is_read_and_is_an_ordinary_npz(cache):
    assert cache.read(KEY) is None
    path = filled(cache)
    for arrays in (cache.read(KEY), np.load(path, allow_pickle=False)):
        for name, value in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], value)
    assert str(np.load(path)["description"]) == DESCRIPTION
    assert [entry.name for entry in cache.folder.iterdir()] == [path.name]


@pytest.mark.parametrize("length", [0, 10, 64, 200, -1])
def test_a_truncated_file_is_not_trusted(cache, length):
    path = filled(cache)
    path.write_bytes(path.read_bytes()[:length])
    assert cache.read(KEY) is None


def test_a_single_changed_byte_anywhere_is_noticed(cache):
    path = filled(cache)
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        assert cache.read(KEY) is None, position
    path.write_bytes(os.urandom(5000))
    assert cache.read(KEY) is None


def test_a_file_under_a_wrong_name_is_not_trusted(cache):
    other = "0" * 64
    filled(cache).rename(cache.path(other))
    assert cache.read(other) is None


def test_objects_cannot_get_in(cache):
    with pytest.raises(ValueError, match="pickle"):
        cache.write(KEY, {"logits": np.array([{}], dtype=object)}, description=DESCRIPTION)
    assert list(cache.folder.iterdir()) == []


def test_a_lock_excludes_others_and_leaves_no_file(cache):
    with cache.lock(KEY, wait=False) as first, cache.lock(KEY, wait=False) as second:
        assert first and not second
        with cache.lock("0" * 64, wait=False) as other:
            assert other
    with cache.lock(KEY, wait=False) as again:
        assert again
    assert list(cache.folder.iterdir()) == []


def test_a_lock_file_that_was_left_behind_blocks_nobody(cache):
    (cache.folder / f"{KEY}.lock").touch()
    with cache.lock(KEY, wait=False) as held:
        assert held


def test_a_lock_ends_with_its_process_however_it_ends(cache):
    program = (
        "import sys, time; from nni_privacy.auditing.shadows.cache import ShadowCache\n"
        f"with ShadowCache({str(cache.folder)!r}).lock({KEY!r}, wait=True): print(1, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline()
        with cache.lock(KEY, wait=False) as held:
            assert not held
    finally:
        process.kill()
        process.communicate()
    with cache.lock(KEY, wait=False) as held:
        assert held


def test_waiting_threads_get_the_lock_one_at_a_time(cache):
    inside, worst = [], []

    def work():
        for _ in range(20):
            with cache.lock(KEY, wait=True) as held:
                inside.append(held)
                worst.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(worst) == 80 and max(worst) == 1


def test_many_writers_and_readers_at_once_never_see_half_a_file(cache):
    failures = []

    def write():
        for _ in range(30):
            filled(cache)

    def read():
        for _ in range(100):
            arrays = cache.read(KEY)
            if arrays is None or not np.array_equal(arrays["logits"], ARRAYS["logits"]):
                failures.append(arrays)

    filled(cache)
    threads = [threading.Thread(target=target) for target in (write, write, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("NNI_PRIVACY_CACHE", str(tmp_path / "own"))
    with opened_cache() as cache:
        assert cache.folder == tmp_path / "own" / "shadows" and cache.folder.is_dir()
    with opened_cache(False) as cache:
        folder = cache.folder
        assert folder.is_dir()
    assert not folder.exists()


def test_a_cache_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cache of shadow models: .*file/cache"):
        ShadowCache(tmp_path / "file" / "cache")
