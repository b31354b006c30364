"""The command ``nni-privacy doctor``: what is installed, which repairs of NNI are active, and what is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nni_privacy.commands.options import add_command
from nni_privacy.errors import PrivacyError

__all__ = ["Finding", "add_doctor", "examine", "print_examination"]

_MIN_PYTHON = (3, 10)


def add_doctor(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    doctor = add_command(
        commands, "doctor", "say what is installed, which repairs of NNI are active, what is missing", "doctor"
    )
    doctor.set_defaults(run=print_examination)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        ok: whether it is as it should be.
        detail: what was found.
        needed: whether a search cannot run without it.
    """

    name: str
    ok: bool
    detail: str
    needed: bool = True


def examine() -> Iterator[Finding]:
    """Findings on everything that a search needs."""
    for look in (_python_and_packages, _repairs, _devices, _programs, _extras):
        yield from look()


def print_examination() -> int:
    """Prints all findings; returns 1 if something needed is missing."""
    missing = 0
    for finding in examine():
        mark = "ok" if finding.ok else ("MISSING" if finding.needed else "-")
        missing += not finding.ok and finding.needed
        print(f"{mark:<8} {finding.name:<34} {finding.detail}")
    print(f"{missing} needed thing(s) missing" if missing else "everything that a search needs is there")
    return 1 if missing else 0


def _python_and_packages() -> Iterator[Finding]:
    from nni_privacy.runs.directory import describe_environment

    yield Finding("python", sys.version_info >= _MIN_PYTHON, ".".join(map(str, sys.version_info[:3])))
    for package, version in describe_environment()["versions"].items():
        yield Finding(f"package {package}", version is not None, version or "not installed")
    nnictl = shutil.which("nnictl", path=str(Path(sys.executable).parent))
    yield Finding("nnictl", nnictl is not None, nnictl or "not beside this python", needed=False)


def _repairs() -> Iterator[Finding]:
    from nni_privacy.nni_runtime import install, repairs_report
    from nni_privacy.nni_runtime.proxies import proxy_variables

    try:
        overlay = install()
    except PrivacyError as error:
        yield Finding("repaired NNI", False, str(error))
        return
    yield Finding("repaired NNI", True, str(overlay))
    for repair in repairs_report():
        yield Finding(
            f"repair {repair.name}", repair.active, f"{'' if repair.active else 'not '}repaired: {repair.why}"
        )
    yield _manager(overlay)
    found = ", ".join(proxy_variables())
    yield Finding("proxies", True, f"{found}; not used to reach NNI's manager" if found else "none in the environment")


def _manager(overlay: Path) -> Finding:
    """Starts the manager without an experiment, asks it, and stops it: seconds, or at most a minute."""
    from nni_privacy.nni_runtime.probe import lone_manager

    started = time.monotonic()
    try:
        with lone_manager(overlay) as port:
            seconds = time.monotonic() - started
    except (OSError, PrivacyError) as error:
        return Finding("NNI's manager", False, " ".join(str(error).split()))
    return Finding("NNI's manager", True, f"started and answered at 127.0.0.1:{port} in {seconds:.1f} s; stopped")


def _devices() -> Iterator[Finding]:
    import torch

    count = torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
    yield Finding("GPU", count > 0, names or "none; trials run on the CPU", needed=False)


def _programs() -> Iterator[Finding]:
    folders = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    for what, (names, why) in _PROGRAMS.items():
        found = next((path for name in names if (path := shutil.which(name, path=folders))), None)
        yield Finding(what, found is not None, found or f"none found; {why}", needed=False)


def _extras() -> Iterator[Finding]:
    for module, what in _EXTRAS.items():
        found = importlib.util.find_spec(module) is not None
        yield Finding(f"extra {module}", found, "installed" if found else f"not installed; {what}", needed=False)


_EXTRAS = dict.fromkeys(("lightgbm", "xgboost"), "surrogates of this name: pip install 'nni-privacy[surrogate]'")
_PROGRAMS = {
    "browser": (("chromium", "chromium-browser", "google-chrome", "firefox"), "the web UI needs one"),
    # NNI has an SSH client of its own; `ssh-keygen` reads known_hosts for it.
    "ssh-keygen": (("ssh-keygen",), "trials on other machines: their keys are not looked up in known_hosts"),
    "sshd": (("sshd",), "this machine cannot run trials of others, and the tests of SSH are skipped"),
}
