"""The page of an audit, written into a directory with its numbers as JSON and CSV, and its scores."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nni_privacy.analysis.exposed import Exposures, exposures
from nni_privacy.attacks import (
    AttackReport,
    ClassMetrics,
    ScoreHistogram,
    Verdict,
    attack_names,
    get_attack,
    per_class_metrics,
    score_histogram,
)
from nni_privacy.attacks.ensemble import Agreement
from nni_privacy.attacks.epsilon import EpsilonBounds
from nni_privacy.attacks.verdict import LEVEL
from nni_privacy.auditing.audit import AuditReport
from nni_privacy.auditing.notices import balanced_accuracy, class_counts
from nni_privacy.errors import DataError
from nni_privacy.files import to_csv
from nni_privacy.report.chart_data import roc_chart, with_chart
from nni_privacy.report.exposed import exposed_html
from nni_privacy.report.html import render_page, replace_text
from nni_privacy.report.roc import RocInfo, draw_roc, trial_rocs
from nni_privacy.report.style import CURVES, drawing_style, new_figure, to_svg
from nni_privacy.runs.records import TrialRecord
from nni_privacy.runs.scores import AttackScores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AttackInfo", "AuditInfo", "HistogramInfo", "audit_csv", "audit_info", "audit_json", "histogram_info"]
__all__ += ["render_audit", "write_audit"]

BINS = 40
TRIM = 0.005
"""Records at either end that a histogram need not reach: its last bins hold them."""

TITLES = {"1pct": "TPR at 1% FPR", "01pct": "TPR at 0.1% FPR"}
NARROWEST = (0.4, 0.6)
"""The bars of a table reach at least from here to there."""

MEMBERS, NONMEMBERS = "#c2410c", "#0072b2"
BAR_WIDTH = 150
"""Of the inline bar of an interval, in pixels."""
MORE_DASHES = ((0, (5, 2)), (0, (1, 1.2)))
"""Lines of the attacks for which there is no colour left."""


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
        num_classes: of the model; None where its answers do not tell, as the next three.
        member_accuracy: share of the members that the model classifies right.
        nonmember_accuracy: likewise.
        balanced_accuracy: mean of the non-members' share over the classes.
        counts: audited members and non-members of each class that occurs.
        shared: members whose image is among the non-members.
        verdict: over all attacks.
        notices: why the numbers may be no result, each with its kind first.
        provenance: date, device, versions, digest of the weights.
        skipped: attacks by the reason why they were not made.
        exposed: the members, those first that the attacks find most often.
        agreement: how far the attacks say the same.
        combined: the attacker who combines them; None where there is none.
        epsilon: lower bounds on the epsilon of the training.
        claimed: what is said to be its upper bound; None: nothing is.
    """

    attacks: tuple[AttackInfo, ...]
    roc: RocInfo
    members: int
    nonmembers: int
    num_classes: int | None
    member_accuracy: float | None
    nonmember_accuracy: float | None
    balanced_accuracy: float | None
    counts: Mapping[int, tuple[int, int]]
    shared: int
    verdict: Verdict
    notices: tuple[str, ...]
    provenance: Mapping[str, str]
    skipped: Mapping[str, tuple[str, ...]]
    exposed: Exposures
    agreement: Agreement
    combined: AttackReport | None
    epsilon: EpsilonBounds
    claimed: float | None

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
    signals, named = report.signals, report.signals.tells_class
    member_accuracy, nonmember_accuracy = report.accuracies or (None, None)
    # The audited model stands in the curves' info as the only trial there is.
    metrics = {key: value for key, value in report.metrics().items() if value is not None}
    trial = TrialRecord("audit", 0, "succeeded", "", metrics)
    scores = [
        AttackScores(
            attack.name,
            attack.scores,
            attack.is_member,
            report.record_index[attack.records],
            signals.labels[attack.records],
        )
        for attack in report.attacks.values()
    ]
    return AuditInfo(
        attacks=tuple(_attack_info(report, attack) for attack in report.attacks.values()),
        roc=trial_rocs(trial, scores, [attack.roc for attack in report.attacks.values()]),
        members=int(np.count_nonzero(signals.is_member)),
        nonmembers=int(np.count_nonzero(~signals.is_member)),
        num_classes=signals.num_classes if named else None,
        member_accuracy=member_accuracy,
        nonmember_accuracy=nonmember_accuracy,
        balanced_accuracy=balanced_accuracy(signals) if named else None,
        counts=class_counts(signals),
        shared=report.shared,
        verdict=report.verdict,
        notices=report.notices,
        provenance=report.provenance,
        skipped=report.not_made,
        exposed=exposures({"": [("audit", scores)]}),
        agreement=report.agreement,
        combined=report.combined,
        epsilon=report.epsilon,
        claimed=report.claim.epsilon,
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


def write_audit(
    report: AuditReport,
    directory: str | os.PathLike[str],
    *,
    title: str = "audit",
    facts: Mapping[str, str] = {},
    images: Any = None,
) -> Path:
    """Writes ``metrics.json``, ``metrics.csv``, ``scores.npz`` and ``report.html``; same audit, same files.

    Args:
        report: of :func:`nni_privacy.audit`.
        directory: made if it is missing, and taken away again where it cannot be filled; files of these names are
            replaced, each in one step, the page last.
        title: of the page.
        facts: what a reader should know about the audit (model, data set, seed, ...), shown in this order; plain text.
        images: ``(members, C, H, W)``, the members' images, of which the most exposed ones are shown; None: no images.

    Returns:
        The path of the page.

    Raises:
        DataError: if the directory cannot be written to.
    """
    folder, info = Path(directory), audit_info(report)
    texts = {
        "metrics.json": audit_json(report, info, title=title, facts=facts),
        "metrics.csv": audit_csv(info),
        "report.html": render_audit(info, title=title, facts=facts, images=images),
    }
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        report.save_scores(folder / "scores.npz")
        for name, text in texts.items():
            replace_text(folder / name, text)
    except OSError as error:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        reason = error.strerror or type(error).__name__
        raise DataError(f"{folder}: the audit cannot be written ({reason})") from None
    return folder / "report.html"


def render_audit(info: AuditInfo, *, title: str = "audit", facts: Mapping[str, str] = {}, images: Any = None) -> str:
    """The page as text; the same audit gives the same text. Arguments as :func:`write_audit`."""
    label = f"ROC curves of {len(info.roc.attacks)} attacks, log-log"
    with drawing_style():
        figure = to_svg(draw_attack_rocs(info.roc), prefix="roc", label=label)
        figure = with_chart(figure, roc_chart(_widest(info.roc), label=label))
        histograms = []
        for index, attack in enumerate(info.attacks):
            label = f"Scores of {attack.report.name}, members and non-members"
            histograms.append(to_svg(draw_histogram(attack.histogram), prefix=f"scores{index}", label=label))
    metrics = [attack.report.metrics for attack in info.attacks]
    found = [entry for entry in info.primary.classes if entry.auc is not None]
    return render_page(
        "audit.html.jinja",
        info=info,
        title=title,
        facts={**facts, **info.provenance},
        titles=TITLES,
        figure=figure,
        exposed=exposed_html(info.exposed, images),
        histograms=histograms,
        percent=f"{info.primary.report.confidence:.0%}",
        most=max(curve.nonmembers for curve in info.roc.curves),
        scale=_scale((entry["mia_auc_low"], entry["mia_auc_high"]) for entry in metrics),
        class_scale=_scale((entry.auc_low, entry.auc_high) for entry in found),
        bar=interval_bar,
        reason_of=reason_of,
    )


def _scale(intervals: Iterable[tuple[float | None, float | None]]) -> tuple[float, float]:
    """Ends of a scale, whole tenths, that hold all intervals."""
    start, stop = NARROWEST
    for low, high in intervals:
        start, stop = min(start, low or 0.0), max(stop, high or 1.0)
    return math.floor(start * 10 + 1e-9) / 10, math.ceil(stop * 10 - 1e-9) / 10


def interval_bar(low: float, value: float, high: float, scale: tuple[float, float]) -> tuple[float, ...]:
    """Where on an inline bar an interval begins, its value and its end are, and 0.5 (guessing); in pixels."""
    start, stop = scale
    return tuple(4 + (BAR_WIDTH - 8) * (end - start) / (stop - start) for end in (low, value, high, 0.5))


def draw_attack_rocs(info: RocInfo) -> Figure:
    """The ROC curves of all attacks; when the colours begin again, the lines become dashed.

    Attacks may have been asked about more or fewer records: the axes reach down to what the most of them can show.
    """
    figure = draw_roc(_widest(info))
    axes = figure.axes[0]
    for index, line in enumerate(axes.get_lines()[1:]):  # the first is the diagonal
        if index >= len(CURVES):
            line.set_linestyle(MORE_DASHES[(index // len(CURVES) - 1) % len(MORE_DASHES)])
    frame = {"frameon": True, "framealpha": 0.9, "edgecolor": "none", "borderaxespad": 0.2}
    axes.legend(loc="lower right", fontsize=8.5 if len(info.attacks) <= 6 else 7.2, **frame).set_zorder(5)
    return figure


def _widest(info: RocInfo) -> RocInfo:
    """The info with the most records that any attack was asked about, which its axes reach down to."""
    members, non_members = (max(getattr(curve, name) for curve in info.curves) for name in ("members", "nonmembers"))
    return replace(info, members=members, non_members=non_members)


def draw_histogram(info: HistogramInfo) -> Figure:
    """Shares of the members (filled) and of the non-members (line) by score."""
    figure, axes = new_figure(4.15, 2.3)
    edges = info.counts.edges
    axes.stairs(info.members, edges, fill=True, color=MEMBERS, alpha=0.4, lw=0, label="members")
    axes.stairs(info.nonmembers, edges, color=NONMEMBERS, lw=1.4, label="non-members")
    top = max(float(info.members.max()), float(info.nonmembers.max()))
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, top * 1.05))
    axes.set(xlabel="score (higher = more likely a member)", ylabel="share")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=2, borderaxespad=0.1, handletextpad=0.5)
    axes.locator_params(nbins=5)
    return figure


def reason_of(reason: str) -> str:
    """Why there is no number, always beginning with "not resolvable"."""
    return reason if reason.startswith("not resolvable") else f"not resolvable: {reason}"


def audit_json(report: AuditReport, info: AuditInfo, *, title: str, facts: Mapping[str, str]) -> str:
    """A JSON object: flat metrics (``mia_auc``, ``<attack>_mia_auc``, ...) beside ``attacks`` with the details of each.

    ``verdict`` is that of :class:`~nni_privacy.attacks.Verdict`, ``privacy`` lower bounds on epsilon
    (:class:`~nni_privacy.attacks.epsilon.EpsilonBounds`) beside what is claimed; ``records.classes`` has members and
    non-members of each class.

    A rate that is not resolvable is ``null`` with a ``reason``; so is the infinite threshold at which no record may be
    called a member (with a rate of 0 and no reason). There is no NaN.
    """
    content = {
        "title": title,
        "primary": report.primary.name,
        **report.metrics(),
        "verdict": {**asdict(info.verdict), "leak": info.verdict.leak, "level": LEVEL, "text": str(info.verdict)},
        "notices": list(info.notices),
        "facts": {str(key): str(value) for key, value in facts.items()},
        "provenance": dict(info.provenance),
        "records": {
            "members": info.members,
            "nonmembers": info.nonmembers,
            "num_classes": info.num_classes,
            "shared": info.shared,
            "classes": {str(label): sides for label, sides in info.counts.items()},
        },
        "accuracy": {
            "members": info.member_accuracy,
            "nonmembers": info.nonmember_accuracy,
            "balanced": info.balanced_accuracy,
        },
        "privacy": {"claimed": info.claimed, **asdict(info.epsilon), "text": str(info.epsilon)},
        "attacks": {attack.report.name: _attack(attack) for attack in info.attacks},
        "skipped": dict(report.skipped),
        "combined": None if info.combined is None else _measured(info.combined),
        "agreement": {
            "attacks": list(info.agreement.attacks),
            "records": len(info.agreement.records),
            "rank_correlation": info.agreement.rank_correlation.tolist(),
            "overlap_at_1pct_fpr": info.agreement.overlap.tolist(),
        },
    }
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def audit_csv(info: AuditInfo) -> str:
    """A table with one row an attack; a cell is empty where a rate is not resolvable, and the last column says why."""
    rows = []
    for attack in info.attacks:
        report = attack.report
        row: dict[str, object] = {"attack": report.name, "primary": str(attack.primary).lower()}
        row |= {key: report.metrics[key] for key in ("mia_auc", "mia_auc_low", "mia_auc_high", "mia_balanced_accuracy")}
        for name, rate in report.rates.items():
            key = f"mia_tpr_at_{name}_fpr"
            row |= {key: rate.tpr, f"{key}_low": rate.low, f"{key}_high": rate.high}
        reasons = [reason_of(rate.reason) for rate in report.rates.values() if rate.tpr is None]
        row |= {"p_holm": info.verdict.p_values[report.name]}
        row |= {"members": report.roc.members, "nonmembers": report.roc.nonmembers, "reason": "; ".join(reasons)}
        rows.append(row)
    return to_csv(rows)


def _attack(attack: AttackInfo) -> dict[str, Any]:
    return {
        "primary": attack.primary,
        "description": attack.description,
        **_measured(attack.report),
        **({} if attack.queries is None else {"queries": attack.queries}),
        "per_class": [asdict(entry) for entry in attack.classes],
    }


def _measured(report: AttackReport) -> dict[str, Any]:
    rates = {
        f"mia_tpr_at_{name}_fpr": {**asdict(rate), "reason": reason_of(rate.reason) if rate.tpr is None else ""}
        for name, rate in report.rates.items()
    }
    return {
        "members": report.roc.members,
        "nonmembers": report.roc.nonmembers,
        "confidence": report.confidence,
        **report.metrics,
        "rates": rates,
    }


def _finite(value: Any) -> Any:
    """The same content with ``None`` for every number that JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
