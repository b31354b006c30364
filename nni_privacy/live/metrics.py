"""Metrics of trials as a page shows them: title, which way is better, group, and which others are their intervals."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from nni_privacy.report.trials_table import COSTS

__all__ = ["MetricInfo", "metric_infos"]

Better = Literal["high", "low"]
Group = Literal["outcome", "cost", "attack", "other"]


@dataclass(frozen=True)
class MetricInfo:
    """One metric.

    Attributes:
        name: as trials report it.
        title: what it is called.
        better: which values are better; None where nobody can tell.
        fraction: whether it is a share, 0 to 1.
        group: an outcome that searches are about, a cost of the network, a further number of an attack, or another.
        low: the metric that is the lower end of its interval; None if there is none.
        high: the upper end.
    """

    name: str
    title: str
    better: Better | None
    fraction: bool
    group: Group
    low: str | None = None
    high: str | None = None


_OUTCOMES: dict[str, tuple[str, Better, bool]] = {
    "accuracy": ("Accuracy", "high", True),
    "mia_auc": ("Attack AUC", "low", True),
    "predicted_mia_auc": ("Predicted attack AUC", "low", True),
    "predicted_mia_auc_sd": ("Uncertainty of the prediction (SD)", "low", False),
    "default": ("Result", "high", False),
    "train_accuracy": ("Train accuracy", "high", True),
    "balanced_accuracy": ("Balanced test accuracy", "high", True),
    "overfitting": ("Overfitting", "low", True),
    "epsilon": ("ε (DP)", "low", False),
    "epsilon_low": ("ε, at least", "low", False),
}
_ATTACK: dict[str, str] = {
    "mia_auc": "AUC",
    "mia_balanced_accuracy": "Balanced accuracy of the attack",
    "mia_tpr_at_1pct_fpr": "TPR at 1% FPR",
    "mia_tpr_at_01pct_fpr": "TPR at 0.1% FPR",
    "mia_tpr_at_0_1pct_fpr": "TPR at 0.1% FPR",
}
"""Of the primary attack by these names, of a further one with its name before them."""

_GROUPS: Sequence[Group] = ("outcome", "cost", "attack", "other")


def metric_infos(names: Iterable[str]) -> tuple[MetricInfo, ...]:
    """The metrics of these names: outcomes first, then costs, attacks and others; ends of intervals are no own ones."""
    known = dict.fromkeys(names)
    ends = {f"{name}_{side}" for name in known for side in ("low", "high")} - _OUTCOMES.keys()
    found = [_metric(name, known) for name in known if name not in ends]
    first = {name: place for place, name in enumerate(dict.fromkeys([*_OUTCOMES, *COSTS, *_ATTACK]))}
    return tuple(sorted(found, key=lambda one: (_GROUPS.index(one.group), first.get(one.name, len(first)), one.name)))


def _metric(name: str, known: Collection[str]) -> MetricInfo:
    low, high = (end if end in known and end not in _OUTCOMES else None for end in (f"{name}_low", f"{name}_high"))
    if name in _OUTCOMES:
        title, better, fraction = _OUTCOMES[name]
        return MetricInfo(name, title, better, fraction, "outcome", low, high)
    if name in COSTS:
        return MetricInfo(name, COSTS[name], "low", False, "cost", low, high)
    base = next((base for base in _ATTACK if name == base or name.endswith(f"_{base}")), None)
    if base is not None:
        attack = name.removesuffix(base).rstrip("_").replace("_", " ")
        return MetricInfo(
            name, f"{_ATTACK[base]}, {attack}" if attack else _ATTACK[base], "low", True, "attack", low, high
        )
    return MetricInfo(name, name.replace("_", " "), None, False, "other", low, high)
