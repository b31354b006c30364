"""What `doctor` finds on this machine, and on one that lacks things."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from nni_privacy.commands import doctor
from nni_privacy.commands.doctor import Finding
from nni_privacy.nni_runtime import overlay, probe


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    """All findings on this machine by their names; the manager is started once for them."""
    return {finding.name: finding for finding in doctor.examine()}


def test_the_manager_is_really_started_and_stopped(findings: dict[str, Finding]) -> None:
    found = findings["NNI's manager"]
    assert found.ok
    port = int(found.detail.partition("127.0.0.1:")[2].split()[0])
    assert not probe._answers(port)


def broken_overlay(folder: Path, script: str) -> Path:
    node = folder / "nni_node" / "node"
    node.parent.mkdir(parents=True)
    node.write_text(f"#!/bin/sh\n{script}\n")
    node.chmod(node.stat().st_mode | stat.S_IXUSR)
    return folder


def test_a_manager_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    found = doctor._manager(broken_overlay(tmp_path, "echo first >&2; echo no such library >&2; exit 1"))
    assert (found.ok, found.needed) == (False, True)
    assert found.detail == "NNI's manager does not start: no such library"


def test_a_manager_that_never_answers_is_waited_for_no_longer_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_SECONDS_TO_START", 0.5)
    assert not doctor._manager(broken_overlay(tmp_path, "exec sleep 60")).ok


def test_a_missing_node_program_is_told(tmp_path: Path) -> None:
    (tmp_path / "nni_node").mkdir()
    found = doctor._manager(tmp_path)
    assert not found.ok and "No such file" in found.detail


def test_nni_that_is_missing_is_told_and_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(overlay, "_candidate_folders", lambda: iter(()))
    assert doctor.print_examination() == 1
    assert "MISSING  repaired NNI" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["browser", "ssh-keygen", "sshd"])
def test_missing_programs_are_named_but_not_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda *_, **__: None)
    found = next(finding for finding in doctor._programs() if finding.name == name)
    assert (found.ok, found.needed) == (False, False)
    assert found.detail.startswith("none found; ")


def test_a_python_that_is_too_new_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PYTHONS", ((3, 9), sys.version_info[:2]))
    found = next(iter(doctor._python_and_packages()))
    assert (found.ok, found.needed) == (False, True)
    assert found.detail.endswith(f"want at least 3.9, and one before {sys.version_info[0]}.{sys.version_info[1]}")


def test_packages_that_were_changed_after_the_installation_are_told(
    findings: dict[str, Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert findings["versions of packages"].ok, findings["versions of packages"].detail
    there = doctor.metadata.version

    def version(name: str) -> str:
        if name == "schema":
            raise doctor.metadata.PackageNotFoundError(name)
        return {"filelock": "3.20.0", "setuptools": "82.0"}.get(name) or there(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    found = doctor._versions()
    assert (found.ok, found.needed) == (False, False)
    assert found.detail.split("; ") == [
        "setuptools 82.0 is installed: nni-privacy wants it <81",
        "filelock 3.20.0 is installed: nni wants it <3.12",
        "schema is not installed: nni wants it",
    ]


def test_every_repair_is_listed_with_its_fault(findings: dict[str, Finding]) -> None:
    for name in ("access", "loopback", "pairing", "remote_recovery", "channel_key"):
        assert findings[f"repair {name}"].detail.startswith("repaired: ")


def test_extras_are_listed() -> None:
    assert {finding.name for finding in doctor._extras()} == {"extra lightgbm", "extra xgboost"}


# --- what is in the way ---


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda cache: cache.chmod(0o777), "others may write to {} (mode 777, allowed is 700)"),
        (lambda cache: cache.chmod(0o770), "others may write to {} (mode 770, allowed is 700)"),
        (lambda cache: (cache / "shadows").chmod(0o777), "others may write to {}/shadows"),
        (lambda cache: os.chown(cache, 12345, -1), "{} belongs to another user (uid 12345)"),
        (lambda cache: os.chown(cache / "shadows", 12345, -1), "{}/shadows belongs to another user"),
        (lambda cache: (cache / "shadows").rmdir() or cache.rmdir() or cache.touch(), "{}: File exists"),
    ],
)
def test_a_cache_that_is_not_ones_own_is_told(
    fault: object, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "another user" in told and os.getuid():
        pytest.skip("only root can give a folder away")
    cache = tmp_path / "cache"
    (cache / "shadows").mkdir(parents=True, mode=0o700)
    cache.chmod(0o700)
    monkeypatch.setenv("NNI_PRIVACY_CACHE", str(cache))
    assert [finding.ok for finding in doctor._cache()] == [True]
    fault(cache)  # type: ignore[operator]
    (found,) = doctor._cache()
    assert (found.ok, found.needed) == (False, True)
    assert told.format(cache) in found.detail and "NNI_PRIVACY_CACHE" in found.detail and "\n" not in found.detail


@pytest.mark.parametrize(
    ("soft", "hard", "ok", "needed", "told"),
    [
        (1024, 4096, True, False, "at most 1024"),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, True, True, "at most"),
        (256, 4096, False, False, "ulimit -n 1024"),
        (64, 4096, False, True, "ulimit -n 1024"),
        (64, 64, False, True, "ulimit -n 1024, in another shell: this one allows 64"),
    ],
)
def test_too_few_open_files_are_told(
    soft: int, hard: int, ok: bool, needed: bool, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda _: (soft, hard))
    found = next(finding for finding in doctor._environment() if finding.name == "open files")
    assert found.ok is ok and told in found.detail
    assert ok or found.needed is needed


def test_folders_without_room_are_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNI_PRIVACY_CACHE", str(tmp_path / "not" / "made yet"))
    usage = namedtuple("usage", "free")
    for free, ok, needed in ((1 << 31, True, False), (1 << 28, False, False), (1 << 20, False, True)):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _, free=free: usage(free))
        findings = {finding.name: finding for finding in doctor._room()}
        assert {(finding.ok, finding.needed) for finding in findings.values()} == {(ok, needed)}
    remedies = ["TMPDIR", "NNI_PRIVACY_CACHE", "start in another folder"]
    assert [name for name, found in zip(remedies, findings.values(), strict=True) if name in found.detail] == remedies
    assert "1 MB free in" in findings["room in the cache"].detail

    def nowhere() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(doctor.tempfile, "gettempdir", nowhere)
    assert not next(iter(doctor._room())).ok


def test_variables_of_an_outer_trial_are_told_and_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NNI_PLATFORM", "NNI_TRIAL_JOB_ID"):
        monkeypatch.setenv(name, "local")
    found = next(iter(doctor._environment()))
    assert not found.ok and not found.needed and "unset NNI_PLATFORM NNI_TRIAL_JOB_ID" in found.detail
    assert next(iter(doctor._environment())).ok


@pytest.mark.slow
def test_modules_that_hide_others_are_found_where_python_looks_there_first(tmp_path: Path) -> None:
    for name in ("random.py", "yaml.py", "nni.py", "mine.py"):
        (tmp_path / name).write_text("raise RuntimeError('hidden')")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    environment = dict(os.environ, NNI_PLATFORM="local", NNI_OUTPUT_DIR=str(tmp_path), NNI_SYS_DIR=str(tmp_path))
    command = [sys.executable, "-m", "nni_privacy", "doctor"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = {line[9:43].strip(): line for line in done.stdout.splitlines()}
    folder = lines["modules in the working folder"]
    assert folder.startswith("MISSING") and f"nni, random, torch, yaml in {tmp_path}: hides what trials need" in folder
    assert lines["variables of an outer trial"].startswith("-")
    assert "unset NNI_PLATFORM" in lines["variables of an outer trial"]
