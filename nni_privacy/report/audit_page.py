"""Writes an audit into a directory: numbers as JSON and CSV, scores, and one HTML page that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from nni_privacy.audit import AuditReport
from nni_privacy.errors import DataError
from nni_privacy.report.audit_figures import draw_attack_rocs, draw_histogram
from nni_privacy.report.audit_infos import AttackInfo, AuditInfo, audit_info
from nni_privacy.report.audit_numbers import to_csv, to_json
from nni_privacy.report.audit_tables import (
    attacks_html,
    audit_cards_html,
    audit_facts_html,
    classes_html,
)
from nni_privacy.report.frame import notice_html, page_html
from nni_privacy.report.resources import replace_text
from nni_privacy.report.svg import drawing_style, to_svg
from nni_privacy.report.text import escape_text, fraction

__all__ = ["render_audit", "write_audit"]


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
        "metrics.json": to_json(report, info, title=title, facts=facts),
        "metrics.csv": to_csv(info),
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
