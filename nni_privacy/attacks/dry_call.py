"""A dry call of the attacks that plugins register, on made-up records, before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from nni_privacy.attacks.registry import Attack, AttackScores, get_attack
from nni_privacy.attacks.signals import ShadowSignals, TargetSignals
from nni_privacy.errors import ConfigError, PrivacyError
from nni_privacy.plugins import expect, is_plugins, place_of, raised_by, told

__all__ = ["RECORDS", "call_dry", "made_up_signals"]

RECORDS = 20
"""The first half of them members."""
CLASSES, FEATURES, SHADOWS, VIEWS, EPOCHS = 10, 8, 4, 2, 5


def call_dry(names: Sequence[str], *, classes: int = CLASSES, seed: int = 0) -> None:
    """Calls each of the named attacks that comes from a plugin once, as a trial would, on 20 made-up records.

    An attack that refuses so few records by an error of its own choice (a PrivacyError) passes.

    Args:
        names: of all attacks of a run; the signals hold what they require together.
        classes: number of classes, 2 or more.
        seed: what attacks are given.

    Raises:
        ConfigError: if one fails or does not return an :class:`AttackScores` of its records; one line with file and
            line.
    """
    attacks = [get_attack(name) for name in names]
    requires = frozenset().union(*(attack.requires for attack in attacks))
    for attack in attacks:
        if is_plugins(attack.run):
            _call(attack, made_up_signals(requires, classes=classes), seed)


def _call(attack: Attack, signals: TargetSignals, seed: int) -> None:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = attack.run(signals, seed=seed)
    except (Exception, SystemExit) as error:
        if not (isinstance(error, PrivacyError) and raised_by(error, attack.run)):
            raise ConfigError(f"{_what(attack)}: {told(error, attack.run)}") from error
    else:
        _check(attack, signals, result)


def _what(attack: Attack) -> str:
    return f"attack {attack.name!r}, called on {RECORDS} made-up records"


def _check(attack: Attack, signals: TargetSignals, result: Any) -> None:
    expect(result, AttackScores, _what(attack), attack.run)
    records = result.records
    fault = None
    if not len(records) or records.min() < 0 or records.max() >= len(signals):
        fault = f"records must be some of 0..{len(signals) - 1}"
    elif not np.isfinite(result.scores).all():
        fault = f"{np.count_nonzero(~np.isfinite(result.scores))} of {len(records)} scores are NaN or infinite"
    elif (result.is_member != signals.is_member[records]).any():
        fault = "is_member is not that of the records"
    elif result.is_member.all() or not result.is_member.any():
        fault = "members and non-members must be among the records"
    if fault is not None:
        raise ConfigError(f"{_what(attack)}: {place_of(attack.run)}{fault}")


def made_up_signals(requires: Collection[str], *, classes: int = CLASSES) -> TargetSignals:
    """Random signals of 20 records that hold the logits and what else is required.

    Args:
        requires: names of :data:`~nni_privacy.attacks.registry.REQUIREMENTS`.
        classes: number of classes K.
    """
    generator = np.random.default_rng(0)
    plain = _answers(generator, classes)
    extras: dict[str, Any] = {}
    for name in sorted(requires):
        extras |= _EXTRAS[name](generator, plain)
    return TargetSignals(plain.logits, plain.labels, plain.is_member, **extras)


def _answers(generator: np.random.Generator, classes: int) -> TargetSignals:
    labels = np.arange(RECORDS) % (RECORDS // 2) % classes  # as many members as non-members of each class
    logits = generator.normal(size=(RECORDS, classes)).astype(np.float32)
    logits[np.arange(RECORDS), labels] += 2
    return TargetSignals(logits, labels, np.arange(RECORDS) < RECORDS // 2, features=_features(generator))


def _features(generator: np.random.Generator) -> Any:
    return np.abs(generator.normal(size=(RECORDS, FEATURES))).astype(np.float32)


def _views(generator: np.random.Generator, plain: TargetSignals) -> Any:
    further = plain.logits[:, None] + 0.1 * generator.normal(size=(RECORDS, VIEWS - 1, plain.num_classes))
    return np.concatenate([plain.logits[:, None], further], axis=1).astype(np.float32)


def _shadows(generator: np.random.Generator, plain: TargetSignals) -> ShadowSignals:
    logits = generator.normal(size=(RECORDS, SHADOWS, VIEWS, plain.num_classes)).astype(np.float32)
    # Each record is in the training data of every other shadow.
    keep = (np.arange(RECORDS)[:, None] + np.arange(SHADOWS)) % 2 == 0
    return ShadowSignals(logits, keep)


def _outsider(generator: np.random.Generator, plain: TargetSignals) -> ShadowSignals:
    attacked, own, answers = (_answers(generator, plain.num_classes) for _ in range(3))
    return ShadowSignals(
        attacked.logits[:, None, None],
        np.zeros((RECORDS, 1), dtype=np.bool_),
        own.logits[:, None, None],
        own.labels,
        None,
        answers.logits[:, None],
    )


def _trace(generator: np.random.Generator) -> Any:
    falling = np.linspace(2, 1, EPOCHS)[:, None]
    return (falling * generator.gamma(2.0, 0.5, size=(EPOCHS, RECORDS))).astype(np.float32)


def _shadow(name: str, generator: np.random.Generator, plain: TargetSignals) -> dict[str, Any]:
    return {name: _answers(generator, plain.num_classes)}


_EXTRAS: Mapping[str, Callable[[np.random.Generator, TargetSignals], dict[str, Any]]] = MappingProxyType(
    {
        "logits": lambda generator, plain: {},
        "gradients": lambda generator, plain: {"features": plain.features},
        "view_logits": lambda generator, plain: {"view_logits": _views(generator, plain)},
        "distances": lambda generator, plain: {
            "distances": np.where(plain.correct, generator.gamma(3.0, size=RECORDS), 0.0),
            "queries": RECORDS * 10,
        },
        "shadows": lambda generator, plain: {
            "shadows": _shadows(generator, plain),
            "view_logits": _views(generator, plain),
        },
        "black_box_shadow": partial(_shadow, "black_box_shadow"),
        "white_box_shadow": partial(_shadow, "white_box_shadow"),
        "outsider": lambda generator, plain: {"outsider": _outsider(generator, plain)},
        "loss_trace": lambda generator, plain: {"loss_trace": _trace(generator)},
    }
)
"""Requirement to the attributes that meet it."""
