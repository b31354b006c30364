"""What is installed, which repairs of NNI are active, and what is missing: what ``nni-privacy doctor`` prints."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nni_privacy.errors import PrivacyError

__all__ = ["Finding", "examine", "print_examination"]

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox")
_MIN_PYTHON = (3, 10)


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
    """Looks at everything that a search needs."""
    for look in _EXAMINATIONS:
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
    from nni_privacy.nni_runtime.run_directory import describe_environment

    found = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("python", sys.version_info >= _MIN_PYTHON, found)
    for package, version in describe_environment()["versions"].items():
        yield Finding(f"package {package}", version is not None, version or "not installed")
    setuptools = shutil.which("nnictl", path=str(Path(sys.executable).parent))
    yield Finding("nnictl", setuptools is not None, setuptools or "not beside this python", needed=False)


def _repairs() -> Iterator[Finding]:
    from nni_privacy.nni_runtime import install, repairs_report

    try:
        overlay = install()
    except PrivacyError as error:
        yield Finding("repaired NNI", False, str(error))
        return
    yield Finding("repaired NNI", True, str(overlay))
    for repair in repairs_report():
        yield Finding(f"repair {repair.name}", repair.active, repair.why)
    yield _node(overlay)


def _node(overlay: Path) -> Finding:
    node = overlay / "nni_node" / "node"
    try:
        answer = subprocess.run([str(node), "--version"], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("node (NNI's manager)", False, str(error))
    return Finding("node (NNI's manager)", True, answer.stdout.strip())


def _devices() -> Iterator[Finding]:
    import torch

    count = torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
    yield Finding("GPU", count > 0, names or "none; trials run on the CPU", needed=False)


def _browser() -> Iterator[Finding]:
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    yield Finding("browser", found is not None, found or "none found; the web UI needs one", needed=False)


_EXAMINATIONS: tuple[Callable[[], Iterator[Finding]], ...] = (_python_and_packages, _repairs, _devices, _browser)
