"""Variation operators of evolutionary strategies: crossover and mutation of integer codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["crossover", "diverse_codes", "mutate", "random_codes"]

Codes = tuple[int, ...]


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
