"""The command ``nni-privacy doctor``: what is installed, which repairs of NNI are active, what is missing or amiss."""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from nni_privacy.commands.options import add_command
from nni_privacy.errors import PrivacyError
from nni_privacy.files import CACHE_VARIABLE, cache_folder, private_folder
from nni_privacy.lazy import quick_imports
from nni_privacy.nni_runtime.hidden_modules import hidden_modules
from nni_privacy.nni_runtime.surroundings import OF_A_TRIAL

__all__ = ["Finding", "add_doctor", "examine", "print_examination"]

_PYTHONS = ((3, 10), (3, 14))
"""The first Python that will do, and the first one that will not: as ``python_requires`` in setup.cfg."""

_FILES, _FEWEST_FILES = 1024, 256
"""How many files a process should be able to have open, and below how many a search is likely to fail."""

_ROOM, _LEAST_ROOM = 1 << 30, 1 << 26
"""Free bytes that a folder should have, and below which a search is likely to fail."""


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
    for look in (_environment, _cache, _room, _python_and_packages, _repairs, _devices, _programs, _extras, _folder):
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


def _environment() -> Iterator[Finding]:
    """What this process was started with; variables of an outer trial are put aside, as they silence NNI and us."""
    left = [name for name in OF_A_TRIAL if os.environ.pop(name, None) is not None]
    told = f"{', '.join(left)}: left of an outer NNI trial, they silence what is printed: unset {' '.join(left)}"
    yield Finding("variables of an outer trial", not left, told if left else "none", needed=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= _FILES
    most = f"ulimit -n {_FILES}{f', in another shell: this one allows {hard}' if 0 <= hard < _FILES else ''}"
    told = "" if enough else f", which is too few for many trials at a time: {most}"
    yield Finding("open files", enough, f"at most {soft}{told}", needed=soft < _FEWEST_FILES)


def _cache() -> Iterator[Finding]:
    """Whether the cache and the folders in it are this user's alone."""
    top = cache_folder()
    try:
        private_folder(top)
        for folder in sorted(path for path in top.iterdir() if path.is_dir()):
            private_folder(folder)
    except (PrivacyError, OSError) as error:
        told = str(error) if isinstance(error, PrivacyError) else f"{top}: {error.strerror or error}"
        yield Finding(
            "cache", False, told if CACHE_VARIABLE in told else f"{told}; or name another in {CACHE_VARIABLE}"
        )
    else:
        yield Finding("cache", True, str(top))


def _room() -> Iterator[Finding]:
    try:
        temporary = Path(tempfile.gettempdir())
    except OSError:
        yield Finding(
            "room for temporary files", False, "no folder can be written to: make room, or name one in TMPDIR"
        )
    else:
        yield _room_in("room for temporary files", temporary, "or name another folder in TMPDIR")
    yield _room_in("room in the cache", cache_folder(), f"or name another folder in {CACHE_VARIABLE}")
    yield _room_in("room in the working folder", Path.cwd(), "or start in another folder")


def _room_in(name: str, folder: Path, otherwise: str) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        return Finding(name, False, f"{there} cannot be written to: change that, {otherwise}")
    free = shutil.disk_usage(there).free
    told = f"{free / (1 << 20):,.0f} MB free in {there}"
    return Finding(
        name, free >= _ROOM, told if free >= _ROOM else f"{told}: make room, {otherwise}", needed=free < _LEAST_ROOM
    )


def _folder() -> Iterator[Finding]:
    """What hides in the working folder, where trials look first; last, as by now all that they need is imported."""
    with quick_imports(), suppress(ImportError):
        import_module("nni_privacy.nni_runtime.experiment")
        import_module("nni_privacy.evaluator")
    here = Path.cwd()
    hidden = hidden_modules(here)
    told = f"{', '.join(hidden)} in {here}: hides what trials need: rename it, or start in another folder"
    yield Finding("modules in the working folder", not hidden, told if hidden else "none that hides another")


def _python_and_packages() -> Iterator[Finding]:
    from nni_privacy.runs.directory import describe_environment

    known = _PYTHONS[0] <= sys.version_info[:2] < _PYTHONS[1]
    least, beyond = (".".join(map(str, version)) for version in _PYTHONS)
    told = "" if known else f": NNI 3.0 and nni-privacy want at least {least}, and one before {beyond}"
    yield Finding("python", known, ".".join(map(str, sys.version_info[:3])) + told)
    for package, version in describe_environment()["versions"].items():
        yield Finding(f"package {package}", version is not None, version or "not installed")
    yield _versions()
    nnictl = shutil.which("nnictl", path=str(Path(sys.executable).parent))
    yield Finding("nnictl", nnictl is not None, nnictl or "not beside this python", needed=False)


def _versions() -> Finding:
    """Packages that have been changed since the installation, to versions that we or NNI refuse."""
    from packaging.requirements import Requirement

    amiss = []
    for wanting in ("nni-privacy", "nni"):
        with suppress(metadata.PackageNotFoundError):  # told elsewhere
            for line in metadata.requires(wanting) or ():
                wanted = Requirement(line)
                if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                    told = f": {wanting} wants it {wanted.specifier}".rstrip()
                    amiss += [fault + told for fault in _version_faults(wanted)]
    return Finding(
        "versions of packages", not amiss, "; ".join(amiss) or "as nni-privacy and NNI want them", needed=False
    )


def _version_faults(wanted: Any) -> Iterator[str]:
    """What is not as the requirement ``wanted`` has it: nothing, or one text."""
    try:
        found = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        yield f"{wanted.name} is not installed"
    else:
        if not wanted.specifier.contains(found, prereleases=True):
            yield f"{wanted.name} {found} is installed"


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


_EXTRAS = {name: f"the surrogate of this name: pip install {name}" for name in ("lightgbm", "xgboost")}
_PROGRAMS = {
    "browser": (("chromium", "chromium-browser", "google-chrome", "firefox"), "the web UI needs one"),
    # NNI has an SSH client of its own; `ssh-keygen` reads known_hosts for it.
    "ssh-keygen": (("ssh-keygen",), "trials on other machines: their keys are not looked up in known_hosts"),
    "sshd": (("sshd",), "this machine cannot run trials of others, and the tests of SSH are skipped"),
}
