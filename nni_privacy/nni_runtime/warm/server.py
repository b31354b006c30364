"""Server of warm trials: imports what trials need once, and forks a child for each.

``python -m nni_privacy.nni_runtime.warm.server CONTROL LISTENER`` is given the descriptors of two sockets, and on its
standard input what to prepare. It starts no threads, touches no GPU, and ends when its supervisor does.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
import sysconfig
import threading
import time
import weakref
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from nni_privacy.lazy import quick_imports
from nni_privacy.nni_runtime.surroundings import show_warnings
from nni_privacy.nni_runtime.warm.child import prepare, run_trial
from nni_privacy.nni_runtime.warm.client import message
from nni_privacy.nni_runtime.warm.request import BAD_REQUEST, Request, receive

__all__ = ["Server", "changed_files", "loaded_files", "main", "open_files", "thread_count"]

_LOOK_SECONDS = 1.0
_STREAMS = 3
"""Descriptors of standard input, output and error."""


def thread_count() -> int:
    """Threads of this process, those of libraries included where the system tells."""
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        return threading.active_count()


def loaded_files() -> dict[str, tuple[int, int]]:
    """Files of the modules that are loaded, but for installed ones: time of change in ns and size in bytes, by path."""
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    files = {str(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    return {
        file: state
        for file in files
        if not any(Path(file).is_relative_to(folder) for folder in installed)
        if (state := _state(file)) is not None
    }


def changed_files(before: dict[str, tuple[int, int]]) -> list[str]:
    """Those of ``before`` that are no longer as they were."""
    return [file for file, known in before.items() if _state(file) != known]


def open_files() -> set[str]:
    """Files that this process has open, but for its streams and those without a name; empty if the system hides it."""
    found = set()
    with suppress(OSError):
        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError):  # the one that lists them
                if int(link.name) >= _STREAMS and S_ISREG(link.stat().st_mode) and link.readlink().exists():
                    found.add(str(link.readlink()))
    return found


def _state(file: str) -> tuple[int, int] | None:
    try:
        status = Path(file).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


class Server:
    """Forks a child for each client and tells it how the child ended.

    Args:
        control: connection to the supervisor; when it closes, children and server end.
        listener: the socket that clients connect to.
        started: when the server began to import, in ns since the epoch; a file that changed since may be an older
            one in memory.
        opened: files that were open then.
    """

    def __init__(
        self, control: socket.socket, listener: socket.socket, *, started: int, opened: Collection[str] = ()
    ) -> None:
        self._control, self._listener = control, listener
        self._children: dict[int, socket.socket] = {}
        self._files = loaded_files()
        self._opened = sorted(open_files().difference(opened))
        now = time.time_ns()
        self._newer = next((file for file, (changed, _) in self._files.items() if started < changed <= now), None)
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        self._wake = wake
        handlers = {signal.SIGCHLD: lambda number, frame: None, signal.SIGTERM: lambda number, frame: self._end()}
        self._handlers = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        signal.set_wakeup_fd(wake)
        self._selector = selectors.DefaultSelector()
        for source in (control, listener, self._woken):
            self._selector.register(source, selectors.EVENT_READ)

    def serve(self) -> Request:
        """Serves until the supervisor ends; returns in each child, with what it is to do."""
        parent = os.getppid()
        while True:
            for key, _ in self._selector.select(_LOOK_SECONDS):
                if key.fileobj is self._control:
                    self._end()
                elif key.fileobj is self._listener:
                    request = self._accept()
                    if request is not None:
                        return request
                elif key.fileobj == self._woken:
                    with suppress(BlockingIOError):
                        os.read(self._woken, 1 << 12)
                else:
                    self._hear(key.data)
            self._reap()
            if os.getppid() != parent or (self._listener.fileno() < 0 and not self._children):
                self._end()

    def _accept(self) -> Request | None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # too many open files: it waits until there are fewer
            time.sleep(_LOOK_SECONDS)
            return None
        try:
            request = receive(client)
        except BAD_REQUEST:
            client.close()
            return None
        obstacle = self._obstacle()
        if obstacle is None:
            return self._fork(client, request)
        for stream in request.streams:
            os.close(stream)
        # The client comes back to whoever listens then: a new server, or the supervisor, which sends it the cold way.
        self._control.sendall(message(obstacle))
        self._selector.unregister(self._listener)
        self._listener.close()
        client.close()
        return None

    def _obstacle(self) -> dict[str, str] | None:
        """Why this server forks no more, if it should not."""
        more = thread_count() - 1
        if more:
            what = "a thread runs" if more == 1 else f"{more} threads run"
            return {"cold": f"{what} where trials are forked from (does a plugin start one?)"}
        if self._opened:  # trials would share the place where they read
            return {"cold": f"{self._opened[0]} is open where trials are forked from (does a plugin open it?)"}
        changed = changed_files(self._files) if self._newer is None else [self._newer]
        return {"stale": changed[0]} if changed else None

    def _fork(self, client: socket.socket, request: Request) -> Request | None:
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError:  # too many processes: what runs goes on, and the client tries by itself
            for stream in request.streams:
                os.close(stream)
            with suppress(OSError):
                client.sendall(message({"cold": True}))
            client.close()
            return None
        if pid == 0:
            self._leave()
            client.close()
            return request
        for stream in request.streams:
            os.close(stream)
        self._children[pid] = client
        self._selector.register(client, selectors.EVENT_READ, pid)
        _tell(client, {"pid": pid})
        return None

    def _leave(self) -> None:
        """Makes a child forget that it was the server."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._selector.close()
        for source in (self._control, self._listener, *self._children.values()):
            source.close()
        os.close(self._woken)
        os.close(self._wake)

    def _hear(self, pid: int) -> None:
        """Passes on the signals that a client got; a child whose client has gone ends."""
        try:
            numbers = self._children[pid].recv(1 << 8)
        except OSError:
            numbers = b""
        for number in numbers:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if not numbers:
            _kill(pid)
            self._selector.unregister(self._children[pid])

    def _reap(self) -> None:
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            client = self._children.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            if code < 0:
                _kill(pid)  # what it had started
            _tell(client, {"exit": code} if code >= 0 else {"signal": -code})
            with suppress(KeyError):
                self._selector.unregister(client)
            client.close()

    def _end(self) -> None:
        for pid in self._children:
            _kill(pid)
        with suppress(Exception):
            weakref.finalize._exitfunc()  # type: ignore[attr-defined] # temporary folders of modules: children keep them
        os._exit(0)


def _tell(client: socket.socket, content: dict[str, int]) -> None:
    with suppress(OSError):  # it has gone: its child ends
        client.sendall(message(content))


def _kill(pid: int) -> None:
    """Kills a child and what it started; it may not have got as far as to have a session of its own."""
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def main() -> None:
    """Prepares, serves, and becomes a trial in each child."""
    control, listener = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    for source in (control, listener):
        source.set_inheritable(False)
    server_pid, started, opened = os.getpid(), time.time_ns(), open_files()
    show_warnings()
    # What is frozen then a collection in a child does not look at: it would write to, and so copy, all that is shared.
    with quick_imports():
        prepared = prepare(json.load(sys.stdin))
    server = Server(control, listener, started=started, opened=opened)
    control.sendall(message({"ready": True}))
    run_trial(server.serve(), prepared, parent=server_pid)


if __name__ == "__main__":
    main()
