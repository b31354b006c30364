"""The table of all trials: typed columns first, HTML second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from nni_privacy.cells.darts import CELL_TYPES
from nni_privacy.cells.genotypes import cells_of, present_edges
from nni_privacy.report.html import NOTHING, escape_text, fraction, interval
from nni_privacy.report.layout import operation_kind
from nni_privacy.runs.records import RunInfo, TrialInfo

__all__ = ["Column", "TableCell", "columns_of", "operation_counts", "table_html"]

FACTORS = {
    "architecture": "Measured",
    "kind": "Kind",
    "variant": "Variant",
    "size": "Size",
    "dataset": "Data set",
    "defence": "Defence",
    "seed": "Seed",
}
"""Factors of a study that have a column, in its order, to the column's title."""
NOT_RESOLVABLE = '<span class="none">not resolvable</span>'


@dataclass(frozen=True)
class TableCell:
    """One cell of the table: what it sorts by ("" = last) and what it shows, as HTML."""

    value: str
    html: str


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    title: str
    kind: Literal["number", "text"]
    cell: Callable[[TrialInfo], TableCell]
    css: str = ""


def operation_counts(trial: TrialInfo, name: str) -> tuple[int, int, int] | None:
    """Convolutions, poolings and skips in the cell called ``name`` of a trial; None if it has no such cell."""
    cell = cells_of(trial.genotype).get(name) if trial.genotype is not None else None
    if cell is None:
        return None
    kinds = Counter(operation_kind(edge.op) for edge in present_edges(cell))
    return kinds["convolution"], kinds["pooling"], kinds["skip"]


def columns_of(run: RunInfo) -> list[Column]:
    """The columns for a run; a further attack's AUC and epsilon have one where some trial has the metric."""
    names = {name for trial in run.trials for name in trial.metrics}
    others = sorted(name for name in names if name.endswith("_mia_auc"))
    searched = dict.fromkeys(name for trial in run.trials if trial.genotype for name in cells_of(trial.genotype))
    further = [_metric(f"AUC, {name.removesuffix('_mia_auc').replace('_', ' ')}", name) for name in others]
    if "epsilon" in names:
        further.append(_metric("ε (DP)", "epsilon"))
    return [
        Column("#", "number", lambda trial: TableCell(str(trial.sequence), str(trial.sequence))),
        Column("Trial", "text", lambda trial: _text(trial.trial)),
        Column("Status", "text", lambda trial: _text(trial.status)),
        *_factors(run),
        _metric("Accuracy", "accuracy"),
        _metric("Train accuracy", "train_accuracy"),
        _metric("Over- fitting", "overfitting"),
        Column("Attack AUC [95% interval]", "number", _auc),
        _metric("Balanced accuracy", "mia_balanced_accuracy"),
        _metric("TPR at 1% FPR", "mia_tpr_at_1pct_fpr", NOT_RESOLVABLE),
        _metric("TPR at 0.1% FPR", "mia_tpr_at_01pct_fpr", NOT_RESOLVABLE),
        *further,
        *(_operations(name) for name in searched or (() if run.study else CELL_TYPES)),
        Column("Seconds", "number", lambda trial: _number(trial.seconds, 1)),
        Column("Architecture", "text", _architecture, "wide"),
    ]


def table_html(run: RunInfo, front: Collection[str]) -> str:
    """The table of all trials.

    Args:
        run: the run.
        front: identifiers of the trials on the Pareto front, which are marked.
    """
    if not run.trials:
        return "<p>No trial has finished yet.</p>"
    legend = [
        "Click a heading to sort.",
        "" if run.study else "Shaded and marked ◆: on the Pareto front.",
        "C·P·S: convolutions, poolings and skips."
        if not run.study or any(trial.genotype for trial in run.trials)
        else "",
        "Not resolvable: too few non-members to measure a rate that small.",
    ]
    columns = columns_of(run)
    heads = "".join(
        f'<th scope="col" class="{column.kind}" data-kind="{column.kind}">'
        f'<button type="button">{escape_text(column.title)}</button></th>'
        for column in columns
    )
    rows = "".join(_row(trial, columns, trial.trial in front) for trial in run.trials)
    return (
        f'<p class="small">{" ".join(filter(None, legend))}</p>'
        '<div class="scroll"><table class="sortable">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(trial: TrialInfo, columns: list[Column], front: bool) -> str:
    css = "front" if front else ("" if trial.succeeded else "failed")
    cells = []
    for column in columns:
        cell = column.cell(trial)
        badge = ' <span class="badge" title="on the Pareto front">◆</span>' if front and column.title == "Trial" else ""
        name = f"{column.kind} {column.css}".strip()
        cells.append(f'<td class="{name}" data-value="{escape_text(cell.value)}">{cell.html}{badge}</td>')
    return f'<tr id="trial-{escape_text(trial.trial)}" class="{css}">{"".join(cells)}</tr>\n'


def _text(value: str) -> TableCell:
    return TableCell(value, escape_text(value))


def _number(value: float | None, digits: int = 3, missing: str = NOTHING) -> TableCell:
    return TableCell("" if value is None else repr(value), missing if value is None else fraction(value, digits))


def _metric(title: str, name: str, missing: str = NOTHING) -> Column:
    """A metric; ``missing`` is shown where a trial that succeeded has none."""
    return Column(
        title,
        "number",
        lambda trial: _number(trial.metrics.get(name), missing=missing if trial.succeeded else NOTHING),
    )


def _auc(trial: TrialInfo) -> TableCell:
    cell = _number(trial.mia_auc)
    return TableCell(cell.value, f'{cell.html} <span class="interval">{interval(trial)}</span>')


def _factors(run: RunInfo) -> list[Column]:
    """A column for what was measured, and for every other factor that is not the same in all trials."""
    values = {name: {trial.factors.get(name) for trial in run.trials} for name in FACTORS}
    shown = [name for name in FACTORS if run.study and (name == "architecture" or len(values[name]) > 1)]
    return [_factor(name, "number" if name == "seed" else "text") for name in shown]


def _factor(name: str, kind: Literal["number", "text"]) -> Column:
    def cell(trial: TrialInfo) -> TableCell:
        value = trial.factors.get(name)
        return TableCell("", NOTHING) if value is None else _text(str(value))

    return Column(FACTORS[name], kind, cell)


def _operations(name: str) -> Column:
    def cell(trial: TrialInfo) -> TableCell:
        counts = operation_counts(trial, name)
        return TableCell("", NOTHING) if counts is None else TableCell(str(counts[0]), "·".join(map(str, counts)))

    return Column(f"{name.capitalize()} C·P·S", "number", cell)


def _architecture(trial: TrialInfo) -> TableCell:
    parts = []
    if trial.error is not None or trial.status == "failed":
        parts.append(_error(trial.error or "no error was recorded"))
    if trial.factors and trial.genotype is None:
        parts.append(escape_text(trial.architecture))  # a network of a study, by its name
    elif trial.architecture:
        genotype = escape_text(trial.architecture)
        note = "" if trial.genotype else ' <span class="bad">(not a genotype)</span>'
        parts.append(f"<details><summary>genotype{note}</summary><code>{genotype}</code></details>")
    return TableCell(trial.architecture, "".join(parts) or NOTHING)


def _error(text: str) -> str:
    """The last line of an error (in a traceback, the one that says what happened), and the whole of it in a drawer."""
    lines = text.strip().splitlines() or [""]
    short = f'<span class="bad">{escape_text(lines[-1])}</span>'
    if len(lines) == 1:
        return short
    return f"{short}<details><summary>whole error</summary><pre>{escape_text(text.strip())}</pre></details>"
