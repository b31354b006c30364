"""Where connections to the manager go: never to a proxy, whatever the environment names; in trials, too."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import responses
from support_manager import final_metrics, run_manager
from support_search import SMALL, Search

from nni_privacy.nni_runtime import access, make_overlay
from nni_privacy.nni_runtime.access import with_key
from nni_privacy.nni_runtime.patches.access import TOKEN_HEADER, TOKEN_VARIABLE
from nni_privacy.nni_runtime.probe import free_port, lone_manager
from nni_privacy.nni_runtime.proxies import direct_request, proxy_variables
from nni_privacy.nni_runtime.repairs import REPAIRS, apply_repairs

VARIABLES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "ws_proxy", "WS_PROXY")
EXCEPTIONS = (None, "localhost")
TOKEN = "a-token-of-the-tests"  # noqa: S105


class Proxy:
    """Keeps what it is asked, and refuses it or passes it on."""

    def __init__(self, *, passes_on: bool = False) -> None:
        self._passes_on = passes_on
        self.asked: list[bytes] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with closing(connection):
                connection.settimeout(5)
                self.asked.append(connection.recv(65536))
                if self._passes_on:
                    self._pass_on(connection, self.asked[-1])
                    continue
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def _pass_on(self, connection: socket.socket, request: bytes) -> None:
        method, target = request.split(b" ", 2)[:2]
        host, _, port = target.decode().rpartition("//")[2].partition("/")[0].partition(":")
        with suppress(OSError), socket.create_connection((host, int(port or 80)), timeout=5) as server:
            if method == b"CONNECT":
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                server.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            while answer := server.recv(65536):
                connection.sendall(answer)

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["one that refuses", "one that is not there"])
def proxy(request: pytest.FixtureRequest, no_proxies: None) -> Iterator[Proxy]:
    server = Proxy()
    if request.param == "one that is not there":
        server.close()
    yield server
    server.close()


@pytest.fixture(scope="module")
def manager() -> Iterator[int]:
    with lone_manager(make_overlay(), environment={TOKEN_VARIABLE: TOKEN}) as port:
        yield port


@pytest.fixture
def repaired(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    names = ("request_token", "channel_key", "channel_proxy", "trial_send_proxy", "trial_receive_proxy")
    active = {name: REPAIRS[name].active for name in names}
    for name in names:
        REPAIRS[name].apply()
    yield
    for name, was in active.items():
        if not was:
            REPAIRS[name].remove()


@pytest.mark.parametrize("exception", EXCEPTIONS)
@pytest.mark.parametrize("variable", VARIABLES)
def test_every_kind_of_connection_is_direct(
    variable: str, exception: str | None, proxy: Proxy, manager: int, repaired: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nni.experiment import rest
    from nni.runtime.command_channel.http import HttpChannel
    from nni.runtime.command_channel.websocket.connection import WsConnection

    monkeypatch.setenv(variable, proxy.address)
    if exception is not None:
        monkeypatch.setenv("no_proxy", exception)
    assert rest.get(manager, "/check-status")["status"] == "INITIALIZED"
    assert direct_request("get", f"http://127.0.0.1:{manager}/", timeout=20).status_code == 401
    connection = WsConnection(f"ws://localhost:{manager}/tuner")
    connection.connect()
    connection.disconnect()
    channel = HttpChannel(f"http://localhost:{manager}/env/none")
    channel.send({"type": "metric"})
    with pytest.raises(OSError, match="401"):
        channel.receive()
    assert proxy.asked == []


def test_without_the_repairs_the_proxy_is_asked_and_told_the_token(
    no_proxies: None, manager: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests

    server = Proxy()
    monkeypatch.setenv("http_proxy", server.address)
    answer = requests.get(f"http://localhost:{manager}/", headers={"X-NNI-Privacy-Token": TOKEN}, timeout=20)
    server.close()
    assert answer.status_code == 403 and TOKEN.encode() in server.asked[0]


def test_the_managers_probe_is_direct(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy.address)
    with lone_manager(make_overlay()) as port:
        assert port
    assert proxy.asked == []


def test_the_variables_are_named_as_they_are_spelt(no_proxies: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_variables() == []
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ws_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "")
    assert proxy_variables() == ["ALL_PROXY", "ws_proxy"]


def everywhere(monkeypatch: pytest.MonkeyPatch, proxy: Proxy) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, proxy.address)


@pytest.mark.slow
@pytest.mark.parametrize("exception", EXCEPTIONS)
@pytest.mark.parametrize("passes_on", [False, True], ids=["refuses", "passes on"])
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "ws_proxy"])
def test_a_search_asks_no_proxy_whichever_variable_names_one(
    variable: str,
    passes_on: bool,
    exception: str | None,
    no_proxies: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = Proxy(passes_on=passes_on)
    monkeypatch.setenv(variable, proxy.address)
    if exception is not None:
        monkeypatch.setenv("no_proxy", exception)
    tiny = {"dataset": {"name": "digits", "limit": 200}, "search_space": {"name": "darts", "channels": 2, "cells": 3}}
    evaluator = {"recipe": {"epochs": 1}, "attacks": ["gap"]}
    search = Search(tmp_path, {**SMALL, **tiny, "evaluator": evaluator, "trials": 1}, "--exit-when-done")
    assert search.wait() == 0, search.text
    proxy.close()
    assert [trial["status"] for trial in search.trials] == ["succeeded"]
    assert len(list((search.output / "scores").iterdir())) == 1
    assert proxy.asked == []


@pytest.mark.slow
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_search_and_its_trials_ask_no_proxy(
    warm: bool, no_proxies: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy()
    everywhere(monkeypatch, proxy)
    settings = {**SMALL, "trials": 2, "evaluator": {"recipe": {"epochs": 1}, "attacks": ["gap"]}, "warm_trials": warm}
    search = Search(tmp_path, settings, "--exit-when-done")
    assert search.wait() == 0, search.text
    proxy.close()
    assert [trial["status"] for trial in search.trials] == ["succeeded"] * 2
    assert len(list((search.output / "scores").iterdir())) == 2
    assert proxy.asked == []


@pytest.mark.slow
def test_trials_of_a_users_own_command_ask_no_proxy(
    no_proxies: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy()
    everywhere(monkeypatch, proxy)
    with run_manager("hpo", tmp_path / "run", trials=2, concurrency=1) as manager:
        assert [final_metrics(trial)["mia_auc"] for trial in manager.succeeded] == [0.61] * 2
    proxy.close()
    assert proxy.asked == []


@pytest.mark.parametrize(("token", "host"), [(None, "localhost"), (TOKEN, "127.0.0.1")])
def test_what_carries_no_token_goes_where_nni_sends_it(
    token: str | None, host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from nni.experiment import rest
    from nni.tools.nnictl import rest_utils

    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    monkeypatch.setenv("NNI_PRIVACY_CACHE", str(tmp_path))
    port = free_port()
    if token is not None:
        monkeypatch.setitem(access._tokens, port, token)
    apply_repairs()
    wanted = [responses.matchers.header_matcher({TOKEN_HEADER: token})] if token else []
    with responses.RequestsMock() as answers:
        for path in ("experiment", "check-status"):
            address = f"http://{host}:{port}/api/v1/nni/{path}"
            answers.add("GET", address, json={"status": "RUNNING"}, match=wanted)
        assert rest.get(port, "/experiment") == {"status": "RUNNING"}
        assert rest_utils.check_rest_server_quick(port)[0] is True
    channel = with_key(f"ws://localhost:{port}/tuner")
    assert channel.partition("?")[0] == f"ws://{host}:{port}/tuner" and ("?key=" in channel) == bool(token)
    assert with_key(f"ws://localhost:{port}/tuner?key=1") == f"ws://127.0.0.1:{port}/tuner?key=1"
