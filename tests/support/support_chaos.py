"""A search that is killed at random, in every way that a run can end, and resumed until it is done."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from support_search import Search, wait_for

from nni_privacy.runs.lock import LOCK
from nni_privacy.runs.processes import leftovers

EXIT_STOPPED = 3
EXIT_INTERRUPTED = 130


class Chaos:
    """Starts a search, kills it, resumes it.

    Args:
        folder: for the configuration and the run.
        settings: the configuration.
        seed: of all that is random here.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], seed: int) -> None:
        self.folder, self.settings = folder, settings
        self.random = random.Random(seed)
        self.search = Search(folder, settings, "--exit-when-done")
        self.story: list[str] = []

    @property
    def output(self) -> Path:
        return self.search.output

    def processes(self) -> list[int]:
        """Ids of the managers and trials of the run, whoever started them."""
        return [process.pid for process in leftovers(self.output / "nni")]

    def steps(self) -> list[dict[str, Any]]:
        """The whole lines of the journal."""
        path = self.output / "journal.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def restart(self) -> None:
        """Goes on with the run."""
        resume = ["--resume"] if (self.output / "config.yaml").exists() else []
        self.search = Search(self.folder, self.settings, "--exit-when-done", *resume)

    def wait_until_it_works(self, results: int) -> None:
        """Waits for some more results, then until a trial is under way, then a random moment."""
        before = len(self.search.trials)
        wait_for(lambda: self._over() or self._manager() is not None, "the manager")
        wait_for(lambda: self._over() or len(self.search.trials) >= before + results, "results")
        wait_for(lambda: self._over() or self._trial_processes(), "a trial")
        with suppress(subprocess.TimeoutExpired):
            self.search.process.wait(self.random.uniform(0, 1.5 if self.settings.get("warm_trials", True) else 4))

    def _over(self) -> bool:
        return self.search.process.poll() is not None

    def _manager(self) -> int | None:
        """The id of this start's manager, as the run directory says."""
        try:
            told = json.loads((self.output / LOCK).read_text())
        except (OSError, ValueError):
            return None
        is_own = (told.get("process") or {}).get("pid") == self.search.process.pid
        return int(told["manager"]["pid"]) if is_own and "manager" in told else None

    def _trial_processes(self) -> list[psutil.Process]:
        """The trials of this start."""
        manager = self._manager()
        if manager is None:
            return []
        try:
            started = psutil.Process(manager).children()
            return [process for process in started if "NNI_OUTPUT_DIR" in process.environ()]
        except psutil.Error:
            return []

    # --- the ways to end a run ---

    def interrupt(self) -> None:
        """Ctrl-C."""
        assert self.search.stop(signal.SIGINT) in (0, EXIT_INTERRUPTED), self.search.text
        self.check_quiet()

    def terminate(self) -> None:
        """SIGTERM, as a machine that shuts down sends it."""
        assert self.search.stop(signal.SIGTERM) in (0, EXIT_INTERRUPTED), self.search.text
        self.check_quiet()

    def kill_python(self) -> None:
        """The searching process: its manager and trials end by themselves, or the next start ends them."""
        self.search.process.kill()
        self.search.process.wait()
        if self.random.random() < 0.5:
            wait_for(lambda: not self.processes(), "manager and trials to end by themselves", 90)

    def kill_manager(self) -> None:
        """The manager: the search says so, and ends."""
        manager = self._manager()
        assert manager is not None
        _kill(manager)
        assert self.search.wait() in (0, EXIT_STOPPED), self.search.text
        assert "Traceback" not in self.search.text
        self.check_quiet()

    def kill_trial(self) -> None:
        """One trial: the search goes on, and runs it again."""
        trials = self._trial_processes()
        if trials:
            _kill(self.random.choice(trials).pid)

    def kill_server(self) -> None:
        """What trials are forked from, if there is such a process: they are run again, and the search goes on."""
        with suppress(psutil.Error):
            for process in psutil.Process(self.search.process.pid).children():
                if "nni_privacy.nni_runtime.warm.server" in process.cmdline():
                    _kill(process.pid)

    def power_loss(self) -> None:
        """Everything at once."""
        self.search.process.kill()
        for pid in self.processes():
            _kill(pid)
        self.search.process.wait()

    def check_quiet(self) -> None:
        """Nothing of the run is left."""
        wait_for(lambda: not self.processes(), "no process of the run to be left", 60)

    def strike(self, ways: Sequence[Callable[[Chaos], None]]) -> None:
        """Kills the run in each of ``ways``, at random moments, and goes on after each."""
        for way in ways:
            self.wait_until_it_works(self.random.choice([0, 1, 1]))
            assert self.search.process.poll() is None, self.search.text
            way(self)
            self.story.append(f"{way.__name__} at {len(self.search.trials)} results")
            if self.search.process.poll() is not None:
                self.restart()


WAYS = (
    Chaos.interrupt,
    Chaos.terminate,
    Chaos.kill_python,
    Chaos.kill_manager,
    Chaos.kill_trial,
    Chaos.kill_server,
    Chaos.power_loss,
)


def _kill(pid: int) -> None:
    try:
        psutil.Process(pid).kill()
    except psutil.NoSuchProcess:
        return
