"""The page of a measurement study: which architectures leak how much, and whether searched ones leak more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from nni_privacy.report.contour_page import contours_html
from nni_privacy.report.effects_page import effects_html
from nni_privacy.report.frame import notice_html, page_html
from nni_privacy.report.run import RunInfo
from nni_privacy.report.study_facts import study_cards_html, study_facts, study_notices
from nni_privacy.report.study_figures import (
    COLUMNS,
    ROWS,
    bar_limits,
    draw_bars,
    draw_matched,
    draw_overfitting,
    plain_label,
)
from nni_privacy.report.study_html import bases_note, correlations_html, matched_html, table1_html
from nni_privacy.report.study_infos import ACCURACY, BarsInfo, StudyInfo, bars_info, study_info
from nni_privacy.report.study_matched import CALIPER, LEAST, MatchedInfo, matched_infos
from nni_privacy.report.study_tables import Table1Row, overfitting_info, table1_rows
from nni_privacy.report.summary import appendix_html
from nni_privacy.report.svg import drawing_style, to_svg
from nni_privacy.report.table import table_html
from nni_privacy.report.text import escape_text

__all__ = ["render_study"]

FURTHER_FIGURES = range(17, 20)
"""The paper's numbers of the figures of its second, third and fourth data set."""


def render_study(run: RunInfo) -> str:
    """The page as text; the same run gives the same text."""
    study = study_info(run)
    rows, matched = table1_rows(study), matched_infos(study)
    with drawing_style():
        sections = [
            _table1(rows),
            _accuracy(study),
            *(_attacks(study, place) for place in range(len(study.measured_datasets))),
            _overfitting(study),
            _matched(matched),
            effects_html(run),
            contours_html(run),
        ]
    return page_html(
        "study",
        title=f"{run.name} · membership privacy study",
        lead="Architectures designed by people and found by searches, each trained by one recipe and then attacked by "
        "membership inference: how much they give away about who was in their training data.",
        notices=notice_html(study_notices(run, study)),
        cards=study_cards_html(study, rows, matched),
        facts=study_facts(run, study),
        sections={
            "findings": "".join(sections),
            "notes": _NOTES,
            "table": table_html(run, ()),
            "appendix": appendix_html(run),
        },
        sortable=True,
        footer="Written by nni-privacy from trials.jsonl, config.yaml and environment.json of this run. The numbers "
        "are beside this page: study.csv (a row a measurement), table1.csv, bars.csv (figures of accuracy and AUC), "
        "overfitting.csv and matched_accuracy.csv; of variants and defences effects.csv and verdicts.csv. The page "
        "needs no network.",
    )


def _section(name: str, title: str, *parts: str) -> str:
    return f'<section id="{name}">\n<h2>{escape_text(title)}</h2>\n{"".join(parts)}\n</section>\n'


def _figure(svg: str, *paragraphs: str) -> str:
    caption = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs if paragraph)
    return f'<figure class="whole"><div>{svg}</div><figcaption>{caption}</figcaption></figure>\n'


def _table1(rows: Sequence[Table1Row]) -> str:
    if not rows:
        return ""
    note = (
        "<p>AUC of each attack, as Table 1 of the paper: the mean over the architectures of a kind, and the highest. "
        "The interval is Student's, over architectures; each counts once, with its mean over the seeds. Of two "
        "architectures it is their range, of a single one that of its seeds or records. n: architectures. The highest "
        "of many looks higher than it would if it were measured again.</p>"
    )
    return _section("table1", "AUC by kind of architecture (Table 1)", note, table1_html(rows))


def _panels(infos: Sequence[BarsInfo], titles: Sequence[str], name: str, label: str) -> str:
    """The bars as figures of at most ``COLUMNS`` panels and about equally many rows, at most ``ROWS``."""
    limits, count = bar_limits(infos), len(infos[0].bars)
    rows = -(-count // -(-count // ROWS))
    svgs = []
    for first, start in product(range(0, count, rows), range(0, len(infos), COLUMNS)):
        part = [replace(info, bars=info.bars[first : first + rows]) for info in infos[start : start + COLUMNS]]
        figure = draw_bars(part, titles[start : start + COLUMNS], limits)
        svgs.append(f'<div class="scroll">{to_svg(figure, prefix=f"{name}{start}-{first}", label=label)}</div>')
    return "".join(svgs)


def _accuracy(study: StudyInfo) -> str:
    infos = [info for name in study.measured_datasets if not (info := bars_info(study, name, ACCURACY)).empty]
    if not infos:
        return ""
    svgs = _panels(infos, [info.dataset for info in infos], "accuracy", "Test accuracy of every architecture")
    text = "Test accuracy of every architecture on each data set: the mean over the seeds."
    return _section("accuracy", "Accuracy (Figure 2)", _figure(svgs, f"{text} {bases_note(infos)}"))


def _attacks(study: StudyInfo, place: int) -> str:
    dataset = study.measured_datasets[place]
    infos = [info for name in study.attacks if not (info := bars_info(study, dataset, name)).empty]
    if not infos:
        return ""
    label = f"AUC of {len(infos)} attacks on every architecture, {plain_label(dataset)}"
    svgs = _panels(infos, [info.quantity for info in infos], f"attacks{place}-", label)
    text = (
        f"AUC of each attack against each architecture on {escape_text(dataset)}. A bar begins at 0.5, where an "
        "attacker guesses: its length is what the network gives away."
    )
    number = ("Figure 3", *(f"Figure {number}" for number in FURTHER_FIGURES))[place : place + 1]
    title = f"Attacks on {dataset}" + "".join(f" ({name})" for name in number)
    return _section(f"attacks-{place}", title, _figure(svgs, f"{text} {bases_note(infos)}"))


def _overfitting(study: StudyInfo) -> str:
    infos = [overfitting_info(study, dataset, name) for dataset in study.measured_datasets for name in study.attacks]
    infos = [info for info in infos if info.points]
    if not infos:
        return ""
    figures = []
    for place, dataset in enumerate(dict.fromkeys(info.dataset for info in infos)):
        figure = draw_overfitting([info for info in infos if info.dataset == dataset])
        svg = to_svg(figure, prefix=f"overfitting{place}", label=f"Overfitting against AUC, {plain_label(dataset)}")
        figures.append(f"<h3>{escape_text(dataset)}</h3>{_figure(svg)}")
    note = (
        "<p>A point is one measurement (architecture and seed). Spearman's ρ and its p-value are of the architectures, "
        "each with its means over the seeds, as seeds of one architecture are not independent. p: two-sided "
        "permutation test; interval: Bonett and Wright (2000), from five architectures on. n: architectures.</p>"
    )
    return _section("overfitting", "Overfitting against AUC (Figure 4)", *figures, note, correlations_html(infos))


def _matched(infos: Sequence[MatchedInfo]) -> str:
    if not any(info.unadjusted is not None for info in infos):
        return ""
    note = (
        "<p>An attack finds more where a network overfits more, and that goes along with accuracy; so the plain "
        "difference of two means may say nothing about how an architecture was found. Here the AUC is regressed on "
        "accuracy and kind, over the architectures that have one of the other kind within "
        f"{CALIPER:g} of their accuracy (at least {LEAST} of each kind; others are left out). An architecture counts "
        "once, with its means over the seeds. p: permutation of the residuals (Freedman and Lane, 1983) with a "
        "statistic that lets the kinds scatter differently; the interval holds the differences that the test does not "
        "reject at 5%. p (Holm): adjusted for all rows of the table. Positive: NAS gives away more at equal accuracy. "
        "It holds for these architectures, recipes and data sets; accuracies that are themselves uncertain are "
        "adjusted for only in part.</p>"
    )
    figure = ""
    if any(info.adjusted for info in infos):
        figure = _figure(to_svg(draw_matched(infos), prefix="matched", label="Differences in AUC at equal accuracy"))
    return _section("matched", "NAS against human-designed at equal accuracy", note, figure, matched_html(infos))


_NOTES = (
    "<ul><li><b>AUC</b> is the probability that the attack gives a random member of the training data a higher score "
    "than a random non-member. <b>0.5 means guessing</b>; a little below 0.5 is chance too. It is a lower bound on the "
    "leak: a stronger attack may find more.</li>"
    "<li><b>Overfitting</b>: train accuracy less test accuracy. All numbers are fractions, not percent.</li>"
    "<li><b>Architectures are few</b>, and not drawn at random from all that there are: an interval over them says how "
    "much the mean depends on which of the like were taken, not more.</li>"
    "<li><b>Failed</b> (✕): a measurement that ended in an error, which the table below gives. It enters no mean; "
    "where architectures fail because they are large or unstable, the means of the rest are not those of all.</li></ul>"
)
