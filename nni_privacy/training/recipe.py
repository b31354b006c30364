"""How a model is trained: a :class:`Recipe`, the defences among its fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from nni_privacy.errors import ConfigError, check_keys, nearest

__all__ = ["MIN_BATCH", "DPOptions", "Recipe", "check_integer"]

MIN_BATCH = 2  # BatchNorm cannot be trained on one record
_ROUNDING = 1e-9  # 0.1 * 30 is a little more than 3: a milestone must not slip by an epoch for it


@dataclass(frozen=True, kw_only=True)
class DPOptions:
    """DP-SGD (Abadi et al., CCS 2016): every record's gradient is clipped, and noise is added to their sum.

    Exactly one of ``noise_multiplier`` and ``epsilon`` is given.

    Attributes:
        max_grad_norm: L2 norm to which a record's gradient is clipped, above 0 (the paper's 1.5).
        delta: for which epsilon is computed, strictly between 0 and 1; well below 1 / (number of records).
        noise_multiplier: standard deviation of the noise in units of ``max_grad_norm``, above 0. The paper's 0.3 stands
            for an epsilon of about 264, which guarantees nothing.
        epsilon: the wanted epsilon after the last epoch, above 0; the noise follows from it.

    Raises:
        ConfigError: if a value is out of range, or both or neither of noise and epsilon are given.
    """

    max_grad_norm: float = 1.5
    delta: float = 1e-5
    noise_multiplier: float | None = None
    epsilon: float | None = None

    def __post_init__(self) -> None:
        _check_number("dp: max_grad_norm", self.max_grad_norm, lambda x: x > 0, "numbers above 0")
        _check_number("dp: delta", self.delta, lambda x: 0 < x < 1, "numbers between 0 and 1")
        choice = {"noise_multiplier": self.noise_multiplier, "epsilon": self.epsilon}
        given = {name: value for name, value in choice.items() if value is not None}
        for name, value in given.items():
            _check_number(f"dp: {name}", value, lambda x: x > 0, "numbers above 0")
        if len(given) != 1:
            found = " and ".join(f"{name} is {value}" for name, value in given.items()) or "neither is given"
            raise ConfigError(f"recipe: dp: {found}: give one of noise_multiplier and epsilon")

    @classmethod
    def from_mapping(cls, options: Any) -> DPOptions:
        """Builds the options from a part of a configuration file.

        Raises:
            ConfigError: if it is no mapping, a key is unknown, or a value is not valid.
        """
        known = [entry.name for entry in fields(cls)]
        if not isinstance(options, Mapping):
            raise ConfigError(f"recipe: dp is {options!r}: allowed are mappings of {', '.join(known)}")
        check_keys("recipe: dp", options, known)
        return cls(**options)

    def to_dict(self) -> dict[str, float]:
        """Plain values for a YAML or JSON file, without the one that is not given."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained. The defaults are those of Huang et al. (CCS 2022): SGD, 100 epochs.

    Attributes:
        epochs: passes over the training part, 1 or more.
        batch_size: records a step, 2 or more.
        learning_rate: of the first epochs, above 0.
        momentum: of SGD, 0 or more and below 1.
        weight_decay: L2 penalty, 0 or more.
        milestones: increasing fractions of the epochs, strictly between 0 and 1, after which the rate is multiplied by
            ``decay``: with the defaults, epochs 1-50 of 100 run at 1e-2, 51-75 at 1e-3, 76-100 at 1e-4; with 30 epochs
            the rate drops after 15 and after 23 (22.5 rounded up).
        decay: factor of the learning rate at a milestone, above 0 and at most 1.
        augmentation: a defence: every record is flipped (or not) and shifted at random each time the model sees it in
            training; see :func:`nni_privacy.training.defences.augment`.
        label_smoothing: a defence: this part of a label's weight is spread over all classes, 0 or more and below 1.
            The paper's 1e-3 is too weak to do anything; 0.1 is usual.
        dp: a defence: training is differentially private, see :class:`DPOptions` (or a mapping of its fields).

    Raises:
        ConfigError: with the field, its value and the allowed range.
    """

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    milestones: tuple[float, ...] = (0.5, 0.75)
    decay: float = 0.1
    augmentation: bool = False
    label_smoothing: float = 0.0
    dp: DPOptions | None = None

    def __post_init__(self) -> None:
        check_integer("epochs", self.epochs, minimum=1)
        check_integer("batch_size", self.batch_size, minimum=MIN_BATCH)
        _check_number("learning_rate", self.learning_rate, lambda x: x > 0, "numbers above 0")
        _check_number("momentum", self.momentum, lambda x: 0 <= x < 1, "numbers from 0 to below 1")
        _check_number("weight_decay", self.weight_decay, lambda x: x >= 0, "numbers of 0 or more")
        _check_number("decay", self.decay, lambda x: 0 < x <= 1, "numbers above 0 and up to 1")
        _check_number("label_smoothing", self.label_smoothing, lambda x: 0 <= x < 1, "numbers from 0 to below 1")
        if not isinstance(self.augmentation, bool):
            raise ConfigError(f"recipe: augmentation is {self.augmentation!r}: allowed are true and false")
        if self.dp is not None and not isinstance(self.dp, DPOptions):
            object.__setattr__(self, "dp", DPOptions.from_mapping(self.dp))
        object.__setattr__(self, "milestones", _checked_milestones(self.milestones))

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> Recipe:
        """Builds a recipe from a part of a configuration file.

        Raises:
            ConfigError: if a key is unknown (with the nearest known one) or a value is out of range.
        """
        known = [entry.name for entry in fields(cls)]
        for key in options:
            if key not in known:
                raise ConfigError(f"recipe: unknown key {key!r}: {nearest(str(key), known)}")
        return cls(**options)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a YAML or JSON file; :meth:`from_mapping` reads them back."""
        dp = None if self.dp is None else self.dp.to_dict()
        return {**asdict(self), "milestones": list(self.milestones), "dp": dp}

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        passed = sum(epoch - 1 >= fraction * self.epochs - _ROUNDING for fraction in self.milestones)
        return self.learning_rate * self.decay**passed


def _checked_milestones(milestones: Any) -> tuple[float, ...]:
    if isinstance(milestones, (str, Mapping)) or not hasattr(milestones, "__iter__"):
        raise ConfigError(f"recipe: milestones is {milestones!r}: allowed are lists of increasing fractions")
    for value in milestones:
        _check_number("milestones", value, lambda x: 0 < x < 1, "increasing fractions between 0 and 1")
    if list(milestones) != sorted(set(milestones)):
        raise ConfigError(f"recipe: milestones is {list(milestones)}: allowed are increasing fractions")
    return tuple(milestones)


def check_integer(name: str, value: Any, *, minimum: int, where: str = "recipe") -> None:
    """Raises ConfigError unless ``value`` is an integer of ``minimum`` or more."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ConfigError(f"{where}: {name} is {value!r}: allowed are integers of {minimum} or more")


def _check_number(name: str, value: Any, allowed: Callable[[float], bool], description: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or not allowed(value):
        hint = " (YAML reads 1e-2 as text: write 0.01 or 1.0e-2)" if isinstance(value, str) else ""
        raise ConfigError(f"recipe: {name} is {value!r}: allowed are {description}{hint}")
