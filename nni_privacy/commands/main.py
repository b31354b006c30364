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
from typing import Any, NoReturn

from nni_privacy import __version__
from nni_privacy.commands.audit import add_audit
from nni_privacy.commands.doctor import add_doctor
from nni_privacy.commands.init import add_init
from nni_privacy.commands.listing import add_list
from nni_privacy.commands.measure import add_measure
from nni_privacy.commands.nnictl import add_nnictl
from nni_privacy.commands.options import ExitCode
from nni_privacy.commands.patterns import add_patterns
from nni_privacy.commands.report import add_report
from nni_privacy.commands.search import add_search
from nni_privacy.commands.surrogate import add_surrogate
from nni_privacy.errors import PrivacyError, RunStoppedError
from nni_privacy.nni_runtime.surroundings import show_warnings

__all__ = ["main"]

COMMANDS = (
    *(add_init, add_list, add_search, add_measure, add_audit, add_patterns, add_surrogate),
    *(add_report, add_doctor, add_nnictl),
)
"""What adds each command's parser and names the function that runs it, in the order of ``--help``."""


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
        the machine stopped a run (it can be resumed), 130 if interrupted.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may not know all characters of a name
    parser = _parser()
    _complete(parser)
    options = vars(parser.parse_args(arguments))
    run = options.pop("run")
    show_warnings()
    # NNI 3.0 wraps every name of torch.nn as if it were a module, and warns of today's torch at each import.
    warnings.filterwarnings("ignore", message=".*is found to be not a nn.Module", category=RuntimeWarning)
    try:
        return int(run(**options))
    except PrivacyError as error:
        print(f"nni-privacy: {error}", file=sys.stderr)
        return int(ExitCode.STOPPED if isinstance(error, RunStoppedError) else ExitCode.BAD_INPUT)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.DONE)


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
    for add_command in COMMANDS:
        add_command(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
