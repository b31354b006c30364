"""Pairs of measurements that differ in one thing only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nni_privacy.analysis.rows import MeasuredRow

__all__ = ["ACROSS_DEFENCES", "WITHIN", "Pair", "Pairing", "pair_rows"]

WITHIN = ("architecture", "dataset", "defence", "seed", "size")
"""Factors that the two of a pair share where they differ in their variant."""
ACROSS_DEFENCES = ("architecture", "dataset", "seed", "size")
"""Factors that they share where they differ in their defence."""


@dataclass(frozen=True)
class Pair:
    """Two measurements, ``before`` being what ``after`` is compared with."""

    before: MeasuredRow
    after: MeasuredRow

    @property
    def architecture(self) -> str:
        """Label of the architecture that both are of."""
        return self.after.architecture

    def difference(self, metric: str) -> float | None:
        """``after`` less ``before``; None where one of the two has no such metric."""
        before, after = self.before.metrics.get(metric), self.after.metrics.get(metric)
        return None if before is None or after is None else after - before


@dataclass(frozen=True)
class Pairing:
    """Pairs, and the measurements without a partner.

    Attributes:
        pairs: in the order of their ``after``.
        unpaired: measurements of either side without the other.
    """

    pairs: tuple[Pair, ...]
    unpaired: tuple[MeasuredRow, ...]

    def measuring(self, metric: str) -> Pairing:
        """The pairs of which both have ``metric``; what has no partner with it, as of a failed trial, is unpaired."""
        kept = tuple(pair for pair in self.pairs if pair.difference(metric) is not None)
        lost = [pair for pair in self.pairs if pair.difference(metric) is None]
        alone = [row for pair in lost for row in (pair.before, pair.after) if metric in row.metrics]
        return Pairing(kept, (*(row for row in self.unpaired if metric in row.metrics), *alone))

    def differences(self, metric: str) -> tuple[list[float], list[str]]:
        """Differences of a metric, and the architecture of each; pairs without the metric are left out."""
        found = [(pair.difference(metric), pair.architecture) for pair in self.pairs]
        kept = [(value, architecture) for value, architecture in found if value is not None]
        return [value for value, _ in kept], [architecture for _, architecture in kept]


def pair_rows(before: Iterable[MeasuredRow], after: Iterable[MeasuredRow], *, by: Sequence[str] = WITHIN) -> Pairing:
    """Pairs measurements that agree in all of ``by``.

    Of two measurements of one side that agree (a trial that was run again) the last one counts.

    Args:
        before: what is compared with, say the originals.
        after: what is compared, say one variant of them.
        by: names of factors.
    """
    left, right = ({_key(row, by): row for row in rows} for rows in (before, after))
    pairs = tuple(Pair(left[key], row) for key, row in right.items() if key in left)
    alone = [row for key, row in right.items() if key not in left]
    return Pairing(pairs, (*alone, *(row for key, row in left.items() if key not in right)))


def _key(row: MeasuredRow, by: Sequence[str]) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in by)
