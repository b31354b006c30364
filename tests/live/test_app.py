"""The addresses of the live page: what they answer, with which headers, and that nothing ends the server."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from live_run import records, write_audit, write_run
from werkzeug.test import Client, TestResponse

from nni_privacy.live import library
from nni_privacy.live.app import LiveApp
from nni_privacy.live.guard import TOKEN_HEADER, Guard
from nni_privacy.live.library import Library

TOKEN = "a-token-of-the-tests"  # noqa: S105
PORT = 8090
ADDRESSES = ("/", "/api/index", "/api/runs/0", "/api/runs/0/trials/t0", "/api/runs/0/trials.csv", "/api/runs/0/report")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs, the first with one that confirms it, and an audit, beside what is none."""
    runs = tmp_path_factory.mktemp("runs")
    write_run(runs / "b", records(6))
    (runs / "b" / "report.html").write_text("<script>1</script>")
    write_run(runs / "b" / "confirm", records(2), {"name": "c", "architectures": []})
    write_run(runs / "c", records(3))
    write_audit(runs / "d")
    (runs / "e").mkdir()
    (runs / "a file").write_text("x")
    return runs


@pytest.fixture
def client(folder: Path) -> Client:
    return Client(LiveApp(Library([folder])))


def test_the_index_has_runs_what_confirms_them_and_audits(client: Client) -> None:
    told = client.get("/api/index").json
    assert told is not None and told["manager"] is False
    kinds = [(run["key"], Path(run["folder"]).name, run["kind"], run["trials"]) for run in told["runs"]]
    assert kinds == [
        ("0", "b", "search", 6),
        ("1", "confirm", "study", 2),
        ("2", "c", "search", 3),
        ("3", "d", "audit", 2),
    ]


def test_keys_stay_when_runs_come_and_go(tmp_path: Path) -> None:
    write_run(tmp_path / "m", records(1))
    client = Client(LiveApp(Library([tmp_path])))

    def keys() -> dict[str, str]:
        told: Any = client.get("/api/index").json
        return {Path(run["folder"]).name: run["key"] for run in told["runs"]}

    assert keys() == {"m": "0"}
    write_run(tmp_path / "a", records(2))
    assert keys() == {"a": "1", "m": "0"}
    (tmp_path / "m").rename(tmp_path / "z")
    assert keys() == {"a": "1", "z": "2"}
    told: Any = client.get("/api/runs/1").json
    assert len(told["rows"]) == 2


def test_a_trials_id_may_hold_a_slash_and_a_run_says_whether_it_has_a_report(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [])
    row = {"trial": "a/b c", "status": "succeeded", "metrics": {"accuracy": 0.5}}
    (folder / "trials.jsonl").write_text(json.dumps(row) + "\n")
    client = Client(LiveApp(Library([folder])))
    told: Any = client.get("/api/runs/0/trials/a%2Fb%20c").json
    assert told["trial"] == "a/b c"
    told = client.get("/api/runs/0").json
    assert told["report"] is False
    (folder / "report.html").write_text("<p>")
    told = client.get("/api/runs/0").json
    assert told["report"] is True


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_answer_has_the_headers_of_a_page_that_runs_nothing_else(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy
    if address.endswith("report"):
        # A stranger's script may stand in it: an origin of its own, from which nothing can be reached.
        assert (
            policy.startswith("sandbox allow-scripts") and "allow-same-origin" not in policy and "connect" not in policy
        )
    else:
        assert "unsafe" not in policy and "script-src 'self'" in policy and "connect-src 'self'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == ("no-cache" if address == "/" else "no-store")
    assert client.head(address).data == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("address", [*ADDRESSES, "/nothing"])
def test_nothing_but_reading_is_answered(client: Client, address: str, method: str) -> None:
    answer = client.open(address, method=method)
    assert answer.status_code == 405 and answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "address",
    [
        *("/assets/../app.py", "/assets/..%2fapp.py", "/assets/%2e%2e/app.py", "/assets//etc/passwd", "/assets/"),
        *("/assets/..%5capp.py", "/assets/index.html%00.js", "/assets/__init__.py", "/../etc/passwd", "//etc/passwd"),
        *("/api/runs/99", "/api/runs/..", "/api/runs/-1", "/api/runs/0%2f..", "/api/runs/0/../1x", "/api/runs/"),
        *("/api/runs/0/trials/..%2f..%2fconfig.yaml", "/api/runs/0/trials/nothing", "/api/runs/3/trials/t0"),
        *("/api/runs/0/trials/%2e%2e", "/api", "/privacy", "/index.html"),
    ],
)
def test_an_address_that_is_none_is_answered_404_in_one_line(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404 and set(answer.json or {}) == {"error"}


def test_a_browser_that_has_a_file_is_told_so_only(client: Client) -> None:
    first = client.get("/")
    assert first.content_type == "text/html; charset=utf-8"
    again = client.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304 and again.data == b""


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "config.yaml").write_text("a: ["),
        lambda folder: (folder / "environment.json").write_text("[1]"),
        lambda folder: (folder / "environment.json").write_text(json.dumps({"fixed_edges": {"normal": 3}})),
        lambda folder: (folder / "config.yaml").write_text(
            "constraints: [1]\nevaluator: 3\nstrategy: [x]\ndatasets: [3]"
        ),
        lambda folder: (folder / "config.yaml").write_text(
            "pattern: {cells: {}, budget: x}\ntrials: x\nconstraints: {a: b}"
        ),
        lambda folder: (folder / "running.json").write_text('{"process": 3, "host": [1]}'),
        lambda folder: (folder / "progress.json").write_text('{"started": 1, "trials": 3}'),
        lambda folder: (folder / "trials.jsonl").write_bytes(
            b'\xff{"trial": "t0", "metrics": 3, "factors": [1]}\n\x00'
        ),
        lambda folder: (folder / "search").mkdir() or (folder / "search" / "constraints.json").write_text("[" * 10_000),
        lambda folder: (folder / "models").write_text("x"),
        lambda folder: [path.unlink() for path in folder.glob("*.*")],
    ],
)
def test_a_damaged_run_costs_one_line_and_never_the_server(tmp_path: Path, damage: Any) -> None:
    write_run(tmp_path / "run", records(3))
    write_run(tmp_path / "whole", records(3))
    client = Client(LiveApp(Library([tmp_path])))
    client.get("/api/index")
    damage(tmp_path / "run")
    for address in ("/api/runs/0", "/api/runs/0/trials/t0", "/api/runs/0/trials.csv", "/api/runs/0/report"):
        answer = client.get(address)
        assert answer.status_code in (200, 404, 500)
        if answer.status_code != 200:
            assert "\n" not in (answer.json or {})["error"] and "Traceback" not in answer.text
    told: Any = client.get("/api/index").json
    assert {"name": "live", "trials": 3}.items() <= next(run for run in told["runs"] if run["key"] == "1").items()


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"attacks": 3}', '{"attacks": {"x": 3, "y": {"rates": [1]}}}', "[" * 9999]
)
def test_a_damaged_audit_costs_one_line_and_never_the_server(tmp_path: Path, content: str) -> None:
    write_audit(tmp_path / "audit")
    client = Client(LiveApp(Library([tmp_path])))
    assert client.get("/api/runs/0").status_code == 200
    (tmp_path / "audit" / "metrics.json").write_text(content)
    for address in ("/api/runs/0", "/api/runs/0/trials/rmia", "/api/index", "/api/runs/0/trials/y"):
        assert client.get(address).status_code in (200, 404, 500)


def error_of(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code in (404, 500) and set(answer.json or {}) == {"error"}, answer.text
    return str((answer.json or {})["error"])


def test_a_folder_that_cannot_be_read_hides_no_run_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        write_run(tmp_path / name, records(1))
    real = library.holds_audit

    def closed(folder: Path) -> bool:
        if folder.name == "b":
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(library, "holds_audit", closed)
    monkeypatch.setattr("nni_privacy.live.run_view.holds_run", closed)
    told: Any = Client(LiveApp(Library([tmp_path]))).get("/api/index").json
    assert [Path(run["folder"]).name for run in told["runs"]] == ["a", "b", "c"]
    assert "Permission denied" in told["runs"][1]["error"]


def test_a_run_that_is_gone_is_said_to_be_and_what_takes_its_place_has_a_key_of_its_own(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", records(2))
    client = Client(LiveApp(Library([tmp_path])))
    assert client.get("/api/index").status_code == client.get("/api/runs/0").status_code == 200
    shutil.rmtree(folder)
    assert "is gone" in error_of(client, "/api/runs/0") and "is gone" in error_of(client, "/api/runs/0/trials.csv")
    write_audit(folder)
    told: Any = client.get("/api/index").json
    assert [(run["key"], run["kind"]) for run in told["runs"]] == [("1", "audit")]
    assert "is gone" in error_of(client, "/api/runs/0") and client.get("/api/runs/1").status_code == 200
    (folder / "metrics.json").unlink()
    os.mkfifo(folder / "metrics.json")
    assert "is gone" in error_of(client, "/api/runs/1")


def test_an_id_that_no_address_holds_is_answered_in_a_sentence(client: Client) -> None:
    # What a browser makes of ".../trials/..", and of half a character.
    for address in ("/api/runs/0/", "/api/runs/0/trials/%ED%A0%80", "/api/runs/0/trials/nothing"):
        assert "no trial of that id" in error_of(client, address)


# --- who may read it ---


@pytest.fixture
def guarded(folder: Path) -> Client:
    return Client(Guard(LiveApp(Library([folder])), token=TOKEN, port=PORT), use_cookies=False)


@pytest.fixture
def open_page(folder: Path) -> Client:
    return Client(Guard(LiveApp(Library([folder])), token=None, port=PORT))


def ask(client: Client, address: str = "/api/index", **headers: str) -> TestResponse:
    given = {"Host": f"127.0.0.1:{PORT}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return client.get(address, headers=given)


FOREIGN = [
    {"Host": f"evil.example:{PORT}"},
    {"Host": f"localhost.evil.example:{PORT}"},
    {"Host": "192.0.2.1"},
    {"Host": ""},
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost:1"},
    {"Origin": "null"},
    {"Host": f"localhost:{PORT}", "Origin": f"http://127.0.0.1:{PORT}"},
    {"Origin": f"https://127.0.0.1:{PORT}"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_foreign_page_reads_nothing_whatever_it_carries(
    guarded: Client, open_page: Client, headers: dict[str, str]
) -> None:
    assert ask(open_page, **headers).status_code == 403
    assert ask(guarded, **headers, **{TOKEN_HEADER: TOKEN}).status_code == 403
    assert ask(guarded, f"/?token={TOKEN}", **headers).status_code == 403


@pytest.mark.parametrize("address", [*ADDRESSES, "/assets/x.js", "/nothing"])
def test_every_address_wants_the_token(guarded: Client, address: str) -> None:
    assert ask(guarded, address).status_code == 401
    for headers in (
        {TOKEN_HEADER: "other"},
        {"Authorization": "Bearer other"},
        {"Cookie": f"nni_privacy_view_{PORT}=x"},
    ):
        assert ask(guarded, address, **headers).status_code == 401
    assert ask(guarded, f"{address}?token=").status_code == 401
    assert ask(guarded, address, **{TOKEN_HEADER: TOKEN}).status_code in (200, 404)


def test_the_address_with_the_token_lets_a_browser_in_and_goes_on_without_it(guarded: Client) -> None:
    answer = ask(guarded, f"/?token={TOKEN}&x=1")
    assert answer.status_code == 303 and answer.headers["Location"] == "/?x=1" and TOKEN not in answer.text
    cookie = answer.headers["Set-Cookie"]
    assert (
        cookie.startswith(f"nni_privacy_view_{PORT}={TOKEN}") and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    )
    assert ask(guarded, Cookie=cookie.partition(";")[0]).status_code == 200
    assert ask(guarded, Authorization=f"Bearer {TOKEN}").status_code == 200
    away = {"PATH_INFO": "//evil.example/"}
    answer = guarded.get(f"/?token={TOKEN}", headers={"Host": "127.0.0.1"}, environ_overrides=away)
    assert answer.headers["Location"] == "/evil.example/"
    assert guarded.post(f"/?token={TOKEN}", headers={"Host": "127.0.0.1"}).status_code == 401


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9000", "LocalHost", "[::1]:1"])
def test_the_names_of_this_machine_are_ours(open_page: Client, host: str) -> None:
    assert ask(open_page, Host=host, Origin=f"http://{host}").status_code == 200
