"""Exclusive lock on a run directory; stops the processes that an earlier start has orphaned."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from nni_privacy.errors import ConfigError
from nni_privacy.files import atomic_write
from nni_privacy.runs.processes import ProcessId, leftovers, stop_processes

__all__ = ["LOCK", "RunLock"]

LOCK = "running.json"


class RunLock:
    """The file ``running.json`` of a run directory: the ids of the process that runs it, and of its manager.

    A kernel's lock would not do: another start is told which process or host holds it, also across hosts of a shared
    file system, and the manager of a run that was killed is found and stopped.

    Args:
        directory: the run directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / LOCK
        self._held: dict[str, Any] | None = None

    @property
    def held(self) -> bool:
        """Whether this process has taken the run directory."""
        return self._held is not None

    def check(self) -> None:
        """Raises ConfigError if another process runs this run directory."""
        content = self._read()
        owner, host = ProcessId.from_dict(content.get("process")), content.get("host")
        if host not in (None, socket.gethostname()):
            raise ConfigError(
                f"output: {self._directory} is in use on {host}, says {LOCK}; if nothing runs there, remove that file"
            )
        if owner is not None and owner.pid != os.getpid() and owner.alive:
            raise ConfigError(f"output: {self._directory} is still running (process {owner.pid})")

    def runs(self) -> bool | None:
        """Whether a process runs this run directory; None where it is on another host, so that nobody here knows."""
        content = self._read()
        if content.get("host") not in (None, socket.gethostname()):
            return None
        owner = ProcessId.from_dict(content.get("process"))
        return owner is not None and owner.alive

    def take(self) -> list[int]:
        """Takes the run directory for this process, and stops the manager and trials that an earlier start left behind.

        Returns:
            Ids of the processes that were stopped.

        Raises:
            ConfigError: if another process runs it.
            OSError: if the file cannot be written.
        """
        self.check()
        manager = ProcessId.from_dict(self._read().get("manager"))
        left = {*leftovers(self._directory / "nni"), *([manager] if manager is not None else [])}
        stopped = stop_processes(sorted(left, key=lambda process: process.pid))
        own = ProcessId.of(os.getpid())
        self._write({"host": socket.gethostname(), "process": own.to_dict() if own is not None else None})
        return stopped

    def note_manager(self, pid: int) -> None:
        """Records NNI's manager.

        Raises:
            OSError: if the file cannot be written.
        """
        manager = ProcessId.of(pid)
        if manager is not None and self._held is not None:
            self._write({**self._held, "manager": manager.to_dict()})

    def release(self) -> None:
        """Gives the run directory free."""
        if self._held is not None:
            self._held = None
            self._path.unlink(missing_ok=True)

    def _write(self, content: dict[str, Any]) -> None:
        atomic_write(self._path, json.dumps(content, indent=2) + "\n")
        self._held = content

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}
