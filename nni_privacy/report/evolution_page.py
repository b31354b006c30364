"""The report's section on how the cell of a one-shot search evolved, as HTML."""

from __future__ import annotations

import math

from nni_privacy.report.cell_graph import CELL_NAMES, AnyCell, cell_graph, cells_of, how_to_read
from nni_privacy.report.evolution import EvolutionInfo, Snapshot, evolution_info
from nni_privacy.report.layout import draw_info
from nni_privacy.report.run import FixedEdges, RunInfo
from nni_privacy.report.svg import to_svg
from nni_privacy.report.text import NOTHING, duration, escape_text

__all__ = ["evolution_html"]


def evolution_html(run: RunInfo) -> str:
    """The whole section; empty for a run without a one-shot search. To be called inside ``drawing_style``.

    Raises:
        DataError: if the search's log is not what its name says.
    """
    info = evolution_info(run.directory)
    if info is None:
        return ""
    return (
        "<section>\n<h2>How the cell evolved</h2>\n"
        f"<figcaption>{_lead(info, run.fixed_edges)}</figcaption>{_panels(info)}{_snapshots(info, run.fixed_edges)}"
        f"<details><summary>All {len(info.records)} epochs as a table</summary>{_table(info)}</details>\n</section>"
    )


def _lead(info: EvolutionInfo, fixed: FixedEdges) -> str:
    done = len(info.records)
    seconds = duration(sum(record.seconds for record in info.records))
    progress = f"{done} epochs" if done >= info.total else f"{done} of {info.total} epochs so far"
    lines = [
        f"The search took {progress}, {seconds}. After each epoch, the cell that it would have ended with was noted. "
        "Its losses and accuracies are those of weights shared by all architectures, not of a trained network: how "
        "good an architecture is, its trial tells."
    ]
    if info.edges:
        count = sum(len(edges) for edges in fixed.values())
        kept = f" The pattern fixes {count} of them, which cannot change." if count else ""
        lines.append(f"<b>Edges changed</b>: of the {info.edges} edges, those that the epoch before had not.{kept}")
    if any(record.entropy is not None for record in info.records):
        lines.append(
            "<b>Entropy</b>: of the distribution over an edge's candidates, in nats, mean over the decisions; it falls "
            "as the search makes up its mind, and stays near its first value where it has not."
        )
    return "".join(f"<p>{line}</p>" for line in lines)


def _panels(info: EvolutionInfo) -> str:
    from nni_privacy.report.evolution_figures import draw_panel

    epochs = [record.epoch for record in info.records]
    drawings = [
        to_svg(draw_panel(panel, epochs), prefix=f"evolution{index}", label=f"{panel.title} by epoch of the search")
        for index, panel in enumerate(info.panels)
    ]
    return f'<div class="panels">{"".join(f"<figure>{svg}</figure>" for svg in drawings)}</div>'


def _snapshots(info: EvolutionInfo, fixed: FixedEdges) -> str:
    from nni_privacy.report.cell_figure import draw_cell_legend

    if not info.snapshots:
        return '<p class="small">The architectures of this space are no cells that could be drawn.</p>'
    drawn = [cell for snapshot in info.snapshots for cell in cells_of(snapshot.genotype).values()]
    concatenation = any(cell_graph(cell).concatenated for cell in drawn)
    legend = draw_cell_legend(concatenation=concatenation)
    parts = [
        f"<figcaption><p>The cell after a few of the epochs. {_settled(info)}{how_to_read(drawn)}</p></figcaption>"
        f'<div class="scroll">{to_svg(legend, prefix="evolutionlegend", label="Legend of the cell drawings")}</div>'
    ]
    before: Snapshot | None = None
    for snapshot in info.snapshots:
        parts.append(_snapshot(snapshot, before, info, fixed))
        before = snapshot
    return "".join(parts)


def _settled(info: EvolutionInfo) -> str:
    last = info.records[-1].epoch
    if last == 1:
        return ""
    return (
        "It still changed in the last epoch. "
        if info.settled == last
        else f"It is the same since epoch {info.settled}. "
    )


def _snapshot(snapshot: Snapshot, before: Snapshot | None, info: EvolutionInfo, fixed: FixedEdges) -> str:
    heading = f"Epoch {snapshot.epoch}"
    if before is not None:
        count = f"{snapshot.changed} of {info.edges} edges" if snapshot.changed else "no edge"
        heading += f" – {count} changed since epoch {before.epoch}"
        if not snapshot.changed:
            return f"<h3>{heading}</h3>"  # the drawing above is its drawing
    drawings = []
    for name, cell in cells_of(snapshot.genotype).items():
        same = before is not None and cells_of(before.genotype)[name] == cell
        drawings.append(_cell(cell, name, snapshot.epoch, fixed, unchanged=same))
    return f'<h3>{heading}</h3><div class="cells small-cells">{"".join(drawings)}</div>'


def _cell(cell: AnyCell, name: str, epoch: int, fixed: FixedEdges, *, unchanged: bool) -> str:
    from nni_privacy.report.cell_figure import draw_cell

    if unchanged:
        return f'<div class="cell"><div class="name">{CELL_NAMES[name]}: as before</div></div>'
    drawing = draw_info(cell, name, fixed.get(name, ()))
    label = f"{CELL_NAMES[name]} after epoch {epoch} of the search"
    svg = to_svg(draw_cell(drawing), prefix=f"evolution{epoch}{name[0]}", label=label)
    count = sum(edge.fixed for edge in drawing.edges)
    note = f", {count} of {len(drawing.edges)} edges fixed" if count else ""
    return f'<div class="cell"><div class="name">{CELL_NAMES[name]}{note}</div>{svg}</div>'


def _table(info: EvolutionInfo) -> str:
    names = list(dict.fromkeys(name for record in info.records for name in record.metrics))
    titles = ["Epoch", *(name.replace("_", " ") for name in names), "Entropy", "Skips", "Edges changed", "Seconds"]
    heads = "".join(f'<th scope="col">{escape_text(title)}</th>' for title in titles)
    rows = []
    for record, changed in zip(info.records, info.changed, strict=True):
        entropy = math.nan if record.entropy is None else record.entropy
        numbers = [_number(record.metrics.get(name, math.nan)) for name in names]
        numbers += [_number(entropy), str(record.skip_connections), _number(changed, digits=0)]
        cells = "".join(f"<td>{cell}</td>" for cell in (str(record.epoch), *numbers, f"{record.seconds:.1f}"))
        rows.append(f'<tr>{cells}<td class="wide"><code>{escape_text(record.architecture)}</code></td></tr>\n')
    return (
        f'<div class="scroll"><table><thead><tr>{heads}<th scope="col" class="text">Architecture</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else NOTHING
