"""The part of a study's page on variants: what patterns, defences and sizes do, and what becomes of the claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from nni_privacy.effects.ablations import SIZES, Slope
from nni_privacy.effects.rules import FAILS, HOLDS, UNDECIDED
from nni_privacy.report.effects_figures import draw_budgets, draw_forest, draw_slope
from nni_privacy.report.effects_forests import (
    ForestInfo,
    attack_forests,
    control_forests,
    dataset_forests,
    defence_forests,
    size_forests,
    space_forests,
    variant_forests,
)
from nni_privacy.report.effects_html import effects_table, levels_table, slope_names, slopes_table, verdicts_table
from nni_privacy.report.effects_infos import EffectsInfo, budget_infos, effects_info, level_rows
from nni_privacy.report.run import RunInfo
from nni_privacy.report.svg import drawing_style, to_svg
from nni_privacy.report.text import escape_text

__all__ = ["effects_html"]

_Forests = Callable[[EffectsInfo], Sequence[ForestInfo]]

LISTED = 40
"""So many measurements without a partner are named; of more, the number is given."""


def effects_html(run: RunInfo) -> str:
    """The sections, only those that have something to show; empty if the study has nothing to compare."""
    info = effects_info(run)
    if info is None:
        return ""
    with drawing_style():
        sections = [
            _verdicts(info),
            *(_forests(info, *row) for row in _FORESTS[:2]),
            _budgets(info),
            *(_forests(info, *row) for row in _FORESTS[2:]),
            _defences(info),
            _forests(info, "by-size", "Patterns by size of the network (Figures 21-23)", size_forests, _SIZES),
            _ablations(info),
            _guidelines(info),
            _all_effects(info),
        ]
    return "".join(sections)


def _section(name: str, title: str, *parts: str) -> str:
    """The section; nothing if it has no content."""
    content = "".join(parts)
    return f'<section id="{name}">\n<h2>{escape_text(title)}</h2>\n{content}\n</section>\n' if content else ""


def _forests(info: EffectsInfo, name: str, title: str, forests: _Forests, note: str, *more: str) -> str:
    """A section with a figure a forest; ``more`` stands below them."""
    found = forests(info)
    parts = []
    for place, forest in enumerate(found):
        label = f"Changes with 95% intervals, {forest.title}"
        svg = to_svg(draw_forest(forest, info.metric), prefix=f"{name}{place}", label=label)
        heading = f"<h3>{escape_text(forest.title)}</h3>"
        parts.append(f'{heading}<figure class="whole"><div class="scroll">{svg}</div></figure>')
    return _section(name, title, f"<p>{note}</p>" if parts and note else "", *parts, *more)


def _verdicts(info: EffectsInfo) -> str:
    verdicts = info.verdicts
    if not verdicts.rows:
        return ""
    counts = Counter(row.verdict for row in verdicts.rows)
    numbers = ", ".join(f"{counts[verdict]} {words}" for verdict, words in _PLURAL.items() if counts[verdict])
    left = ""
    if verdicts.too_few:
        names = ", ".join(claim.id for claim in verdicts.too_few)
        left = f'<p class="notice">Left out for want of pairs (an interval needs 3): {escape_text(names)}.</p>'
    note = (
        f"<p><b>Of {len(verdicts.rows)} claims: {numbers}.</b> A claim holds if its 95% interval lies wholly on the "
        "claimed side of the border, and does not hold if it lies wholly on the other; else it is undecided at this "
        "size, which is no evidence against it. Intervals are of each claim by itself; with many claims, some are "
        "decided by chance, and p (Holm) is adjusted for all rows of this table. Pairs: number of pairs (or of lines, "
        "of a slope) of how many architectures. Paper: its change on CIFAR-10, where it gives one. What the data do "
        "not speak to is left out. Intervals over architectures and seeds: <i>clustered bootstrap-t</i> draws "
        "architectures, then seeds within each, and studentises; <i>clustered Student's t</i>, of fewer than eight "
        "architectures, is over their means. The command takes this run's config.yaml.</p>"
    )
    return _section("verdicts", "Do the paper's claims hold?", note, left, verdicts_table(info, verdicts))


def _budgets(info: EffectsInfo) -> str:
    found = budget_infos(info)
    if not found:
        return ""
    figures = [
        to_svg(draw_budgets(one), prefix=f"budget{place}", label=f"Change of the AUC by m, {one.title}")
        for place, one in enumerate(found)
    ]
    note = "<p>Change of the primary attack's AUC by the number m of fixed edges. Thin: one architecture each.</p>"
    return _section("by-budget", "By number of fixed edges (Figure 24)", note, _panels(figures))


def _defences(info: EffectsInfo) -> str:
    levels = level_rows(info)
    title, table = "With defences (Figures 16, 28)", levels_table(levels) if levels else ""
    return _forests(info, "by-defence", title, defence_forests, _DEFENCES, table)


def _ablations(info: EffectsInfo) -> str:
    if not info.ablations:
        return ""
    drawn = [slope for slope in info.ablations if slope.predictor in SIZES]
    note = (
        "<p>Originals without a defence (of m: the patterns). Slopes are the means of lines through the measurements "
        "of one architecture and seed, where it was measured at several values; else of least squares over "
        "architectures. Thin: one architecture each; thick: their mean.</p>"
    )
    figures = _slopes(info, drawn, "ablation")
    return _section(
        "ablations", "Size of the network (Figures 21-24)", note, figures, slopes_table(info, info.ablations)
    )


def _guidelines(info: EffectsInfo) -> str:
    if not info.guidelines:
        return ""
    note = (
        "<p>Architectures as they are, without pattern or defence; a point is one architecture, the mean over its "
        "seeds. Each line is fitted by itself: properties of cells go along with each other, and none of these slopes "
        "says what would happen if that property alone were changed. Depth: edges on the longest path from an "
        "input; width: the sum over nodes of the share of their edges that comes from an input.</p>"
    )
    figures = _slopes(info, info.guidelines, "guideline")
    table = slopes_table(info, info.guidelines)
    return _section("guidelines", "Guidelines as regressions (section 5.6)", note, figures, table)


def _slopes(info: EffectsInfo, slopes: Sequence[Slope], name: str) -> str:
    several = len({slope.dataset for slope in slopes}) > 1
    figures = []
    for place, slope in enumerate(slopes):
        x = ", ".join([slope_names(slope), *([slope.dataset] if several else [])])
        label = f"{info.metric(slope.metric)} against {x}"
        drawing = draw_slope(slope, x=x.replace(", ", "\n", 1), y=info.metric(slope.metric))
        figures.append(to_svg(drawing, prefix=f"{name}{place}", label=label))
    return _panels(figures) if figures else ""


def _panels(figures: Sequence[str]) -> str:
    return f'<div class="panels">{"".join(f"<figure>{svg}</figure>" for svg in figures)}</div>'


def _all_effects(info: EffectsInfo) -> str:
    if not info.effects:
        return ""
    parts = [
        f"<details><summary>All {len(info.effects)} comparisons as a table</summary>{effects_table(info)}</details>"
    ]
    if info.unpaired:
        listed = "".join(f"<li>{escape_text(text)}</li>" for text in info.unpaired[:LISTED])
        more = len(info.unpaired) - LISTED
        rest = f"<li>and {more} more</li>" if more > 0 else ""
        title = f"{len(info.unpaired)} times, a measurement has no partner and is left out of a comparison"
        parts.append(f"<details><summary>{title}</summary><ul>{listed}{rest}</ul></details>")
    return _section("comparisons", "All comparisons", *parts)


_PLURAL = {HOLDS: "hold", FAILS: "do not hold", UNDECIDED: "are undecided at this size"}
_PAIRED = (
    "Each variant less its original, paired by architecture, seed and size: both were trained from the same seed on "
    "the same batches. A diamond is the mean over architectures (each the mean of its seeds), the bar its 95% interval "
    "over architectures and seeds; a hollow diamond has too few pairs for one. Left of 0 the attack finds less. The "
    "placebo writes other operations on the same edges; size-matched is the original cell with as many weights as the "
    "pattern leaves."
)
_CONTROLS = (
    "The pattern's change less its control's: how much is due to just these operations (placebo), and how much to more "
    "than a smaller network (size-matched). A pattern protects if it lowers the AUC and beats both."
)
_DEFENCES = (
    "Alone: originals trained with the defence less the same without. +: what a pattern changes where both networks "
    "are trained with the defence. ε: of differential privacy, for one training record."
)
_SIZES = "The pattern less its original at each size; elsewhere on this page, pairs of all sizes are taken together."
_FORESTS: tuple[tuple[str, str, _Forests, str], ...] = (
    ("effects", "What the patterns do (Figures 9-11)", variant_forests, _PAIRED),
    ("controls", "Patterns against their controls", control_forests, _CONTROLS),
    ("by-attack", "By attack (Figure 13)", attack_forests, "The pattern less its original, attack by attack."),
    ("by-data", "By data set (Figures 14, 15, 25)", dataset_forests, "The pattern less its original on each data set."),
    ("by-space", "By search space (Figure 26)", space_forests, "The pattern less its original in each space."),
)
"""Name, title, forests and note of the sections."""
