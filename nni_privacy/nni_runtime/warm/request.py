"""Requests of clients for a warm trial, as they arrive at the socket."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass

__all__ = ["Request", "receive"]

_PATIENCE = 10.0
"""Seconds that a client gets to say what it wants."""


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
        ValueError: if it says something else.
    """
    client.settimeout(_PATIENCE)
    content, streams, _, _ = socket.recv_fds(client, 1 << 16, 3)
    try:
        while len(content) < 4 or len(content) < 4 + int.from_bytes(content[:4], "big"):
            part = client.recv(1 << 16)
            if not part:
                raise ConnectionResetError("the client has gone")
            content += part
        if len(streams) != 3:
            raise ValueError("a request comes with three streams")
        return Request(**json.loads(content[4:]), streams=list(streams))
    except BaseException:
        for stream in streams:
            os.close(stream)
        raise
