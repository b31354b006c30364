"""Worker processes: each trains one shadow after the other with one thread, and none outlives this process."""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from nni_privacy.auditing.shadows.cache import ShadowCache
from nni_privacy.auditing.shadows.plan import ShadowData, ShadowTask, canonical_json
from nni_privacy.auditing.shadows.shadow import ShadowError, error_of_shadow
from nni_privacy.auditing.shadows.worker import BUSY, FAILED, share_data
from nni_privacy.errors import ConfigError

__all__ = ["train_in_processes"]

WORKER = "nni_privacy.auditing.shadows.worker"
LOG_TAIL = 400
"""Bytes of a dead worker's last words that its error repeats."""
_END_SECONDS = 10.0

_logger = logging.getLogger(__name__)


def train_in_processes(
    tasks: Sequence[ShadowTask],
    data: ShadowData,
    cache: ShadowCache,
    *,
    workers: int,
    on_done: Callable[[ShadowTask], None],
) -> None:
    """Trains shadows in worker processes; their answers are in the cache when this returns.

    Workers are fresh interpreters, not copies of this process: the caller needs no ``if __name__ == "__main__"``, and
    NNI in a trial does not see them. A shadow that another run is training is waited for last. An error, Ctrl-C
    included, ends all workers; shadows that are finished stay in the cache.

    Args:
        tasks: different ones.
        data: their records, handed over through one unnamed file.
        cache: shared with the workers.
        workers: number of processes, 1 or more.
        on_done: called for each shadow as it is finished.

    Raises:
        PrivacyError: of the first shadow that fails.
        ShadowError: if a worker dies.
        ConfigError: if there is no space for the records.
    """
    messages = [task.to_message() for task in tasks]
    queue = deque(zip(tasks, messages, [False] * len(tasks), strict=True))
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())
        selector = stack.enter_context(selectors.DefaultSelector())
        try:
            header = {"data": share_data(data, file), "cache": str(cache.folder), "cwd": str(Path.cwd())}
        except OSError as error:
            raise ConfigError(f"the records cannot be written to {tempfile.gettempdir()}: {error.strerror}") from error
        for _ in range(min(workers, len(tasks))):
            worker = _Worker(file, header)
            stack.callback(worker.stop)
            selector.register(worker.replies, selectors.EVENT_READ, worker)
            worker.give(*queue.popleft())
        open_tasks = len(tasks)
        while open_tasks:
            for event, _ in selector.select():
                worker = event.data
                task, message, status = worker.receive()
                if status == BUSY:
                    _logger.info("shadow %d is being trained by another run", task.number)
                    queue.append((task, message, True))
                else:
                    open_tasks -= 1
                    on_done(task)
                if queue:
                    worker.give(*queue.popleft())
                else:
                    selector.unregister(worker.replies)


class _Worker:
    """One process and the task that it is at."""

    def __init__(self, data: IO[bytes], header: dict[str, Any]) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        reading, writing = os.pipe()
        self.replies = os.fdopen(reading, "rb")
        command = [sys.executable, "-m", WORKER, str(data.fileno()), str(writing)]
        try:
            self.process = subprocess.Popen(  # noqa: S603 - our own module
                command,
                stdin=subprocess.PIPE,
                stdout=self.log,
                stderr=self.log,
                pass_fds=(data.fileno(), writing),
                cwd=header["cache"],  # python puts it first on the path: it holds no modules
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the parent, which ends its workers
            )
        finally:
            os.close(writing)
        self.task: ShadowTask | None = None
        self.message: dict[str, Any] = {}
        self._send(header)

    def give(self, task: ShadowTask, message: dict[str, Any], wait: bool) -> None:
        """Hands over a task; a dead worker is noticed when it is to answer."""
        self.task, self.message = task, message
        self._send({"task": message, "wait": wait})

    def _send(self, content: dict[str, Any]) -> None:
        assert self.process.stdin is not None  # noqa: S101 - for the type checker
        with suppress(BrokenPipeError):
            self.process.stdin.write(canonical_json(content).encode() + b"\n")
            self.process.stdin.flush()

    def receive(self) -> tuple[ShadowTask, dict[str, Any], str]:
        """The task, its message and its status."""
        assert self.task is not None  # noqa: S101
        line = self.replies.readline()
        if not line.endswith(b"\n"):
            raise ShadowError(f"shadow {self.task.number} could not be trained: {self._obituary()}")
        reply = json.loads(line)
        if reply["status"] == FAILED:
            raise error_of_shadow(self.task.number, reply["kind"], reply["message"])
        return self.task, self.message, reply["status"]

    def _obituary(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=_END_SECONDS)
        code = self.process.returncode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = ", probably for want of memory: use fewer workers" if name == "SIGKILL" else ""
            return f"its worker process was ended by {name}{hint}"
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - LOG_TAIL))
        words = " ".join(self.log.read().decode(errors="replace").split())
        return f"its worker process ended with code {code}: {words or 'it said nothing'}"

    def stop(self) -> None:
        """Ends the process, whatever it does; a half-trained shadow leaves nothing behind."""
        self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):
            self.process.stdin.close()  # type: ignore[union-attr]
        self.replies.close()
        self.log.close()


def _environment() -> dict[str, str]:
    """One thread a process, this process' import path, and nothing that makes NNI take the worker for a trial."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NNI_")}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("NNI_PRIVACY_")}
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return {**kept, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
