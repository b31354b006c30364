"""Runs mypy over the package as it is installed: setup.cfg maps two folders into it, which mypy cannot know."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAPPED = ("search_spaces", "strategies")


def main() -> int:
    """Links the package together in a temporary folder and checks it there."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "nni_privacy"
        package.mkdir()
        for entry in (ROOT / "nni_privacy").iterdir():
            (package / entry.name).symlink_to(entry)
        for name in MAPPED:
            (package / name).symlink_to(ROOT / name)
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "-p", "nni_privacy"]
        command += ["--cache-dir", str(ROOT / ".mypy_cache")]
        return subprocess.run(command, cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
