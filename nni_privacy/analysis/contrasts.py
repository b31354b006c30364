"""Pairs of measurements that differ in one thing only, and all paired comparisons that a study's rows allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from nni_privacy.analysis.bootstrap import Estimate, clustered_estimate
from nni_privacy.analysis.rows import NO_DEFENCE, ORIGINAL, MeasuredRow
from nni_privacy.analysis.statistics import grouped
from nni_privacy.errors import DataError

__all__ = ["ACROSS_DEFENCES", "CONTROLS", "HEADLINE", "WITHIN", "Against", "Effect", "Pair", "Pairing", "Treatment"]
__all__ += ["auc_metrics", "effect_metrics", "pair_rows", "paired_effects"]

Against = Literal["original", "placebo", "size-matched", "no defence"]
CONTROLS: tuple[Against, ...] = ("placebo", "size-matched")
HEADLINE = ("mia_auc", "accuracy", "overfitting")
WITHIN = ("architecture", "dataset", "defence", "seed", "size")
"""Factors that the two of a pair share where they differ in their variant."""
ACROSS_DEFENCES = ("architecture", "dataset", "seed", "size")
"""Factors that they share where they differ in their defence."""


@dataclass(frozen=True)
class Pair:
    """Two measurements, ``before`` being what ``after`` is compared with."""

    before: MeasuredRow
    after: MeasuredRow

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
        found = [(pair.difference(metric), pair.after.architecture) for pair in self.pairs]
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
    left, right = ({tuple(getattr(row, name) for name in by): row for row in rows} for rows in (before, after))
    pairs = tuple(Pair(left[key], row) for key, row in right.items() if key in left)
    alone = [row for key, row in right.items() if key not in left]
    return Pairing(pairs, (*alone, *(row for key, row in left.items() if key not in right)))


@dataclass(frozen=True)
class Treatment:
    """Treatment of an architecture: the factors that tell a variant from others; all None of the original."""

    pattern: str | None = None
    cells: str | None = None
    budget: int | None = None
    control: str | None = None

    @classmethod
    def of(cls, row: MeasuredRow) -> Treatment:
        """That of a row."""
        return cls(row.pattern, row.cells, row.budget, row.control)


@dataclass(frozen=True)
class Effect:
    """Effect of a treatment on one metric.

    Attributes:
        variant: label of what is compared.
        against: what it is compared with. Against a control, the difference of the two paired differences from the
            original is meant, in which the original cancels.
        treatment: the factors of ``variant``.
        dataset: label of the data set.
        defence: label of the defence under which both, or (against ``no defence``) the first alone was trained.
        space: ``darts``, ``nasbench201``, or None of human-designed networks.
        metric: name of the metric.
        pairing: the pairs that have the metric, and what stayed alone.
        estimate: the mean difference with its interval; None where there are too few pairs.
        reason: why there is no interval; else empty.
    """

    variant: str
    against: Against
    treatment: Treatment
    dataset: str
    defence: str
    space: str | None
    metric: str
    pairing: Pairing
    estimate: Estimate | None
    reason: str

    @property
    def by_architecture(self) -> dict[str, float]:
        """Label of each architecture to its mean difference over seeds."""
        values, architectures = self.pairing.differences(self.metric)
        by_label = grouped(zip(architectures, values, strict=True))
        return {label: float(np.mean(found)) for label, found in by_label.items()}

    @property
    def mean(self) -> float:
        """Mean over architectures of their means, interval or not."""
        return float(np.mean(list(self.by_architecture.values())))


def auc_metrics(rows: Sequence[MeasuredRow]) -> tuple[str, ...]:
    """Names of the AUCs in the rows: the primary attack's ``mia_auc`` first, then ``<attack>_mia_auc``."""
    names = {name for row in rows for name in row.metrics}
    return (*(["mia_auc"] if "mia_auc" in names else []), *sorted(name for name in names if name.endswith("_mia_auc")))


def effect_metrics(rows: Sequence[MeasuredRow]) -> tuple[str, ...]:
    """Names of the metrics whose effects are of interest, as far as the rows have them."""
    names = {name for row in rows for name in row.metrics}
    return tuple(name for name in dict.fromkeys((*HEADLINE, *auc_metrics(rows), "parameters")) if name in names)


def paired_effects(rows: Sequence[MeasuredRow], metrics: Sequence[str], *, seed: int = 0) -> tuple[Effect, ...]:
    """Every variant against its original and its controls, and every defence against none, by data set and space.

    Args:
        rows: of one study, in any order; those of failed trials left out.
        metrics: names of metrics; a comparison without a single pair of a metric is left out.
        seed: of the intervals.
    """
    found = []
    for variant, against, before, after, by in _contrasts(rows):
        whole, row = pair_rows(before, after, by=by), after[0]
        place = row.dataset, row.defence, row.space
        for metric in metrics:
            pairing, estimate, reason = whole.measuring(metric), None, ""
            if not pairing.pairs:
                continue
            try:
                estimate = clustered_estimate(*pairing.differences(metric), seed=seed)
            except DataError as error:
                reason = str(error)
            found.append(Effect(variant, against, Treatment.of(row), *place, metric, pairing, estimate, reason))
    return tuple(found)


_Contrast = tuple[str, Against, list[MeasuredRow], list[MeasuredRow], tuple[str, ...]]


def _contrasts(rows: Sequence[MeasuredRow]) -> Iterator[_Contrast]:
    """Variant, what it is compared with, rows before and after, and what pairs share."""
    varied = {row.architecture for row in rows if not row.original}
    places = grouped(((row.dataset, row.space, row.defence), row) for row in rows)
    for place, here in places.items():
        variants = grouped((row.variant, row) for row in here)
        for label, after in variants.items():
            if label != ORIGINAL:
                # An architecture that was never to be varied, such as a human-designed one, misses no partner.
                originals = [row for row in variants.get(ORIGINAL, []) if row.architecture in varied]
                yield label, "original", originals, after, WITHIN
                treatment = Treatment.of(after[0])
                for control in CONTROLS if treatment.control is None else ():
                    wanted = replace(treatment, control=control)
                    before = [row for group in variants.values() for row in group if Treatment.of(row) == wanted]
                    yield label, control, before, after, WITHIN
            if place[2] != NO_DEFENCE and after[0].control is None:
                undefended = places.get((*place[:2], NO_DEFENCE), [])
                before = [row for row in undefended if row.variant == label]
                yield label, "no defence", before, after, ACROSS_DEFENCES
