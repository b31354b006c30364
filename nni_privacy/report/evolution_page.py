"""The report's section on how the cell of a one-shot search evolved: its numbers and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from nni_privacy.cells.genotypes import AnyCell, cell_title, cells_of, genotype_or_none
from nni_privacy.cells.spaces import AnyGenotype
from nni_privacy.errors import DataError
from nni_privacy.report.cell import CellFigure, cell_figure, reading
from nni_privacy.report.chart_data import curves_chart, with_chart
from nni_privacy.report.html import render_part
from nni_privacy.report.style import new_figure, no_formula, to_svg
from nni_privacy.runs.epochs import EPOCHS_FILE, EpochRecord, read_epochs
from nni_privacy.runs.records import FixedEdges, RunInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EvolutionInfo", "Panel", "Snapshot", "changed_edges", "draw_panel", "evolution_html", "evolution_info"]

FOLDER = "search"
"""Where a run directory holds the log of its one-shot search."""
SNAPSHOTS = 5
"""The first epoch, the quarter points, and the last one."""
SHARED = ("loss", "accuracy")
"""Metrics that end in one of these words are comparable, and share a panel."""

Series = tuple[float, ...]

COLOURS = ("#0072b2", "#d55e00", "#15803d", "#7c3aed")

MARKED = 60
"""Up to so many epochs, each is marked by a point."""


def evolution_html(run: RunInfo) -> Markup:
    """The whole section; empty for a run without a one-shot search. To be called inside ``drawing_style``.

    Raises:
        DataError: if the search's log is not what its name says.
    """
    info = evolution_info(run.directory)
    if info is None:
        return Markup()
    epochs = [record.epoch for record in info.records]
    return render_part(
        "evolution.html.jinja",
        info=info,
        seconds=sum(record.seconds for record in info.records),
        fixed=sum(map(len, run.fixed_edges.values())),
        metrics=list(dict.fromkeys(name for record in info.records for name in record.metrics)),
        panels=[_panel(panel, epochs, index) for index, panel in enumerate(info.panels)],
        drawings=_drawings(info, run.fixed_edges),
        reading=reading([one.genotype for one in info.snapshots], prefix="evolutionlegend") if info.snapshots else None,
    )


def _panel(panel: Panel, epochs: Sequence[int], index: int) -> Markup:
    label = f"{panel.title} by epoch of the search"
    figure = to_svg(draw_panel(panel, epochs), prefix=f"evolution{index}", label=label)
    return with_chart(figure, curves_chart(panel.lines, epochs, title=panel.title, label=label))


def _drawings(info: EvolutionInfo, fixed: FixedEdges) -> list[dict[str, CellFigure | None]]:
    """Of each snapshot its cells by name; None where one is as it was in the snapshot before."""
    drawn: list[dict[str, CellFigure | None]] = []
    before: dict[str, AnyCell] = {}
    for snapshot in info.snapshots:
        cells, label = cells_of(snapshot.genotype), f" after epoch {snapshot.epoch} of the search"
        drawn.append(
            {
                cell_title(name): None
                if before.get(name) == cell
                else cell_figure(cell, name, fixed, prefix=f"evolution{snapshot.epoch}", label=label)
                for name, cell in cells.items()
            }
        )
        before = dict(cells)
    return drawn


@dataclass(frozen=True)
class Panel:
    """One small chart: lines over the epochs, on one scale.

    Attributes:
        title: what is drawn.
        lines: name to a value an epoch, NaN where there is none; a panel of one line calls it as the panel.
        whole: whether all values are counts.
    """

    title: str
    lines: Mapping[str, Series]
    whole: bool = False


@dataclass(frozen=True)
class Snapshot:
    """The cell that would have been exported after an epoch.

    Attributes:
        epoch: its number, from 1.
        genotype: the architecture.
        changed: edges that differ from the snapshot before; None in the first one.
    """

    epoch: int
    genotype: AnyGenotype
    changed: int | None


@dataclass(frozen=True)
class EvolutionInfo:
    """A one-shot search, epoch by epoch.

    Attributes:
        records: as they were written, by epoch.
        total: how many epochs there will be.
        changed: edges of each epoch's cell that the epoch before had not; NaN in the first one, and where an
            architecture is no genotype.
        edges: how many edges a cell (or both) has; 0 if no architecture is a genotype.
        panels: the charts: losses first, then the other metrics, entropy, skip connections, changed edges.
        snapshots: the cell at a few epochs; none if the architectures are no genotypes.
    """

    records: tuple[EpochRecord, ...]
    total: int
    changed: Series
    edges: int
    panels: tuple[Panel, ...]
    snapshots: tuple[Snapshot, ...]

    @property
    def settled(self) -> int | None:
        """The first epoch of the cell that the search ended with and never left again; None without genotypes."""
        if not self.snapshots:
            return None
        last = max((index for index, count in enumerate(self.changed) if count != 0), default=0)
        return self.records[last].epoch


def evolution_info(run_directory: Path) -> EvolutionInfo | None:
    """The epochs of a run's one-shot search; None if it was no such search, or has not finished an epoch.

    Raises:
        DataError: if the log is not what its name says.
    """
    path = run_directory / FOLDER / EPOCHS_FILE
    try:
        records = tuple(sorted(map(_checked, read_epochs(path.parent)), key=lambda record: record.epoch))
    except (ValueError, TypeError, AttributeError, RecursionError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: not the log of a search ({reason})") from None
    if not records:
        return None
    genotypes = [genotype_or_none(record.architecture) for record in records]
    changed = (
        math.nan,
        *(float(changed_edges(old, new)) if old and new else math.nan for old, new in pairwise(genotypes)),
    )
    edges = max(sum(len(cell.edges) for cell in cells_of(known).values()) if known else 0 for known in genotypes)
    return EvolutionInfo(
        records=records,
        total=max(record.epochs for record in records),
        changed=changed,
        edges=edges,
        panels=_panels_of(records, changed),
        snapshots=_snapshots_of(records, genotypes),
    )


def changed_edges(before: AnyGenotype, after: AnyGenotype) -> int:
    """How many edges of ``after`` (source, target and operation) are not in ``before``, over all searched cells."""
    old = before.edges_by_cell()
    return sum(edge not in old.get(name, ()) for name, edges in after.edges_by_cell().items() for edge in edges)


def _checked(record: EpochRecord) -> EpochRecord:
    """The record, its numbers being numbers; what is no finite number is left out."""
    if not isinstance(record.metrics, Mapping) or not isinstance(record.architecture, str):
        raise TypeError(f"epoch {record.epoch}: metrics or architecture of the wrong type")
    if any(type(value) is not int for value in (record.epoch, record.epochs, record.skip_connections)):
        raise TypeError("epoch, epochs and skip_connections are whole numbers")
    numbers = {
        name: float(value)
        for name, value in [*record.metrics.items(), (None, record.entropy)]
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    entropy = numbers.pop(None, None)
    metrics = {str(name): value for name, value in numbers.items()}
    return replace(record, entropy=entropy, metrics=metrics, seconds=float(record.seconds))


def _panels_of(records: Sequence[EpochRecord], changed: Series) -> tuple[Panel, ...]:
    groups: dict[str, dict[str, Series]] = {word: {} for word in SHARED}
    for name in dict.fromkeys(name for record in records for name in record.metrics):
        word = name.rpartition("_")[2]
        series = tuple(record.metrics.get(name, math.nan) for record in records)
        groups.setdefault(word if word in SHARED else name, {})[name.replace("_", " ")] = series
    panels = [
        Panel(title.replace("_", " ") if len(lines) > 1 else next(iter(lines)), lines)
        for title, lines in groups.items()
        if lines
    ]
    entropy = tuple(math.nan if record.entropy is None else record.entropy for record in records)
    if any(math.isfinite(value) for value in entropy):
        panels.append(Panel("entropy", {"entropy": entropy}))
    skips = tuple(float(record.skip_connections) for record in records)
    panels.append(Panel("skip connections", {"skip connections": skips}, whole=True))
    if any(math.isfinite(value) for value in changed):
        panels.append(Panel("edges changed", {"edges changed": changed}, whole=True))
    return tuple(panels)


def _snapshots_of(records: Sequence[EpochRecord], genotypes: Sequence[AnyGenotype | None]) -> tuple[Snapshot, ...]:
    known = [(record.epoch, genotype) for record, genotype in zip(records, genotypes, strict=True) if genotype]
    # Both ends and the quarter points between them; of a short search, each epoch once.
    chosen = sorted({round(float(index)) for index in np.linspace(0, len(known) - 1, SNAPSHOTS)}) if known else []
    snapshots: list[Snapshot] = []
    for index in chosen:
        epoch, genotype = known[index]
        changed = changed_edges(snapshots[-1].genotype, genotype) if snapshots else None
        snapshots.append(Snapshot(epoch, genotype, changed))
    return tuple(snapshots)


def draw_panel(panel: Panel, epochs: Sequence[int]) -> Figure:
    """One panel: its lines over the epochs of these numbers."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure(4.0, 2.0)
    style: dict[str, Any] = {"lw": 1.3, "marker": "o" if len(epochs) <= MARKED else "", "ms": 2.4}
    for index, (name, values) in enumerate(panel.lines.items()):
        # A whole number holds for its epoch as it is: between two of them there is nothing to read off.
        drawstyle = "steps-mid" if panel.whole else "default"
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(epochs, values, color=colour, label=no_formula(name), drawstyle=drawstyle, **style)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(integer=panel.whole, nbins=5, min_n_ticks=1))
    axes.ticklabel_format(axis="y", useOffset=False)
    if panel.whole:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set(xlabel="epoch")
    if len(panel.lines) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=len(panel.lines), borderaxespad=0.1)
    else:
        axes.set_title(no_formula(panel.title), loc="left", fontsize=9, pad=5)
    return figure
