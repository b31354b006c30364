"""What the page of an audit shows, as plain values: computed here, drawn and written elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nni_privacy.attacks import (
    AttackReport,
    ClassMetrics,
    ScoreHistogram,
    attack_names,
    get_attack,
    per_class_metrics,
    score_histogram,
)
from nni_privacy.auditing.audit import AuditReport
from nni_privacy.report.roc import GRID_POINTS, RocInfo
from nni_privacy.runs.records import TrialRecord
from nni_privacy.runs.scores import AttackScores, roc_band

__all__ = ["AttackInfo", "AuditInfo", "HistogramInfo", "audit_info", "histogram_info"]

BINS = 40
TRIM = 0.005
"""Records at either end that a histogram need not reach: its last bins hold them."""


@dataclass(frozen=True, eq=False)
class HistogramInfo:
    """Scores of members and of non-members over the same bins.

    Attributes:
        counts: edges and counts; scores beyond the edges are counted in the first and the last bin.
        members: ``(bins,)`` share of the members in each bin, sums to 1.
        nonmembers: ``(bins,)`` share of the non-members.
        overlap: sum of the smaller of the two shares, 0 (the bins tell all apart) to 1 (equal histograms).
    """

    counts: ScoreHistogram
    members: NDArray[np.float64]
    nonmembers: NDArray[np.float64]
    overlap: float


@dataclass(frozen=True, eq=False)
class AttackInfo:
    """One attack of an audit.

    Attributes:
        report: scores, curve, metrics and intervals.
        primary: whether it is the first of the audit.
        description: one line; empty for an attack that is not registered here.
        queries: predictions that its distances to the decision boundary took, of all records; None if it uses none.
        classes: its AUC class by class.
        histogram: of its scores.
    """

    report: AttackReport
    primary: bool
    description: str
    queries: int | None
    classes: tuple[ClassMetrics, ...]
    histogram: HistogramInfo


@dataclass(frozen=True, eq=False)
class AuditInfo:
    """An audit.

    Attributes:
        attacks: the primary one first.
        roc: curves of all attacks, with the band of the primary one.
        members: audited members; an attack may have learned from some of them and attacked the others.
        nonmembers: audited non-members.
        num_classes: of the model.
        member_accuracy: share of the members that the model classifies right.
        nonmember_accuracy: likewise.
    """

    attacks: tuple[AttackInfo, ...]
    roc: RocInfo
    members: int
    nonmembers: int
    num_classes: int
    member_accuracy: float
    nonmember_accuracy: float

    @property
    def primary(self) -> AttackInfo:
        """The first attack."""
        return self.attacks[0]

    @property
    def stronger(self) -> tuple[AttackInfo, ...]:
        """Attacks whose interval of the AUC lies above the primary one's, the highest AUC first."""
        limit = self.primary.report.metrics["mia_auc_high"] or 0.0
        above = [attack for attack in self.attacks if (attack.report.metrics["mia_auc_low"] or 0.0) > limit]
        return tuple(sorted(above, key=lambda attack: (-attack.report.roc.auc, attack.report.name)))


def audit_info(report: AuditReport) -> AuditInfo:
    """The numbers of an audit; the same report gives the same numbers."""
    signals = report.signals
    return AuditInfo(
        attacks=tuple(_attack_info(report, attack) for attack in report.attacks.values()),
        roc=_roc_info(report),
        members=int(np.count_nonzero(signals.is_member)),
        nonmembers=int(np.count_nonzero(~signals.is_member)),
        num_classes=signals.num_classes,
        member_accuracy=float(signals.correct[signals.is_member].mean()),
        nonmember_accuracy=float(signals.correct[~signals.is_member].mean()),
    )


def histogram_info(attack: AttackReport, *, bins: int = BINS, trim: float = TRIM) -> HistogramInfo:
    """The histograms of one attack's scores.

    Args:
        attack: its scores; there are members and non-members.
        bins: 1 or more.
        trim: fraction of the records at either end that the bins need not reach.
    """
    counts = score_histogram(attack.scores, attack.is_member, bins=bins, trim=trim)
    members, others = counts.members / counts.members.sum(), counts.nonmembers / counts.nonmembers.sum()
    return HistogramInfo(counts, members, others, float(np.minimum(members, others).sum()))


def _attack_info(report: AuditReport, attack: AttackReport) -> AttackInfo:
    known = get_attack(attack.name) if attack.name in attack_names() else None
    labels = report.signals.labels[attack.records]
    return AttackInfo(
        report=attack,
        primary=attack is report.primary,
        description=known.description if known else "",
        queries=report.signals.queries if known and "distances" in known.requires else None,
        classes=per_class_metrics(attack.scores, attack.is_member, labels, confidence=attack.confidence),
        histogram=histogram_info(attack),
    )


def _roc_info(report: AuditReport) -> RocInfo:
    """The audited model stands in a :class:`RocInfo` as the only trial there is."""
    first = report.primary
    metrics = {key: value for key, value in report.metrics().items() if value is not None}
    nonmembers = first.roc.nonmembers
    grid = np.geomspace(1 / nonmembers, 1, GRID_POINTS) if nonmembers > 1 else np.ones(1)
    low, high = roc_band(AttackScores(first.name, first.scores, first.is_member), grid)
    return RocInfo(
        trial=TrialRecord("audit", 0, "succeeded", "", metrics),
        attacks=tuple(attack.name for attack in report.attacks.values()),
        curves=tuple(attack.roc for attack in report.attacks.values()),
        members=first.roc.members,
        non_members=nonmembers,
        grid=grid,
        band_low=low,
        band_high=high,
    )
