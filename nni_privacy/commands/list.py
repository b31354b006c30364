"""The command ``nni-privacy list``: the names that a configuration may use, with a line on each."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any

from nni_privacy.commands.options import add_command, add_plugins
from nni_privacy.plugins import import_plugins

__all__ = ["KINDS", "add_list", "run_list"]

Rows = Iterator[tuple[str, str]]

_REFERENCE = re.compile(r":\w+:`~?(?:\w+\.)*(\w+)`")
"""A docstring's link to a name."""


def add_list(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    listed = add_command(
        commands,
        "list",
        "say which attacks, data sets, strategies ... a configuration can name",
        "list attacks",
        "list datasets",
        "list strategies --plugins own_strategy",
    )
    listed.add_argument("kind", metavar="WHAT", choices=tuple(KINDS), help=", ".join(KINDS))
    add_plugins(listed)
    listed.set_defaults(run=run_list)


def run_list(kind: str, *, plugins: Sequence[str] = ()) -> int:
    """Prints the names of one kind, one a line, each with what it is.

    Raises:
        ConfigError: if a plugin cannot be imported.
    """
    import_plugins(plugins)
    rows = sorted(KINDS[kind]())
    width = max(len(name) for name, _ in rows)
    for name, line in rows:
        print(f"{name:<{width}}  {line}".rstrip())
    return 0


def _first_line(documented: Any) -> str:
    line = (inspect.getdoc(documented) or "").partition("\n")[0].rstrip(".")
    return _REFERENCE.sub(r"\1", line).replace("``", "")


def _attacks() -> Rows:
    from nni_privacy.attacks import attack_names, get_attack

    for name in attack_names():
        yield name, get_attack(name).description.rstrip(".")


def _strategies() -> Rows:
    from nni_privacy.strategies.registry import ONE_SHOT, strategy_names, strategy_options

    for name in strategy_names():
        documented: Any = strategy_options(name)
        if name in ONE_SHOT:
            module, kind = ONE_SHOT[name].split(".")
            documented = getattr(import_module(f"nni_privacy.strategies.{module}"), kind)
        yield name, _first_line(documented)


def _datasets() -> Rows:
    from nni_privacy.data.registry import dataset_loader, dataset_names

    for name in dataset_names():
        yield name, _first_line(dataset_loader(name))


def _networks() -> Rows:
    from nni_privacy.networks import FAMILIES

    for name, model in FAMILIES.items():
        yield name, f"timm's {model}, adapted to small images"


def _patterns() -> Rows:
    from nni_privacy.patterns import list_patterns

    for pattern in list_patterns():
        source = pattern.source.partition(";")[0].partition(" (")[0]
        yield pattern.name, f"{pattern.objective} in the {pattern.cell} cell, {len(pattern)} edges; {source}"


def _surrogates() -> Rows:
    from nni_privacy.surrogate.base import surrogate_builder, surrogate_names

    for name in surrogate_names():
        yield name, _first_line(surrogate_builder(name))


def _spaces() -> Rows:
    from nni_privacy.cells.spaces import SPACES

    for name, record in SPACES.items():
        yield name, f"{record.title}: {len(record.operations)} operations; cells: {', '.join(record.cells)}"


KINDS: Mapping[str, Callable[[], Rows]] = MappingProxyType(
    {
        "attacks": _attacks,
        "strategies": _strategies,
        "datasets": _datasets,
        "networks": _networks,
        "patterns": _patterns,
        "surrogates": _surrogates,
        "spaces": _spaces,
    }
)
"""What can be listed."""
