"""NNI's manager with the patches: who gets which parameters, who may connect, and what may be read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support_manager import Manager, answers, final_metrics, parameters, run_manager

from nni_privacy.nni_runtime import make_overlay

pytestmark = pytest.mark.slow

SUPPORT = Path(__file__).resolve().parents[1] / "support"
BINARY = bytes(range(256)) * 4


def wrong_architectures(manager: Manager) -> list[str]:
    """The trials that ran another architecture than the manager intended for them."""
    from tiny_space import describe

    return [
        trial["trialJobId"]
        for trial in manager.succeeded
        if final_metrics(trial)["ran"] != describe(parameters(trial)["sample"])
    ]


def wrong_parameters(manager: Manager) -> list[str]:
    return [
        trial["trialJobId"] for trial in manager.succeeded if final_metrics(trial)["ran"] != str(parameters(trial)["x"])
    ]


def test_each_trial_gets_its_own_architecture_when_two_run_at_a_time(repaired_run: Manager) -> None:
    assert len(repaired_run.succeeded) == 8
    assert wrong_architectures(repaired_run) == []
    assert len({final_metrics(trial)["ran"] for trial in repaired_run.trials}) == 8
    assert all(final_metrics(trial)["trial"] == trial["trialJobId"] for trial in repaired_run.trials)


def test_without_the_patch_architectures_are_swapped(broken_run: Manager) -> None:
    assert len(broken_run.succeeded) == 4
    assert len(wrong_architectures(broken_run)) >= 2


@pytest.mark.parametrize("without", ["", "pairing,routes"])
def test_a_trial_that_dies_before_it_asks_shifts_nobody(tmp_path: Path, without: str) -> None:
    with run_manager("hpo", tmp_path / "run", trials=4, concurrency=1, crash="1", without=without) as manager:
        assert [trial["status"] for trial in manager.trials] == ["SUCCEEDED", "FAILED", "SUCCEEDED", "SUCCEEDED"]
        # Without the patch, both trials after the dead one get their neighbour's parameters.
        assert len(wrong_parameters(manager)) == (2 if without else 0)


def test_the_manager_listens_on_127_0_0_1_only(repaired_run: Manager) -> None:
    assert answers("127.0.0.1", repaired_run.port)
    assert not answers("127.0.0.2", repaired_run.port)


def test_without_the_patch_the_manager_listens_on_every_interface(broken_run: Manager) -> None:
    assert answers("127.0.0.1", broken_run.port)
    assert answers("127.0.0.2", broken_run.port)


ESCAPES: dict[str, str] = {
    "encoded slashes": "{trial}/{up}{name}",
    "encoded slashes, capital": "{trial}/{UP}{name}",
    "encoded dots": "{trial}/{dots}{name}",
    "encoded twice": "{trial}/{twice}{name}",
    "backslashes": "{trial}/{back}{name}",
    "absolute path": "{trial}/{absolute}",
    "through an ordinary name": "{trial}/trial.log%2f..%2f{up}{name}",
    "NUL": "{trial}/{up}{name}%00.log",
    "overlong": "{trial}/{overlong}{name}",
    "dots as they are": "{trial}/{plain}{name}",
    "in the trial's id": "{up_from_trials}/{name}",
    "symbolic link": "{trial}/link",
    "unknown trial": "zzzzz/trial.log",
    "a folder": "{trial}/%2e",
    "missing file": "{trial}/no_such_file",
}


def escape(manager: Manager, kind: str) -> str:
    """The path of a request that tries to read ``secret.txt`` in the folder of the run."""
    trial = manager.succeeded[0]["trialJobId"]
    folder = manager.trial_folder(trial)
    depth = len(folder.relative_to(manager.work).parts)
    link = folder / "link"
    if not link.is_symlink():
        link.symlink_to(manager.work / "secret.txt")
    return "/api/v1/nni/trial-file/" + ESCAPES[kind].format(
        trial=trial,
        name="secret.txt",
        up="..%2f" * depth,
        UP="..%2F" * depth,
        dots="%2e%2e%2f" * depth,
        twice="..%252f" * depth,
        back="..%5c" * depth,
        overlong="..%c0%af" * depth,
        plain="../" * depth,
        absolute=quote(str(manager.work / "secret.txt"), safe=""),
        up_from_trials="%2f".join([".."] * (depth - 1)),
    )


@pytest.mark.parametrize("kind", sorted(ESCAPES))
def test_no_name_reads_outside_of_the_trials_folder(repaired_run: Manager, secret: Path, kind: str) -> None:
    status, body = repaired_run.request(escape(repaired_run, kind))
    if kind == "dots as they are":
        # That is another route, the page itself; what counts is that it is not the file.
        assert secret.read_bytes() not in body
        return
    assert 400 <= status < 500
    assert secret.read_bytes() not in body
    assert str(repaired_run.work).encode() not in body


@pytest.mark.parametrize("kind", ["encoded slashes", "encoded dots", "in the trial's id", "symbolic link"])
def test_without_the_patch_any_file_is_read(broken_run: Manager, kind: str) -> None:
    (broken_run.work / "secret.txt").write_text("the secret of this machine")
    status, body = broken_run.request(escape(broken_run, kind))
    assert (status, body) == (200, b"the secret of this machine")


@pytest.mark.parametrize("route", ["/logs/", "/", "/static/"])
@pytest.mark.parametrize("up", ["..%2f", "%2e%2e/", "../", "..%5c", "..%252f"])
def test_logs_and_pages_read_nothing_else(repaired_run: Manager, secret: Path, route: str, up: str) -> None:
    for depth in range(1, 8):
        _, body = repaired_run.request(f"{route}{up * depth}secret.txt")
        assert secret.read_bytes() not in body


def test_ordinary_files_of_a_trial_are_read(repaired_run: Manager) -> None:
    trial = repaired_run.succeeded[0]["trialJobId"]
    folder = repaired_run.trial_folder(trial)
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "sub" / "note.txt").write_bytes(b"deeper")
    (folder / "trial.log").write_bytes(b"a line\n")
    route = f"/api/v1/nni/trial-file/{trial}/"
    assert repaired_run.request(route + "scores.npz") == (200, BINARY)
    assert repaired_run.request(route + "sub%2fnote.txt") == (200, b"deeper")
    assert repaired_run.request(route + "trial.log") == (200, (folder / "trial.log").read_bytes())
    assert repaired_run.request(route + "stdout")[0] == 200
    assert repaired_run.request(route + "stderr")[0] == 200


def test_a_large_file_of_a_trial_arrives_whole(repaired_run: Manager) -> None:
    trial = repaired_run.succeeded[0]["trialJobId"]
    content = os.urandom(1 << 20) * 128
    (repaired_run.trial_folder(trial) / "model.safetensors").write_bytes(content)
    status, body = repaired_run.request(f"/api/v1/nni/trial-file/{trial}/model.safetensors")
    assert status == 200 and body == content


def test_the_proxy_to_a_public_web_site_is_off(repaired_run: Manager) -> None:
    status, body = repaired_run.request("/netron/index.html")
    assert status == 404 and b"netron.app" in body


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Runs a script inside the repaired package, for what a real manager does too rarely to wait for."""
    patcher = pytest.MonkeyPatch()
    patcher.setenv("NNI_PRIVACY_CACHE", str(tmp_path_factory.mktemp("node") / "cache"))
    package = make_overlay() / "nni_node"

    def run(script: str) -> subprocess.CompletedProcess[str]:
        command = [str(package / "node"), str(SUPPORT / script), str(package)]
        return subprocess.run(
            command, cwd=package, capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"]}
        )

    yield run
    patcher.undo()


def test_a_trial_that_nothing_was_proposed_for_fails_and_one_that_asks_twice_gets_its_own(node: Any) -> None:
    finished = node("pairing_check.js")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[-1] == "ok"
