"""The page of an extraction: patterns, their evidence, and what the groups of architectures look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nni_privacy.cells import CELL_TYPES, Edge
from nni_privacy.patterns.effects import Effect
from nni_privacy.patterns.evidence import EdgeFinding
from nni_privacy.patterns.findings import Assessment, Extraction, FoundPattern
from nni_privacy.report.cell_figure import draw_cell, draw_cell_legend
from nni_privacy.report.extraction_figures import (
    draw_distribution,
    draw_effects,
    draw_heat_map,
    draw_stability,
    draw_topology,
)
from nni_privacy.report.extraction_infos import distribution_info, heat_map_info, topology_info
from nni_privacy.report.frame import card_html, notice_html, page_html
from nni_privacy.report.layout import draw_info
from nni_privacy.report.svg import drawing_style, to_svg
from nni_privacy.report.text import escape_text, facts_html

__all__ = ["render_extraction"]

GROUP_NOTE = {"demotion": "lowest", "promotion": "highest"}


def render_extraction(extraction: Extraction, *, title: str, facts: Mapping[str, str] = {}) -> str:
    """The page as text; the same extraction gives the same text.

    Args:
        extraction: what was found.
        title: of the page.
        facts: what a reader should know (data, surrogate, seed, ...), shown in this order; plain text.
    """
    with drawing_style():
        sections = {
            "patterns": "".join(_pattern(extraction, found) for found in extraction.found),
            "others": "".join(_other(assessment) for assessment in extraction.assessed) or "<p>None were given.</p>",
            "importance": _importance(extraction),
            "operations": _panels(
                *(
                    (draw_distribution(distribution_info(extraction, cell)), f"ops-{cell}", f"Operations, {cell} cell")
                    for cell in CELL_TYPES
                )
            ),
            "topologies": _panels(
                *(
                    (draw_topology(topology_info(extraction, cell)), f"top-{cell}", f"Convolutions, {cell} cell")
                    for cell in CELL_TYPES
                )
            ),
        }
    return page_html(
        "extraction",
        title=f"{title} · privacy patterns",
        lead="Cell patterns extracted from measured architectures by a surrogate, Operation Importance and "
        "Algorithm 1, each edge with what speaks for it. All effects are predicted, not measured.",
        notices=notice_html(_notices(extraction)),
        cards="".join(_card(found) for found in extraction.found),
        facts=facts_html({key: escape_text(value) for key, value in (_facts(extraction) | dict(facts)).items()}),
        sections={**sections, "notes": _NOTES},
        footer="Written by nni-privacy. All edges with their numbers are in importance.csv beside this page. "
        "The page needs no network.",
    )


def _panels(*figures: tuple[Any, str, str]) -> str:
    panels = (
        f'<div class="cell">{to_svg(figure, prefix=prefix, label=label)}</div>' for figure, prefix, label in figures
    )
    return f'<div class="panels">{"".join(panels)}</div>'


def _notices(extraction: Extraction) -> list[str]:
    lines, found = [], extraction.predictiveness
    if not found.holds:
        lines.append(
            f"The surrogate does not predict architectures that it has not seen: rank correlation "
            f"{found.spearman:.3f}, needed is more than {found.needed:.3f}. No edge is supported."
        )
    missing = [pattern.name for pattern in extraction.found if not pattern.supported]
    if missing:
        lines.append(
            f"Not supported by the data: {', '.join(missing)}. The files hold what Algorithm 1 gives, marked so."
        )
    refused = [one.pattern.name for one in extraction.assessed if not one.supported]
    if refused:
        lines.append(f"Patterns from elsewhere that these data do not support: {', '.join(refused)}.")
    return lines


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


def _card(found: FoundPattern) -> str:
    value = f"{len(found.edges)} edges" if found.supported else "not supported"
    more = f"predicted {_effect(found.effects[-1])}" if found.effects else "no supported edge"
    return card_html(found.name, value, more)


def _effect(effect: Effect) -> str:
    return f"{effect.change:+.4f} [{effect.low:+.4f}, {effect.high:+.4f}]"


def _pattern(extraction: Extraction, found: FoundPattern) -> str:
    """One pattern: its edges with evidence, drawn, with predicted effects and stability."""
    shown = [*found.edges, *(edge for edge in found.literal if edge not in found.edges)]
    findings = [found.findings[edge] for edge in shown]
    effects: dict[str, Sequence[Effect]] = {"supported edges": found.effects} if found.effects else {}
    effects |= {"Algorithm 1 as published": found.literal_effects} if found.literal_effects else {}
    effects |= {"found in one half, judged by the other": found.replicated} if found.replicated else {}
    for other in extraction.assessed:
        if (other.pattern.cell, other.pattern.objective) == (found.cell, found.objective):
            effects.setdefault(other.pattern.name, other.effects)
    figures = [(draw_effects(effects), f"eff-{found.name}", f"Predicted effects, {found.name}")]
    if findings:
        figures.append((draw_stability(findings), f"stab-{found.name}", f"Stability of the edges, {found.name}"))
    verdict = "supported" if found.supported else "not supported"
    return (
        f"<h3>{found.name}: {verdict}</h3>{_drawing(extraction, found)}"
        f'<div class="scroll">{_table(findings, found.edges)}</div>{_panels(*figures)}'
    )


def _drawing(extraction: Extraction, found: FoundPattern) -> str:
    """The pattern in the architecture of its group with the most extreme AUC."""
    if not found.edges:
        return ""
    rows = extraction.groups[found.objective]
    auc = extraction.auc[rows]
    row = rows[auc.argmin() if found.objective == "demotion" else auc.argmax()]
    (host,) = extraction.codes[[row]].to_genotypes()
    cell = found.pattern(name=found.name, source="").apply(host).cell(found.cell)
    drawing = draw_info(cell, found.cell, found.edges)
    svg = to_svg(draw_cell(drawing), prefix=f"cell-{found.name}", label=f"Pattern {found.name}")
    legend = to_svg(draw_cell_legend(), prefix=f"legend-{found.name}", label="Legend of the cell drawings")
    note = f"{found.name}, written into the architecture with the {GROUP_NOTE[found.objective]} measured AUC"
    cell_html = f'<div class="cell"><div class="name">{note}</div>{svg}</div>'
    return f'<div class="scroll">{legend}</div><div class="cells">{cell_html}</div>'


_HEADS = (
    "m",
    "edge",
    "architectures",
    "importance",
    "95% interval",
    "typical",
    "measured ± error",
    "beside",
    "stability",
    "verdict",
)


def _table(findings: Sequence[EdgeFinding], edges: Sequence[Edge]) -> str:
    rows = []
    for finding in findings:
        edge = finding.edge
        position = str(edges.index(edge) + 1) if edge in edges else "–"
        name = f"{edge.source} → {edge.target} {escape_text(edge.op)}"
        verdict = "supported" if finding.supported else f"left out: {escape_text(finding.reason)}"
        if finding.supported and edge not in edges:
            verdict = "supported, but finds no place beside the others"
        values = (
            f"{finding.support}",
            f"{finding.importance:+.4f}",
            f"[{finding.low:+.4f}, {finding.high:+.4f}]",
            f"{finding.typical:+.4f}",
            f"{finding.measured:+.4f} ± {finding.measured_error:.4f}" if np.isfinite(finding.measured) else "–",
            f"{finding.beside:+.1f}",
            f"{finding.stability:.2f}",
        )
        cells = f'<td class="text"><code>{name}</code></td>' + "".join(f"<td>{value}</td>" for value in values)
        rows.append(f'<tr><td>{position}</td>{cells}<td class="why">{verdict}</td></tr>')
    heads = "".join(f'<th class="{"text" if head in ("edge", "verdict") else ""}">{head}</th>' for head in _HEADS)
    body = "".join(rows) or f'<tr><td colspan="{len(_HEADS)}">no candidate edge</td></tr>'
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _other(assessment: Assessment) -> str:
    pattern = assessment.pattern
    verdict = "supported" if assessment.supported else f"not supported: {assessment.reason}"
    findings = [assessment.findings[edge] for edge in pattern.edges if edge in assessment.findings]
    absent = [str(edge) for edge in pattern.edges if edge not in assessment.findings]
    effects = ", ".join(f"m = {m}: {_effect(effect)}" for m, effect in enumerate(assessment.effects, start=1))
    note = f"<p>In no architecture of the group: {escape_text(', '.join(absent))}.</p>" if absent else ""
    return (
        f"<h3>{escape_text(pattern.name)}: {escape_text(verdict)}</h3><p>{escape_text(pattern.source)}</p>"
        f"<p>Predicted change of the AUC: {effects}.</p>{note}"
        f'<div class="scroll">{_table(findings, pattern.edges)}</div>'
    )


def _importance(extraction: Extraction) -> str:
    maps = (
        (
            draw_heat_map(heat_map_info(found, extraction.codes.nodes), title=f"{found.cell} cell, {note} AUC"),
            f"heat-{found.name}",
            f"Operation Importance, {found.name}",
        )
        for found in extraction.found
        for note in (GROUP_NOTE[found.objective],)
    )
    return (
        "<p>Blue edges mitigate the attack, red ones promote it. A dot marks the supported ones; white places are in "
        f"fewer than 15 architectures of the group.</p>{_panels(*maps)}"
    )


_NOTES = (
    "<ul><li><b>Importance</b> (Operation Importance, equation 1 of the CCS 2022 paper): the mean predicted AUC of an "
    "architecture's neighbours, which differ in this one edge, less its own; the mean over the group's architectures "
    "that contain the edge. Positive: the edge mitigates the attack. No architecture is ever predicted by a surrogate "
    "that saw it.</li>"
    "<li><b>Interval</b>: over resamples of surrogates, each fitted to half of the data, and of the architectures that "
    "they did not see. <b>Typical</b>: against the median neighbour instead of the mean; near 0, the importance is "
    "owed to a single alternative. <b>Measured</b>: by least squares on the measured AUCs, without a surrogate. "
    "<b>Beside</b>: the same in standard errors, in a model that holds only the edges that the measurements single out "
    "(more than 4), and this one.</li>"
    "<li><b>Supported</b>: in more than 14 architectures, importance of the right sign with a false discovery rate of "
    "5%, at least half of it left against the typical alternative (one-sided 5%), and the measurements alone agree "
    "(one-sided 10%), also beside the edges that they single out; those need nothing more than the right sign. "
    "Unsupported edges are left out of a supported pattern.</li>"
    "<li><b>Stability</b>: the share of resamples in which Algorithm 1, as published, takes the edge again.</li>"
    "<li><b>Effects</b> are predicted for a sample of all architectures, the first m edges fixed. Edges that were "
    "chosen because they look good look better than they are: the line <i>found in one half, judged by the other</i> "
    "is free of that.</li></ul>"
)
