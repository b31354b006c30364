"""The page of an extraction: patterns, their evidence, and what the groups of architectures look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from nni_privacy.cells.codes import GenotypeCodes, operation_mask
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES, CellType, Edge
from nni_privacy.files import Row, to_csv
from nni_privacy.patterns.cross_fitting import Effect
from nni_privacy.patterns.evidence import EdgeFinding
from nni_privacy.patterns.findings import Extraction, FoundPattern
from nni_privacy.patterns.importance import MIN_SUPPORT
from nni_privacy.patterns.pattern import CellPattern
from nni_privacy.report.cell import draw_cell, draw_cell_legend
from nni_privacy.report.html import render_page
from nni_privacy.report.layout import draw_info, operation_label
from nni_privacy.report.style import DASHED, drawing_style, new_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["GROUPS", "convolution_shares", "extracted_name", "given_name", "importances", "oi_csv"]
__all__ += ["operation_shares", "render_extraction"]

PAPER = "CCS 2022, Figure 7"
"""In the source of the paper's own patterns."""
GROUP_NOTE = {"demotion": "lowest", "promotion": "highest"}

Floats = npt.NDArray[np.float64]

GROUPS = ("lowest AUC", "all", "highest AUC")
"""Of architectures: those that made the demotion patterns, all of them, those that made the promotion patterns."""

COLUMNS = (
    *("pattern", "source", "target", "op", "support", "importance", "importance_low", "importance_high", "typical"),
    *("measured", "measured_error", "beside", "stability", "position", "supported", "reason"),
)

OPERATION_LABELS = [operation_label(operation).replace(" ", "\n", 1) for operation in DARTS_OPERATIONS]
GROUP_COLOURS = ("#0072b2", "#cbd5e1", "#c2410c")
LINES = (("#c2410c", "D"), ("#a8b3c2", "o"), ("#15803d", "^"), ("#0072b2", "s"))


def render_extraction(extraction: Extraction, *, title: str, facts: Mapping[str, str] = {}) -> str:
    """The page as text; the same extraction gives the same text.

    Args:
        extraction: what was found.
        title: of the page.
        facts: what a reader should know (data, surrogate, seed, ...), shown in this order; plain text.
    """
    nodes, names = extraction.codes.nodes, [found.name for found in extraction.found]
    with drawing_style():
        figures = {
            "patterns": [_pattern_figures(extraction, found) for found in extraction.found],
            "importance": [
                to_svg(draw_heat_map(found, nodes), prefix=f"heat-{name}", label=f"Operation Importance, {name}")
                for name, found in zip(names, extraction.found, strict=True)
            ],
            "operations": [
                to_svg(draw_operations(extraction, cell), prefix=f"ops-{cell}", label=f"Operations, {cell} cell")
                for cell in CELL_TYPES
            ],
            "topologies": [
                to_svg(draw_convolutions(extraction, cell), prefix=f"top-{cell}", label=f"Convolutions, {cell} cell")
                for cell in CELL_TYPES
            ],
        }
    return render_page(
        "extraction.html.jinja",
        title=title,
        extraction=extraction,
        others=[
            (one, [one.findings[edge] for edge in one.pattern.edges if edge in one.findings])
            for one in extraction.assessed
        ],
        facts=_facts(extraction) | dict(facts),
        notes=GROUP_NOTE,
        extracted_name=extracted_name,
        given_name=given_name,
        figures=figures,
    )


def extracted_name(found: FoundPattern) -> str:
    """What a pattern of this extraction is called beside those from elsewhere, which may have the same name."""
    return f"{found.name} (extracted)"


def given_name(pattern: CellPattern) -> str:
    """What a pattern from elsewhere is called beside those of this extraction."""
    return f"{pattern.name} ({'the paper' if PAPER in pattern.source else 'from elsewhere'})"


def _facts(extraction: Extraction) -> dict[str, str]:
    auc, options, found = extraction.auc, extraction.options, extraction.predictiveness
    sizes = {objective: len(rows) for objective, rows in extraction.groups.items()}
    return {
        "Architectures": f"{len(auc):,}; AUC mean {auc.mean():.3f}, standard deviation {auc.std():.3f}",
        "Groups": f"{sizes['demotion']} with AUC < {options.low}, {sizes['promotion']} with AUC > {options.high}",
        "Surrogate, cross-fitted": f"rank correlation {found.spearman:.3f} (by chance at most {found.needed:.3f})",
        "Resampling": f"{options.cuts} cuts into halves, {2 * options.cuts} surrogates, {options.resamples} resamples",
        "Seed": str(options.seed),
    }


def _pattern_figures(extraction: Extraction, found: FoundPattern) -> dict[str, Any]:
    """The edges of one pattern that are shown, its cell, and its predicted effects and stability."""
    shown = [*found.edges, *(edge for edge in found.literal if edge not in found.edges)]
    findings = [found.findings[edge] for edge in shown]
    effects: dict[str, Sequence[Effect]] = {"supported edges": found.effects} if found.effects else {}
    effects |= {"Algorithm 1 as published": found.literal_effects} if found.literal_effects else {}
    effects |= {"found in one half, judged by the other": found.replicated} if found.replicated else {}
    for other in extraction.assessed:
        if (other.pattern.cell, other.pattern.objective) == (found.cell, found.objective):
            effects.setdefault(given_name(other.pattern), other.effects)
    name = found.name
    panels = [to_svg(draw_effects(effects), prefix=f"eff-{name}", label=f"Predicted effects, {name}")]
    if findings:
        stability = draw_stability(findings)
        panels.append(to_svg(stability, prefix=f"stab-{name}", label=f"Stability of the edges, {name}"))
    return {"findings": findings, "panels": panels, **(_drawing(extraction, found) if found.edges else {})}


def _drawing(extraction: Extraction, found: FoundPattern) -> dict[str, Markup]:
    """The pattern in the architecture of its group with the most extreme AUC."""
    rows = extraction.groups[found.objective]
    auc = extraction.auc[rows]
    row = rows[auc.argmin() if found.objective == "demotion" else auc.argmax()]
    (host,) = extraction.codes[[row]].to_genotypes()
    cell = found.pattern(name=found.name, source="").apply(host).cell(found.cell)
    drawing = draw_cell(draw_info(cell, found.cell, found.edges))
    return {
        "cell": to_svg(drawing, prefix=f"cell-{found.name}", label=f"Pattern {found.name}"),
        "legend": to_svg(draw_cell_legend(), prefix=f"legend-{found.name}", label="Legend of the cell drawings"),
    }


def _groups(extraction: Extraction) -> tuple[GenotypeCodes, ...]:
    codes, groups = extraction.codes, extraction.groups
    return codes[groups["demotion"]], codes, codes[groups["promotion"]]


def operation_shares(extraction: Extraction, cell: CellType) -> Floats:
    """(3, 7) groups by operations: how often each occurs in cells of type ``cell``; each row sums to 1."""
    operations = [codes.operations[:, CELL_TYPES.index(cell)].ravel() for codes in _groups(extraction)]
    counts = [np.bincount(group, minlength=len(DARTS_OPERATIONS)) for group in operations]
    return np.array([count / count.sum() for count in counts])


def convolution_shares(extraction: Extraction, cell: CellType) -> tuple[Floats, Floats]:
    """Where convolutions take their input, by group.

    Returns:
        (3, k) share of the group's architectures with 0, 1, ... convolutions on edges from the cell's inputs, and the
        same for convolutions on edges between intermediate nodes.
    """
    kind, most = CELL_TYPES.index(cell), 2 * extraction.codes.nodes
    shares: tuple[list[Floats], list[Floats]] = ([], [])
    for codes in _groups(extraction):
        convolution = operation_mask("convolution")[codes.operations[:, kind]]
        direct = codes.sources[:, kind] < INPUT_NODES
        for rows, chosen in zip(shares, (convolution & direct, convolution & ~direct), strict=True):
            count = np.bincount(chosen.sum(axis=(1, 2)), minlength=most + 1)
            rows.append(count / count.sum())
    return np.array(shares[0]), np.array(shares[1])


def importances(found: FoundPattern, places: Sequence[tuple[int, int]]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Mean Operation Importance by place and operation.

    Args:
        found: a pattern, with all its candidates.
        places: (source, target) of the rows.

    Returns:
        (rows, 7) in units of AUC, nan where too few architectures contain the edge; and whether each is supported.
    """
    values, supported = np.full((len(places), len(DARTS_OPERATIONS)), np.nan), np.zeros((len(places), 7), dtype=bool)
    for row, (source, target) in enumerate(places):
        for column, operation in enumerate(DARTS_OPERATIONS):
            finding = found.findings.get(Edge(source, target, operation))
            if finding is not None and finding.support >= MIN_SUPPORT:
                values[row, column], supported[row, column] = finding.importance, finding.supported
    return values, supported


def oi_csv(extraction: Extraction) -> str:
    """Every edge of every group with all that is known about it, as CSV; AUCs in fractions."""
    found = [(found, *item) for found in extraction.found for item in sorted(found.findings.items())]
    return to_csv([_row(*one) for one in found], COLUMNS)


def _row(found: FoundPattern, edge: Edge, finding: EdgeFinding) -> Row:
    numbers = (finding.importance, finding.low, finding.high, finding.typical, finding.measured, finding.measured_error)
    values = (
        *(found.name, edge.source, edge.target, edge.op, finding.support),
        *(f"{value:.6f}" if np.isfinite(value) else "" for value in numbers),
        *(f"{finding.beside:.2f}", f"{finding.stability:.3f}"),
        *(found.edges.index(edge) + 1 if edge in found.edges else "", int(finding.supported), finding.reason),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _bars(axes: Any, shares: Any, labels: Sequence[str]) -> None:
    places = np.arange(shares.shape[1])
    for row, (name, colour) in enumerate(zip(GROUPS, GROUP_COLOURS, strict=True)):
        axes.bar(places + (row - 1) * 0.27, shares[row], width=0.25, color=colour, label=name)
    axes.set_xticks(places, labels)


def draw_operations(extraction: Extraction, cell: CellType) -> Figure:
    """Shares of the operations in the three groups (Figure 6 of the paper)."""
    figure, axes = new_figure(5.9, 2.7)
    _bars(axes, operation_shares(extraction, cell), OPERATION_LABELS)
    axes.set(ylabel=f"share of the edges, {cell} cell")
    axes.tick_params(axis="x", labelsize=8)
    axes.legend(ncol=3, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def draw_convolutions(extraction: Extraction, cell: CellType) -> Figure:
    """Convolutions from inputs (left) and intermediate nodes (right) in the three groups (Figure 11 of the paper)."""
    figure, (left, right) = new_figure(5.9, 2.5, columns=2, sharey=True)
    direct, inner = convolution_shares(extraction, cell)
    for axes, shares, where in ((left, direct, "from an input"), (right, inner, "from another node")):
        reach = max(int(np.flatnonzero(shares.any(axis=0)).max(initial=0)), 1) + 1
        _bars(axes, shares[:, :reach], [str(number) for number in range(reach)])
        axes.set(xlabel=f"convolutions {where}")
    left.set(ylabel=f"share, {cell} cell")
    left.legend(ncol=3, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def draw_heat_map(found: FoundPattern, nodes: int) -> Figure:
    """Importance by edge: blue mitigates, red promotes the attack; a dot marks supported edges."""
    places = [(source, target) for target in range(INPUT_NODES, INPUT_NODES + nodes) for source in range(target)]
    values, supported = importances(found, places)
    figure, axes = new_figure(5.6, 0.8 + 0.235 * len(places))
    reach = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    image = axes.imshow(values * 1000, cmap="RdBu", vmin=-reach * 1000, vmax=reach * 1000, aspect="auto")
    axes.set_xticks(range(len(OPERATION_LABELS)), OPERATION_LABELS)
    axes.set_yticks(range(len(places)), [f"{source} → {target}" for source, target in places])
    axes.tick_params(length=0, labelsize=7.5)
    axes.grid(False)
    axes.set_title(f"{found.cell} cell, {GROUP_NOTE[found.objective]} AUC", fontsize=9.5, loc="left")
    rows, columns = np.nonzero(supported)
    axes.plot(columns, rows, "o", ms=5, color="#111827", mec="white", mew=0.8)
    figure.colorbar(image, ax=axes, label="importance, thousandths of AUC", shrink=0.9)
    return figure


def draw_stability(findings: Sequence[EdgeFinding]) -> Figure:
    """In how many resamples Algorithm 1 took each edge: filled where the edge is supported."""
    figure, axes = new_figure(5.2, 0.75 + 0.235 * max(len(findings), 1))
    places = np.arange(len(findings))[::-1]
    colours = ["#0072b2" if finding.supported else "#cbd5e1" for finding in findings]
    axes.barh(places, [finding.stability for finding in findings], color=colours, height=0.68)
    labels = [f"{f.edge.source} → {f.edge.target}  {operation_label(f.edge.op)}" for f in findings]
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.set(xlim=(0, 1), xlabel="share of the resamples in which Algorithm 1 took the edge")
    axes.grid(axis="y", visible=False)
    return figure


def draw_effects(effects: Mapping[str, Sequence[Effect]]) -> Figure:
    """Predicted change of the AUC by the number m of fixed edges, with 95% intervals, one line a pattern."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure(5.9, 3.3)
    axes.axhline(0, **DASHED)
    for number, (name, line) in enumerate(effects.items()):
        colour, marker = LINES[number % len(LINES)]
        m = np.arange(1, len(line) + 1) + 0.09 * (number - (len(effects) - 1) / 2)
        axes.vlines(m, [e.low for e in line], [e.high for e in line], color=colour, lw=1.2, alpha=0.6)
        axes.plot(m, [e.change for e in line], marker=marker, ms=4.5, lw=1.2, color=colour, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="number m of fixed edges", ylabel="predicted change of the AUC")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=2)
    return figure
