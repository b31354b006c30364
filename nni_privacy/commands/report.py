"""The command ``nni-privacy report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nni_privacy.commands.options import add_command

__all__ = ["add_report"]


def add_report(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    report = add_command(
        commands, "report", "write report.html for a run directory", "report runs/quickstart-20250101-120000"
    )
    report.add_argument("directory", metavar="DIR", type=Path, help="a run directory")
    report.set_defaults(run=run_report)


def run_report(directory: Path) -> int:
    """Writes the report of a run directory and prints its path.

    Raises:
        PrivacyError: if ``directory`` holds no run.
    """
    from nni_privacy.report import write_report

    print(write_report(directory))
    return 0
