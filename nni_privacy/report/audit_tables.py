"""The large numbers, the facts and the tables of an audit's page, as HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from nni_privacy.attacks import AttackReport, RateAtFpr
from nni_privacy.report.audit_figures import interval_bar
from nni_privacy.report.audit_infos import AttackInfo, AuditInfo
from nni_privacy.report.audit_numbers import reason_of
from nni_privacy.report.frame import card_html
from nni_privacy.report.html_table import ends_html
from nni_privacy.report.text import escape_text, facts_html, fraction

__all__ = ["attacks_html", "audit_cards_html", "audit_facts_html", "classes_html", "verdict"]

TITLES = {"1pct": "TPR at 1% FPR", "01pct": "TPR at 0.1% FPR"}
NARROWEST = (0.4, 0.6)
"""The bars of a table reach at least from here to there."""


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
