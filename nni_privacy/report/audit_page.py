"""The page of an audit, written into a directory with its numbers as JSON and CSV, and its scores.

The numbers are those of :mod:`nni_privacy.report.audit_infos`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nni_privacy.attacks import AttackReport, RateAtFpr
from nni_privacy.auditing.audit import AuditReport
from nni_privacy.errors import DataError
from nni_privacy.report.audit_infos import AttackInfo, AuditInfo, HistogramInfo, audit_info
from nni_privacy.report.html import (
    card_html,
    ends_html,
    escape_text,
    facts_html,
    fraction,
    notice_html,
    page_html,
    replace_text,
)
from nni_privacy.report.roc import RocInfo, draw_roc
from nni_privacy.report.style import CURVES, drawing_style, to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "attacks_html",
    "audit_cards_html",
    "audit_csv",
    "audit_facts_html",
    "audit_json",
    "classes_html",
    "draw_attack_rocs",
    "draw_histogram",
    "interval_bar",
    "reason_of",
    "render_audit",
    "verdict",
    "write_audit",
]

_HISTOGRAM_NOTE = (
    "<p>How often members and non-members got which score: shares of each group, so that groups of different size "
    "compare. Where the two lie on top of each other the attack tells nothing; where only members reach, it is sure of "
    "them. Overlap: 1 = equal histograms, 0 = no bin with both.</p>"
)

_NOTES = (
    "<ul><li><b>AUC</b> is the probability that the attack gives a random member of the training data a higher score "
    "than a random non-member. <b>0.5 means guessing</b>: the attack learns nothing. 1.0 means that every member is "
    "told from every non-member. It is a lower bound on the leak: a stronger attack may find more. A little below 0.5 "
    "is chance; an interval that lies below 0.5 means that members and non-members differ in another way than the "
    "attack assumes, for example because they do not come from the same distribution.</li>"
    "<li><b>Interval of the AUC</b>: a bootstrap over the attacked records. One that contains 0.5 is no evidence of a "
    "leak, and no proof of its absence. It does not cover the randomness of training.</li>"
    "<li><b>TPR at 1% FPR</b>: the share of members that the attack finds while it accuses 1% of the non-members "
    "wrongly; guessing finds 1%. Its interval is Clopper and Pearson's, the threshold taken as given. A rate below 1/N "
    "is not resolvable with N non-members.</li>"
    "<li><b>Balanced accuracy</b>: the share that is right, averaged over members and non-members; 0.5 is guessing. "
    "The threshold is the best one for these very records, so it is a little above 0.5 even where nothing leaks.</li>"
    "<li><b>Members and non-members</b> of an attack may be fewer than those audited: some attacks learn from a part "
    "of the records and attack the others, some take too many queries to attack all. <b>Queries</b>: predictions that "
    "an attack asked the model for. All rates are fractions, not percent.</li></ul>"
)

TITLES = {"1pct": "TPR at 1% FPR", "01pct": "TPR at 0.1% FPR"}
NARROWEST = (0.4, 0.6)
"""The bars of a table reach at least from here to there."""

MEMBERS, NONMEMBERS = "#c2410c", "#0072b2"
BAR_WIDTH, BAR_HEIGHT = 150, 14
MORE_DASHES = ((0, (5, 2)), (0, (1, 1.2)))
"""Lines of the attacks for which there is no colour left."""


def write_audit(
    report: AuditReport, directory: str | os.PathLike[str], *, title: str = "audit", facts: Mapping[str, str] = {}
) -> Path:
    """Writes ``metrics.json``, ``metrics.csv``, ``scores.npz`` and ``report.html``; same audit, same files.

    Args:
        report: of :func:`nni_privacy.audit`.
        directory: made if it is missing; files of these names are replaced, each in one step, the page last.
        title: of the page.
        facts: what a reader should know about the audit (model, data set, seed, ...), shown in this order; plain text.

    Returns:
        The path of the page.

    Raises:
        DataError: if the directory cannot be written to.
    """
    folder, info = Path(directory), audit_info(report)
    texts = {
        "metrics.json": audit_json(report, info, title=title, facts=facts),
        "metrics.csv": audit_csv(info),
        "report.html": render_audit(info, title=title, facts=facts),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        report.save_scores(folder / "scores.npz")
        for name, text in texts.items():
            replace_text(folder / name, text)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"{folder}: the audit cannot be written ({reason})") from None
    return folder / "report.html"


def render_audit(info: AuditInfo, *, title: str = "audit", facts: Mapping[str, str] = {}) -> str:
    """The page as text; the same audit gives the same text."""
    with drawing_style():
        roc, histograms = _roc(info), "".join(_panel(index, attack) for index, attack in enumerate(info.attacks))
    sections = {
        "attacks": attacks_html(info),
        "roc": roc,
        "histograms": f'{_HISTOGRAM_NOTE}<div class="panels">{histograms}</div>',
        "classes": classes_html(info.primary),
        "notes": _NOTES,
    }
    return page_html(
        "audit",
        title=f"{title} · membership privacy audit",
        lead="A trained model, attacked by membership inference: how much its answers give away about who was in its "
        "training data.",
        notices=notice_html(_notices(info)),
        cards=audit_cards_html(info),
        facts=audit_facts_html(info, facts),
        sections=sections,
        footer="Written by nni-privacy. The numbers are in metrics.json and metrics.csv beside this page, the scores "
        "of every record in scores.npz. The page needs no network.",
    )


def _notices(info: AuditInfo) -> list[str]:
    """What a reader must know first, as text."""
    lines = []
    if info.stronger:
        found = ", ".join(f"{attack.report.name} ({attack.report.roc.auc:.3f})" for attack in info.stronger)
        lines.append(
            f"Stronger than the primary attack, {info.primary.report.name} ({info.primary.report.roc.auc:.3f}), with "
            f"intervals of the AUC that do not overlap with its: {found}. Judge the model by the strongest attack."
        )
    return lines


def _roc(info: AuditInfo) -> str:
    roc = info.roc
    label = f"ROC curves of {len(roc.attacks)} attacks, log-log"
    svg = to_svg(draw_attack_rocs(roc), prefix="roc", label=label)
    primary, most = escape_text(roc.attacks[0]), max(curve.nonmembers for curve in roc.curves)
    paragraphs = (
        "ROC curves of all attacks. Above the diagonal, the attacker is right more often than by guessing.",
        "Both axes are logarithmic, as the left end matters most: there an attacker names a few members and is hardly "
        "ever wrong, however harmless the average looks.",
        f"The axis starts at 1/{most:,} = {1 / most:.2g}, the lowest false-positive rate that {most:,} non-members can "
        "show; the left end of a curve is the attack's rate without any false alarm.",
        f"Shaded: pointwise 95% bootstrap band of {primary}, from {roc.members:,} members and {roc.non_members:,} "
        "non-members.",
    )
    caption = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return f'<figure class="side"><div>{svg}</div><figcaption>{caption}</figcaption></figure>'


def _panel(index: int, attack: AttackInfo) -> str:
    name, info = attack.report.name, attack.histogram
    svg = to_svg(draw_histogram(info), prefix=f"scores{index}", label=f"Scores of {name}, members and non-members")
    note = f"overlap of the two {fraction(info.overlap, 2)}"
    if info.counts.outside:
        note += f"; {info.counts.outside:,} records beyond the axis are in the outermost bins"
    return f'<div class="cell"><h3>{escape_text(name)}</h3>{svg}<div class="small">{note}</div></div>\n'


def verdict(attack: AttackReport) -> str:
    """What the interval of an attack's AUC says, in a few words."""
    low, high = (attack.metrics[key] or 0.0 for key in ("mia_auc_low", "mia_auc_high"))
    if low > 0.5:
        return "above guessing: a leak"
    return "contains 0.5: no evidence of a leak" if high >= 0.5 else "below guessing: see the notes"


def audit_cards_html(info: AuditInfo) -> str:
    """The four large numbers."""
    primary = info.primary.report
    percent = f"{primary.confidence:.0%}"
    gap = info.member_accuracy - info.nonmember_accuracy
    cards = [
        (
            f"AUC of {escape_text(primary.name)} (0.5 = guessing)",
            fraction(primary.roc.auc),
            f"{percent} interval {_auc_interval(primary)}: {verdict(primary)}",
        )
    ]
    for name, rate in primary.rates.items():
        title = f"{TITLES[name]} (guessing: {rate.target_fpr:g})"
        if rate.tpr is None or rate.low is None or rate.high is None:
            cards.append((title, "–", escape_text(reason_of(rate.reason))))
        else:
            cards.append((title, fraction(rate.tpr), f"{percent} interval [{rate.low:.3f}, {rate.high:.3f}]"))
    accuracies = f"{fraction(info.member_accuracy)} / {fraction(info.nonmember_accuracy)}"
    cards.append(("accuracy of the model on members / non-members", accuracies, f"overfitting {fraction(gap)}"))
    return "".join(card_html(*card) for card in cards)


def audit_facts_html(info: AuditInfo, facts: Mapping[str, str]) -> str:
    """The definition list under the cards: the caller's facts, then the records."""
    records = f"{info.members:,} members, {info.nonmembers:,} non-members; {info.num_classes:,} classes"
    return facts_html({key: escape_text(value) for key, value in facts.items()}) + facts_html({"Records": records})


def attacks_html(info: AuditInfo) -> str:
    """The table of attacks, the primary one first."""
    queries = any(attack.queries is not None for attack in info.attacks)
    percent = f"{info.primary.report.confidence:.0%}"
    heads = [
        f"AUC [{percent} interval]",
        "Balanced accuracy",
        *(f"{title} [{percent}]" for title in TITLES.values()),
    ]
    heads += ["Members", "Non-members", *(["Queries"] if queries else [])]
    start, stop = _scale(attack.report.metrics for attack in info.attacks)
    rows = []
    for attack in info.attacks:
        report = attack.report
        badge = ' <span class="badge">◆ primary</span>' if attack.primary else ""
        about = f'<span class="small">{escape_text(attack.description)}</span>' if attack.description else ""
        low, high = (report.metrics[key] or 0.0 for key in ("mia_auc_low", "mia_auc_high"))
        cells = [
            f'<td>{fraction(report.roc.auc)} <span class="interval">{_auc_interval(report)}</span></td>',
            f"<td>{interval_bar(low, report.roc.auc, high, start=start, stop=stop)}</td>",
            f"<td>{fraction(report.metrics['mia_balanced_accuracy'])}</td>",
            *(_rate_cell(report.rates[name]) for name in TITLES),
            f"<td>{report.roc.members:,}</td><td>{report.roc.nonmembers:,}</td>",
        ]
        if queries:
            cells.append(f"<td>{'' if attack.queries is None else format(attack.queries, ',')}</td>")
        css = ' class="front"' if attack.primary else ""
        rows.append(f'<tr{css}><td class="name">{escape_text(report.name)}{badge}{about}</td>{"".join(cells)}</tr>\n')
    note = f"Bars: the AUC and its interval from {start:g} to {stop:g}; the dashed tick is 0.5, guessing."
    return f'<p class="small">{note}</p>{_table("Attack", heads, rows)}'


def classes_html(attack: AttackInfo) -> str:
    """The table of an attack's AUC by class."""
    percent = f"{attack.report.confidence:.0%}"
    found = [entry for entry in attack.classes if entry.auc is not None]
    start, stop = _scale({"mia_auc_low": entry.auc_low, "mia_auc_high": entry.auc_high} for entry in found)
    rows = []
    for entry in attack.classes:
        if entry.auc is None or entry.auc_low is None or entry.auc_high is None:
            value = f'<td colspan="2" class="text none">{escape_text(reason_of(entry.reason))}</td>'
        else:
            ends = ends_html(entry.auc_low, entry.auc_high)
            bar = interval_bar(entry.auc_low, entry.auc, entry.auc_high, start=start, stop=stop)
            value = f"<td>{fraction(entry.auc)} {ends}</td><td>{bar}</td>"
        rows.append(f'<tr><td class="text">{entry.label}</td><td>{entry.members:,}</td><td>{entry.nonmembers:,}</td>')
        rows[-1] += f"{value}</tr>\n"
    note = (
        f"AUC of {escape_text(attack.report.name)} among the records of each class alone. Each interval holds for its "
        f"class by itself: of 20 classes without a leak, one can be expected to miss 0.5 by chance. "
        f"Bars from {start:g} to {stop:g}."
    )
    heads = ["Members", "Non-members", f"AUC [{percent} interval]"]
    return f'<p class="small">{note}</p>{_table("Class", heads, rows, css="narrow")}'


def _table(first: str, heads: list[str], rows: list[str], css: str = "") -> str:
    span = ' class="text" colspan="2"'  # the number and its bar
    cells = f'<th scope="col" class="text">{first}</th>'
    cells += "".join(f'<th scope="col"{span if head.startswith("AUC") else ""}>{head}</th>' for head in heads)
    name = f' class="{css}"' if css else ""
    return (
        f'<div class="scroll"><table{name}><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _rate_cell(rate: RateAtFpr) -> str:
    if rate.tpr is None or rate.low is None or rate.high is None:
        return f'<td class="why none">{escape_text(reason_of(rate.reason))}</td>'
    return f"<td>{fraction(rate.tpr)} {ends_html(rate.low, rate.high)}</td>"


def _auc_interval(report: AttackReport) -> str:
    return f"[{report.metrics['mia_auc_low']:.3f}, {report.metrics['mia_auc_high']:.3f}]"


def _scale(intervals: Iterable[Mapping[str, float | None]]) -> tuple[float, float]:
    """Ends of a scale, whole tenths, that hold all intervals."""
    start, stop = NARROWEST
    for entry in intervals:
        start, stop = min(start, entry["mia_auc_low"] or 0.0), max(stop, entry["mia_auc_high"] or 1.0)
    return math.floor(start * 10 + 1e-9) / 10, math.ceil(stop * 10 - 1e-9) / 10


def draw_attack_rocs(info: RocInfo) -> Figure:
    """The ROC curves of all attacks; when the colours begin again, the lines become dashed.

    Attacks may have been asked about more or fewer records: the axes reach down to what the most of them can show.
    """
    members, non_members = (max(getattr(curve, name) for curve in info.curves) for name in ("members", "nonmembers"))
    figure = draw_roc(replace(info, members=members, non_members=non_members))
    axes = figure.axes[0]
    for index, line in enumerate(axes.get_lines()[1:]):  # the first is the diagonal
        if index >= len(CURVES):
            line.set_linestyle(MORE_DASHES[(index // len(CURVES) - 1) % len(MORE_DASHES)])
    frame = {"frameon": True, "framealpha": 0.9, "edgecolor": "none", "borderaxespad": 0.2}
    axes.legend(loc="lower right", fontsize=8.5 if len(info.attacks) <= 6 else 7.2, **frame).set_zorder(5)
    return figure


def draw_histogram(info: HistogramInfo) -> Figure:
    """Shares of the members (filled) and of the non-members (line) by score."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.15, 2.3), layout="constrained")
    axes = figure.subplots()
    edges = info.counts.edges
    axes.stairs(info.members, edges, fill=True, color=MEMBERS, alpha=0.4, lw=0, label="members")
    axes.stairs(info.nonmembers, edges, color=NONMEMBERS, lw=1.4, label="non-members")
    top = max(float(info.members.max()), float(info.nonmembers.max()))
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, top * 1.05))
    axes.set(xlabel="score (higher = more likely a member)", ylabel="share")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=2, borderaxespad=0.1, handletextpad=0.5)
    axes.locator_params(nbins=5)
    return figure


def interval_bar(low: float, value: float, high: float, *, start: float, stop: float) -> str:
    """A small inline SVG: an interval with its value, and a dashed tick at 0.5 (guessing).

    Args:
        low: lower end, within ``start`` and ``stop``.
        value: the number itself.
        high: upper end.
        start: what the left end of the bar stands for, below 0.5.
        stop: what the right end stands for, above 0.5.
    """
    ends = np.array([low, value, high, 0.5])
    left, dot, right, half = 4 + (BAR_WIDTH - 8) * (ends - start) / (stop - start)
    middle = BAR_HEIGHT / 2
    return (
        f'<svg class="bar" width="{BAR_WIDTH}" height="{BAR_HEIGHT}" aria-hidden="true">'
        f'<line x1="0" x2="{BAR_WIDTH}" y1="{middle}" y2="{middle}" stroke="#e2e8f0"/>'
        f'<line x1="{half:.1f}" x2="{half:.1f}" y1="0" y2="{BAR_HEIGHT}" stroke="#64748b" stroke-dasharray="2 2"/>'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}" stroke="{MEMBERS}" stroke-width="3" '
        f'stroke-opacity="0.45"/><circle cx="{dot:.1f}" cy="{middle}" r="3.5" fill="{MEMBERS}"/></svg>'
    )


def reason_of(reason: str) -> str:
    """Why there is no number, always beginning with "not resolvable"."""
    return reason if reason.startswith("not resolvable") else f"not resolvable: {reason}"


def audit_json(report: AuditReport, info: AuditInfo, *, title: str, facts: Mapping[str, str]) -> str:
    """A JSON object: flat metrics (``mia_auc``, ``<attack>_mia_auc``, ...) beside ``attacks`` with the details of each.

    A rate that is not resolvable is ``null`` with a ``reason``; so is the infinite threshold at which no record may be
    called a member (with a rate of 0 and no reason). There is no NaN.
    """
    content = {
        "title": title,
        "primary": report.primary.name,
        **report.metrics(),
        "facts": {str(key): str(value) for key, value in facts.items()},
        "records": {"members": info.members, "nonmembers": info.nonmembers, "num_classes": info.num_classes},
        "accuracy": {"members": info.member_accuracy, "nonmembers": info.nonmember_accuracy},
        "attacks": {attack.report.name: _attack(attack) for attack in info.attacks},
    }
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def audit_csv(info: AuditInfo) -> str:
    """A table with one row an attack; a cell is empty where a rate is not resolvable, and the last column says why."""
    buffer = io.StringIO()
    rows = [_row(attack) for attack in info.attacks]
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _row(attack: AttackInfo) -> dict[str, object]:
    report = attack.report
    row: dict[str, object] = {"attack": report.name, "primary": str(attack.primary).lower()}
    for key in ("mia_auc", "mia_auc_low", "mia_auc_high", "mia_balanced_accuracy"):
        row[key] = report.metrics[key]
    for name, rate in report.rates.items():
        key = f"mia_tpr_at_{name}_fpr"
        row |= {key: rate.tpr, f"{key}_low": rate.low, f"{key}_high": rate.high}
    reasons = [reason_of(rate.reason) for rate in report.rates.values() if rate.tpr is None]
    row |= {"members": report.roc.members, "nonmembers": report.roc.nonmembers, "reason": "; ".join(reasons)}
    return row


def _attack(attack: AttackInfo) -> dict[str, Any]:
    report = attack.report
    return {
        "primary": attack.primary,
        "description": attack.description,
        "members": report.roc.members,
        "nonmembers": report.roc.nonmembers,
        "confidence": report.confidence,
        **report.metrics,
        "rates": {f"mia_tpr_at_{name}_fpr": _rate(rate) for name, rate in report.rates.items()},
        **({} if attack.queries is None else {"queries": attack.queries}),
        "per_class": [asdict(entry) for entry in attack.classes],
    }


def _rate(rate: RateAtFpr) -> dict[str, Any]:
    return {**asdict(rate), "reason": reason_of(rate.reason) if rate.tpr is None else ""}


def _finite(value: Any) -> Any:
    """The same content with ``None`` for every number that JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
