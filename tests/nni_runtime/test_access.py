"""Who may talk to NNI's manager. The managers are real but run no experiment: each starts in a second."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support_browser import browser  # noqa: F401 - a fixture

from nni_privacy.errors import ConfigError, RuntimeRepairError
from nni_privacy.nni_runtime import make_overlay
from nni_privacy.nni_runtime.access import ManagerAccess, check_host, current_access, here, manager_access, with_key
from nni_privacy.nni_runtime.patches.access import HOST_VARIABLE, OPEN_VARIABLE, TOKEN_HEADER, TOKEN_VARIABLE
from nni_privacy.nni_runtime.probe import free_port, lone_manager
from nni_privacy.nni_runtime.repairs import REPAIRS

STATUS = "/api/v1/nni/check-status"
TOKEN = "a-token-of-the-tests"  # noqa: S105
OTHER_ADDRESS = "127.0.0.2"
OPENED = {HOST_VARIABLE: OTHER_ADDRESS, TOKEN_VARIABLE: TOKEN}
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


@dataclass(frozen=True)
class Server:
    """A manager that answers."""

    port: int
    host: str = "127.0.0.1"

    def ask(self, path: str = STATUS, *, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        """The answer to one request; `Host` and the like are given as keywords."""
        assert self.host.startswith("127.")
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            answer.body = answer.read() if answer.status != 101 else b""  # type: ignore[attr-defined]
            return answer
        finally:
            connection.close()

    def status(self, path: str = STATUS, **headers: str) -> int:
        return self.ask(path, **headers).status

    def upgrade(self, path: str = "/tuner", **headers: str) -> int:
        """The status that a websocket's handshake gets; 101 lets it in."""
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        named = {name.replace("-", "_"): value for name, value in UPGRADE.items()}
        return self.ask(path, **{**named, "Sec_WebSocket_Key": key, **headers}).status


@contextmanager
def running(
    variables: Mapping[str, str] | None = None, *, without: tuple[str, ...] = (), host: str = "127.0.0.1"
) -> Iterator[Server]:
    with lone_manager(make_overlay(without=without), environment=variables) as port:
        yield Server(port, host)


class Managers:
    """Those that tests share, each started when it is asked for first.

    A manager whose tuner never comes ends after two minutes: one that is older than a minute is started anew.
    """

    FRESH = 60.0

    def __init__(self) -> None:
        self._running: dict[str, tuple[float, ExitStack, Server]] = {}

    def get(self, name: str, variables: Mapping[str, str] | None = None, **options: Any) -> Server:
        if name in self._running:
            started, stack, server = self._running[name]
            if time.monotonic() - started < self.FRESH:
                return server
            stack.close()
        stack = ExitStack()
        server = stack.enter_context(running(variables, **options))
        self._running[name] = (time.monotonic(), stack, server)
        return server

    def close(self) -> None:
        for _, stack, _ in self._running.values():
            stack.close()


@pytest.fixture(scope="module")
def managers() -> Iterator[Managers]:
    shared = Managers()
    yield shared
    shared.close()


def shared(name: str, variables: Mapping[str, str] | None = None, **options: Any) -> Any:
    @pytest.fixture(name=name)
    def manager(managers: Managers) -> Server:
        return managers.get(name, variables, **options)

    return manager


as_it_starts_by_default = shared("closed")
as_nni_is_published = shared("published", without=("access", "loopback"))  # listening everywhere, too
as_search_host_starts_it = shared("open_manager", OPENED, host=OTHER_ADDRESS)
as_search_starts_it = shared("local_manager", {TOKEN_VARIABLE: TOKEN})
as_search_no_token_starts_it = shared("page_for_all", {TOKEN_VARIABLE: TOKEN, OPEN_VARIABLE: "1"})


def routes() -> list[tuple[str, str]]:
    """Every route of the manager, found in its own text: a route that is added is tested, too."""
    text = (make_overlay() / "nni_node" / "rest_server" / "restHandler.js").read_text()
    found = re.findall(r"router\.(get|put|post|delete)\('([^']+)'", text)
    assert len(found) > 25
    named = [(method.upper(), "/api/v1/nni" + re.sub(r":\w+(\*\?)?", "x", path)) for method, path in found]
    pages = ("/", "/oview", "/index.html", "/static/js/x.js", "/logs/nnimanager.log", "/netron/x", "/nothing")
    channels = ("/env/local-env/x", "/tuner", "/platform/remote/x")
    return [*named, *(("GET", path) for path in (*pages, *channels)), ("PUT", "/env/local-env/x"), ("OPTIONS", "/")]


FOREIGN: dict[str, dict[str, str]] = {
    "a name that was rebound": {"Host": "evil.example:{port}"},
    "a name that begins like ours": {"Host": "localhost.evil.example:{port}"},
    "a name that ends like ours": {"Host": "evil-localhost:{port}"},
    "another address": {"Host": "192.0.2.1:{port}"},
    "no name": {"Host": ""},
    "an address of its own network that is not open": {"Host": "127.0.0.2:{port}"},
    "a page of another site": {"Origin": "https://evil.example"},
    "a page of another port of this machine": {"Origin": "http://localhost:1"},
    "a page without an origin of its own": {"Origin": "null"},
    "a page of the other name of this machine": {"Host": "localhost:{port}", "Origin": "http://127.0.0.1:{port}"},
    "another scheme": {"Host": "localhost:{port}", "Origin": "https://localhost:{port}"},
    "a longer name": {"Host": "localhost:{port}", "Origin": "http://localhost:{port}.evil.example"},
}
OURS: dict[str, dict[str, str]] = {
    "address": {"Host": "127.0.0.1:{port}"},
    "name": {"Host": "localhost:{port}"},
    "capital name": {"Host": "LocalHost:{port}", "Origin": "http://localhost:{port}"},
    "IPv6": {"Host": "[::1]:{port}"},
    "own page": {"Host": "localhost:{port}", "Origin": "http://localhost:{port}"},
    "through ssh -L 9000": {"Host": "localhost:9000", "Origin": "http://localhost:9000"},
}


def filled(headers: dict[str, str], server: Server) -> dict[str, str]:
    return {name: value.format(port=server.port) for name, value in headers.items()}


@pytest.mark.parametrize("kind", sorted(FOREIGN))
def test_foreign_pages_are_refused(closed: Server, kind: str) -> None:
    headers = filled(FOREIGN[kind], closed)
    answer = closed.ask(**headers)
    assert answer.status == 403
    assert answer.headers["Access-Control-Allow-Origin"] is None
    assert closed.ask(method="DELETE", path="/api/v1/nni/experiment", **headers).status == 403
    assert closed.ask(method="OPTIONS", **headers).status == 403
    assert closed.status("/", **headers) == 403
    assert closed.upgrade(**headers) == 403


@pytest.mark.parametrize("kind", sorted(set(FOREIGN) - {"no name"}))
def test_without_the_patch_foreign_pages_get_answers(published: Server, kind: str) -> None:
    headers = filled(FOREIGN[kind], published)
    assert published.status(**headers) == 200
    assert published.status("/", **headers) == 200
    assert published.upgrade(**headers) == 101


@pytest.mark.parametrize("kind", sorted(OURS))
def test_the_own_page_and_programs_get_answers(closed: Server, kind: str) -> None:
    assert closed.status(**filled(OURS[kind], closed)) == 200
    assert closed.upgrade(**filled(OURS[kind], closed)) == 101


def test_a_page_cannot_be_framed_or_embedded(closed: Server, published: Server) -> None:
    headers = closed.ask("/").headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert published.ask("/").headers["X-Frame-Options"] is None


def carriers(server: Server, token: str) -> dict[str, dict[str, str]]:
    return {
        "bearer": {"Authorization": f"Bearer {token}"},
        "header": {TOKEN_HEADER.replace("-", "_"): token},
        "cookie": {"Cookie": f"theme=dark; nni_privacy_token_{server.port}={token}"},
    }


def test_every_request_to_an_open_manager_needs_the_token(open_manager: Server) -> None:
    for path in (STATUS, "/", "/oview", "/logs/nnimanager.log", "/static/x.js", "/api/v1/nni/trial-file/a/b"):
        assert open_manager.status(path) == 401
    assert open_manager.ask("/api/v1/nni/experiment", method="DELETE").status == 401
    assert open_manager.upgrade() == 401
    for headers in carriers(open_manager, TOKEN).values():
        assert open_manager.status(**headers) == 200
        assert open_manager.upgrade(**headers) == 101


@pytest.mark.parametrize("fixture", ["local_manager", "open_manager"])
def test_every_route_and_websocket_wants_the_token(fixture: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(fixture)
    assert {server.ask(path, method=method).status for method, path in routes()} == {401}
    assert {server.upgrade(path) for path in ("/tuner", "/tuner/x", "/platform/remote/x", "/", "/x")} == {401}
    assert server.status(**carriers(server, TOKEN)["bearer"]) == 200


def test_without_a_token_the_page_is_open_and_nothing_that_runs_code(page_for_all: Server) -> None:
    for path in ("/", "/oview", STATUS, "/api/v1/nni/trial-jobs", "/logs/none"):
        assert page_for_all.ask(path).status in (200, 404)
    stops = ("DELETE", "/api/v1/nni/experiment")  # whoever the page is open to may do that: tried last, elsewhere
    asked = [route for route in routes() if route != stops]
    refused = {(method, path) for method, path in asked if page_for_all.ask(path, method=method).status == 401}
    assert refused == {
        ("POST", "/api/v1/nni/experiment"),
        ("PUT", "/api/v1/nni/experiment/cluster-metadata"),
        ("GET", "/env/local-env/x"),
        ("PUT", "/env/local-env/x"),
        ("GET", "/tuner"),
        ("GET", "/platform/remote/x"),
        ("OPTIONS", "/"),
    }
    assert page_for_all.status() == 200  # none of them, without a body, has ended the manager
    for path in ("/tuner", "/tuner/", "//tuner", "/TUNER", "/tuner/x", "/platform/remote/x", "/"):
        assert page_for_all.upgrade(path) == 401
    for path in ("/API/v1/nni/experiment", "/api/v1/nni/experiment/", "//api/v1/nni/experiment", "/ENV/local-env/x"):
        assert page_for_all.ask(path, method="POST").status in (401, 404)
        assert page_for_all.ask(path, method="PUT").status in (400, 401, 404)
    assert page_for_all.status(Origin="http://evil.example") == 403


def test_on_127_0_0_1_too(open_manager: Server) -> None:
    inside = Server(open_manager.port)
    assert inside.status() == 401
    assert inside.upgrade() == 401
    assert inside.status(**carriers(inside, TOKEN)["bearer"]) == 200


@pytest.mark.parametrize("wrong", ["", "a-token", TOKEN + "x", TOKEN.upper(), "undefined"])
def test_another_token_is_refused(open_manager: Server, wrong: str) -> None:
    for headers in carriers(open_manager, wrong).values():
        assert open_manager.status(**headers) == 401
    assert open_manager.status(f"/?token={wrong}") == 401
    assert open_manager.status(f"{STATUS}?key={wrong}") == 401


def test_without_the_patch_the_network_needs_no_token(published: Server) -> None:
    assert Server(published.port, OTHER_ADDRESS).status() == 200
    assert Server(published.port, OTHER_ADDRESS).upgrade() == 101


def test_a_token_does_not_excuse_a_foreign_page(open_manager: Server) -> None:
    for headers in carriers(open_manager, TOKEN).values():
        assert open_manager.status(**headers, Origin="http://evil.example") == 403
        assert open_manager.status(**headers, Host=f"evil.example:{open_manager.port}") == 403
        assert open_manager.upgrade(**headers, Origin="http://evil.example") == 403
    assert open_manager.status(f"/?token={TOKEN}", Host="evil.example") == 403


def test_the_address_with_the_token_sets_a_cookie_and_leaves_the_token_behind(open_manager: Server) -> None:
    answer = open_manager.ask(f"/oview?page=2&token={TOKEN}")
    assert (answer.status, answer.headers["Location"]) == (303, "/oview?page=2")
    cookie = answer.headers["Set-Cookie"]
    assert cookie == f"nni_privacy_token_{open_manager.port}={TOKEN}; HttpOnly; SameSite=Strict; Path=/"
    assert open_manager.status(Cookie=cookie.partition(";")[0]) == 200
    # Never another server's page.
    assert open_manager.ask(f"//evil.example/?token={TOKEN}").headers["Location"] == "/evil.example/"
    assert open_manager.ask(f"/\\evil.example/?token={TOKEN}").status == 400


@pytest.mark.parametrize("fixture", ["local_manager", "page_for_all"])
def test_a_path_that_reads_in_two_ways_is_refused(fixture: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(fixture)
    channel = "/env/local-env/x"
    for path in (
        f"http://x{channel}",
        f"a://b{channel}",
        f"/api/v1/nni/metric-data/y/../../../../..{channel}",
        f"/api/v1/nni/trial-jobs/..\\..\\..\\..{channel}",
        "/oview/%2e%2e/env/local-env/x",
        "/oview/./",
    ):
        assert server.status(path) == 400
        assert server.status(path, **carriers(server, TOKEN)["bearer"]) == 400
        assert server.upgrade(path) == 400


def test_the_key_of_a_channel_opens_this_channel_only(open_manager: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    key = with_key("ws://localhost:1/tuner").partition("?")[2]
    assert open_manager.upgrade(f"/tuner?{key}") == 101
    assert open_manager.upgrade(f"/platform/remote/1?{key}") == 401
    assert open_manager.status(f"{STATUS}?{key}") == 401
    assert open_manager.status(f"/?{key}") == 401


def test_a_manager_is_not_opened_without_a_token() -> None:
    with pytest.raises(RuntimeRepairError, match="does not start"), running({HOST_VARIABLE: OTHER_ADDRESS}):
        pass


def test_a_manager_that_is_not_opened_listens_on_127_0_0_1_only(closed: Server) -> None:
    with socket.socket() as probe:
        assert probe.connect_ex((OTHER_ADDRESS, closed.port)) != 0


@pytest.mark.parametrize("variables", [{}, OPENED])
def test_malformed_requests_get_an_answer(variables: dict[str, str]) -> None:
    with running(variables) as server:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        for path in ("/%", "/%zz?token=%", "/?key=%", "//", "/[", "/\\", "/?token=a&token=b", "http://other/x"):
            assert 200 <= server.status(path) < 500
        assert server.status(**bearer) == 200


def test_each_run_has_a_new_token_and_never_in_the_environment() -> None:
    with manager_access(host=OTHER_ADDRESS) as first:
        assert current_access() is first
        assert first.variables() == {TOKEN_VARIABLE: first.token, HOST_VARIABLE: OTHER_ADDRESS}
    assert current_access() is not first and TOKEN_VARIABLE not in os.environ and HOST_VARIABLE not in os.environ
    with manager_access() as second:
        assert len(second.token) >= 40 and second.token != first.token
    assert second.token not in repr(second)


def test_nnis_own_requests_carry_the_token(open_manager: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from nni.experiment import rest

    plain = getattr(rest.request, "__nni_privacy_original__", rest.request)
    monkeypatch.setattr(rest, "request", REPAIRS["request_token"].make(plain))
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert rest.get(open_manager.port, "/check-status")["status"] == "INITIALIZED"
    monkeypatch.setattr(rest, "request", plain)
    with pytest.raises(OSError, match="401"):
        rest.get(open_manager.port, "/check-status")


def test_the_strategys_channel_has_its_key(open_manager: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from nni.runtime.command_channel.websocket.connection import WsConnection

    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    repair = REPAIRS["channel_key"]
    was_active = repair.active
    repair.apply()
    try:
        connection = WsConnection(f"ws://localhost:{open_manager.port}/tuner")
        connection.connect()
        connection.disconnect()
        assert "key" not in connection._url
        repair.remove()
        with pytest.raises(Exception, match="401"):
            WsConnection(f"ws://localhost:{open_manager.port}/tuner").connect()
    finally:
        repair.apply() if was_active else repair.remove()


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("0.0.0.0", "one address of this machine, not all"),  # noqa: S104
        ("::", "one address of this machine, not all"),
        ("127.0.0.1", "leave --host out"),
        ("localhost", "leave --host out"),
        ("192.0.2.1", "not an address of this machine"),
        ("", "one address of this machine, not all|not an address"),
        ("no such name", "not an address of this machine"),
        ("x" * 300, "not an address of this machine"),
    ],
)
def test_a_host_that_cannot_be_opened_is_refused_in_one_line(host: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_host(host, free_port())
    assert "\n" not in str(caught.value)


def test_a_host_of_this_machine_is_accepted_if_the_port_is_free() -> None:
    check_host(OTHER_ADDRESS, free_port())
    with socket.socket() as taken:
        taken.bind((OTHER_ADDRESS, 0))
        taken.listen()
        with pytest.raises(ConfigError, match="in use"):
            check_host(OTHER_ADDRESS, taken.getsockname()[1])


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert ManagerAccess(host="fd00::1", token="t").address(8080) == "http://[fd00::1]:8080/?token=t"


def test_channels_are_at_127_0_0_1_whatever_localhost_means(monkeypatch: pytest.MonkeyPatch) -> None:
    assert here("ws://localhost:8080/tuner") == "ws://127.0.0.1:8080/tuner"
    assert here("http://localhost.example:80/x") == "http://localhost.example:80/x"
    assert here("ws://10.0.0.1:8080/a") == "ws://10.0.0.1:8080/a"
    text = (make_overlay() / "nni_node" / "common" / "globals" / "rest.js").read_text()
    assert "root.replace('://localhost:', '://127.0.0.1:')" in text


def test_the_address_holds_the_token_unless_none_is_wanted() -> None:
    access = ManagerAccess(token="t")
    assert access.address(8080) == access.page(8080) == "http://127.0.0.1:8080/?token=t"
    assert access.address(8080, prefix="a/b") == "http://127.0.0.1:8080/a/b/?token=t"
    assert ManagerAccess(wants_token=False).address(8080) == "http://127.0.0.1:8080"


SMALL = """
name: open
dataset: {name: digits}
search_space: {name: darts, channels: 4, cells: 3, nodes: 2}
strategy: {name: random}
evaluator: {recipe: {epochs: 1}, attacks: [loss_threshold]}
trials: 4
concurrency: 2
"""


@pytest.mark.slow
def test_a_search_with_host_runs_and_its_token_stays_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from nni_privacy.commands.main import main

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config, output, port = tmp_path / "open.yaml", tmp_path / "run", free_port()
    config.write_text(SMALL)
    words = ["search", str(config), "--output", str(output), "--port", str(port), "--host", OTHER_ADDRESS]
    assert main([*words, "--exit-when-done"]) == 0
    said = capfd.readouterr()
    assert said.out.count("?token=") == 1 and "warning: the manager is open" in said.err
    token = said.out.partition("?token=")[2].split()[0]
    trials = [json.loads(line) for line in (output / "trials.jsonl").read_text().splitlines()]
    assert [trial["status"] for trial in trials] == ["succeeded"] * 4
    assert len(list((output / "scores").iterdir())) == 4
    holds = [path for path in tmp_path.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in holds)


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_works_in_a_browser_that_opened_the_address(open_manager: Server, browser: Any) -> None:  # noqa: F811
    page = f"http://{OTHER_ADDRESS}:{open_manager.port}"
    fetch = "return fetch('/api/v1/nni/check-status').then(answer => answer.status)"
    browser.get(f"{page}/oview")
    assert "Refused" in browser.page_source
    browser.get(f"{page}/?token={TOKEN}")
    assert TOKEN not in browser.current_url
    assert browser.execute_script(fetch) == 200
    assert TOKEN not in browser.execute_script("return document.cookie")
    browser.delete_all_cookies()
    assert browser.execute_script(fetch) == 401


@pytest.mark.slow
@pytest.mark.browser
def test_a_page_of_another_port_cannot_drive_the_manager(closed: Server, published: Server, browser: Any) -> None:  # noqa: F811
    with running() as elsewhere:
        browser.get(f"http://127.0.0.1:{elsewhere.port}/")
        connect = """const [port, done] = arguments; const ws = new WebSocket(`ws://127.0.0.1:${port}/tuner`);
            ws.onopen = () => done('let in'); ws.onclose = closing => done(closing.code)"""
        assert browser.execute_async_script(connect, closed.port) == 1006  # no handshake
        assert browser.execute_async_script(connect, published.port) != 1006


def test_the_addresses_of_other_interfaces_are_not_said(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    import logging

    from nni_privacy.nni_runtime.access import manager_address

    logger = logging.getLogger("nni.experiment")

    def start(_self: object, port: int) -> None:
        logger.warning("Web portal URLs: ${CYAN}http://127.0.0.1:%s http://10.1.2.3:%s", port, port)
        logger.warning("something else")

    caplog.set_level(logging.WARNING, "nni.experiment")
    manager_address.replacement(start, SimpleNamespace(url_prefix=None), 9316)
    assert [record.getMessage() for record in caplog.records] == ["something else"]
    assert capsys.readouterr().out.startswith("web UI: http://127.0.0.1:9316/?token=")
