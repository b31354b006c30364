"""Integer codes of a space of categorical choices, for strategies that compute with architectures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from nni.mutable import Categorical, MutableAnnotation
from nni.nas.space import ExecutableModelSpace

from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.space import unwrap_space

__all__ = ["ChoiceCodes", "Codes"]

Codes = tuple[int, ...]
"""One architecture: for each choice the position of its value."""


@dataclass(frozen=True)
class ChoiceCodes:
    """The choices of a space in a fixed order, and which of them belong together.

    Attributes:
        values: label to the values of its choice.
        groups: for each choice the number of its group; the choices of a group are best inherited together.
    """

    values: Mapping[str, Sequence[Any]]
    groups: tuple[int, ...]

    @classmethod
    def of(cls, model_space: ExecutableModelSpace) -> ChoiceCodes:
        """The choices of ``model_space``.

        Groups come from the static method ``groups(labels)`` of the user's model space, an iterable of collections of
        labels, as :meth:`DARTS.groups <nni_privacy.search_spaces.DARTS.groups>` gives them. A label in none of
        them, and every label of a space without that method, is a group of its own.

        Raises:
            ConfigError: if a choice is not a ``Categorical``, or every choice has a single value.
        """
        values: dict[str, Sequence[Any]] = {}
        for label, mutable in model_space.simplify().items():
            if isinstance(mutable, MutableAnnotation):  # a constraint; ``freeze`` checks it
                continue
            if not isinstance(mutable, Categorical):
                raise ConfigError(f"choice {label!r} is a {type(mutable).__name__}; only Categorical choices are bred")
            values[label] = tuple(mutable.values)
        if all(len(options) == 1 for options in values.values()):
            raise ConfigError("the space has nothing left to choose: every choice has a single value")
        return cls(values, _group_numbers(model_space, list(values)))

    @property
    def counts(self) -> tuple[int, ...]:
        """For each choice the number of its values."""
        return tuple(len(options) for options in self.values.values())

    @property
    def kinds(self) -> tuple[int, ...]:
        """For each choice a number that those with the same values share."""
        numbers: dict[str, int] = {}
        return tuple(numbers.setdefault(repr(options), len(numbers)) for options in self.values.values())

    @property
    def size(self) -> int:
        """How many architectures there are, constraints left aside."""
        return prod(self.counts)

    def decode(self, codes: Codes) -> dict[str, Any]:
        """The sample that ``codes`` stand for."""
        return {label: options[code] for (label, options), code in zip(self.values.items(), codes, strict=True)}

    def onwards(self, codes: Codes) -> Iterator[Codes]:
        """Every architecture once, in the order of an odometer, from ``codes`` on and round to the one before it."""
        digits, counts = list(codes), self.counts
        for _ in range(self.size):
            yield tuple(digits)
            for place in reversed(range(len(counts))):
                digits[place] = (digits[place] + 1) % counts[place]
                if digits[place]:
                    break


def _group_numbers(model_space: ExecutableModelSpace, labels: Sequence[str]) -> tuple[int, ...]:
    groups_of = getattr(unwrap_space(model_space), "groups", None)
    groups = [set(group) for group in groups_of(labels)] if callable(groups_of) else []
    named = {label: number for number, group in enumerate(groups) for label in group}
    return tuple(named.get(label, len(groups) + place) for place, label in enumerate(labels))
