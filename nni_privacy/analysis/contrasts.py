"""All paired comparisons that a study's rows allow, each with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nni_privacy.analysis.bootstrap import Estimate, clustered_estimate
from nni_privacy.analysis.pairing import ACROSS_DEFENCES, WITHIN, Pairing, pair_rows
from nni_privacy.analysis.rows import NO_DEFENCE, ORIGINAL, MeasuredRow
from nni_privacy.errors import DataError

__all__ = ["CONTROLS", "Against", "Effect", "Treatment", "auc_metrics", "effect_metrics", "paired_effects"]

Against = Literal["original", "placebo", "size-matched", "no defence"]
CONTROLS: tuple[Against, ...] = ("placebo", "size-matched")
HEADLINE = ("mia_auc", "accuracy", "overfitting")


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
        return {
            label: float(np.mean([value for value, other in zip(values, architectures, strict=True) if other == label]))
            for label in dict.fromkeys(architectures)
        }

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
        pairing = pair_rows(before, after, by=by)
        for metric in metrics:
            measured = pairing.measuring(metric)
            if measured.pairs:
                found.append(_effect(variant, against, after[0], metric, measured, seed))
    return tuple(found)


def _effect(variant: str, against: Against, row: MeasuredRow, metric: str, pairing: Pairing, seed: int) -> Effect:
    estimate, reason = None, ""
    try:
        estimate = clustered_estimate(*pairing.differences(metric), seed=seed)
    except DataError as error:
        reason = str(error)
    return Effect(
        variant, against, Treatment.of(row), row.dataset, row.defence, row.space, metric, pairing, estimate, reason
    )


_Contrast = tuple[str, Against, list[MeasuredRow], list[MeasuredRow], tuple[str, ...]]


def _contrasts(rows: Sequence[MeasuredRow]) -> Iterator[_Contrast]:
    """Variant, what it is compared with, rows before and after, and what pairs share."""
    varied = {row.architecture for row in rows if not row.original}
    for place in dict.fromkeys((row.dataset, row.space, row.defence) for row in rows):
        here = [row for row in rows if (row.dataset, row.space, row.defence) == place]
        variants = {label: [row for row in here if row.variant == label] for label in _labels(here)}
        for label, after in variants.items():
            if label != ORIGINAL:
                # An architecture that was never to be varied, such as a human-designed one, misses no partner.
                originals = [row for row in variants.get(ORIGINAL, []) if row.architecture in varied]
                yield label, "original", originals, after, WITHIN
                yield from _against_controls(label, after, variants)
            if place[2] != NO_DEFENCE and after[0].control is None:
                undefended = [row for row in rows if (row.dataset, row.space, row.defence) == (*place[:2], NO_DEFENCE)]
                before = [row for row in undefended if row.variant == label]
                yield label, "no defence", before, after, ACROSS_DEFENCES


def _labels(rows: Sequence[MeasuredRow]) -> list[str]:
    return list(dict.fromkeys(row.variant for row in rows))


def _against_controls(
    label: str, after: list[MeasuredRow], variants: dict[str, list[MeasuredRow]]
) -> Iterator[_Contrast]:
    treatment = Treatment.of(after[0])
    for control in CONTROLS if treatment.control is None else ():
        wanted = Treatment(treatment.pattern, treatment.cells, treatment.budget, control)
        before = [row for group in variants.values() for row in group if Treatment.of(row) == wanted]
        yield label, control, before, after, WITHIN
