"""Access to NNI's manager: the token that it wants of everyone, and that this user's processes carry to it.

Every manager that is started here gets a random token. It goes to the manager through the environment, never through a
command line or a log, and is kept where only this user can read it, for processes that talk to the manager later.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nni_privacy.errors import ConfigError
from nni_privacy.files import cache_folder, private_folder
from nni_privacy.nni_runtime.patches.access import HOST_VARIABLE, OPEN_VARIABLE, TOKEN_HEADER, TOKEN_VARIABLE
from nni_privacy.nni_runtime.proxies import channel_proxy, direct_request, trial_receive_proxy, trial_send_proxy
from nni_privacy.nni_runtime.repairing import Original, repair

__all__ = ["ACCESS_REPAIRS", "ManagerAccess", "addressed", "check_host", "check_port", "current_access", "here"]
__all__ += ["manager_access", "manager_headers", "set_default_access", "token_for", "web_address", "with_key"]

_TOKEN_BYTES = 32
_HERE = "127.0.0.1"


@dataclass(frozen=True)
class ManagerAccess:
    """Access to the managers that this process starts, and what they may be sent.

    Attributes:
        host: an address of this machine to listen on besides 127.0.0.1.
        wants_token: whether the web UI is for those only who have the token; what could run code always is.
        allow_pickle: whether models may be sent to trials as pickles, where they cannot be sent otherwise.
        announce: whether the address with the token is printed when a manager has started.
        warm_trials: whether trials on this machine are forked from one process that has imported everything.
        token: what every request must carry.
    """

    host: str | None = None
    wants_token: bool = True
    allow_pickle: bool = False
    announce: bool = True
    warm_trials: bool = False
    token: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES), repr=False)

    def address(self, port: int, *, prefix: str | None = None) -> str:
        """The web UI's address with the token, to be opened once in a browser; whoever has it may do anything."""
        host = self.host or _HERE
        name = f"[{host}]" if ":" in host else host
        root = f"http://{name}:{port}" + (f"/{prefix.strip('/')}" if prefix else "")
        return f"{root}/?token={self.token}" if self.wants_token or self.host else root

    def plain_address(self, port: int) -> str:
        """The web UI's address on this machine without the token, for whoever has opened it once."""
        return f"http://{_HERE}:{port}"

    def page(self, port: int) -> str:
        """The address to be told on this machine: with the token, but never that of an open network."""
        return self.plain_address(port) if self.host else self.address(port)

    def say(self, what: str, folder: Path, port: int) -> None:
        """Prints what is started, where its results go, and where its web UI is."""
        print(f"{what}, results in {folder}, web UI at {self.page(port)}", flush=True)  # last: it is copied
        if self.host is None:
            return
        print(
            f"warning: the manager is open to the network at {self.host}, without encryption; whoever reads its "
            "traffic or has this address can read the run's files and run code as you:",
            file=sys.stderr,
        )
        print(f"  {self.address(port)}", flush=True)

    def variables(self) -> dict[str, str]:
        """Environment variables that the manager reads when it starts."""
        given = {TOKEN_VARIABLE: self.token}
        if self.host is not None:
            given[HOST_VARIABLE] = self.host
        elif not self.wants_token:
            given[OPEN_VARIABLE] = "1"
        return given


_access: ContextVar[ManagerAccess | None] = ContextVar("nni_privacy_access", default=None)
_default = [ManagerAccess()]
_tokens: dict[int, str] = {}
"""Port -> token of the managers that this process has started."""


def current_access() -> ManagerAccess:
    """The access of a manager that is started now."""
    return _access.get() or _default[0]


def set_default_access(
    *, wants_token: bool | None = None, allow_pickle: bool | None = None, warm_trials: bool | None = None
) -> None:
    """Changes what holds for managers of this process where nobody says otherwise; ``None``: as it is."""
    given = {"wants_token": wants_token, "allow_pickle": allow_pickle, "warm_trials": warm_trials}
    _default[0] = _changed(_default[0], **given)


@contextmanager
def manager_access(
    *,
    host: str | None = None,
    wants_token: bool | None = None,
    allow_pickle: bool | None = None,
    announce: bool | None = None,
    token: str | None = None,
) -> Iterator[ManagerAccess]:
    """Managers that this thread starts meanwhile are reached as said; ``None``: as before.

    They have one new token, or that of an ended manager whose page is to go on. The caller has checked ``host``
    (:func:`check_host`).
    """
    token = token or secrets.token_urlsafe(_TOKEN_BYTES)
    given = {"host": host, "wants_token": wants_token, "allow_pickle": allow_pickle, "announce": announce}
    access = _changed(current_access(), **given, token=token)
    reset = _access.set(access)
    try:
        yield access
    finally:
        _access.reset(reset)


def _changed(access: ManagerAccess, **given: Any) -> ManagerAccess:
    return replace(access, **{name: value for name, value in given.items() if value is not None})


def check_host(host: str, port: int) -> None:
    """Raises ConfigError unless the manager can listen on ``port`` of ``host``, one address of this machine."""
    if host.lower() in (_HERE, "localhost", "::1", "[::1]"):
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


def check_port(port: int) -> None:
    """Raises ConfigError unless the manager can listen on ``port`` of 127.0.0.1."""
    if not 1 <= port <= 65535:
        raise ConfigError(f"port: {port}; allowed is 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HERE, port))
        except OSError as error:
            raise ConfigError(f"port: {port} is in use or not allowed ({error.strerror}); choose another") from None


# --- the token of a manager, by its port ---


def token_for(port: int | None) -> str | None:
    """The token of the manager at ``port`` of this machine: one that this process has started, the one in the
    environment, or one that another process of this user has started and that still runs; ``None`` if none is known.
    """
    if port is None:
        return None
    return _tokens.get(port) or os.environ.get(TOKEN_VARIABLE) or _kept_token(port)


def manager_headers(port: int | None) -> dict[str, str]:
    """The headers of a request to the manager at ``port``: the token, where one is known."""
    token = token_for(port)
    return {TOKEN_HEADER: token} if token else {}


def addressed(url: str) -> tuple[str, dict[str, str]]:
    """Where a request is sent, and its headers: with the token of a manager it goes to 127.0.0.1, see :func:`here`.

    Without one, as to a manager of NNI as published, it goes where its address says.
    """
    headers = manager_headers(urlsplit(url).port)
    return (here(url) if headers else url), headers


def web_address(port: int, prefix: str | None = None) -> str:
    """The web UI of the manager at ``port`` of this machine, with its token where one is known."""
    token = token_for(port)
    return ManagerAccess(wants_token=bool(token), token=token or "").address(port, prefix=prefix)


def here(url: str) -> str:
    """An address of the manager on this machine with 127.0.0.1 for ``localhost``.

    ``localhost`` may mean ::1, too, where the manager does not listen and another user may.
    """
    return re.sub(r"^(\w+://)localhost(?=[:/])", rf"\g<1>{_HERE}", url)


def with_key(url: str) -> str:
    """The address of one of the manager's channels with the key that opens this channel only, where it wants one.

    With a key it is at 127.0.0.1, see :func:`here`; what is none of this user's managers is where its address says.
    """
    address = urlsplit(url)
    if address.query:
        return here(url)  # a tuner's address has its key
    token = token_for(address.port)
    if not token:
        return url
    return f"{here(url)}?key={hmac.new(token.encode(), address.path.encode(), hashlib.sha256).hexdigest()}"


def _file_of(port: int) -> Path:
    return cache_folder("managers") / f"{socket.gethostname()}-{port}.json"


def _keep_token(port: int, token: str, process: int) -> None:
    """Leaves the token where this user's other processes find it: ``nni-privacy nnictl``, ``Experiment.connect``."""
    _tokens[port] = token
    with suppress(OSError):  # a full disk: then this process alone knows
        file = private_folder(cache_folder("managers")) / _file_of(port).name
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps({"token": token, "process": process}), encoding="utf-8")


def _forget_token(port: int | None) -> None:
    if port is not None and _tokens.pop(port, None) is not None:
        with suppress(OSError):
            _file_of(port).unlink(missing_ok=True)


def _kept_token(port: int) -> str | None:
    import psutil

    file = _file_of(port)
    try:
        if not file.is_file():
            return None
        private_folder(file.parent)
        kept = json.loads(file.read_text(encoding="utf-8"))
        return str(kept["token"]) if psutil.pid_exists(int(kept["process"])) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


# --- repairs of NNI's Python side ---


@repair(
    "every user of this machine can drive the manager, and can have it run code",
    "nni.experiment.launcher:_start_rest_server",
    "cmd = [node, '--max-old-space-size=4096'",
    "nni_manager_args.to_command_line_args()",
)
def manager_token(original: Original, nni_manager_args: Any, run_mode: Any) -> Any:
    access, port = current_access(), int(nni_manager_args.port)
    # What trials log names their channel's key.
    folder = Path(nni_manager_args.experiments_directory, nni_manager_args.experiment_id)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    with _environment(access.variables()), _standard_input_kept():
        process = original(nni_manager_args, run_mode)
    _keep_token(port, access.token, process.pid)
    return process


@contextmanager
def _standard_input_kept() -> Iterator[None]:
    """A manager that is started meanwhile does not share standard input, where reads would no longer wait for lines."""
    launcher: Any = import_module("nni.experiment.launcher")
    original = launcher.Popen
    launcher.Popen = partial(original, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        launcher.Popen = original


@contextmanager
def _environment(given: dict[str, str]) -> Iterator[None]:
    names = (TOKEN_VARIABLE, HOST_VARIABLE, OPEN_VARIABLE)
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(given)
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


@repair(
    "the addresses that NNI says its web UI is at do not hold the token, and most of them do not answer",
    "nni.experiment.experiment:Experiment._start_nni_manager",
    "'Web portal URLs: ${CYAN}'",
    "self.port = port",
)
def manager_address(original: Original, self: Any, port: int, *arguments: Any, **options: Any) -> Any:
    logger = logging.getLogger("nni.experiment")
    logger.addFilter(_is_no_address)
    try:
        result = original(self, port, *arguments, **options)
    finally:
        logger.removeFilter(_is_no_address)
    access = current_access()
    if access.announce:
        print(f"web UI: {access.address(port, prefix=self.url_prefix)}", flush=True)
    return result


def _is_no_address(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Web portal URLs:")


@repair(
    "the token of a manager that has ended is of no use to anybody",
    "nni.experiment.experiment:Experiment._stop_nni_manager",
    "rest.delete(self.port, '/experiment', self.url_prefix)",
)
def manager_stop(original: Original, self: Any) -> Any:
    port = self.port
    try:
        return original(self)
    finally:
        _forget_token(port)


@repair(
    "NNI's own requests to its manager carry no token, and go to a proxy where the environment names one",
    "nni.experiment.rest:request",
    "requests.request(method, url, timeout=timeout)",
    "'api/v1/nni'",
)
def request_token(
    original: Original, method: str, port: int | None, api: str, data: Any = None, prefix: str | None = None
) -> Any:
    if port is None:
        return original(method, port, api, data, prefix)  # which says that nothing runs
    from nni.experiment import rest

    parts = (f"http://localhost:{port}", prefix, "api/v1/nni", api)
    url, headers = addressed("/".join(part.strip("/") for part in parts if part))
    answer = direct_request(method, url, json=data, headers=headers, timeout=rest.timeout)
    if not answer.ok:
        rest._logger.error("request %s %s failed: %s %s", method.upper(), url, answer.status_code, answer.text)
    answer.raise_for_status()
    return answer.json() if answer.content and method.lower() in ("get", "post") else None


@repair(
    "the strategy's own channel to a manager that wants a token has no key",
    "nni.runtime.command_channel.websocket.connection:WsConnection.connect",
    "_connect_async(self._url)",
)
def channel_key(original: Original, self: Any) -> None:
    plain = self._url
    self._url = with_key(plain)  # the address that others see and log stays without
    try:
        original(self)
    finally:
        self._url = plain


ACCESS_REPAIRS = (
    *(manager_token, manager_address, manager_stop, request_token),
    *(channel_key, channel_proxy, trial_send_proxy, trial_receive_proxy),
)
