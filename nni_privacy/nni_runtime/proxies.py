"""Connections to NNI's manager that never ask a proxy.

The manager is on this machine, at ``localhost``, 127.0.0.1 or the address of ``--host``. Proxies are for other
machines: one that is asked for this one breaks the search, and is told its token.
"""

from __future__ import annotations

import inspect
import logging
import os
from typing import Any

from nni_privacy.nni_runtime.repairing import Original, repair

__all__ = ["channel_proxy", "direct_request", "proxy_variables", "trial_receive_proxy", "trial_send_proxy"]

_logger = logging.getLogger(__name__)

_NAMES = ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy", "socks_proxy")
_NOTHING_YET, _GONE = 408, 410
_CHANNEL = "nni.runtime.command_channel"


def proxy_variables() -> list[str]:
    """Names of the environment's variables that send connections to a proxy, as they are spelt there."""
    return sorted(name for name, value in os.environ.items() if name.lower() in _NAMES and value)


def direct_request(method: str, url: str, **options: Any) -> Any:
    """``requests.request``, but the environment is not asked: no proxy, no ``.netrc``."""
    import requests

    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, **options)


# --- repairs of NNI's Python side ---


@repair(
    "the strategy's own channel to the manager goes to a proxy where the environment names one",
    f"{_CHANNEL}.websocket.connection:_connect_async",
    "websockets.connect(url, max_size=None)",
)
async def channel_proxy(original: Original, url: str) -> Any:
    """Connects without a proxy; since its release 15 the library asks the environment for one."""
    import websockets

    options: dict[str, Any] = {"max_size": None}
    if "proxy" in inspect.signature(websockets.connect).parameters:
        options["proxy"] = None
    return await websockets.connect(url, **options)


@repair(
    "what trials and the manager tell each other goes to a proxy where the environment names one",
    f"{_CHANNEL}.http:HttpChannel.send",
    "requests.put(self._url",
)
def trial_send_proxy(original: Original, self: Any, command: Any) -> None:
    """Sends from a trial to the manager, without a proxy."""
    answer = direct_request("put", self._url, json=command)
    if not answer.ok and answer.status_code != _GONE:
        _logger.error("NNI's manager refused what this trial sent: %s %.200s", answer.status_code, answer.text)


@repair(
    "what trials and the manager tell each other goes to a proxy where the environment names one",
    f"{_CHANNEL}.http:HttpChannel.receive",
    "requests.get(self._url",
)
def trial_receive_proxy(original: Original, self: Any) -> Any:
    """Asks in a trial, without a proxy, until the manager has something to say."""
    while (answer := direct_request("get", self._url)).status_code == _NOTHING_YET:
        continue
    if answer.status_code == _GONE:
        return None
    if not answer.ok:
        raise OSError(f"NNI's manager refused to answer this trial: {answer.status_code} {answer.text:.200}")
    return answer.json()
