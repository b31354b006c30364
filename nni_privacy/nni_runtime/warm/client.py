"""Client of the server of warm trials, which NNI's manager starts in the place of a trial.

``python -S -E client.py FOLDER PYTHON ARGUMENTS`` has the server whose socket is in ``FOLDER`` run
``PYTHON ARGUMENTS`` in a child of its own, with this process's working directory, environment and standard streams,
and ends as that child ends: with its exit status, or killed by its signal. Where there is no server, this process
becomes ``PYTHON ARGUMENTS`` itself. It imports little, and nothing that is installed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys

__all__ = ["SOCKET", "address", "main", "message"]

SOCKET = "socket"
"""Name of the socket in its folder."""

_TRIES = 5
_LONGEST = 100
"""Bytes that the address of a socket may have everywhere."""

_LOOK_SECONDS = 0.5
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def address(folder: str, descriptor: int) -> str:
    """The address of the socket in ``folder``, which is open as ``descriptor``: short enough whatever its path."""
    path = f"{folder}/{SOCKET}"
    return path if len(os.fsencode(path)) <= _LONGEST else f"/proc/self/fd/{descriptor}/{SOCKET}"


def message(content: object) -> bytes:
    """``content`` as it is sent: its length in four bytes, then JSON."""
    text = json.dumps(content).encode()
    return len(text).to_bytes(4, "big") + text


def main() -> None:
    """Runs a trial and ends as it ends."""
    folder, *command = sys.argv[1:]
    parent = os.getppid()
    for _ in range(_TRIES):
        try:
            server = _connected(folder)
            directory = os.getcwd()  # noqa: PTH109 - pathlib takes as long to import as all the rest
            request = {"arguments": command[1:], "directory": directory, "environment": dict(os.environ)}
            socket.send_fds(server, [message(request)], [0, 1, 2])
            answer = _next(server, parent)
        except OSError:
            break
        if "pid" in answer:
            _end_as(_watched(server, parent))
        if "cold" in answer:
            break
        server.close()  # it was killed, or makes room for a new one
    if os.getppid() != parent:  # nobody would end the trial
        _end_as({"signal": signal.SIGKILL})
    os.execvp(command[0], command)  # noqa: S606 - the trial itself


def _connected(folder: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        server.connect(address(folder, descriptor))
    finally:
        os.close(descriptor)
    return server


def _watched(server: socket.socket, parent: int) -> dict[str, int]:
    """How the trial ended; meanwhile it gets the signals that this process gets."""
    for number in _FORWARDED:
        signal.signal(number, lambda number, frame: server.sendall(bytes([number])))
    # A trial that is lost with its server was killed from outside.
    return _next(server, parent) or {"signal": signal.SIGKILL}


def _next(server: socket.socket, parent: int) -> dict[str, int]:
    """The server's next message; nothing if it has ended. Ends this process with the one that started it."""
    content = b""
    while len(content) < 4 or len(content) < 4 + int.from_bytes(content[:4], "big"):
        while not select.select([server], [], [], _LOOK_SECONDS)[0]:
            if os.getppid() != parent:
                _end_as({"signal": signal.SIGKILL})
        try:
            part = server.recv(4096)
        except ConnectionError:
            part = b""
        if not part:
            return {}
        content += part
    return dict(json.loads(content[4:]))


def _end_as(end: dict[str, int]) -> None:
    if "signal" in end:
        number = end["signal"]
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(end.get("exit", 1))


if __name__ == "__main__":
    main()
