"""The page of a measurement study: which architectures leak how much, and whether searched ones leak more.

Its facts and tables; the figures are drawn in :mod:`nni_privacy.report.study_figures`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from nni_privacy.analysis.matched import CALIPER, LEAST, MatchedInfo, matched_infos
from nni_privacy.analysis.statistics import Basis, Spread
from nni_privacy.analysis.study import (
    ACCURACY,
    HUMAN,
    NAS,
    BarsInfo,
    OverfittingInfo,
    StudyInfo,
    Table1Row,
    bars_info,
    overfitting_info,
    study_info,
    table1_rows,
)
from nni_privacy.report.contour_page import contours_html
from nni_privacy.report.effects_page import effects_html
from nni_privacy.report.facts import appendix_html
from nni_privacy.report.html import (
    NOTHING,
    card_html,
    duration,
    ends_html,
    escape_text,
    facts_html,
    fraction,
    notice_html,
    number_cell,
    p_html,
    page_html,
    signed,
    table_frame,
    text_cell,
    wrapped_cell,
)
from nni_privacy.report.study_figures import COLUMNS, ROWS, bar_limits, draw_bars, draw_matched, draw_overfitting
from nni_privacy.report.style import drawing_style, plain_label, to_svg
from nni_privacy.report.trials_table import table_html
from nni_privacy.runs.records import RunInfo

__all__ = [
    "bases_note",
    "correlations_html",
    "matched_html",
    "render_study",
    "study_cards_html",
    "study_facts",
    "study_notices",
    "table1_html",
]

FURTHER_FIGURES = range(17, 20)
"""The paper's numbers of the figures of its second, third and fourth data set."""

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

NAMED = 12
"""Architectures that a notice names before it counts the rest."""

BASES: dict[Basis, str] = {
    "t": "the 95% t interval of the mean over the seeds (three seeds or more)",
    "range": "the range of the two seeds",
    "bootstrap": "with one seed, the 95% bootstrap interval over the attacked records, which does not cover the "
    "randomness of training",
    "none": "none, where there is one seed and no interval over records",
}
SHORT: dict[Basis, str] = {"t": "", "range": " range", "bootstrap": " records", "none": ""}


def render_study(run: RunInfo) -> str:
    """The page as text; the same run gives the same text."""
    study = study_info(run)
    rows, matched = table1_rows(study), matched_infos(study)
    with drawing_style():
        sections = [
            _table1_section(rows),
            _accuracy(study),
            *(_attacks(study, place) for place in range(len(study.measured_datasets))),
            _overfitting_section(study),
            _matched_section(matched),
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


def _table1_section(rows: Sequence[Table1Row]) -> str:
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


def _overfitting_section(study: StudyInfo) -> str:
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


def _matched_section(infos: Sequence[MatchedInfo]) -> str:
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


def study_cards_html(study: StudyInfo, rows: Sequence[Table1Row], matched: Sequence[MatchedInfo]) -> str:
    """The large numbers: how much was measured, and of the first data set and attack what was found."""
    cards = [
        (
            "measurements succeeded",
            str(len(study.succeeded)),
            f"{len(study.failed)} failed, {len(study.missing)} missing",
        ),
        *_kind_cards(rows),
    ]
    first = matched[0] if matched else None
    if first and first.adjusted:
        found = first.adjusted
        more = f"95% interval [{found.low:+.3f}, {found.high:+.3f}], p = {found.p_value:.2g}; {_where(first)}"
        cards.append(("AUC of NAS less human-designed, at equal accuracy", f"{found.difference:+.3f}", more))
    elif first and first.unadjusted is not None:
        cards.append(("AUC of NAS less human-designed, at equal accuracy", NOTHING, escape_text(first.reason)))
    return "".join(card_html(escape_text(what), value, more) for what, value, more in cards)


def study_notices(run: RunInfo, study: StudyInfo) -> list[str]:
    """What a reader must know first, as text."""
    lines = []
    if not run.trials:
        lines.append("No measurement has finished yet: this page shows the set-up only.")
    elif not study.measurements:
        lines.append(
            "No trial says what it measured (it has no factors): the table of all measurements is all there is."
        )
    elif not study.succeeded:
        lines.append("No measurement has succeeded: there is nothing to compare. The table gives each one's error.")
    if study.failed:
        names = _some([(one.architecture.label, one.dataset) for one in study.failed])
        lines.append(f"Failed, and marked so in the figures: {len(study.failed)} measurements: {names}.")
    if study.missing:
        names = _some([(architecture, dataset) for architecture, dataset, _ in study.missing])
        lines.append(f"Not measured, as the study goes on or was stopped: {len(study.missing)} measurements: {names}.")
    if study.further:
        lines.append(
            f"The tables and figures of architectures show variant {', '.join(study.variants)} and defence "
            f"{', '.join(study.defences)}; {len(study.further)} measurements of other variants or defences are apart, "
            "below."
        )
    if run.corrupt_lines:
        numbers = ", ".join(map(str, run.corrupt_lines))
        lines.append(f"Skipped in trials.jsonl, as not a whole JSON object: line {numbers}.")
    return lines


def study_facts(run: RunInfo, study: StudyInfo) -> str:
    """The definition list under the large numbers, as HTML."""
    kinds = {
        f"Architectures, {kind}": _names([one.label for one in study.architectures if one.kind == kind])
        for kind in study.kinds
    }
    attacks = [escape_text(name) for name in study.attacks or run.attacks]
    if attacks:
        attacks[0] += " (primary)"
    evaluator = run.config.get("evaluator")
    recipe = evaluator.get("recipe") if isinstance(evaluator, Mapping) else None
    seconds = sum(trial.seconds or 0.0 for trial in run.trials)
    return facts_html(
        {
            **kinds,
            "Data sets": _names(study.datasets),
            "Attacks": ", ".join(attacks),
            "Seeds": _names(study.seeds),
            "Recipe": _plain(recipe),
            "Variant, defence": escape_text(", ".join([*study.variants, *study.defences])),
            "Device": _plain(run.environment.get("device")),
            "Versions": _plain(run.environment.get("versions")),
            "Time in trials": duration(seconds) if seconds else "",
        }
    )


def _kind_cards(rows: Sequence[Table1Row]) -> list[tuple[str, str, str]]:
    """Mean AUC of each kind on the first data set under the first attack."""
    first = [row for row in rows if (row.dataset, row.attack) == (rows[0].dataset, rows[0].attack)]
    return [
        (
            f"mean AUC of {'NAS' if row.kind == NAS else row.kind} architectures",
            fraction(row.spread.mean),
            f"{_where(row)}; highest {fraction(row.highest)} ({escape_text(row.whose)})",
        )
        for row in first
        if row.kind in (HUMAN, NAS)
    ]


def _where(one: Table1Row | MatchedInfo) -> str:
    return escape_text(f"{one.dataset}, {one.attack}")


def _some(pairs: Sequence[tuple[str, str]]) -> str:
    """Architectures, each with the data sets it is named with; the rest is counted."""
    datasets: dict[str, dict[str, None]] = {}
    for architecture, dataset in pairs:
        datasets.setdefault(architecture, {})[dataset] = None
    names = [f"{architecture} ({', '.join(found)})" for architecture, found in datasets.items()]
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more architectures" if rest > 0 else "")


def _names(names: Sequence[str]) -> str:
    return f"{escape_text(', '.join(names))} ({len(names)})" if len(names) > 1 else escape_text(", ".join(names))


def _plain(value: Any) -> str:
    """Options on one line; those without a value are left out."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{key}: {item}" for key, item in value.items() if item is not None)
    return "" if value is None else escape_text(value)


def bases_note(infos: Iterable[BarsInfo]) -> str:
    """What the whiskers of these bars are, as a sentence; they may differ from bar to bar."""
    found = {bar.spread.basis for info in infos for bar in info.bars if bar.spread}
    return f"Whiskers: {'; '.join(text for basis, text in BASES.items() if basis in found)}." if found else ""


def table1_html(rows: Sequence[Table1Row]) -> str:
    """Table 1: mean and highest AUC by data set and attack, the kinds side by side."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    found = {(row.dataset, row.attack, row.kind): row for row in rows}
    heads = ["Data set", "Attack"]
    for kind in kinds:
        heads += [f"{kind}: mean AUC [95% interval]", "n", "highest", "whose"]
    body: list[list[str]] = []
    first, before = [], ""
    for dataset, attack in dict.fromkeys((row.dataset, row.attack) for row in rows):
        cells = [text_cell(dataset), text_cell(attack)]
        for kind in kinds:
            cells += _kind_cells(found.get((dataset, attack, kind)))
        if dataset != before:
            first.append(len(body))
        body.append(cells)
        before = dataset
    numbers = [2 + 4 * place + offset for place in range(len(kinds)) for offset in range(3)]
    return table_frame(heads, body, numbers=numbers, first=first)


def _kind_cells(row: Table1Row | None) -> list[str]:
    if row is None:
        return [number_cell(NOTHING)] * 4
    mean = f"{fraction(row.spread.mean)} {_ends(row.spread)}"
    return [
        number_cell(mean),
        number_cell(str(row.architectures)),
        number_cell(fraction(row.highest)),
        text_cell(row.whose),
    ]


def correlations_html(infos: Sequence[OverfittingInfo]) -> str:
    """Spearman's correlation of overfitting and AUC by data set and attack."""
    heads = ("Data set", "Attack", "Spearman's ρ [95% interval]", "p", "n")
    body = []
    for info in infos:
        found = info.correlation
        cells = [text_cell(info.dataset), text_cell(info.attack)]
        if found is None:
            cells += [
                number_cell(NOTHING),
                number_cell(NOTHING),
                number_cell(str(len({point.architecture for point in info.points}))),
            ]
        else:
            ends = ends_html(found.low, found.high, sign=True, digits=2)
            cells += [
                number_cell(f"{found.rho:+.2f} {ends}"),
                number_cell(p_html(found.p_value)),
                number_cell(str(found.count)),
            ]
        body.append(cells)
    return table_frame(heads, body, numbers=(2, 3, 4))


def matched_html(infos: Sequence[MatchedInfo]) -> str:
    """The differences at equal accuracy, and what cannot be compared."""
    heads = ["Data set", "Attack", "Difference as it is", "At equal accuracy [95% interval]", "p", "p (Holm)"]
    heads += ["NAS : human", "No counterpart"]
    body = []
    for info in infos:
        found = info.adjusted
        cells = [text_cell(info.dataset), text_cell(info.attack), number_cell(signed(info.unadjusted))]
        if found is None:
            cells += [wrapped_cell(f"not comparable: {info.reason}"), number_cell(NOTHING)]
        else:
            ends = ends_html(found.low, found.high, sign=True)
            cells += [number_cell(f"{found.difference:+.3f} {ends}"), number_cell(p_html(found.p_value))]
        cells += [number_cell(p_html(info.p_holm)), number_cell(f"{info.nas} : {info.human}")]
        left_out = wrapped_cell(", ".join(info.left_out)) if info.left_out else f"<td>{NOTHING}</td>"
        body.append([*cells, left_out])
    return table_frame(heads, body, numbers=(2, 3, 4, 5, 6))


def _ends(spread: Spread) -> str:
    return ends_html(spread.low, spread.high, more=SHORT[spread.basis])
