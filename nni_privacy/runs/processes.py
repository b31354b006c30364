"""Processes of a run: identified whatever the clock does and however ids are reused, and stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

__all__ = ["ProcessId", "leftovers", "signal_name", "stop_processes"]

_PATIENCE = 8.0
"""Seconds that a process gets to end by itself."""


@dataclass(frozen=True)
class ProcessId:
    """A process, once and for all.

    Attributes:
        pid: the system's id, which it reuses.
        started: what tells it from others with this id: when it was started, and on Linux since which boot.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The process that has ``pid`` now; None if there is none, or it has ended and nobody has taken note yet."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(pid, _start_of(process))
        except (psutil.Error, OSError, ValueError, OverflowError):  # the last two: of a number that is no id
            return None

    @classmethod
    def from_dict(cls, content: Any) -> ProcessId | None:
        """Reads what :meth:`to_dict` gave; None of anything else."""
        try:
            return cls(int(content["pid"]), str(content["started"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessId.of(self.pid) == self


def _start_of(process: psutil.Process) -> str:
    # Elsewhere than on Linux the time of the start is all there is. There, it moves when the clock is set; the ticks
    # since the boot do not.
    stat, boot = Path(f"/proc/{process.pid}/stat"), Path("/proc/sys/kernel/random/boot_id")
    if not (stat.is_file() and boot.is_file()):
        return str(process.create_time())
    ticks = stat.read_text(errors="replace").rpartition(")")[2].split()[19]
    return f"{boot.read_text().strip()}/{ticks}"


def leftovers(folder: Path) -> list[ProcessId]:
    """Managers and trials that work in ``folder``, the folder of NNI's files of a run, and what they started.

    A manager has the folder on its command line, a trial in its environment; nothing else is taken for one.
    """
    others = (process for process in psutil.process_iter() if process.pid != os.getpid())
    found = [ProcessId.of(process.pid) for process in others if _works_in(process, folder)]
    return [identity for identity in found if identity is not None]


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        for option, value in pairwise(process.cmdline()):
            if option == "--experiments-directory" and Path(value) == folder:
                return True
        output = process.environ().get("NNI_OUTPUT_DIR")
    except (psutil.Error, OSError):
        return False
    return output is not None and Path(output).is_relative_to(folder)


def stop_processes(processes: Iterable[ProcessId]) -> list[int]:
    """Ends ``processes``, at first politely.

    Returns:
        The ids of those that were still there.
    """
    living = []
    for identity in processes:
        with suppress(psutil.Error):
            process = psutil.Process(identity.pid)
            if identity.alive:
                living.append(process)
    left = living
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in left:
            with suppress(psutil.Error):
                process.send_signal(number)  # psutil looks once more whether the id has been reused
        _, left = psutil.wait_procs(left, timeout=_PATIENCE)
    return [process.pid for process in living]


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
