"""Opening NNI's manager to a network, and the token that this process then carries to it."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime.access_patches import HOST_VARIABLE, TOKEN_HEADER, TOKEN_VARIABLE

__all__ = ["Opened", "check_host", "manager_headers", "opened", "request_with_token", "with_channel_key", "with_key"]

_TOKEN_BYTES = 32


@dataclass(frozen=True)
class Opened:
    """Where a manager that is open to a network is reached.

    Attributes:
        host: the address it listens on besides 127.0.0.1.
        token: what every request must carry.
    """

    host: str
    token: str

    def address(self, port: int) -> str:
        """The web UI's address with the token, to be opened once in a browser; whoever has it may do anything."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{port}/?token={self.token}"

    def announce(self, port: int) -> None:
        """Prints the address, once, and a warning."""
        print(
            f"warning: the manager is open to the network at {self.host}, without encryption; whoever reads its "
            "traffic or has this address can read the run's files and run code as you:",
            file=sys.stderr,
        )
        print(f"  {self.address(port)}", flush=True)


def check_host(host: str, port: int) -> None:
    """Raises ConfigError unless the manager can listen on ``port`` of ``host``, one address of this machine."""
    if host.lower() in ("127.0.0.1", "localhost", "::1", "[::1]"):
        raise ConfigError(f"host: {host!r}; the manager listens there anyway: leave --host out")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if address[0] in ("0.0.0.0", "::") or not host.isascii():  # noqa: S104 - refused
            raise ConfigError(f"host: {host!r}; name one address of this machine, not all of them")
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"host: {host!r}: not an address of this machine with port {port} free ({reason})") from None


@contextmanager
def opened(host: str) -> Iterator[Opened]:
    """Managers that this process starts meanwhile listen on ``host`` too, and want a new random token of everyone.

    The token goes to the manager, and to this process's own requests, through the environment: never through a command
    line or a log. The caller has checked ``host`` (:func:`check_host`).
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    given = {HOST_VARIABLE: host, TOKEN_VARIABLE: token}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield Opened(host, token)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def manager_headers() -> dict[str, str]:
    """The headers of a request to this process's manager: the token, where it wants one."""
    token = os.environ.get(TOKEN_VARIABLE)
    return {TOKEN_HEADER: token} if token else {}


def with_key(url: str) -> str:
    """The address of one of the manager's channels with the key that opens this channel only, where it wants one."""
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        return url
    key = hmac.new(token.encode(), urlsplit(url).path.encode(), hashlib.sha256).hexdigest()
    return f"{url}?key={key}"


def request_with_token(original: Callable[..., Any]) -> Callable[..., Any]:
    """NNI's ``rest.request`` with the token."""

    def request(method: str, port: int | None, api: str, data: Any = None, prefix: str | None = None) -> Any:
        headers = manager_headers()
        if not headers or port is None:
            return original(method, port, api, data, prefix)
        return _request(method, f"http://localhost:{port}", prefix, api, data=data, headers=headers)

    return request


def _request(method: str, root: str, prefix: str | None, api: str, *, data: Any, headers: Mapping[str, str]) -> Any:
    import requests
    from nni.experiment import rest

    url = "/".join(part.strip("/") for part in (root, prefix, "api/v1/nni", api) if part)
    answer = requests.request(method, url, json=data, headers=headers, timeout=rest.timeout)
    answer.raise_for_status()
    return answer.json() if answer.content and method.lower() in ("get", "post") else None


def with_channel_key(original: Callable[..., Any]) -> Callable[..., Any]:
    """NNI's ``WsConnection.connect`` with the channel's key; the address that others see and log stays without."""

    def connect(self: Any) -> None:
        plain = self._url
        self._url = with_key(plain)
        try:
            original(self)
        finally:
            self._url = plain

    return connect
