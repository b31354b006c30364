"""Registry of the paper's claims about cell patterns: each with its source, number, and rule.

Numbers are changes (variant less original, fractions) that follow from the paper's tables (CIFAR-10, White-Box/Partial,
ten architectures, one seed). Where the paper shows a figure only, there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from nni_privacy.analysis.contrasts import Against
from nni_privacy.analysis.rules import LOWERS, RAISES, Rule

__all__ = ["CLAIMS", "PAPER_DATASET", "Claim", "Comparison", "Conjunction", "Trend"]

PAPER_DATASET = "cifar10"
"""The data set that the paper's numbers are of."""
ACCURACY_MARGIN = 0.01
"""The most that "at little cost in accuracy" may cost: one percentage point."""
FLAT_MARGIN = 0.005
"""The most that a flat accuracy may change per node: a percentage point from 4 nodes to 6."""

CELLS = ("normal", "reduction", "dual")
BUDGETS = (3, 4, 5)
ATTACKS: Mapping[str, str] = {
    "black_box_shadow": "Black-Box/Shadow",
    "black_box_partial": "Black-Box/Partial",
    "white_box_shadow": "White-Box/Shadow",
    "white_box_partial": "White-Box/Partial",
    "label_only": "Label-Only",
}
_WHERE = {"normal": "the normal cell", "reduction": "the reduction cell", "dual": "both cells"}
_FIGURES = "Figures 9-11, 14, 15, 25"


@dataclass(frozen=True)
class Comparison:
    """A claim about paired effects: which of them it speaks of.

    Attributes:
        metric: name of the metric.
        pattern: family of the pattern; None: the original itself (of a defence).
        against: what the variant is compared with.
        cells: where the pattern is; None: wherever.
        budget: number of edges; None: however many.
        space: of the genotypes; None: any.
        defended: whether both are trained with a defence.
    """

    metric: str
    pattern: str | None
    against: Against = "original"
    cells: str | None = None
    budget: int | None = None
    space: str | None = "darts"
    defended: bool = False


@dataclass(frozen=True)
class Trend:
    """A claim about slopes: which of them it speaks of; see :class:`nni_privacy.analysis.slopes.Slope`."""

    predictor: str
    metric: str
    pattern: str | None = None
    cells: str | None = None


@dataclass(frozen=True)
class Conjunction:
    """A claim that holds if all others hold, of the same data set and defence."""

    parts: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        id: unique name.
        text: what is claimed.
        source: where in the paper, or why it is asked.
        about: which estimates it speaks of.
        rule: when it holds; None of a conjunction.
        paper: the paper's number on CIFAR-10; None where it gives none.
    """

    id: str
    text: str
    source: str
    about: Comparison | Trend | Conjunction
    rule: Rule | None
    paper: float | None = None


_PAPER: Mapping[tuple[str, str, int, str], float] = {
    ("demotion", "normal", 3, "mia_auc"): 0.7940 - 0.8141,
    ("demotion", "reduction", 3, "mia_auc"): 0.7946 - 0.8141,
    ("demotion", "dual", 3, "mia_auc"): 0.7801 - 0.8141,
    ("demotion", "reduction", 4, "mia_auc"): 0.7861 - 0.8141,
    ("promotion", "normal", 3, "mia_auc"): 0.8148 - 0.8141,
    ("promotion", "normal", 5, "mia_auc"): 0.8217 - 0.8141,
    ("demotion", "normal", 3, "accuracy"): 0.7948 - 0.7866,
    ("demotion", "reduction", 3, "accuracy"): 0.7950 - 0.7866,
    ("demotion", "dual", 3, "accuracy"): 0.8061 - 0.7866,
    ("demotion", "reduction", 4, "accuracy"): 0.7959 - 0.7866,
    ("demotion", "reduction", 4, "overfitting"): 0.2041 - 0.2134,
}
"""Pattern, cells, m and metric to the paper's change."""


def _effectiveness() -> Iterator[Claim]:
    kinds: tuple[tuple[str, str, str, Rule], ...] = (
        ("demotion", "mia_auc", "lowers the attack's AUC", LOWERS),
        ("promotion", "mia_auc", "raises the attack's AUC", RAISES),
        ("demotion", "accuracy", "costs at most 0.01 of accuracy", Rule(low=-ACCURACY_MARGIN)),
        ("demotion", "overfitting", "lowers overfitting", LOWERS),
    )
    for (pattern, metric, what, rule), cells, budget in product(kinds, CELLS, BUDGETS):
        name = f"{pattern}-{cells}-{budget}-{metric.removeprefix('mia_')}"
        text = f"{pattern.capitalize()} of {budget} edges in {_WHERE[cells]} {what}"
        about = Comparison(metric, pattern, cells=cells, budget=budget)
        yield Claim(name, text, _FIGURES, about, rule, _PAPER.get((pattern, cells, budget, metric)))


def _protection() -> Iterator[Claim]:
    """The two controls, which the paper lacks, and what they say together."""
    controls: tuple[tuple[Against, str], ...] = (
        ("placebo", "other operations on the same edges"),
        ("size-matched", "the original cell with as many weights"),
    )
    for cells, budget in product(CELLS, BUDGETS):
        name, what = f"demotion-{cells}-{budget}", f"Demotion of {budget} edges in {_WHERE[cells]}"
        for control, meaning in controls:
            about = Comparison("mia_auc", "demotion", control, cells, budget)
            text = f"{what} lowers the AUC more than {meaning} ({control})"
            yield Claim(f"{name}-beats-{control}", text, "not in the paper", about, LOWERS)
        parts = (f"{name}-auc", *(f"{name}-beats-{control}" for control, _ in controls))
        text = f"{what} protects: it lowers the AUC, and beats both controls"
        yield Claim(f"{name}-protects", text, "section 5, with controls", Conjunction(parts), None)


def _transfer() -> Iterator[Claim]:
    for (attack, name), cells, budget in product(ATTACKS.items(), CELLS, BUDGETS):
        text = f"Demotion of {budget} edges in {_WHERE[cells]} lowers the AUC of {name} too"
        about = Comparison(f"{attack}_mia_auc", "demotion", cells=cells, budget=budget)
        yield Claim(f"demotion-{cells}-{budget}-{attack.replace('_', '-')}", text, "Figure 13", about, LOWERS)
    kinds: tuple[tuple[str, str, Rule], ...] = (("demotion", "lowers", LOWERS), ("promotion", "raises", RAISES))
    for pattern, verb, rule in kinds:
        about = Comparison("mia_auc", pattern, space="nasbench201")
        text = f"{pattern.capitalize()} {verb} the attack's AUC on NAS-Bench-201 too"
        yield Claim(f"{pattern}-nasbench201-auc", text, "appendix F, Figure 26", about, rule)


def _defences() -> Iterator[Claim]:
    alone = Comparison("mia_auc", None, "no defence", space=None)
    yield Claim("defence-auc", "The defence alone lowers the attack's AUC", "Figures 16, 28", alone, LOWERS)
    for cells, budget in product(CELLS, BUDGETS):
        text = f"Demotion of {budget} edges in {_WHERE[cells]} lowers the AUC further where a defence is on"
        about = Comparison("mia_auc", "demotion", cells=cells, budget=budget, defended=True)
        yield Claim(f"demotion-{cells}-{budget}-with-defence", text, "Figures 16, 28", about, LOWERS)


def _ablations() -> Iterator[Claim]:
    source = "Figures 21-24"
    flat = "More intermediate nodes M leave accuracy as it is"
    trends: tuple[tuple[str, str, Trend, Rule], ...] = (
        ("cells-accuracy", "More cells N raise accuracy", Trend("network_cells", "accuracy"), RAISES),
        ("cells-auc", "More cells N lower the attack's AUC", Trend("network_cells", "mia_auc"), LOWERS),
        ("nodes-auc", "More intermediate nodes M raise the attack's AUC", Trend("nodes", "mia_auc"), RAISES),
        ("nodes-accuracy", flat, Trend("nodes", "accuracy"), Rule(-FLAT_MARGIN, FLAT_MARGIN)),
    )
    for name, text, about, rule in trends:
        yield Claim(f"ablation-{name}", text, source, about, rule)
    for cells in CELLS:
        trend = Trend("budget", "mia_auc", "demotion", cells)
        paper = 0.7861 - 0.7946 if cells == "reduction" else None  # from m = 3 to m = 4
        text = f"Each further edge of the demotion pattern in {_WHERE[cells]} lowers the AUC"
        yield Claim(f"ablation-budget-{cells}", text, source, trend, LOWERS, paper)


def _guidelines() -> Iterator[Claim]:
    kinds: tuple[tuple[str, str, Rule], ...] = (
        ("convolutions", "More convolutions raise", RAISES),
        ("convolutions on the inputs", "More convolutions on the cell's inputs raise", RAISES),
        ("depth", "A deeper cell lowers", LOWERS),
        ("width", "A wider cell raises", RAISES),
    )
    for (predictor, text, rule), cells in product(kinds, CELLS[:2]):
        name, about = f"guideline-{predictor.replace(' ', '-')}-{cells}", Trend(predictor, "mia_auc", cells=cells)
        yield Claim(name, f"{text} the attack's AUC ({cells} cell)", "section 5.6, as in Figure 7", about, rule)


_PARTS = (_effectiveness, _protection, _transfer, _defences, _ablations, _guidelines)
CLAIMS: tuple[Claim, ...] = tuple(claim for part in _PARTS for claim in part())
"""All claims, in the order of the report's table."""
