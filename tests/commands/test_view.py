"""`nni-privacy view` as a user starts it: what it shows, whom it lets in, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from live_run import records, write_audit, write_run
from support_search import free_port, wait_for

from nni_privacy.commands.main import main

HEAVY = ("torch", "nni", "scipy", "matplotlib", "sklearn", "pandas", "pydantic")


@contextmanager
def viewing(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """The process, the address that it printed, and the file of what it says."""
    log, port = folder / "log.txt", free_port()
    command = [sys.executable, "-m", "nni_privacy.commands.main", "view", *words, "--port", str(port)]
    environment = dict(os.environ, HOME=str(folder), PYTHONUNBUFFERED="1")
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output, text=True)
    try:
        wait_for(lambda: "until Ctrl-C" in log.read_text() or process.poll() is not None, "the page", 60)
        found = re.search(r"http://\S+", log.read_text())
        assert found is not None, log.read_text()
        yield process, found[0], log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def get(address: str, path: str = "", **options: Any) -> requests.Response:
    root, _, query = address.partition("?")
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{root}{path}{'?' if query else ''}{query}", timeout=30, **options)


def test_several_runs_a_study_and_an_audit_are_shown_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a", records(3))
    write_run(tmp_path / "runs" / "b", records(2), {"name": "s", "architectures": []})
    write_audit(tmp_path / "audit")
    with viewing(tmp_path, "runs/", "audit") as (process, address, log):
        index = get(address, "api/index").json()
        assert [(run["name"], run["kind"]) for run in index["runs"]] == [
            ("live", "search"),
            ("s", "study"),
            ("audit", "audit"),
        ]
        with requests.Session() as session:
            session.trust_env = False
            # As a browser: the token goes out of the address, a cookie goes on.
            page = session.get(address, timeout=30)
            assert page.status_code == 200 and page.url == address.partition("?")[0]
            assert session.get(page.url + "api/runs/0", timeout=30).json()["name"] == "live"
        assert requests.get(address.partition("?")[0] + "api/index", timeout=30).status_code == 401
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert len(log.read_text().splitlines()) == 1  # neither requests nor warnings


def test_it_shows_what_is_written_meanwhile(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", records(3))
    with viewing(tmp_path, "run", "--no-token") as (_, address, _log):
        assert "token" not in address
        told = get(address, "api/runs/0").json()
        line = records(4)[3].to_json() + "\n"
        with (folder / "trials.jsonl").open("a") as file:
            file.write(line[:30])
            file.flush()
            assert get(address, f"api/runs/0?after={told['cursor']}").json()["rows"] == []
            file.write(line[30:])
        (row,) = get(address, f"api/runs/0?after={told['cursor']}").json()["rows"]
        assert row["trial"] == "t3" == json.loads(line)["trial"]


def test_it_listens_on_127_0_0_1_only_and_at_once(tmp_path: Path) -> None:
    write_run(tmp_path / "run", records(3))
    with viewing(tmp_path, "run") as (_, address, _log):
        port = int(address.split(":")[2].partition("/")[0])
        for other in ("127.0.0.2", "::1"):
            family = socket.AF_INET6 if ":" in other else socket.AF_INET
            with socket.socket(family) as probe:
                assert probe.connect_ex((other, port)) != 0
        # A client that says nothing holds nobody up.
        with socket.create_connection(("127.0.0.1", port)):
            begun = time.monotonic()
            assert get(address, "api/index").status_code == 200
            assert time.monotonic() - begun < 5


def test_it_imports_nothing_heavy_to_show_a_run(tmp_path: Path) -> None:
    write_run(tmp_path / "run", records(3))
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from nni_privacy.commands.main import _parser\n_parser()\n"
        "from nni_privacy.live.library import Library\nfrom nni_privacy.live.serving import port_server\n"
        f"view = Library([Path({str(tmp_path / 'run')!r})]).views()['0']\nview.snapshot()\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "nowhere", "no such directory"),
        (lambda folder: (folder / "file").write_text("x") and folder / "file", "no such directory"),
        (lambda folder: folder, "neither a run directory, nor an audit"),
    ],
    ids=["missing", "file", "empty"],
)
def test_a_folder_that_is_none_is_told_in_one_line(
    tmp_path: Path, make: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", str(make(tmp_path))]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("port", ["0", "70000", "-1"])
def test_a_port_that_is_none_is_told_in_one_line(tmp_path: Path, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", records(1))
    assert main(["view", str(tmp_path / "run"), "--port", port]) == 2
    assert "allowed is 1 to 65535" in capsys.readouterr().err


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", records(1))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["view", str(tmp_path / "run"), "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert f"port: {port} is in use or not allowed (Address already in use); choose another" in error
    assert len(error.splitlines()) == 1
