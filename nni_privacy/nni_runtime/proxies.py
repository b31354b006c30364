"""Connections to NNI's manager that never ask a proxy.

The manager is on this machine, at ``localhost``, 127.0.0.1 or the address of ``--host``. Proxies are for other
machines: one that is asked for this one breaks the search, and is told its token.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable
from typing import Any

__all__ = ["direct_connection", "direct_receive", "direct_request", "direct_send", "proxy_variables"]

_logger = logging.getLogger(__name__)

_NAMES = ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy", "socks_proxy")
_NOTHING_YET, _GONE = 408, 410


def proxy_variables() -> list[str]:
    """Names of the environment's variables that send connections to a proxy, as they are spelt there."""
    return sorted(name for name, value in os.environ.items() if name.lower() in _NAMES and value)


def direct_request(method: str, url: str, **options: Any) -> Any:
    """``requests.request``, but the environment is not asked: no proxy, no ``.netrc``."""
    import requests

    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, **options)


def direct_connection(original: Callable[..., Any]) -> Callable[..., Any]:
    """NNI's ``_connect_async`` without a proxy; since its release 15 the library asks the environment for one."""

    async def _connect_async(url: str) -> Any:
        import websockets

        options: dict[str, Any] = {"max_size": None}
        if "proxy" in inspect.signature(websockets.connect).parameters:
            options["proxy"] = None
        return await websockets.connect(url, **options)

    return _connect_async


def direct_send(original: Callable[..., Any]) -> Callable[..., Any]:
    """NNI's ``HttpChannel.send``, from a trial to the manager, without a proxy."""

    def send(self: Any, command: Any) -> None:
        answer = direct_request("put", self._url, json=command)
        if not answer.ok and answer.status_code != _GONE:
            _logger.error("NNI's manager refused what this trial sent: %s %.200s", answer.status_code, answer.text)

    return send


def direct_receive(original: Callable[..., Any]) -> Callable[..., Any]:
    """NNI's ``HttpChannel.receive``, in a trial, without a proxy: it asks until the manager has something to say."""

    def receive(self: Any) -> Any:
        while (answer := direct_request("get", self._url)).status_code == _NOTHING_YET:
            continue
        if answer.status_code == _GONE:
            return None
        if not answer.ok:
            raise OSError(f"NNI's manager refused to answer this trial: {answer.status_code} {answer.text:.200}")
        return answer.json()

    return receive
