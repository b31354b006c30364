"""Options, words and exit codes that several commands share. Importing this imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

from nni_privacy.errors import ConfigError

__all__ = ["PORT", "ExitCode", "add_access", "add_command", "add_configuration", "add_plugins", "add_web_ui"]
__all__ += ["parse_assignments", "parse_names"]

PORT = 8080
"""Of the web UI, as NNI's own."""


class ExitCode(IntEnum):
    """Exit codes of ``nni-privacy``."""

    DONE = 0
    ALL_FAILED = 1
    EXCEEDED = 1
    BAD_INPUT = 2
    STOPPED = 3
    GATE = 4
    INTERRUPTED = 130


def add_configuration(command: argparse.ArgumentParser) -> None:
    """Adds what a run is read from and written to: ``CONFIG`` and ``--output``."""
    command.add_argument("config", metavar="CONFIG", type=Path, help="a YAML file")
    command.add_argument("--output", metavar="DIR", type=Path, help="the run directory (default: runs/NAME-TIME)")
    command.add_argument("--dry-run", action="store_true", help="check everything, say what would run, write nothing")


def add_web_ui(command: argparse.ArgumentParser, *, end: str) -> None:
    """Adds ``--port`` and ``--exit-when-done``; ``end`` says when a run is done."""
    command.add_argument(
        "--port", metavar="P", type=int, default=PORT, help=f"of the web UI on 127.0.0.1 (default: {PORT})"
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


def add_plugins(command: argparse.ArgumentParser) -> None:
    """Adds ``--plugins``."""
    command.add_argument(
        "--plugins", nargs="*", default=[], metavar="MODULE", help="import these first: your own parts"
    )


def add_command(commands: Any, name: str, what: str, *examples: str) -> argparse.ArgumentParser:
    """Adds a command to the parsers ``commands``: ``what`` it does, and examples without ``nni-privacy``."""
    lines = ["examples:", *(f"  nni-privacy {line}" for line in examples)]
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=what, description=f"{what[:1].upper()}{what[1:]}.", epilog="\n".join(lines)
    )
    return command


def parse_assignments(texts: Sequence[str], *, option: str) -> dict[str, Any]:
    """``["epochs=30", "learning_rate=0.1"]`` -> ``{"epochs": 30, "learning_rate": 0.1}``.

    Raises:
        ConfigError: if a text is no assignment of a plain value.
    """
    import yaml

    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"{option}: {text!r} is not KEY=VALUE")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"{option}: {text!r} does not have a plain value") from None
    return values


def parse_names(text: str) -> tuple[str, ...]:
    """``"lira,rmia"`` -> ``("lira", "rmia")``."""
    return tuple(name for name in text.split(",") if name)
