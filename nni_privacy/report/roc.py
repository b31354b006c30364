"""ROC curves of a trial: their numbers and their figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nni_privacy.attacks import RocCurve, roc_curve
from nni_privacy.attacks.intervals import roc_band
from nni_privacy.report.style import CURVES, DASHED, new_figure, no_formula
from nni_privacy.runs.records import RunInfo, TrialRecord
from nni_privacy.runs.scores import AttackScores, read_scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RocInfo", "draw_roc", "roc_info", "trial_rocs"]

GRID_POINTS = 32
"""Of the band, which has no steps: it is a curve of its own."""


@dataclass(frozen=True, eq=False)
class RocInfo:
    """ROC curves of one trial.

    Attributes:
        trial: the trial.
        attacks: names, the primary (or else the first) one first.
        curves: one a name.
        members: number of members that the first attack was asked about.
        non_members: number of non-members, likewise.
        grid: ``(g,)``-dim false-positive rates of the band, from ``1 / non_members`` to 1.
        band_low: ``(g,)``-dim lower end of the first attack's 95% band.
        band_high: ``(g,)``-dim upper end.
    """

    trial: TrialRecord
    attacks: tuple[str, ...]
    curves: tuple[RocCurve, ...]
    members: int
    non_members: int
    grid: NDArray[np.float64]
    band_low: NDArray[np.float64]
    band_high: NDArray[np.float64]


def roc_info(run: RunInfo) -> RocInfo | None:
    """ROC curves of the trial of highest accuracy (then lowest AUC) among those whose scores can be read.

    That is the model which a search for accuracy would hand over, so its leak is the one that counts.
    """
    ranked = sorted(run.measured, key=lambda trial: (-(trial.accuracy or 0), trial.mia_auc or 0, trial.sequence))
    for trial in ranked:
        scores = read_scores(run.directory, trial.trial, run.attacks)
        if scores:
            return trial_rocs(trial, scores, [roc_curve(attack.scores, attack.is_member) for attack in scores])
    return None


def trial_rocs(trial: TrialRecord, scores: Sequence[AttackScores], curves: Sequence[RocCurve]) -> RocInfo:
    """The info of a trial's attacks, at least one, with the band of the first."""
    first, names = scores[0], tuple(attack.attack for attack in scores)
    grid = np.geomspace(1 / first.non_members, 1, GRID_POINTS) if first.non_members > 1 else np.ones(1)
    return RocInfo(trial, names, tuple(curves), first.members, first.non_members, grid, *roc_band(curves[0], grid))


def draw_roc(info: RocInfo) -> Figure:
    """ROC curves on two logarithmic axes, down to the lowest false-positive rate that the records can show."""
    figure, axes = new_figure(6.4, 4.9)
    floor = 1 / max(info.non_members, 2)
    bottom = min(floor, 1 / max(info.members, 2)) / 1.5
    diagonal = np.geomspace(min(floor, bottom), 1, 50)
    axes.plot(diagonal, diagonal, label="guessing (AUC 0.5)", **DASHED)
    band = [np.maximum(end, bottom / 2) for end in (info.band_low, info.band_high)]
    label = no_formula(f"95% band, {info.attacks[0]}")
    axes.fill_between(info.grid, *band, color=CURVES[0], alpha=0.16, lw=0, label=label)
    for index, (attack, curve) in enumerate(zip(info.attacks, info.curves, strict=True)):
        clipped = np.maximum(curve.fpr, floor / 10), np.maximum(curve.tpr, bottom / 10)
        label = no_formula(f"{attack}, AUC {curve.auc:.3f}")
        width = 1.8 if index == 0 else 1.2
        axes.plot(*clipped, drawstyle="steps-post", color=CURVES[index % len(CURVES)], lw=width, label=label)
    axes.set(xscale="log", yscale="log", xlim=(floor, 1.05), ylim=(bottom, 1.15))
    axes.set(xlabel="false-positive rate (log)", ylabel="true-positive rate (log)")
    axes.legend(loc="lower right")
    return figure
