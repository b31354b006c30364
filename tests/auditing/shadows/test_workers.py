"""What goes on between processes: equal results, errors, kills, sharing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from shadows import support_shadows
from shadows.support_shadows import references

from nni_privacy.auditing.shadows import ModelSpec, ShadowError
from nni_privacy.errors import AuditError, ConfigError
from nni_privacy.training.fit import TrainingDiverged
from nni_privacy.training.recipe import Recipe

TESTS = Path(__file__).resolve().parents[2] / "support"
PATIENCE = 60.0

pytestmark = pytest.mark.slow  # every test starts processes


@pytest.fixture
def log(tmp_path, monkeypatch):
    """The file in which every training that begins leaves a line."""
    path = tmp_path / "trainings.log"
    path.touch()
    monkeypatch.setenv("SHADOW_TEST_LOG", str(path))
    return path


def start(cache, output, *, count, workers, sleep=0.0):
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "SHADOW_TEST_SLEEP": str(sleep)}
    command = [sys.executable, support_shadows.__file__, str(cache), str(output), str(count), str(workers)]
    return subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A shell that runs the tests in the background lets them, and all that they start, ignore Ctrl-C.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def trainings(log):
    return len(log.read_text().splitlines())


def finished(cache):
    return {path.name: path.stat().st_mtime_ns for path in Path(cache).glob("*.npz")}


def test_results_do_not_depend_on_the_number_of_workers(tmp_path, log):
    expected = references(cache=tmp_path / "0", views=2).logits
    np.testing.assert_array_equal(references(cache=tmp_path / "1", workers=1, views=2).logits, expected)
    np.testing.assert_array_equal(references(cache=False, workers=2, views=2).logits, expected)
    assert trainings(log) == 12 and len(finished(tmp_path / "1")) == 4
    np.testing.assert_array_equal(references(cache=tmp_path / "1", workers=2, views=2).logits, expected)
    assert trainings(log) == 12


def test_a_run_killed_in_shadow_5_of_8_trains_only_what_is_missing(tmp_path, log):
    cache = tmp_path / "cache"
    run = start(cache, tmp_path / "never.npy", count=8, workers=1, sleep=0.3)
    wait_until(lambda: trainings(log) == 5)
    workers = psutil.Process(run.pid).children()
    assert len(workers) == 1
    run.send_signal(signal.SIGKILL)
    run.communicate()
    psutil.wait_procs(workers, timeout=5)
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    before = finished(cache)
    assert len(before) == 4

    restarted = references(count=8, cache=cache, workers=1).logits
    assert trainings(log) == 5 + 4
    after = finished(cache)
    assert len(after) == 8 and {name: after[name] for name in before} == before
    assert not list(cache.glob("*.lock")) and not list(cache.glob(".*"))
    uninterrupted = references(count=8, cache=tmp_path / "other").logits
    np.testing.assert_array_equal(restarted, uninterrupted)


def test_two_runs_that_share_the_cache_at_once_share_the_work(tmp_path, log, monkeypatch):
    cache = tmp_path / "cache"
    other = start(cache, tmp_path / "other.npy", count=6, workers=1, sleep=0.4)
    wait_until(lambda: trainings(log) == 1)
    monkeypatch.setenv("SHADOW_TEST_SLEEP", "0.4")
    here = references(count=6, cache=cache, workers=0).logits
    _, errors = other.communicate(timeout=PATIENCE)
    assert other.returncode == 0, errors.decode()
    processes = log.read_text().split()
    assert len(processes) == 6 and len(set(processes)) == 2 and len(finished(cache)) == 6
    np.testing.assert_array_equal(np.load(tmp_path / "other.npy"), here)
    monkeypatch.setenv("SHADOW_TEST_SLEEP", "0")
    np.testing.assert_array_equal(here, references(count=6, cache=False).logits)


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: os.urandom(len(content))])
def test_a_damaged_file_is_trained_again(tmp_path, log, damage):
    expected = references(cache=tmp_path / "c").logits
    victim = sorted((tmp_path / "c").glob("*.npz"))[1]
    victim.write_bytes(damage(victim.read_bytes()))
    np.testing.assert_array_equal(references(cache=tmp_path / "c").logits, expected)
    assert trainings(log) == 5


def test_ctrl_c_ends_the_workers(tmp_path, log):
    run = start(tmp_path / "cache", tmp_path / "never.npy", count=8, workers=1, sleep=30)
    wait_until(lambda: trainings(log) == 1)
    workers = psutil.Process(run.pid).children()
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=25)
    assert b"KeyboardInterrupt" in errors
    assert workers and not any(worker.is_running() for worker in workers)


def model(name):
    return ModelSpec(f"shadows.factories:{name}", {})


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("Raising", AuditError, "shadow 0: the model fails on .*: ValueError: this layer does not like digits"),
        ("OutOfMemory", ShadowError, "shadow 0 ran out of memory; use fewer workers"),
    ],
)
def test_an_error_in_the_users_model_has_the_shadows_number(tmp_path, name, error, message):
    with pytest.raises(error, match=message):
        references(model=model(name), cache=tmp_path, count=2)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_that_diverges_keeps_its_kind(tmp_path, workers):
    recipe = Recipe(epochs=3, batch_size=32, learning_rate=1e30)
    with pytest.raises(TrainingDiverged, match="shadow 0: the training loss became"):
        references(recipe=recipe, cache=tmp_path, workers=workers, count=2)
    assert not finished(tmp_path)


def test_a_worker_that_dies_is_reported_and_nothing_hangs(tmp_path):
    before = set(psutil.Process().children())  # managers that other tests share may still run
    with pytest.raises(ShadowError, match=r"shadow 0 .* ended by SIGKILL, probably for want of memory"):
        references(model=model("Killed"), cache=tmp_path, workers=1, count=4)
    with pytest.raises(ShadowError, match=r"ended with code 7: .*the library said goodbye"):
        references(model=model("Exiting"), cache=tmp_path, workers=1, count=2)
    assert not set(psutil.Process().children()) - before


def test_a_failing_factory_is_found_before_any_worker_starts(tmp_path):
    started = time.perf_counter()
    with pytest.raises(ConfigError, match="failing failed: KeyError"):
        references(model=model("failing"), cache=tmp_path, workers=2)
    assert time.perf_counter() - started < 1


def test_workers_are_not_taken_for_nni_trials(tmp_path, monkeypatch):
    from nni_privacy.auditing.shadows.pool import _environment

    monkeypatch.setenv("NNI_TRIAL_JOB_ID", "abc")
    monkeypatch.setenv("NNI_PLATFORM", "local")
    monkeypatch.setenv("NNI_PRIVACY_CACHE", str(tmp_path))
    environment = _environment()
    assert not {"NNI_TRIAL_JOB_ID", "NNI_PLATFORM"} & set(environment)
    assert environment["NNI_PRIVACY_CACHE"] == str(tmp_path)
