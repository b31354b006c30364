"""Requests of clients for a warm trial, as they arrive at the socket."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass

__all__ = ["BAD_REQUEST", "Request", "receive"]

BAD_REQUEST = (OSError, ValueError, TypeError, RecursionError)
"""What :func:`receive` raises of a client that has gone, says nothing, or something else."""

_PATIENCE = 5.0
"""Seconds that a client gets to say what it wants: meanwhile nobody else is heard."""

_MOST = 1 << 26
"""Bytes of a request; the environment is nearly all of it, and Linux allows a fraction of this."""


@dataclass(frozen=True)
class Request:
    """One trial, as its client wants it.

    Attributes:
        arguments: of the interpreter.
        directory: where it works.
        environment: all of its variables.
        streams: descriptors of its standard input, output and error.
    """

    arguments: list[str]
    directory: str
    environment: dict[str, str]
    streams: list[int]


def receive(client: socket.socket) -> Request:
    """The request of a client.

    Raises:
        OSError: if the client has gone or says nothing.
        ValueError, TypeError, RecursionError: if it says something else.
    """
    until = time.monotonic() + _PATIENCE
    client.settimeout(_PATIENCE)
    content, streams, _, _ = socket.recv_fds(client, 1 << 16, 3)
    try:
        while len(content) < 4 or len(content) < 4 + int.from_bytes(content[:4], "big"):
            client.settimeout(max(until - time.monotonic(), 1e-3))
            part = client.recv(1 << 16)
            if len(content) > _MOST:
                raise ValueError(f"a request of more than {_MOST} bytes")
            if not part:
                raise ConnectionResetError("the client has gone")
            content += part
        if len(streams) != 3:
            raise ValueError("a request comes with three streams")
        client.settimeout(_PATIENCE)
        return Request(**json.loads(content[4:]), streams=list(streams))
    except BaseException:
        for stream in streams:
            os.close(stream)
        raise
