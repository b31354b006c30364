"""The command ``nni-privacy nnictl``: NNI's own command line, with the tokens of this user's running managers."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from nni_privacy.commands.options import add_command

__all__ = ["add_nnictl"]

_VERBS = ("get", "put", "post", "delete")


def add_nnictl(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    nnictl = add_command(
        commands,
        "nnictl",
        "NNI's own command line, with the tokens of your running managers",
        "nnictl experiment list",
        "nnictl trial ls EXPERIMENT",
    )
    nnictl.add_argument("words", metavar="...", nargs=argparse.REMAINDER, help="as after nnictl, e.g.: experiment list")
    nnictl.set_defaults(run=run_nnictl)


class _TokenRequests:
    """Takes the place of ``requests`` in nnictl: each request goes straight to the manager, with its token."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return partial(self._ask, name) if name in _VERBS else getattr(self._original, name)

    def _ask(self, method: str, url: str, *, headers: Mapping[str, str] = MappingProxyType({}), **options: Any) -> Any:
        from nni_privacy.nni_runtime.access import here, manager_headers
        from nni_privacy.nni_runtime.proxies import direct_request

        carried = {**headers, **manager_headers(urlsplit(url).port)}
        return direct_request(method, here(url), headers=carried, **options)


def run_nnictl(words: Sequence[str]) -> int:
    """Runs ``nnictl`` with ``words``; it finds the tokens of this user's running managers by their ports.

    Returns:
        The exit code.
    """
    from nni_privacy.nni_runtime import install
    from nni_privacy.nni_runtime.package_repairs import with_pkg_resources

    install()
    rest: Any = import_module("nni.tools.nnictl.rest_utils")
    rest.requests = _TokenRequests(rest.requests)
    sys.argv = ["nnictl", *words]
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
    try:
        with with_pkg_resources():
            import_module("nni.tools.nnictl.nnictl").parse_args()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
