"""The attacks that a configuration can name. A user adds one with a single decorated function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.signals import Answers, TargetSignals
from nni_privacy.errors import AuditError, ConfigError, nearest
from nni_privacy.plugins import plugin_faults

__all__ = ["REQUIREMENTS", "Attack", "AttackFunction", "AttackScores", "attack_names", "check_reference_models"]
__all__ += ["get_attack", "register_attack"]

REQUIREMENTS = {
    "logits": "the model's answers",
    "gradients": "the classifier's input, or gradients (extract_signals with gradients=True)",
    "view_logits": "answers on augmented images (extract_signals with views=...)",
    "distances": "distances to the decision boundary (HopSkipJump needs the model)",
    "shadows": "shadow models' answers on the audited records",
    "black_box_shadow": "the answers of a small CNN trained on shadow-train",
    "white_box_shadow": "the answers and features of a shadow of the target's architecture",
    "outsider": "the answers of a small network trained on shadow-train, also on shadow-test",
    "loss_trace": "losses after epochs of the training: those of a trial, or of your own (audit with loss_trace=...)",
}
"""What an attack may require, of :attr:`TargetSignals.available`, and where it comes from."""

NAME = re.compile(r"[a-z][a-z0-9_]*")

COMBINED = "combined"
"""Name of all attacks together among the results of an audit, see :mod:`nni_privacy.attacks.ensemble`."""


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
    """An attack: a pure function of the signals and a seed; its own options are keyword-only, with defaults."""

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
        reference_models: how many it needs at least where each is trained on half of the attacked records.
        answers: what it makes do with in place of logits.
    """

    name: str
    run: Callable[..., AttackScores]
    requires: frozenset[str]
    description: str
    reference_models: int = 1
    answers: frozenset[Answers] = frozenset()

    @property
    def options(self) -> dict[str, Any]:
        """The attack's own options and their defaults: keyword-only arguments besides ``seed``."""
        parameters = inspect.signature(self.run).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "seed"}

    def missing(self, signals: TargetSignals) -> tuple[str, ...]:
        """What the attack requires and the signals do not have, sorted."""
        met = signals.available | ({"logits"} if signals.answers in self.answers else set())
        return tuple(sorted(self.requires - met))

    def __call__(self, signals: TargetSignals, *, seed: int = 0, **options: Any) -> AttackScores:
        """Runs the attack.

        Args:
            signals: what it reads.
            seed: of what it draws.
            **options: its own options, of :attr:`options`.

        Raises:
            AuditError: if the signals lack something that the attack requires.
            ConfigError: if it does not have such an option.
        """
        known = self.options
        for key in options:
            if key not in known:
                raise ConfigError(f"attack {self.name!r}: unknown option {key!r}: {nearest(key, known)}")
        if missing := self.missing(signals):
            remedies = "; ".join(f"{name}: {REQUIREMENTS[name]}" for name in missing)
            raise AuditError(
                f"attack {self.name!r} needs {', '.join(missing)}, which this audit does not have: {remedies}"
            )
        with plugin_faults(f"attack {self.name!r}", self.run):
            return self.run(signals, seed=seed, **options)


_ATTACKS: dict[str, Attack] = {}


def register_attack(
    name: str,
    *,
    requires: Collection[str] = ("logits",),
    description: str | None = None,
    reference_models: int = 1,
    answers: Collection[Answers] = (),
) -> Callable[[F], F]:
    """Registers an attack: ``function(signals, *, seed) -> AttackScores``.

    Args:
        name: lower-case letters, digits and underscores: it becomes a metrics prefix and an array name.
        requires: what the attack reads of the signals, names of :data:`REQUIREMENTS`.
        description: one line; by default the first line of the function's docstring.
        reference_models: how many shadows it needs at least where each is trained on half of the attacked records; of
            no meaning for an attack that does not require ``shadows``.
        answers: what it makes do with where not all logits are known, of :data:`~nni_privacy.attacks.signals.Answers`.

    Raises:
        ConfigError: if the name is taken or not valid, or a requirement is unknown.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"attack name {name!r}: allowed are lower-case letters, digits and underscores")
    if name in _ATTACKS:
        raise ConfigError(f"attack {name!r} is registered already")
    if name == COMBINED:
        raise ConfigError(f"attack name {name!r} is the name of all attacks together: choose another")

    for requirement in requires:
        if requirement not in REQUIREMENTS:
            raise ConfigError(f"attack {name!r} requires {requirement!r}: {nearest(requirement, REQUIREMENTS)}")

    def register(function: F) -> F:
        line = (inspect.getdoc(function) or "").partition("\n")[0]
        _ATTACKS[name] = Attack(
            name, function, frozenset(requires), description or line, reference_models, frozenset(answers)
        )
        return function

    return register


def check_reference_models(names: Collection[str], count: int) -> None:
    """Refuses, before anything is trained, fewer reference models than an attack needs.

    Args:
        names: of attacks.
        count: of reference models, each trained on half of the attacked records.

    Raises:
        ConfigError: if one of the attacks needs more.
    """
    for attack in map(get_attack, names):
        if "shadows" in attack.requires and count < attack.reference_models:
            raise ConfigError(
                f"shadow.count: {count}; attack {attack.name!r} needs at least {attack.reference_models} "
                "(each record must be in the training data of two and not in that of two others)"
            )


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
