"""Columns of the table of all trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal

from nni_privacy.cells.darts import CELL_TYPES
from nni_privacy.cells.genotypes import cells_of
from nni_privacy.cells.operations import OPERATION_KINDS
from nni_privacy.report.html import interval
from nni_privacy.runs.records import RunInfo, TrialRecord

__all__ = ["Column", "TableCell", "columns_of", "operation_counts", "printed_rows"]

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
COSTS = {
    "parameters": "Weights",
    "multiply_adds": "Multiply-adds",
    "latency_ms": "Latency, ms",
    "batch_latency_ms": "Latency in a batch, ms an image",
    "violation": "Violation",
}
"""Costs of a network, and how far it is off the constraints, to the column's title."""
PRINTED = 30
"""Rows of the table on paper, at most."""
FRACTION = 3
"""Digits of a fraction."""
NOTHING, NOT_RESOLVABLE = "–", "not resolvable"
"""What is shown where there is no value."""


@dataclass(frozen=True)
class TableCell:
    """One cell of the table.

    Attributes:
        value: what it sorts by; "" is last.
        text: what it shows.
        interval: ends of an interval that stand behind it.
    """

    value: str
    text: str
    interval: str = ""


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        title: its heading.
        kind: what it sorts by.
        cell: what it has for a trial.
        css: a further class of its cells.
        paper: whether it has room on paper.
    """

    title: str
    kind: Literal["number", "text"]
    cell: Callable[[TrialRecord], TableCell]
    css: str = ""
    paper: bool = True

    @property
    def classes(self) -> str:
        """Classes of its cells."""
        return " ".join(name for name in (self.kind, self.css, "" if self.paper else "on-screen") if name)


def printed_rows(run: RunInfo, front: Collection[str] = ()) -> set[str]:
    """Names of the trials that the table has on paper: all of a few; of many those on the front, or else the first."""
    names = [trial.trial for trial in run.trials]
    chosen = names if len(names) <= PRINTED or not front else [name for name in names if name in front]
    return set(chosen[:PRINTED])


def operation_counts(trial: TrialRecord, name: str) -> tuple[int, int, int] | None:
    """Convolutions, poolings and skips in the cell called ``name`` of a trial; None if it has no such cell."""
    cell = cells_of(trial.genotype).get(name) if trial.genotype is not None else None
    if cell is None:
        return None
    kinds = Counter(OPERATION_KINDS[edge.op] for edge in cell.edges)
    return kinds["convolution"], kinds["pooling"], kinds["skip"]


def columns_of(run: RunInfo) -> list[Column]:
    """The columns for a run; a further attack's AUC and epsilon have one where some trial has the metric."""
    names = {name for trial in run.trials for name in trial.metrics}
    others = sorted(name for name in names if name.endswith("_mia_auc"))
    searched = dict.fromkeys(name for trial in run.trials if trial.genotype for name in cells_of(trial.genotype))
    further = [_metric(f"AUC, {name.removesuffix('_mia_auc').replace('_', ' ')}", name) for name in others]
    # What the strategy maximised, where another evaluator reported something else than the accuracy.
    if any(trial.metrics.get("default") not in (None, trial.accuracy) for trial in run.trials):
        further.insert(0, _metric("Result", "default"))
    if "balanced_accuracy" in names:
        further.append(replace(_metric("Balanced test accuracy", "balanced_accuracy"), paper=False))
    further += [_metric(title, name) for name, title in COSTS.items() if name in names]
    if "epsilon" in names:
        further.append(_metric("ε (DP)", "epsilon"))
    if "epsilon_low" in names:
        further.append(_metric("ε, at least", "epsilon_low"))
    return [
        Column("#", "number", lambda trial: TableCell(str(trial.sequence), str(trial.sequence))),
        Column("Trial", "text", lambda trial: _text(trial.trial)),
        Column("Status", "text", lambda trial: _text(trial.status)),
        *_factors(run),
        _metric("Accuracy", "accuracy"),
        replace(_metric("Train accuracy", "train_accuracy"), paper=False),
        _metric("Over- fitting", "overfitting"),
        Column("Attack AUC [95% interval]", "number", _auc),
        replace(_metric("Balanced accuracy", "mia_balanced_accuracy"), paper=False),
        _metric("TPR at 1% FPR", "mia_tpr_at_1pct_fpr", NOT_RESOLVABLE),
        _metric("TPR at 0.1% FPR", "mia_tpr_at_01pct_fpr", NOT_RESOLVABLE),
        *further,
        *(_operations(name) for name in searched or (() if run.study else CELL_TYPES)),
        Column("Seconds", "number", lambda trial: _number(trial.seconds, 1)),
        Column("Architecture", "text", lambda trial: _text(trial.architecture), "wide"),
    ]


def _text(value: str) -> TableCell:
    return TableCell(value, value)


def _number(value: float | None, digits: int = FRACTION, missing: str = NOTHING) -> TableCell:
    if value is None:
        return TableCell("", missing)
    count = digits == FRACTION and value > 1 and float(value).is_integer()  # of weights, by thousands
    return TableCell(repr(value), f"{value:,.0f}" if count else f"{value:.{digits}f}")


def _metric(title: str, name: str, missing: str = NOTHING) -> Column:
    """A metric; ``missing`` is shown where a trial that succeeded has none."""
    return Column(
        title,
        "number",
        lambda trial: _number(trial.metrics.get(name), missing=missing if trial.succeeded else NOTHING),
    )


def _auc(trial: TrialRecord) -> TableCell:
    cell = _number(trial.mia_auc)
    return TableCell(cell.value, cell.text, interval(trial))


def _factors(run: RunInfo) -> list[Column]:
    """A column for what was measured, and for every other factor that is not the same in all trials."""
    values = {name: {trial.factors.get(name) for trial in run.trials} for name in FACTORS}
    shown = [
        name
        for name in FACTORS
        if (len(values[name]) > 1 or name == "architecture" if run.study else values[name] - {None})
    ]
    return [_factor(name, "number" if name == "seed" else "text") for name in shown]


def _factor(name: str, kind: Literal["number", "text"]) -> Column:
    def cell(trial: TrialRecord) -> TableCell:
        value = trial.factors.get(name)
        return TableCell("", NOTHING) if value is None else _text(str(value))

    return Column(FACTORS[name], kind, cell)


def _operations(name: str) -> Column:
    def cell(trial: TrialRecord) -> TableCell:
        counts = operation_counts(trial, name)
        return TableCell("", NOTHING) if counts is None else TableCell(str(counts[0]), "·".join(map(str, counts)))

    return Column(f"{name.capitalize()} C·P·S", "number", cell, paper=False)
