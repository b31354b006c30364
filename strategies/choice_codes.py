"""Integer codes of a space of categorical choices, and how evolutionary strategies draw, mix and mutate them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from nni.mutable import Categorical, MutableAnnotation
from nni.nas.space import ExecutableModelSpace

from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.space import unwrap_space

__all__ = ["ChoiceCodes", "Codes", "crossover", "diverse_codes", "mutate", "random_codes"]

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
        groups_of = getattr(unwrap_space(model_space), "groups", None)
        groups = [set(group) for group in groups_of(list(values))] if callable(groups_of) else []
        named = {label: number for number, group in enumerate(groups) for label in group}
        return cls(values, tuple(named.get(label, len(groups) + place) for place, label in enumerate(values)))

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


def random_codes(counts: Sequence[int], rng: np.random.Generator) -> Codes:
    """Uniformly random codes, the i-th in ``range(counts[i])``."""
    return tuple(int(code) for code in rng.integers(0, np.asarray(counts)))


def diverse_codes(
    counts: Sequence[int], kinds: Sequence[int], favourite: int, rng: np.random.Generator, *, concentration: float = 0.3
) -> Codes:
    """Random codes with a taste of their own: each architecture prefers some values wherever they can be chosen.

    Where many choices share their values, as the operations of a cell do, uniform draws are all alike: about the same
    number of each value. Here every architecture draws the values' probabilities first, from a symmetric Dirichlet
    distribution, one for each kind of choice; some come out with hardly anything but poolings, others without any. The
    largest probability goes to the value ``favourite``: counted up, every value is preferred in turn, and no seed is
    unlucky.

    Args:
        counts: ``(d,)`` numbers of values.
        kinds: ``(d,)`` numbers; equal numbers mark choices with the same values.
        favourite: from 0; taken modulo the number of values.
        rng: decides.
        concentration: of the Dirichlet distribution, above 0; the larger, the more alike the architectures are.

    Returns:
        The codes.
    """
    sizes = dict(zip(kinds, counts, strict=True))
    taste = {kind: rng.dirichlet(np.full(count, concentration)) for kind, count in sizes.items()}
    for kind, count in sizes.items():
        taste[kind] = np.roll(taste[kind], favourite % count - int(np.argmax(taste[kind])))
    return tuple(int(rng.choice(count, p=taste[kind])) for count, kind in zip(counts, kinds, strict=True))


def crossover(first: Codes, second: Codes, groups: Sequence[int], rng: np.random.Generator) -> Codes:
    """Uniform crossover by group: each group is inherited as a whole, from either parent with equal chance.

    Args:
        first: codes of one parent, ``(d,)``.
        second: of the other.
        groups: ``(d,)`` numbers; equal numbers mark choices that stay together, as those of one node of a cell do: its
            operations mean little without its sources.
        rng: decides.

    Returns:
        The child's codes.
    """
    from_first = {group: bool(rng.integers(2)) for group in dict.fromkeys(groups)}
    return tuple(a if from_first[group] else b for a, b, group in zip(first, second, groups, strict=True))


def mutate(codes: Codes, counts: Sequence[int], probability: float, rng: np.random.Generator) -> Codes:
    """Gives each choice another value with ``probability``, drawn from the values that it does not have.

    Args:
        codes: ``(d,)`` codes.
        counts: ``(d,)`` numbers of values; a choice with a single one stays.
        probability: in [0, 1].
        rng: decides.

    Returns:
        The mutant's codes.
    """
    changed = rng.random(len(codes)) < probability
    return tuple(
        (code + int(rng.integers(1, count))) % count if change and count > 1 else code
        for code, count, change in zip(codes, counts, changed, strict=True)
    )
