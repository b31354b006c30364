"""The command line, ``nni-privacy``. Every heavy import waits until its command runs, so that ``--help`` is instant."""

# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

from nni_privacy import __version__
from nni_privacy.commands.interrupts import Interrupt, interruptible, take_interrupt
from nni_privacy.commands.options import ExitCode
from nni_privacy.errors import DISK_FAULTS, PrivacyError, RunStoppedError

__all__ = ["main"]

COMMANDS = (
    *("init", "list", "search", "confirm", "measure", "bench", "audit", "patterns", "surrogate", "report", "view"),
    *("records", "export", "doctor", "nnictl"),
)
"""The commands in the order of ``--help``: the module of that name adds its parser, which names what runs it."""


_MOST_COLUMNS = 100


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help of at most 100 columns; examples stay as they are written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(shutil.get_terminal_size().columns, _MOST_COLUMNS) - 2)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error of the command line does."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _Help, **options})

    def error(self, message: str) -> NoReturn:
        self.exit(ExitCode.BAD_INPUT, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        0 on success, 1 if every trial failed or something needed is missing, 2 for bad input, 3 if a fault of
        the machine stopped a run (it can be resumed), 4 if a ``--fail-if`` holds, 130 if interrupted.
    """
    try:
        with interruptible() as interrupt:
            return _run_told(arguments, interrupt)
    except KeyboardInterrupt:
        pass
    take_interrupt()
    return int(ExitCode.INTERRUPTED)


def _run_told(arguments: Sequence[str] | None, interrupt: Interrupt) -> int:
    """Runs the command line; tells an error that is raised on purpose in one line."""
    try:
        return _run(arguments)
    except Exception as error:
        if interrupt.asked:  # amid an import, it may come out as something else
            take_interrupt()
            return int(ExitCode.INTERRUPTED)
        fault = _disk_fault(error)
        if not isinstance(error, PrivacyError) and error is not fault:
            raise
        told = error if error is not fault else ": ".join(filter(None, (fault.filename, fault.strerror)))
        print(f"nni-privacy: {told}", file=sys.stderr)
        return int(ExitCode.STOPPED if fault or isinstance(error, RunStoppedError) else ExitCode.BAD_INPUT)


def _disk_fault(error: BaseException | None) -> OSError | None:
    """The fault of a disk, or of standard output, that an error came from; None if it came from none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FAULTS:
            return error
        error = error.__cause__ or error.__context__
    return None


def _run(arguments: Sequence[str] | None) -> int:
    with suppress(FileNotFoundError):  # somebody may have removed the working folder
        if sys.path[0] == str(Path.cwd()):
            # ``python -m`` looks there first, a console script never: a random.py there would hide Python's.
            sys.path.append(sys.path.pop(0))
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may not know all characters of a name
    parser = _parser()
    _complete(parser)
    options = vars(parser.parse_args(arguments))
    run = options.pop("run")
    from nni_privacy.nni_runtime.surroundings import show_warnings

    show_warnings()
    # NNI 3.0 wraps every name of torch.nn as if it were a module, and warns of today's torch at each import.
    warnings.filterwarnings("ignore", message=".*is found to be not a nn.Module", category=RuntimeWarning)
    try:
        code = int(run(**options))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (head, less) has seen enough
        _close_output()
        return int(ExitCode.DONE)
    except OSError as error:
        if error.errno in DISK_FAULTS and error.filename is None:
            _close_output()
            raise OSError(error.errno, error.strerror, "standard output") from None
        raise
    return code


def _close_output() -> None:
    """Sends what is still to be printed nowhere: Python would complain once more when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answers the shell that asks what may follow, where argcomplete is installed; see docs/commands.md."""
    if "_ARGCOMPLETE" in os.environ:
        with suppress(ImportError):
            import_module("argcomplete").autocomplete(parser)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="nni-privacy",
        description="Membership privacy in neural architecture search, for Microsoft NNI.",
        epilog="examples:\n"
        "  nni-privacy init --dataset digits --space darts\n"
        "  nni-privacy search search.yaml --dry-run\n"
        "  nni-privacy search search.yaml --output runs/mine\n"
        "each command has further ones: nni-privacy COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"nni-privacy {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name in COMMANDS:  # imported here, where a signal ends the command as Ctrl-C does
        getattr(import_module(f"nni_privacy.commands.{name}"), f"add_{name}")(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
