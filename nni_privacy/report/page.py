"""Writes the report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from nni_privacy.report.cell_graph import CELL_NAMES, cell_graph, cells_of, how_to_read
from nni_privacy.report.effects_csv import effects_tables
from nni_privacy.report.evolution_page import evolution_html
from nni_privacy.report.figure_files import figure_files
from nni_privacy.report.frame import notice_html, page_html
from nni_privacy.report.infos import (
    RocInfo,
    TradeoffInfo,
    hypervolume_info,
    progress_info,
    roc_info,
    select_best,
    tradeoff_info,
)
from nni_privacy.report.layout import draw_info
from nni_privacy.report.predicted_page import render_predicted_run
from nni_privacy.report.resources import replace_text
from nni_privacy.report.run import RunInfo, TrialInfo, read_run
from nni_privacy.report.study_csv import study_tables
from nni_privacy.report.study_page import render_study
from nni_privacy.report.summary import appendix_html, cards_html, facts_of, notices, summary_info
from nni_privacy.report.svg import drawing_style, to_svg
from nni_privacy.report.table import table_html
from nni_privacy.report.text import escape_text, fraction, interval, trial_link

__all__ = ["render_report", "write_report"]

FILE_NAME = "report.html"
FIGURES = "figures"
BEST_CELLS = 4


def write_report(run_directory: str | Path) -> Path:
    """Reads a run directory and writes ``report.html`` into it, replacing an older one in one step.

    Its figures are written beside it into the folder ``figures``, and of a measurement study its numbers as CSV files.

    Args:
        run_directory: as ``nni-privacy search`` writes it; the run may still be going on.

    Returns:
        The path of the page.

    Raises:
        DataError: if the folder is no run directory, or cannot be written to.
    """
    run = read_run(run_directory)
    path = run.directory / FILE_NAME
    for name, text in ({**study_tables(run), **effects_tables(run)} if run.study else {}).items():
        replace_text(run.directory / name, text)
    page = render_report(run)
    for name, text in figure_files(page).items():
        replace_text(run.directory / FIGURES / name, text)
    replace_text(path, page)
    return path


def render_report(run: RunInfo) -> str:
    """The page as text; the same run gives the same text."""
    if run.predicted:
        return render_predicted_run(run)
    if run.study:
        return render_study(run)
    summary, tradeoff = summary_info(run), tradeoff_info(run)
    with drawing_style():
        roc = roc_info(run)
        parts = {
            "tradeoff": _tradeoff(tradeoff),
            "cells": _cells(run, tradeoff),
            "roc": _roc(run, roc),
            "progress": _progress(run) + _hypervolume(run),
            "evolution": evolution_html(run),
            "notes": _notes(roc),
            "table": table_html(run, {trial.trial for trial in tradeoff.front}),
            "appendix": appendix_html(run),
        }
    return page_html(
        "page",
        title=f"{run.name} · membership privacy report",
        lead="Architectures found by a neural architecture search, each trained and then attacked by membership "
        "inference: how well it works, and how much it gives away about who was in its training data.",
        notices=notice_html(notices(run, summary)),
        cards=cards_html(summary),
        facts=facts_of(run, summary),
        sections=parts,
        sortable=True,
        footer="Written by nni-privacy from trials.jsonl, config.yaml, environment.json, scores/ and, of a one-shot "
        "search, search/epochs.jsonl of this run. "
        "The page needs no network.",
    )


def _figure(svg: str, *paragraphs: str) -> str:
    caption = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs if paragraph)
    return f'<figure class="side"><div>{svg}</div><figcaption>{caption}</figcaption></figure>'


def _tradeoff(info: TradeoffInfo) -> str:
    from nni_privacy.report.figures import draw_tradeoff

    if not info.trials:
        return "<p>No trial has both an accuracy and an AUC.</p>"
    label = f"Accuracy against attack AUC of {len(info.trials)} trials, {len(info.front)} of them on the Pareto front"
    return _figure(
        to_svg(draw_tradeoff(info), prefix="tradeoff", label=label),
        "Each point is a trained architecture; the bar is the 95% bootstrap interval of the attack's AUC. Good "
        "is to the right "
        "(accurate) and low (private).",
        f"The Pareto front (◆, {len(info.front)} of {len(info.trials)}) holds the architectures that no other "
        "one beats in "
        "accuracy and AUC at once. Its numbers are those of the table, where there is room for them.",
        "Where two bars overlap, the order of the two AUCs is not certain. The intervals cover the choice of the "
        "attacked records, "
        "not the randomness of training; and the lowest of many AUCs looks lower than it would if it were "
        "measured again.",
    )


def _cells(run: RunInfo, info: TradeoffInfo) -> str:
    from nni_privacy.report.cell_figure import draw_cell, draw_cell_legend

    best = select_best(info.front, BEST_CELLS)
    if not best:
        return "<p>No trial on the Pareto front has an architecture that could be drawn.</p>"
    drawn = [cell for trial in best if trial.genotype is not None for cell in cells_of(trial.genotype).values()]
    concatenation = any(cell_graph(cell).concatenated for cell in drawn)
    legend = to_svg(draw_cell_legend(concatenation=concatenation), prefix="legend", label="Legend of the cell drawings")
    parts = [
        f"<figcaption><p>Architectures on the Pareto front, at most {BEST_CELLS}: the most accurate, the one of "
        "lowest AUC, and "
        f"others between. {how_to_read(drawn)}</p></figcaption>"
        f'<div class="scroll">{legend}</div>'
    ]
    for index, trial in enumerate(best):
        parts.append(f"<h3>{_headline(trial, index)}</h3>")
        drawings = []
        for name, cell in (cells_of(trial.genotype) if trial.genotype is not None else {}).items():
            drawing = draw_info(cell, name, run.fixed_edges.get(name, ()))
            label = f"{CELL_NAMES[name]} of trial {trial.sequence}"
            svg = to_svg(draw_cell(drawing), prefix=f"cell{index}{name[0]}", label=label)
            fixed = sum(edge.fixed for edge in drawing.edges)
            note = f", {fixed} of {len(drawing.edges)} edges fixed" if fixed else ""
            drawings.append(f'<div class="cell"><div class="name">{CELL_NAMES[name]}{note}</div>{svg}</div>')
        parts.append(f'<div class="cells">{"".join(drawings)}</div>')
    return "".join(parts)


def _headline(trial: TrialInfo, index: int) -> str:
    lead = ("Highest accuracy: trial", "Lowest AUC: trial")[index] if index < 2 else "Trial"
    return (
        f"{lead} {trial_link(trial)} – accuracy {fraction(trial.accuracy)}, attack AUC "
        f"{fraction(trial.mia_auc)} {interval(trial)}"
    )


def _roc(run: RunInfo, info: RocInfo | None) -> str:
    from nni_privacy.report.figures import draw_roc

    if info is None:
        return "<p>No measured trial has attack scores in scores/ that could be read.</p>"
    best = summary_info(run).best_accuracy
    which = "the trial of highest accuracy"
    if best is not None and best.trial != info.trial.trial:
        which += " among those with readable attack scores"
    primary = escape_text(info.attacks[0])
    return _figure(
        to_svg(draw_roc(info), prefix="roc", label=f"ROC curves of trial {info.trial.sequence}, log-log"),
        f"ROC curves of trial {trial_link(info.trial)}, {which}: the model that a search for accuracy would hand "
        "over. Above the "
        "diagonal, the attacker is right more often than by guessing.",
        "Both axes are logarithmic, as the left end matters most: there an attacker names a few members and is "
        "hardly ever wrong, "
        "however harmless the average looks.",
        f"{info.members:,} members, {info.non_members:,} non-members ({primary}): the axis starts at "
        f"1/{info.non_members:,} = "
        f"{1 / info.non_members:.2g}, the lowest false-positive rate that these records can show. Shaded: "
        "pointwise 95% bootstrap "
        f"band of {primary}.",
    )


def _progress(run: RunInfo) -> str:
    from nni_privacy.report.figures import draw_progress

    info = progress_info(run)
    if not run.measured:
        return "<p>No trial has both an accuracy and an AUC.</p>"
    return _figure(
        to_svg(draw_progress(info), prefix="progress", label="Accuracy and attack AUC by trial"),
        "Accuracy (above) and AUC (below) of each trial in the order of the search. The lines are the best "
        "accuracy and the lowest "
        "AUC so far; they may belong to different architectures.",
        "A cross on the axis is a trial that failed." if info.failed else "",
    )


def _hypervolume(run: RunInfo) -> str:
    from nni_privacy.report.figures import draw_hypervolume

    info = hypervolume_info(run)
    if not info.sequence:
        return ""
    accuracy, auc = info.reference
    return _figure(
        to_svg(draw_hypervolume(info), prefix="hypervolume", label="Hypervolume by trial"),
        f"Hypervolume of the Pareto front: <b>{fraction(info.hypervolume[-1])}</b>. It is the area that the front "
        f"dominates, up to the reference point accuracy {accuracy:g}, AUC {auc:g}; more is better.",
        "One number for accuracy and privacy together: it grows whenever the front does. An accuracy of 1 at an AUC "
        "of 0.5 (guessing) alone has 0.5.",
    )


def _notes(roc: RocInfo | None) -> str:
    count = ""
    if roc is not None:
        needed = "enough for a rate of 1%" if roc.non_members >= 100 else "too few even for a rate of 1%"
        needed = "enough for a rate of 0.1%" if roc.non_members >= 1000 else needed
        which = f"trial {trial_link(roc.trial)}, {escape_text(roc.attacks[0])}"
        count = f" Here N = {roc.non_members:,} non-members ({which}): {needed}."
    return (
        "<ul><li><b>AUC</b> is the probability that the attack gives a random member of the training data a "
        "higher score than a "
        "random non-member. <b>0.5 means guessing</b>: the attack learns nothing. 1.0 means that every member is "
        "told from every "
        "non-member. A little below 0.5 is chance too. It is a lower bound on the leak: a stronger attack may "
        "find more.</li>"
        "<li><b>Interval</b>: 95% bootstrap interval of the AUC over the attacked records. An interval that "
        "contains 0.5 is no "
        "evidence of a leak.</li>"
        "<li><b>TPR at 1% FPR</b>: the share of members that the attack finds while it accuses 1% of the "
        "non-members wrongly; "
        f"guessing finds 1%. A rate below 1/N is not resolvable with N non-members.{count}</li>"
        "<li><b>Balanced accuracy</b> of the attack: 0.5 is guessing. <b>Overfitting</b>: train accuracy less "
        "test accuracy. "
        "All are fractions, not percent.</li></ul>"
    )
