"""The ROC curves of an audit: their numbers, and the figure that a notebook shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks import AttackReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["RocFigure", "RocLine", "draw_roc_figure", "roc_figure"]


@dataclass(frozen=True, eq=False)
class RocLine:
    """The curve of one attack.

    Attributes:
        label: its name and its AUC.
        fpr: false-positive rates, ascending, ``(p,)``; 0 is drawn at the axis' end.
        tpr: true-positive rates, likewise.
    """

    label: str
    fpr: npt.NDArray[np.float64]
    tpr: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RocFigure:
    """Curves on two logarithmic axes.

    Attributes:
        lines: one an attack.
        left: the lowest false-positive rate that the most non-members of an attack can show.
        bottom: likewise of members.
    """

    lines: tuple[RocLine, ...]
    left: float
    bottom: float


def roc_figure(attacks: Mapping[str, AttackReport]) -> RocFigure:
    """The numbers of the figure; there is at least one attack."""
    left = 1 / max(2, *(report.roc.nonmembers for report in attacks.values()))
    bottom = 1 / max(2, *(report.roc.members for report in attacks.values()))
    lines = tuple(
        RocLine(f"{name}, AUC {report.roc.auc:.3f}", report.roc.fpr, report.roc.tpr) for name, report in attacks.items()
    )
    return RocFigure(lines, left, bottom)


def draw_roc_figure(info: RocFigure, axes: Axes | None = None) -> Axes:
    """Draws curves in the style that the user has set, into their axes or those of a new figure of ``pyplot``."""
    if axes is None:
        from matplotlib import pyplot

        _, axes = pyplot.subplots(figsize=(6.4, 4.9), layout="constrained")
    lowest = min(info.left, info.bottom)
    axes.plot([lowest, 1], [lowest, 1], color="0.6", linestyle="--", linewidth=1, label="guessing, AUC 0.500")
    for line in info.lines:
        # A logarithmic axis has no 0: what lies beyond its end is put outside of it.
        fpr, tpr = (np.maximum(rates, lowest / 10) for rates in (line.fpr, line.tpr))
        axes.plot(fpr, tpr, drawstyle="steps-post", label=line.label.replace("$", r"\$"))
    axes.set(xscale="log", yscale="log", xlim=(info.left, 1.05), ylim=(info.bottom / 1.5, 1.15))
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate")
    axes.legend(loc="lower right")
    return axes
