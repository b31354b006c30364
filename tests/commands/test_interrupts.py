"""A signal ends a command with 130 and nothing left behind, from its first moment on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from support_search import Search, free_port, wait_for

from nni_privacy.commands.interrupts import interruptible
from nni_privacy.commands.main import main
from nni_privacy.runs.processes import leftovers

SETTINGS: dict[str, Any] = {
    "name": "short",
    "dataset": {"name": "digits", "limit": 200},
    "search_space": {"name": "darts", "channels": 2, "cells": 3},
    "strategy": {"name": "random"},
    "evaluator": {"recipe": {"epochs": 1}, "attacks": ["loss_threshold"]},
    "trials": 40,
}
STUDY: dict[str, Any] = {
    "name": "short",
    "datasets": [{"name": "digits", "limit": 200}],
    "search_space": {"name": "darts", "channels": 2, "cells": 3},
    "architectures": [{"sampled": 40}],
    "evaluator": {"recipe": {"epochs": 1}, "attacks": ["loss_threshold"]},
}
INTERRUPTED = 130
READY = "nni_privacy.commands.options"
"""The last module that is imported before signals are taken; Python itself starts before."""


class Command:
    """A search or study that says on standard error what it imports."""

    def __init__(self, folder: Path, command: str = "search") -> None:
        self.output, self.text = folder / "run", ""
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(SETTINGS if command == "search" else STUDY))
        words = [sys.executable, "-X", "importtime", "-m", "nni_privacy.commands.main", command, str(config)]
        words += ["--output", str(self.output), "--port", str(free_port()), "--exit-when-done"]
        self.process = subprocess.Popen(
            words, cwd=folder, env=dict(os.environ, HOME=str(folder)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def lines(self) -> Iterator[str]:
        assert self.process.stderr is not None
        for raw in self.process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self.text += line + "\n"
            yield line

    def signal_after(self, module: str, number: int) -> int:
        """Sends a signal as soon as a module has been imported, and waits for the end."""
        for line in self.lines():
            if line.endswith(f" {module}"):
                self.process.send_signal(number)
                break
        return self.end()

    def end(self) -> int:
        list(self.lines())  # first: a full pipe would stop it
        return self.process.wait(60)

    def check_clean(self) -> None:
        said = [line for line in self.text.splitlines() if not line.startswith("import time:")]
        assert not [line for line in said if "Traceback" in line or "Error" in line], "\n".join(said)
        assert not leftovers(self.output / "nni") and not (self.output / "running.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_taken_before_anything_heavy_is_imported(number: int, tmp_path: Path) -> None:
    command = Command(tmp_path)
    assert command.signal_after("locale", number) == INTERRUPTED
    command.check_clean()
    assert not {"numpy", "torch", "nni"} & {line.rpartition(" ")[2] for line in command.text.splitlines()}
    assert not command.output.exists()


@pytest.mark.slow
@pytest.mark.parametrize("module", ["numpy", "yaml", "nni_privacy.config", "scipy", "torch._C", "torch"])
def test_a_signal_amid_imports_ends_a_search(module: str, tmp_path: Path) -> None:
    command = Command(tmp_path)
    assert command.signal_after(module, signal.SIGTERM) == INTERRUPTED
    command.check_clean()
    assert not command.output.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["search", "measure"])
@pytest.mark.parametrize("seconds", [0, 0.1, 0.3, 0.6, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8])
def test_a_signal_at_any_moment_ends_a_run(name: str, seconds: float, tmp_path: Path) -> None:
    command = Command(tmp_path, name)
    reader = threading.Thread(target=lambda: list(command.lines()))
    reader.start()
    time.sleep(seconds)
    command.process.send_signal(signal.SIGTERM)
    code = command.process.wait(60)
    reader.join()
    # Before Python has read the first of our lines, nobody can take a signal, and there is nothing to stop.
    assert code == INTERRUPTED or (code == -signal.SIGTERM and f" {READY}\n" not in command.text)
    command.check_clean()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_under_way_is_stopped_and_can_be_resumed(number: int, tmp_path: Path) -> None:
    search = Search(tmp_path, SETTINGS, "--exit-when-done")
    wait_for(lambda: search.trials or search.process.poll() is not None, "a result")
    search.process.send_signal(number)
    assert search.wait() == INTERRUPTED, search.text
    assert "Traceback" not in search.text and not leftovers(search.output / "nni")
    finished = search.trials
    resumed = Search(tmp_path, {**SETTINGS, "trials": 40}, "--exit-when-done", "--resume")
    wait_for(lambda: len(resumed.trials) > len(finished) or resumed.process.poll() is not None, "another result")
    resumed.process.send_signal(number)
    assert resumed.wait() == INTERRUPTED and resumed.trials[: len(finished)] == finished


def test_what_an_import_made_of_a_signal_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise ImportError("cannot import name 'x' from partially initialized module")

    monkeypatch.setattr("nni_privacy.commands.main._run", fail)
    assert main([]) == INTERRUPTED


def test_a_signal_that_was_swallowed_counts_where_the_run_begins() -> None:
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt), interruptible():
            pytest.fail("it went on")


IMPORTED = """
import os, signal, time
import numpy
{signals}
for _ in range({turns}):
    time.sleep(0.01)
whole = True
"""


@pytest.mark.parametrize(("signals", "whole"), [(1, True), (2, False)])
def test_a_signal_amid_an_import_waits_for_its_end_and_a_second_one_does_not(
    signals: int, whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = "os.kill(os.getpid(), signal.SIGTERM)\n" * signals
    (tmp_path / "slowly_imported.py").write_text(IMPORTED.format(signals=sent, turns=20))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "slowly_imported", raising=False)

    def go() -> None:
        with interruptible():
            import_module("slowly_imported")
            time.sleep(5)
        pytest.fail("it went on")

    with pytest.raises(KeyboardInterrupt):
        go()
    assert ("slowly_imported" in sys.modules) is whole
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0 and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_a_command_that_ends_before_a_signal_is_raised_is_interrupted() -> None:
    def go() -> None:
        with interruptible() as interrupt:
            interrupt.ask_later()

    with pytest.raises(KeyboardInterrupt):
        go()


class Finalised:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_a_finaliser_swallowed_is_raised_again(capsys: pytest.CaptureFixture[str]) -> None:
    hook = sys.unraisablehook

    def go() -> None:
        with interruptible():
            Finalised()
            time.sleep(5)
        pytest.fail("it went on")

    with pytest.raises(KeyboardInterrupt):
        go()
    assert capsys.readouterr().err == "" and sys.unraisablehook is hook


def test_handlers_are_put_back_and_nohup_is_heeded() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)
    assert [signal.getsignal(number) for number in numbers] == before


def test_in_another_thread_nothing_is_changed() -> None:
    seen: list[object] = []

    def look() -> None:
        with interruptible():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_an_interrupt_inside_of_source_text_ends_with_the_exit_code_too(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text("exec('raise KeyboardInterrupt')")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**SETTINGS, "plugins": ["plugin"]}))
    command = [sys.executable, "-m", "nni_privacy", "search", "config.yaml", "--dry-run"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == INTERRUPTED
