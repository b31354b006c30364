"""What `doctor` finds on this machine, and on one that lacks things."""

from __future__ import annotations

import stat
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


def test_every_repair_is_listed_with_its_fault(findings: dict[str, Finding]) -> None:
    for name in ("access", "loopback", "pairing", "remote_recovery", "channel_key"):
        assert findings[f"repair {name}"].detail.startswith("repaired: ")


def test_extras_are_listed() -> None:
    assert {finding.name for finding in doctor._extras()} == {"extra lightgbm", "extra xgboost"}
