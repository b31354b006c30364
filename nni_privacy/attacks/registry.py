"""The attacks that a configuration can name. A user adds one with a single decorated function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.signals import TargetSignals
from nni_privacy.errors import AuditError, ConfigError, nearest

__all__ = ["Attack", "AttackFunction", "AttackScores", "attack_names", "get_attack", "register_attack"]

NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, eq=False)
class AttackScores:
    """What an attack says of the records it attacked; those it learned from are not among them.

    Attributes:
        scores: ``(m,)`` ``float64``, finite; higher = more likely a member.
        is_member: ``(m,)`` booleans, the truth.
        records: ``(m,)`` ``int64``, the attacked records' positions in the signals, each at most once.

    Raises:
        AuditError: if lengths differ or a record occurs twice.
    """

    scores: npt.NDArray[np.float64]
    is_member: npt.NDArray[np.bool_]
    records: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        for name, dtype in (("scores", np.float64), ("is_member", np.bool_), ("records", np.int64)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=dtype))
        shapes = {np.shape(self.scores), np.shape(self.is_member), np.shape(self.records)}
        if len(shapes) != 1 or np.ndim(self.scores) != 1:
            raise AuditError(f"scores, is_member and records have shapes {sorted(shapes)}, expected one shape (m,)")
        if len(np.unique(self.records)) != len(self.records):
            raise AuditError("a record was attacked twice")


class AttackFunction(Protocol):
    """An attack: a pure function of the signals and a seed."""

    def __call__(self, signals: TargetSignals, *, seed: int) -> AttackScores:
        """Scores some or all of the records of ``signals``."""


F = TypeVar("F", bound=AttackFunction)


@dataclass(frozen=True)
class Attack:
    """A registered attack.

    Attributes:
        name: the setting's name in configurations and metrics.
        run: the function.
        requires: what it reads of the signals, of :attr:`TargetSignals.available`.
        description: one line for listings.
    """

    name: str
    run: AttackFunction
    requires: frozenset[str]
    description: str

    def __call__(self, signals: TargetSignals, *, seed: int = 0) -> AttackScores:
        """Runs the attack.

        Raises:
            AuditError: if the signals lack something that the attack requires.
        """
        missing = sorted(self.requires - signals.available)
        if missing:
            raise AuditError(f"attack {self.name!r} needs {', '.join(missing)}, which this audit does not have")
        return self.run(signals, seed=seed)


_ATTACKS: dict[str, Attack] = {}


def register_attack(
    name: str, *, requires: Collection[str] = ("logits",), description: str | None = None
) -> Callable[[F], F]:
    """Registers an attack: ``function(signals, *, seed) -> AttackScores``.

    Args:
        name: lower-case letters, digits and underscores: it becomes a metrics prefix and an array name.
        requires: what the attack reads of the signals.
        description: one line; by default the first line of the function's docstring.

    Raises:
        ConfigError: if the name is taken or not valid.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"attack name {name!r}: allowed are lower-case letters, digits and underscores")
    if name in _ATTACKS:
        raise ConfigError(f"attack {name!r} is registered already")

    def register(function: F) -> F:
        line = (inspect.getdoc(function) or "").partition("\n")[0]
        _ATTACKS[name] = Attack(name, function, frozenset(requires), description or line)
        return function

    return register


def attack_names() -> tuple[str, ...]:
    """The names of all registered attacks, sorted."""
    return tuple(sorted(_ATTACKS))


def get_attack(name: str) -> Attack:
    """The attack of that name.

    Raises:
        ConfigError: if it is unknown, with the nearest known name.
    """
    if name not in _ATTACKS:
        raise ConfigError(f"unknown attack {name!r}: {nearest(str(name), _ATTACKS)}")
    return _ATTACKS[name]
