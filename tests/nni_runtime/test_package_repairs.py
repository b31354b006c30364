"""NNI with packages that are newer than it: what its lock and its command line inherit or import has moved or gone."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import filelock
import pytest
from nni.tools.nnictl import config_utils

from nni_privacy.nni_runtime.nnictl_repairs import NNICTL_REPAIRS
from nni_privacy.nni_runtime.package_repairs import PACKAGE_REPAIRS
from nni_privacy.nni_runtime.repairs import apply_repairs

LOCKS = "nni.tools.nnictl.common_utils"


class LaterLock(filelock.SoftFileLock):
    """A lock that keeps its descriptor where filelock does since 3.12."""

    def __init__(self, lock_file: str, timeout: float = -1) -> None:
        self._context = SimpleNamespace(lock_file_fd=None)
        super().__init__(lock_file, timeout)

    @property
    def is_locked(self) -> bool:
        return self._context.lock_file_fd is not None


@pytest.fixture
def locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """NNI's module of locks, unrepaired, as it is with the filelock that is the parameter."""
    monkeypatch.setattr(import_module("nni.tools.nnictl"), "common_utils", import_module(LOCKS))  # to come back to
    monkeypatch.delitem(sys.modules, LOCKS)
    for repair in PACKAGE_REPAIRS:
        repair.remove()
    monkeypatch.setattr(filelock, "SoftFileLock", request.param)
    return import_module(LOCKS)


@pytest.mark.parametrize("locks", [LaterLock], indirect=True)
def test_without_the_repair_a_lock_of_later_filelocks_is_never_had(locks: Any, tmp_path: Path) -> None:
    with pytest.raises(filelock.Timeout):
        locks.get_file_lock(str(tmp_path / "list")).acquire(timeout=0.2)


@pytest.mark.parametrize("locks", [filelock.SoftFileLock, LaterLock], indirect=True)
def test_one_has_the_lock_at_a_time_whatever_filelock_there_is(locks: Any, tmp_path: Path) -> None:
    for repair in PACKAGE_REPAIRS:
        repair.apply()
    one, other = (locks.get_file_lock(str(tmp_path / "list")) for _ in range(2))
    for _ in range(2):
        with one:
            assert one.is_locked and list(tmp_path.iterdir())
            with pytest.raises(filelock.Timeout):
                other.acquire(timeout=0)
        assert not one.is_locked and not list(tmp_path.iterdir())
    with other:
        assert other.is_locked


WITHOUT_PKG_RESOURCES = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] == "pkg_resources" else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
try:
    import nni.tools.nnictl.nnictl
except ModuleNotFoundError as error:
    print(error.name)
from nni_privacy.commands.nnictl import run_nnictl
print(run_nnictl(["--version"]), "pkg_resources" in sys.modules)
"""


@pytest.mark.slow
def test_nnictl_runs_where_setuptools_has_no_pkg_resources_and_none_is_left_behind() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_PKG_RESOURCES], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["pkg_resources", metadata.version("nni"), "0", "False"], done.stderr


def test_the_list_of_experiments_runs_nothing_whatever_stands_in_it(tmp_path: Path) -> None:
    apply_repairs()
    listed = config_utils.Experiments(tmp_path)
    call = {"__symbol__": "path:os.mkdir", "__args__": [str(tmp_path / "pwned")]}
    (tmp_path / ".experiment").write_text(json.dumps({"abc": {"tag": call}}))
    assert listed.read_file() == {"abc": {"tag": call}} and not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("tag", ["mine", {"a__b": 1}, None])
def test_the_list_of_experiments_is_read_as_by_nni(tag: Any, tmp_path: Path) -> None:
    (tmp_path / ".experiment").write_text("not JSON")
    listed = config_utils.Experiments(tmp_path)
    repair = next(one for one in NNICTL_REPAIRS if one.name == "listed_experiments")
    repair.apply()
    assert listed.read_file() == {}
    listed.add_experiment(
        "abc", 8080, 1.5, "local", "my search", tag=[tag], pid=None, webuiUrl=["http://127.0.0.1:8080"]
    )
    fast = listed.read_file()
    repair.remove()
    try:
        assert fast == listed.read_file() and fast["abc"]["experimentName"] == "my search"
    finally:
        repair.apply()
    (tmp_path / ".experiment").unlink()
    assert listed.read_file() == {}
