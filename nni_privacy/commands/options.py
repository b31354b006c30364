"""Options, words and exit codes that several commands share. Importing this imports nothing heavy."""

from __future__ import annotations

import argparse
from enum import IntEnum
from pathlib import Path

__all__ = ["ExitCode", "add_access", "add_configuration", "add_web_ui", "parse_names"]


class ExitCode(IntEnum):
    """Exit codes of ``nni-privacy``."""

    DONE = 0
    ALL_FAILED = 1
    EXCEEDED = 1
    BAD_INPUT = 2
    STOPPED = 3
    INTERRUPTED = 130


def add_configuration(command: argparse.ArgumentParser) -> None:
    """Adds what a run is read from and written to: ``CONFIG`` and ``--output``."""
    command.add_argument("config", metavar="CONFIG", type=Path, help="a YAML file")
    command.add_argument("--output", metavar="DIR", type=Path, help="the run directory (default: runs/NAME-TIME)")


def add_web_ui(command: argparse.ArgumentParser, *, end: str) -> None:
    """Adds ``--port`` and ``--exit-when-done``; ``end`` says when a run is done."""
    command.add_argument(
        "--port", metavar="P", type=int, default=8080, help="of the web UI on 127.0.0.1 (default: 8080)"
    )
    command.add_argument("--exit-when-done", action="store_true", help=f"do not keep the web UI up {end}")


def add_access(command: argparse.ArgumentParser) -> None:
    """Adds who may reach the web UI: ``--host`` and ``--no-token``."""
    command.add_argument("--host", metavar="ADDRESS", help="open the web UI there, too, for whoever has its token")
    command.add_argument(
        "--no-token",
        dest="token",
        action="store_false",
        help="let every user of this machine into the web UI (default: a token)",
    )


def parse_names(text: str) -> tuple[str, ...]:
    """``"lira,rmia"`` -> ``("lira", "rmia")``."""
    return tuple(name for name in text.split(",") if name)
