"""Supervisor of the server of warm trials: a thread of the searching process that owns the socket.

The socket outlives the servers, so that a trial that is started while none is there waits for the next one.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nni_privacy.files import private_folder
from nni_privacy.nni_runtime.surroundings import OF_A_TRIAL
from nni_privacy.nni_runtime.warm import client
from nni_privacy.nni_runtime.warm.client import SOCKET, address, message
from nni_privacy.nni_runtime.warm.request import BAD_REQUEST, receive

__all__ = ["WarmTrials", "can_fork"]

_logger = logging.getLogger(__name__)

_STARTS = 2
"""How often a server that ends before it is ready is started."""

_PATIENCE = 5.0
_LOOK_SECONDS = 1.0
_LOG = "server.log"


def can_fork() -> bool:
    """Whether this system can run warm trials."""
    return hasattr(os, "fork") and hasattr(socket, "AF_UNIX") and hasattr(socket, "send_fds")


class WarmTrials:
    """Server of warm trials for one experiment on this machine.

    A server that is killed is started anew, and so is one whose files have changed; where no server can be had, trials
    are started the cold way, with one warning.

    Args:
        folder: a new folder for the socket and the server's log; only this user can enter it.
        directory: where trials work.
        preparation: what servers import, see :func:`~nni_privacy.nni_runtime.warm.child.prepare`.

    Raises:
        OSError: if there can be no socket in ``folder``.
    """

    def __init__(self, folder: Path, *, directory: Path, preparation: Mapping[str, Any]) -> None:
        self.folder = private_folder(folder)
        self._directory, self._preparation = directory, dict(preparation)
        self._listener = _listening(folder)
        self._servers: dict[socket.socket, subprocess.Popen[bytes]] = {}
        self._ready: set[socket.socket] = set()
        self._retired: set[socket.socket] = set()
        self._failed_starts = 0
        self._cold: str | None = None
        self._closing, self._close = socket.socketpair()
        self._thread = threading.Thread(target=self._supervise, name="warm-trials", daemon=True)
        self._thread.start()

    def command(self, cold: str) -> str:
        """The words of a trial's command; ``cold``: those that would start it without a server."""
        words = [sys.executable, "-S", "-E", client.__file__, str(self.folder)]
        return f"{shlex.join(words)} {cold}"

    @property
    def server(self) -> int | None:
        """The process id of the server that takes the next trial; None: there is none."""
        current = (process for control, process in self._servers.items() if control not in self._retired)
        return next((process.pid for process in current), None)

    def close(self) -> None:
        """Ends the servers, and with them what trials still run; further trials are not expected."""
        with suppress(OSError):
            self._close.send(b".")
        self._thread.join(_PATIENCE * 2)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _supervise(self) -> None:
        try:
            with selectors.DefaultSelector() as self._selector:
                self._selector.register(self._closing, selectors.EVENT_READ)
                self._start()
                while self._closing not in (sources := self._sources()):
                    for source in sources:
                        self._hear(source)
                    # Where a module has forked, its child holds the control of a server that has ended.
                    for control, process in list(self._servers.items()):
                        if process.poll() is not None:
                            self._ended(control)
        finally:
            self._end()

    def _sources(self) -> list[Any]:
        """What has something to say, after a second at the latest."""
        return [key.fileobj for key, _ in self._selector.select(_LOOK_SECONDS)]

    def _hear(self, source: Any) -> None:
        """Acts on what ``source``, the listener or a server's control, has to say."""
        if source is self._listener:
            self._send_cold()
            return
        if source not in self._servers:  # it has ended meanwhile
            return
        said: dict[str, str] = {}  # nothing, if it has ended
        with suppress(OSError, ValueError):
            size = source.recv(4)
            said = dict(json.loads(source.recv(int.from_bytes(size, "big")))) if size else {}
        if "ready" in said:
            self._ready.add(source)
            self._failed_starts = 0
        elif "stale" in said:
            _logger.info("%s has changed: trials are forked from a new process", said["stale"])
            self._retired.add(source)
            self._start()
        elif "cold" in said:
            self._retired.add(source)
            self._go_cold(said["cold"])
        else:
            self._ended(source)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        descriptors = [theirs.fileno(), self._listener.fileno()]
        module = "nni_privacy.nni_runtime.warm.server"
        environment = {name: value for name, value in os.environ.items() if name not in OF_A_TRIAL}
        # The processes of a run are known by this variable; one thread, since forks take no threads along; and whether
        # there is a GPU is asked without starting on it.
        environment |= {
            "NNI_OUTPUT_DIR": str(self.folder),
            "OPENBLAS_NUM_THREADS": "1",
            "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        }
        try:
            with (self.folder / _LOG).open("ab") as log:
                process = subprocess.Popen(  # noqa: S603 - this package's own module
                    [sys.executable, "-m", module, *map(str, descriptors)],
                    cwd=self._directory,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=descriptors,
                    start_new_session=True,
                )
            if process.stdin is not None:
                with suppress(BrokenPipeError), process.stdin as stdin:
                    stdin.write(json.dumps(self._preparation).encode())
        except OSError as error:
            ours.close()
            self._go_cold(str(error))
            return
        finally:
            theirs.close()
        self._servers[ours] = process
        self._selector.register(ours, selectors.EVENT_READ)

    def _ended(self, control: socket.socket) -> None:
        """Starts a server in the place of one that was killed; one that had made room for another is not missed."""
        self._selector.unregister(control)
        process = self._servers.pop(control)
        control.close()
        code = process.wait()
        was_ready, was_retired = control in self._ready, control in self._retired
        self._ready.discard(control)
        self._retired.discard(control)
        if was_retired or self._cold is not None:
            return
        if was_ready:
            _logger.warning("the process that trials are forked from was lost (%s); it is started anew", _how(code))
        else:
            self._failed_starts += 1
        if self._failed_starts < _STARTS:
            self._start()
        else:
            self._go_cold(f"{_how(code)}: {self._last_words()}")

    def _last_words(self) -> str:
        """The error of the last traceback in its log, or else its last line."""
        lines: list[str] = []
        with suppress(OSError):
            lines = [line.rstrip() for line in (self.folder / _LOG).read_text(errors="replace").split("\n")]
        begins = [at for at, line in enumerate(lines) if line.startswith("Traceback ")]
        errors = [line for line in lines[begins[-1] + 1 :] if line and not line.startswith(" ")] if begins else []
        said = errors[:1] or [line.strip() for line in lines if line.strip()][-1:]
        return said[0] if said else "it said nothing"

    def _go_cold(self, why: str) -> None:
        if self._cold is None:
            self._cold = why
            _logger.warning("trials are started one by one, which takes longer: %s", why)
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _send_cold(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            with connection, suppress(*BAD_REQUEST):
                for stream in receive(connection).streams:
                    os.close(stream)
                connection.sendall(message({"cold": True}))

    def _end(self) -> None:
        self._listener.close()
        for control, process in self._servers.items():
            control.close()  # it ends with its children
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._closing.close()
        self._close.close()


def _listening(folder: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        (folder / SOCKET).unlink(missing_ok=True)
        listener.bind(address(str(folder), descriptor))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(descriptor)
    return listener


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
