"""The live page beside NNI's own pages: real managers, which pass requests on to a server of this process."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_run import records, write_run

from nni_privacy.live.library import Library
from nni_privacy.live.serving import SocketServer
from nni_privacy.nni_runtime import make_overlay
from nni_privacy.nni_runtime.live_page import LivePage
from nni_privacy.nni_runtime.patches.access import OPEN_VARIABLE, TOKEN_HEADER, TOKEN_VARIABLE
from nni_privacy.nni_runtime.patches.live import LIVE_VARIABLE
from nni_privacy.nni_runtime.probe import lone_manager

TOKEN = "a-token-of-the-tests"  # noqa: S105
HERE = {TOKEN_HEADER: TOKEN}
ADDRESSES = ("/privacy", "/privacy/", "/privacy/api/index", "/privacy/api/runs/0", "/privacy/assets/x.js", "/privacy/x")


class Answer:
    """What came back."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()


def ask(port: int, path: str, *, method: str = "GET", headers: Mapping[str, str] = HERE) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=dict(headers))
        return Answer(connection.getresponse())
    finally:
        connection.close()


@contextmanager
def manager(**variables: str) -> Iterator[int]:
    with lone_manager(make_overlay(), environment={TOKEN_VARIABLE: TOKEN, **variables}) as port:
        yield port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketServer]:
    folder = write_run(tmp_path_factory.mktemp("live") / "run", records(6))
    server = SocketServer(Library([folder], nni=folder))
    yield server
    server.close()


@pytest.fixture(scope="module")
def port(server: SocketServer) -> Iterator[int]:
    """As `search` starts it."""
    with manager(**{LIVE_VARIABLE: server.address}) as port:
        yield port


def test_the_manager_passes_the_page_and_its_data_on(port: int) -> None:
    page = ask(port, "/privacy/")
    assert page.status == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    index = ask(port, "/privacy/api/index")
    told = json.loads(index.body)
    assert told["manager"] is True and [run["trials"] for run in told["runs"]] == [6]
    run = json.loads(ask(port, "/privacy/api/runs/0").body)
    again = json.loads(ask(port, f"/privacy/api/runs/0?after={run['cursor']}").body)
    assert len(run["rows"]) == 6 and again["rows"] == [] and not again["reset"]
    assert ask(port, "/privacy/api/runs/0/trials/t1").status == 200
    assert ask(port, "/privacy/api/runs/0/trials/%2e%2e%2f").status == 404
    assert index.headers["Cache-Control"] == "no-store" and index.headers["Server"] is None
    etag = page.headers["ETag"]
    assert ask(port, "/privacy/", headers={**HERE, "If-None-Match": etag}).status == 304


@pytest.mark.parametrize("path", ["/privacy/%zz", "/privacy/%", "/privacy/api/runs/%E0%A4", "/privacy/api/runs/%2"])
def test_an_address_that_cannot_be_decoded_is_answered_in_a_sentence(port: int, path: str) -> None:
    answer = ask(port, path)
    assert answer.status in (400, 404) and "node_modules" not in str(answer.body) and "<" not in str(answer.body)


def test_without_its_last_slash_the_address_leads_to_the_page(port: int) -> None:
    answer = ask(port, "/privacy?x=1")
    assert answer.status == 308 and answer.headers["Location"] == "privacy/?x=1"
    assert ask(port, "//evil.example/privacy").status in (200, 404)  # NNI's own pages answer whatever is none


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(port: int, method: str) -> None:
    for path in ("/privacy/", "/privacy/api/index"):
        answer = ask(port, path, method=method)
        assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ADDRESSES)
def test_every_address_of_the_page_wants_the_token(port: int, path: str) -> None:
    assert ask(port, path, headers={}).status == 401
    assert ask(port, path, headers={TOKEN_HEADER: "other"}).status == 401
    assert ask(port, path).status in (200, 308, 404)
    entered = ask(port, f"{path}?token={TOKEN}", headers={})
    assert entered.status == 303 and entered.headers["Location"] == path
    cookie = entered.headers["Set-Cookie"].partition(";")[0]
    assert ask(port, path, headers={"Cookie": cookie}).status in (200, 308, 404)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}])
def test_a_foreign_page_is_refused(port: int, headers: dict[str, str]) -> None:
    for path in ADDRESSES:
        assert ask(port, path, headers={**HERE, **headers}).status == 403


def test_neither_token_nor_cookies_are_passed_on(tmp_path: Path) -> None:
    seen: list[bytes] = []
    address = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        with manager(**{LIVE_VARIABLE: address}) as port:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            own = f"nni_privacy_token_{port}={TOKEN}"
            connection.request("GET", "/privacy/api/index", headers={**HERE, "Cookie": own, "Accept": "a/b"})
            client, _ = listener.accept()
            with client:
                seen.append(client.recv(1 << 16))
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            assert connection.getresponse().read() == b"ok"
            connection.close()
    assert b"accept: a/b" in seen[0].lower() and TOKEN.encode() not in seen[0] and b"cookie" not in seen[0].lower()


def test_where_no_token_is_wanted_the_page_is_open_and_still_only_to_this_machines_pages(server: SocketServer) -> None:
    with manager(**{LIVE_VARIABLE: server.address, OPEN_VARIABLE: "1"}) as port:
        assert ask(port, "/privacy/api/index", headers={}).status == 200
        assert ask(port, "/privacy/", method="POST", headers={}).status == 401
        assert ask(port, "/privacy/", headers={"Origin": "https://evil.example"}).status == 403


def test_without_a_run_directory_it_says_so_in_a_sentence() -> None:
    with manager() as port:
        for path in ("/privacy", "/privacy/", "/privacy/api/index"):
            answer = ask(port, path)
            assert answer.status == 404 and b"no run directory of nni-privacy." in answer.body


def test_when_the_search_is_gone_it_says_so_and_goes_on(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", records(3))
    server = SocketServer(Library([folder]))
    with manager(**{LIVE_VARIABLE: server.address}) as port:
        assert ask(port, "/privacy/").status == 200
        server.close()
        for _ in range(3):
            answer = ask(port, "/privacy/api/index")
            assert answer.status == 503 and b"nni-privacy view" in answer.body
        assert ask(port, "/api/v1/nni/check-status").status == 200


def test_the_socket_is_this_users_alone_and_goes_with_the_page(tmp_path: Path) -> None:
    page = LivePage(write_run(tmp_path / "run", records(1)))
    with page.told():
        address = Path(os.environ[LIVE_VARIABLE])
    assert LIVE_VARIABLE not in os.environ
    assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700 and len(str(address)) < 100
    page.close()
    page.close()
    assert not address.parent.exists()


def test_a_temporary_folder_may_lie_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / secrets.token_hex(40) / secrets.token_hex(40)
    deep.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    server = SocketServer(Library([write_run(tmp_path / "run", records(1))]))
    server.close()
    assert list(deep.iterdir()) == []


def test_what_a_killed_search_left_is_removed_and_what_listens_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as short:  # pytest's own folder may be too long for a socket
        monkeypatch.setattr("tempfile.tempdir", short)
        check_left_behind(Path(short), Library([write_run(tmp_path / "run", records(1))]))


def check_left_behind(place: Path, library: Library) -> None:
    living = SocketServer(library)
    sockets = {name: place / f"nni-privacy-page-{name}" / "socket" for name in ("killed", "new")}
    for address in sockets.values():
        address.parent.mkdir()
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(address))
    for address in (sockets["killed"], Path(living.address)):
        os.utime(address, (0, 0))
    other = SocketServer(library)
    assert not sockets["killed"].parent.exists() and sockets["new"].exists() and Path(living.address).exists()
    living.close()
    other.close()


def test_where_there_can_be_no_socket_the_run_goes_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(library: Library) -> None:
        raise OSError("no such sockets")

    monkeypatch.setattr("nni_privacy.nni_runtime.live_page.SocketServer", refuse)
    page = LivePage(tmp_path)
    with page.told():
        assert LIVE_VARIABLE not in os.environ
    page.close()
    assert "no Privacy page" in caplog.text


def test_a_run_that_confirms_a_search_is_shown_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Library] = []
    monkeypatch.setattr("nni_privacy.nni_runtime.live_page.SocketServer", shown.append)
    write_run(tmp_path / "run", records(3))
    LivePage(write_run(tmp_path / "run" / "confirm", records(1)))
    assert [view.folder for view in shown[0].views().values()] == [tmp_path / "run", tmp_path / "run" / "confirm"]
