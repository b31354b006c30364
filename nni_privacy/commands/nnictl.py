"""The command ``nni-privacy nnictl``: NNI's own command line, with the repairs, on this user's running managers."""

from __future__ import annotations

import logging
import sys
import warnings
from argparse import REMAINDER
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from nni_privacy.commands.options import add_access, add_command
from nni_privacy.errors import ConfigError, PrivacyError

__all__ = ["add_nnictl"]

_TOLD_BY_NNI = (ValueError, TypeError, AttributeError, AssertionError, RuntimeError, OSError)
"""What NNI raises at a configuration or a port that it cannot use."""
_DEBUG = {"-d", "--debug"}


_SAYS_HOW_TO_STOP = "nni.tools.nnictl.launcher"
"""The logger."""


def add_nnictl(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    nnictl = add_command(
        commands,
        "nnictl",
        "NNI's own command line, repaired, with the tokens of your running managers",
        "nnictl create --config config.yml",
        "nnictl experiment list",
        "nnictl trial ls EXPERIMENT",
    )
    nnictl.add_argument("--version", "-v", action="store_true", help="the version of NNI")
    add_access(nnictl)
    nnictl.add_argument("words", metavar="...", nargs=REMAINDER, help="as after nnictl, e.g.: experiment list")
    nnictl.set_defaults(run=run_nnictl)


def run_nnictl(words: Sequence[str], *, version: bool = False, host: str | None = None, token: bool = True) -> int:
    """Runs ``nnictl`` with ``words``; it finds the tokens of this user's running managers by their ports.

    Args:
        words: as after ``nnictl``.
        version: say which NNI it is.
        host: an address of this machine that a manager which is started listens on, too.
        token: whether its web UI wants the token in the address that is printed.

    Returns:
        The exit code.

    Raises:
        ConfigError: if NNI cannot work with what it is given; with ``--debug`` its own exception.
    """
    from nni_privacy.nni_runtime import install
    from nni_privacy.nni_runtime.access import check_host, manager_access
    from nni_privacy.nni_runtime.package_repairs import with_pkg_resources

    install()
    if host is not None:
        check_host(host, 0)
        if not token:
            raise ConfigError(f"--no-token: not with --host {host}; whoever reaches it could run code as you")
    logging.getLogger(_SAYS_HOW_TO_STOP).addFilter(_name_this_command)
    sys.argv = ["nnictl", *(["--version"] if version else []), *words]
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
    try:
        with manager_access(host=host, wants_token=token), with_pkg_resources():
            import_module("nni.tools.nnictl.nnictl").parse_args()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except (*_TOLD_BY_NNI, import_module("yaml").YAMLError) as error:
        if isinstance(error, PrivacyError) or _DEBUG & set(words):
            raise
        told = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"nnictl {' '.join(words[:1])}: {told}") from error
    return 0


def _name_this_command(record: logging.LogRecord) -> bool:
    """Where NNI names its own command, which the manager does not answer."""
    record.msg = str(record.msg).replace('"nnictl ', '"nni-privacy nnictl ')
    return True
