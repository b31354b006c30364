"""The command ``nni-privacy view``: the live page of runs, studies and audits, without NNI's manager."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nni_privacy.commands.options import ExitCode, add_command
from nni_privacy.errors import DataError

__all__ = ["VIEW_PORT", "add_view", "run_view"]

VIEW_PORT = 8090
"""Not that of a search's web UI, beside which the page may be open."""

_TOKEN_BYTES = 32


def add_view(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    view = add_command(
        commands,
        "view",
        "show runs, studies and audits on a live page in the browser",
        "view runs/quickstart-20250101-120000",
        "view runs/one runs/two audit/ --port 9000",
        "view runs/",
    )
    view.add_argument(
        "directories",
        metavar="DIR",
        type=Path,
        nargs="+",
        help="a run directory, an audit's folder, or a folder of these",
    )
    view.add_argument(
        "--port", metavar="P", type=int, default=VIEW_PORT, help=f"of the page on 127.0.0.1 (default: {VIEW_PORT})"
    )
    view.add_argument(
        "--no-token",
        dest="token",
        action="store_false",
        help="let every user of this machine see the page (default: a token)",
    )
    view.set_defaults(run=run_view)


def run_view(directories: Sequence[Path], *, port: int = VIEW_PORT, token: bool = True) -> int:
    """Serves the live page until Ctrl-C; it only reads.

    Args:
        directories: runs, audits, or folders of these.
        port: of the page on 127.0.0.1.
        token: whether it wants the token in the address that is printed.

    Returns:
        0, when it is stopped by Ctrl-C, which is how it ends.

    Raises:
        PrivacyError: if a folder holds nothing that could be shown, or the port is in use.
    """
    import secrets

    from nni_privacy.live.library import Library, holds_something
    from nni_privacy.live.serving import HERE, port_server

    for folder in directories:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such directory; expected a run directory, an audit's, or one of these")
        try:
            found = holds_something(folder)
        except OSError as error:
            raise DataError(f"{folder}: cannot be read ({error.strerror or type(error).__name__})") from None
        if not found:
            raise DataError(f"{folder}: neither a run directory, nor an audit, nor a folder that holds some")
    secret = secrets.token_urlsafe(_TOKEN_BYTES) if token else None
    library = Library(directories)
    with port_server(library, port, token=secret) as server:
        library.read_ahead()
        query = f"?token={secret}" if secret is not None else ""
        print(f"live page at http://{HERE}:{port}/{query} until Ctrl-C", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    if sys.stderr.isatty():
        print(file=sys.stderr)  # behind the ^C of a terminal
    return ExitCode.DONE
