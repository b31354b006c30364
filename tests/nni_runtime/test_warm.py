"""Warm trials are as new processes: their ends, surroundings and numbers, whatever dies or changes meanwhile."""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from nni_privacy.nni_runtime.messages import PLAIN
from nni_privacy.nni_runtime.warm import experiment as warm_experiment
from nni_privacy.nni_runtime.warm.client import address
from nni_privacy.nni_runtime.warm.experiment import start_warm_trials
from nni_privacy.nni_runtime.warm.supervisor import WarmTrials, can_fork

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not can_fork(), reason="this system cannot fork")]

ENTRY = f"{sys.executable} -m nni_privacy.nni_runtime.trial_entry"
NOTHING = {"types": "", "pickles": False, "known": "", "evaluator": "{}"}
PATIENCE = 60.0

MODULES = {
    "leaves": "import sys\nsys.exit(int(sys.argv[1]))\n",
    "says": "import sys\nprint('out', flush=True)\nprint('err', file=sys.stderr)\nsys.exit('last words')\n",
    "fails": "raise LookupError('of its own')\n",
    "killed": "import os, sys\nos.kill(os.getpid(), int(sys.argv[1]))\n",
    "long": "import os, time\nopen('pids', 'a').write(f'{os.getpid()}\\n')\ntime.sleep(600)\n",
    "parent_of": """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open('pids', 'a').write(f'{os.getpid()}\\n{child.pid}\\n')
time.sleep(600)
""",
    "surroundings": """
import atexit, json, logging, os, random, sys, threading
import nni, numpy, torch
from nni.runtime.env_vars import trial_env_vars
from threadpoolctl import threadpool_info
found = {
    "arguments": sys.argv[1:], "directory": os.getcwd(), "path": sys.path[0], "name": __name__,
    "environment": {key: value for key, value in os.environ.items() if key not in ("_", "SHLVL")},
    "trial": nni.get_trial_id(), "experiment": nni.get_experiment_id(), "sequence": nni.get_sequence_id(),
    "variables": trial_env_vars._asdict(), "silent": "_stdout_" not in nni.runtime.log._handlers,
    "stdout": type(sys.stdout).__name__, "level": logging.getLogger().level,
    "torch threads": torch.get_num_threads(), "torch draw": torch.rand(1).item(),
    "blas": sorted(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"),
    "interrupt": repr(__import__("signal").getsignal(2)), "terminate": repr(__import__("signal").getsignal(15)),
    "python draw": random.random(), "numpy draw": numpy.random.random(), "pid": os.getpid(),
}
atexit.register(lambda: open(os.environ["TOLD"], "w").write(json.dumps(found)))
""",
    "imports": """
import os, pathlib, random, signal, sys, tempfile
import numpy, torch
random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
pathlib.Path("more").mkdir(exist_ok=True)
pathlib.Path("more/late.py").write_text("VALUE = 42")
sys.path.insert(0, "more")
os.environ["SET_BY_IMPORT"] = "1"
os.environ.pop("TAKEN_BY_IMPORT", None)
folder = tempfile.TemporaryDirectory()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
class Type: pass
""",
    "tells_imports": """
import os, random, signal
import imports, late, numpy, torch
folder = os.path.isdir(imports.folder.name)
terminated = signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, None)
draws = random.random(), numpy.random.random(), torch.rand(1).item()
found = [draws, late.VALUE, os.environ["SET_BY_IMPORT"], "TAKEN_BY_IMPORT" in os.environ, folder, terminated]
open("told", "a").write(f"{found}\\n")
""",
    "no_more_forks": """
import os
fork, failures = os.fork, []
def fail():
    if not os.path.exists("many"):
        return fork()
    raise BlockingIOError(11, "too many processes")
os.fork = fail
class Type: pass
""",
    "forks": """
import os, time
if os.fork() == 0:
    time.sleep(600)
    os._exit(0)
class Type: pass
""",
    "holds_file": "import pathlib\nfile = open(pathlib.Path('read.txt'))\nclass Type: pass\n",
    "slow": "import plugin, time\nopen('begun', 'w').close()\ntime.sleep(2)\nclass Type: pass\n",
    "plugin": "VALUE = 1\nclass Type: pass\n",
    "tells_plugin": "import plugin, os\nopen('told', 'a').write(f'{plugin.VALUE}\\n')\n",
    "starts_thread": """
import threading, time
class Type: pass
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
""",
}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A server, and how to start a trial that runs a module of this test."""
    with_server = _started(tmp_path_factory.mktemp("warm"))
    yield with_server
    with_server.warm.close()


def _started(root: Path, *, folder: str = "socket", **preparation: Any) -> SimpleNamespace:
    for name, text in MODULES.items():
        (root / f"{name}.py").write_text(text)
    warm = WarmTrials(root / folder, directory=root, preparation={**NOTHING, **preparation})

    def start(*words: object, cold: bool = False, **options: Any) -> subprocess.Popen[str]:
        command = f"{ENTRY} -m {shlex.join(map(str, words))}"
        return subprocess.Popen(
            shlex.split(command if cold else warm.command(command)),
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell starts a job in the background with SIGINT ignored: a trial of its own would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **options,
        )

    return SimpleNamespace(warm=warm, start=start, root=root)


def _until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
    return found


def _pids(root: Path, count: int) -> list[int]:
    def written() -> list[int]:
        found = [int(line) for line in (root / "pids").read_text().split()] if (root / "pids").exists() else []
        return found if len(found) == count else []

    found: list[int] = _until(written)
    (root / "pids").unlink()
    return found


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("code", [0, 1, 3, 137])
def test_it_ends_with_the_exit_status_of_the_trial(trials: SimpleNamespace, code: int) -> None:
    assert trials.start("leaves", code).wait(PATIENCE) == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGINT])
def test_it_ends_by_the_signal_that_killed_the_trial(trials: SimpleNamespace, number: int) -> None:
    warm, cold = trials.start("killed", number), trials.start("killed", number, cold=True)
    assert (warm.wait(PATIENCE), cold.wait(PATIENCE)) == (-number, -number)


def test_what_a_trial_says_and_an_error_of_its_own_arrive(trials: SimpleNamespace) -> None:
    trial = trials.start("says")
    assert trial.communicate(timeout=PATIENCE) == ("out\n", "err\nlast words\n") and trial.returncode == 1
    trial = trials.start("fails")
    assert "LookupError: of its own" in trial.communicate(timeout=PATIENCE)[1] and trial.returncode == 1


def test_its_streams_may_be_files_as_nnis_manager_gives_them(trials: SimpleNamespace) -> None:
    assert trials.start("leaves", 0).wait(PATIENCE) == 0
    server, command = trials.warm.server, trials.warm.command(f"{ENTRY} -m says")
    for number in range(2):
        with (trials.root / f"streams-{number}").open("w") as file:
            assert subprocess.call(shlex.split(command), cwd=trials.root, stdout=file, stderr=file) == 1
        assert (trials.root / f"streams-{number}").read_text().split() == ["out", "err", "last", "words"]
    assert trials.warm.server == server  # it was forked


def test_its_surroundings_are_those_of_a_new_process(trials: SimpleNamespace) -> None:
    found = []
    for cold in (True, False, False):
        told, output = trials.root / f"told-{len(found)}", trials.root / "output"
        given = {"NNI_PLATFORM": "local", "NNI_EXP_ID": "e", "NNI_TRIAL_JOB_ID": "t", "NNI_TRIAL_SEQ_ID": "7"}
        given |= {"NNI_OUTPUT_DIR": str(output), "NNI_SYS_DIR": str(output), "TOLD": str(told)}
        trial = trials.start("surroundings", "a b", cold=cold, env={**os.environ, **given})
        assert trial.wait(PATIENCE) == 0, trial.communicate()
        found.append(json.loads(told.read_text()))
        found[-1]["environment"].pop("TOLD")
    draws = [[content.pop(f"{name} draw") for content in found] for name in ("python", "numpy", "torch")]
    assert all(len(set(numbers)) == 3 for numbers in draws)  # no two trials start with the same
    assert len({content.pop("pid") for content in found}) == 3
    assert found[0]["trial"] == "t" and found[0]["sequence"] == 7
    assert found[1] == found[0] and found[2] == found[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_client_reaches_the_trial(trials: SimpleNamespace, number: int) -> None:
    client = trials.start("long")
    (pid,) = _pids(trials.root, 1)
    client.send_signal(number)
    assert client.wait(PATIENCE) == -number
    _until(lambda: _gone(pid))


def test_a_trial_and_what_it_started_end_with_its_client(trials: SimpleNamespace) -> None:
    client = trials.start("parent_of")
    pids = _pids(trials.root, 2)
    assert os.getsid(pids[0]) == pids[0]  # a session of its own
    client.kill()
    _until(lambda: all(map(_gone, pids)))


def test_a_killed_server_loses_its_trials_and_is_started_anew(trials: SimpleNamespace) -> None:
    clients = [trials.start("long") for _ in range(2)]
    pids, server = _pids(trials.root, 2), trials.warm.server
    assert server is not None
    os.kill(server, signal.SIGKILL)
    assert [client.wait(PATIENCE) for client in clients] == [-signal.SIGKILL] * 2  # as one killed from outside
    _until(lambda: all(map(_gone, pids)))
    assert trials.start("leaves", 5).wait(PATIENCE) == 5
    assert trials.warm.server != server


def test_all_end_with_the_process_that_searches(tmp_path: Path) -> None:
    script = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from nni_privacy.nni_runtime.warm.supervisor import WarmTrials
warm = WarmTrials(Path({str(tmp_path)!r}) / "socket", directory=Path({str(tmp_path)!r}), preparation={NOTHING!r})
print(warm.command({f"{ENTRY} -m long"!r}), flush=True)
time.sleep(600)
"""
    (tmp_path / "long.py").write_text(MODULES["long"])
    search = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert search.stdout is not None
    client = subprocess.Popen(shlex.split(search.stdout.readline()), cwd=tmp_path)
    (pid,) = _pids(tmp_path, 1)
    server = psutil.Process(pid).ppid()
    search.kill()
    assert client.wait(PATIENCE) == -signal.SIGKILL
    _until(lambda: _gone(pid) and _gone(server))


def test_a_changed_file_is_noticed_and_trials_under_way_go_on(tmp_path: Path) -> None:
    started = _started(tmp_path, types="plugin.Type")
    try:
        under_way = started.start("long")
        (pid,) = _pids(tmp_path, 1)
        assert started.start("tells_plugin").wait(PATIENCE) == 0
        (tmp_path / "plugin.py").write_text("VALUE = 22\nclass Type: pass\n")
        assert [started.start("tells_plugin").wait(PATIENCE) for _ in range(2)] == [0, 0]
        assert (tmp_path / "told").read_text().split() == ["1", "22", "22"]
        assert under_way.poll() is None and not _gone(pid)
    finally:
        started.warm.close()
    assert under_way.wait(PATIENCE) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("preparation", "reason"),
    [
        ({"types": "starts_thread.Type"}, "a thread runs where trials"),
        ({"types": "holds_file.Type"}, "read.txt is open where trials are forked from"),
        ({"evaluator": "{"}, "JSONDecodeError"),
    ],
    ids=["thread", "file", "error"],
)
def test_where_trials_cannot_be_forked_they_are_started_cold_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, preparation: dict[str, str], reason: str
) -> None:
    (tmp_path / "read.txt").write_text("lines")
    started = _started(tmp_path, **preparation)
    try:
        assert [started.start("leaves", code).wait(PATIENCE) for code in (4, 0)] == [4, 0]
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1 and reason in warnings[0] and "\n" not in warnings[0]
    finally:
        started.warm.close()


def test_what_is_set_by_an_import_is_as_in_a_new_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEN_BY_IMPORT", "1")
    started = _started(tmp_path, types="imports.Type")
    try:
        for cold in (False, False, True):
            assert started.start("tells_imports", cold=cold).wait(PATIENCE) == 0
    finally:
        started.warm.close()
    first, second, cold = (tmp_path / "told").read_text().splitlines()
    assert first == second == cold and cold.endswith("42, '1', False, True, True]")


def test_files_that_come_and_go_in_the_working_folder_start_no_new_server(trials: SimpleNamespace) -> None:
    assert trials.start("leaves", 0).wait(PATIENCE) == 0
    server = trials.warm.server
    (trials.root / "notes.txt").write_text("x")
    assert trials.start("leaves", 0).wait(PATIENCE) == 0
    assert trials.warm.server == server


def test_a_file_that_changes_while_a_server_starts_is_noticed(tmp_path: Path) -> None:
    started = _started(tmp_path, types="slow.Type")
    try:
        _until((tmp_path / "begun").exists)
        (tmp_path / "plugin.py").write_text("VALUE = 333\nclass Type: pass\n")
        assert started.start("tells_plugin").wait(PATIENCE) == 0
    finally:
        started.warm.close()
    assert (tmp_path / "told").read_text().split() == ["333"]


def test_a_new_server_that_is_killed_is_missed_though_an_old_one_still_has_a_trial(tmp_path: Path) -> None:
    started = _started(tmp_path, types="plugin.Type")
    try:
        under_way = started.start("long")
        _pids(tmp_path, 1)
        (tmp_path / "plugin.py").write_text("VALUE = 22\nclass Type: pass\n")
        assert started.start("leaves", 0).wait(PATIENCE) == 0
        os.kill(started.warm.server, signal.SIGKILL)
        assert started.start("leaves", 5).wait(PATIENCE) == 5
        assert under_way.poll() is None
    finally:
        started.warm.close()


def test_where_no_process_can_be_forked_the_trial_is_started_cold_and_others_go_on(tmp_path: Path) -> None:
    started = _started(tmp_path, types="no_more_forks.Type")
    try:
        under_way = started.start("long")
        _pids(tmp_path, 1)
        (tmp_path / "many").touch()
        assert started.start("leaves", 3).wait(PATIENCE) == 3
        (tmp_path / "many").unlink()
        assert started.start("leaves", 4).wait(PATIENCE) == 4
        assert under_way.poll() is None
    finally:
        started.warm.close()


def test_the_end_of_a_server_is_seen_though_a_module_has_forked(tmp_path: Path) -> None:
    started = _started(tmp_path, types="forks.Type")
    helpers: list[psutil.Process] = []
    try:
        assert started.start("leaves", 0).wait(PATIENCE) == 0
        server = started.warm.server
        helpers += psutil.Process(server).children()
        os.kill(server, signal.SIGKILL)
        assert started.start("leaves", 5).wait(PATIENCE) == 5
        helpers += psutil.Process(started.warm.server).children()
    finally:
        started.warm.close()
        for helper in helpers:
            helper.kill()


@pytest.mark.parametrize(
    "said", [b"", b"\0\0\0\x09", b"\0\x03\x0d\x40" + b"[" * 200_000], ids=["nothing", "half", "deep"]
)
def test_who_says_nothing_or_something_else_stops_nobody_for_long(trials: SimpleNamespace, said: bytes) -> None:
    assert trials.start("leaves", 0).wait(PATIENCE) == 0
    server = trials.warm.server
    with socket.socket(socket.AF_UNIX) as peer:
        descriptor = os.open(trials.warm.folder, os.O_RDONLY)
        peer.connect(address(str(trials.warm.folder), descriptor))
        os.close(descriptor)
        with suppress(OSError):
            peer.sendall(said)
        assert trials.start("leaves", 4).wait(PATIENCE) == 4
    assert trials.warm.server == server


def test_a_socket_may_lie_deep(tmp_path: Path) -> None:
    started = _started(tmp_path, folder=("d" * 90 + "/") * 3 + "e")
    try:
        assert started.start("leaves", 6).wait(PATIENCE) == 6
        assert started.warm.folder.stat().st_mode & 0o777 == 0o700
    finally:
        started.warm.close()
    assert not started.warm.folder.exists()


def _experiment(folder: Path) -> Any:
    config = SimpleNamespace(experiment_working_directory=str(folder), trial_code_directory=".")
    return SimpleNamespace(id="x", config=config, evaluator={})


def test_a_folder_that_cannot_be_made_and_a_system_without_fork_mean_cold_trials(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_text("no folder")
    assert start_warm_trials(_experiment(tmp_path), PLAIN, "python") == "python"
    monkeypatch.setattr(warm_experiment, "can_fork", lambda: False)
    assert start_warm_trials(_experiment(tmp_path), PLAIN, "python") == "python"
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2 and all(text.startswith("warm_trials: ") and "\n" not in text for text in warnings)


CUDA = """
import builtins, os, sys
def _watch(name, globals=None, locals=None, fromlist=(), level=0, original=builtins.__import__):
    module = original(name, globals, locals, fromlist, level)
    torch = sys.modules.get("torch")
    if hasattr(getattr(torch, "cuda", None), "_lazy_init") and not hasattr(torch, "watched"):
        torch.watched = True
        def asked(*_, **__):
            import traceback
            with open(os.environ["ASKED"], "a") as file:
                file.write(f"{os.getpid()} {traceback.extract_stack()[-6:-1]}\\n")
            return 1
        torch.cuda._device_count_nvml = lambda: 1  # a driver that tells by NVML
        torch._C._cuda_getDeviceCount = torch._C._cuda_init = torch.cuda._lazy_init = asked
    return module
builtins.__import__ = _watch
"""


def test_the_server_touches_no_gpu_and_its_children_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nni

    from nni_privacy.evaluator import PrivacyEvaluator

    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CUDA)
    (tmp_path / "asks.py").write_text("import torch\ntorch.cuda._lazy_init()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    evaluator = nni.dump(PrivacyEvaluator("digits", device="auto"))
    started = _started(tmp_path, types="nni_privacy.evaluator.PrivacyEvaluator", evaluator=evaluator)
    try:
        trial = started.start("asks")
        assert trial.wait(PATIENCE) == 0, trial.communicate()
        asked = {int(line.split()[0]): line for line in (tmp_path / "asked").read_text().splitlines()}
        assert asked and started.warm.server not in asked, asked
    finally:
        started.warm.close()


TRAINS = """
import json, sys
import nni
from nni.nas.space import SimplifiedModelSpace
from numpy.random import RandomState
from nni_privacy.evaluator import PrivacyEvaluator
from nni_privacy.search_spaces import DARTS
nni.report_final_result = nni.report_intermediate_result = lambda metrics: None
evaluator = PrivacyEvaluator(**json.loads(sys.argv[2]))
space = DARTS(channels=4, cells=3, nodes=2, in_channels=1, num_classes=10)
model = SimplifiedModelSpace.from_model(space, evaluator).random(random_state=RandomState(int(sys.argv[1])))
metrics = evaluator._execute(model)
metrics.pop("seconds")
print(json.dumps(metrics), flush=True)
"""


def test_the_same_architecture_gives_the_same_numbers_warm_and_cold(tmp_path: Path) -> None:
    import nni

    from nni_privacy.evaluator import PrivacyEvaluator

    (tmp_path / "trains.py").write_text(TRAINS)
    options: dict[str, Any] = {
        "dataset": {"name": "digits", "limit": 400},
        "recipe": {"epochs": 2},
        "attacks": ["black_box_partial", "white_box_partial", "rmia"],
        "shadow": {"count": 2, "cache": str(tmp_path / "cache")},
    }
    evaluator = nni.dump(PrivacyEvaluator(**options))
    started = _started(tmp_path, types="nni_privacy.evaluator.PrivacyEvaluator", evaluator=evaluator)
    try:
        found = []
        for seed, cold in ((1, False), (2, False), (1, False), (1, True)):
            trial = started.start("trains", seed, json.dumps(options), cold=cold)
            out, err = trial.communicate(timeout=PATIENCE * 5)
            assert trial.returncode == 0, err
            found.append(json.loads(out.splitlines()[-1]))
    finally:
        started.warm.close()
    assert found[0] == found[2] == found[3] != found[1]
