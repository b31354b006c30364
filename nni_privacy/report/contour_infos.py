"""Loss contours of a study: those of an architecture and its variants side by side, on common axes and levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nni_privacy.contour_info import PREFIX, ContourInfo
from nni_privacy.errors import AuditError
from nni_privacy.report.run import RunInfo, TrialInfo
from nni_privacy.spoiled import SPOILED

__all__ = ["RADII", "ContourRow", "contour_rows", "read_contour"]

RADII = (0.25, 0.5)
"""How far from the weights, in norms of the filters, the mean rise of the loss is given."""
LEVELS = 12
"""Lines between the lowest and the highest loss that is drawn."""
STEEPEST = 10.0
"""The highest loss that is drawn; networks that guess among ten classes lose 2.3."""
LOWEST = 1e-4
"""Levels are drawn on a logarithmic scale from here."""


@dataclass(frozen=True, eq=False)
class ContourRow:
    """The contours of one architecture, seed and data set.

    Attributes:
        title: what they have in common.
        contours: variant (with its defence, if there are several) to contour, the original first.
        levels: ``(l,)`` losses at which lines are drawn, the same for all of them, ascending.
        reach: how far from the weights the common axes are drawn: beyond it all losses are above the last level.
    """

    title: str
    contours: Mapping[str, ContourInfo]
    levels: tuple[float, ...]
    reach: float


def contour_rows(run: RunInfo) -> list[ContourRow]:
    """A row for each architecture, size, data set and seed that has a contour."""
    trials = [trial for trial in run.succeeded if trial.factors]
    several = len({trial.factors.get("defence") for trial in trials}) > 1
    found: dict[tuple[str, ...], dict[str, ContourInfo]] = {}
    for trial in trials:
        info = read_contour(run.directory, trial.trial)
        if info is not None:
            parts = ("variant", "defence") if several else ("variant",)
            name = ", ".join(str(trial.factors.get(part)) for part in parts)
            found.setdefault(_row_of(trial), {})[name] = info
    return [
        ContourRow(
            ", ".join(part for part in key if part), _original_first(contours), _levels(contours), _reach(contours)
        )
        for key, contours in sorted(found.items())
    ]


def read_contour(directory: Path, trial: str) -> ContourInfo | None:
    """The contour in ``scores/<trial>.npz`` of a run directory; None if there is none, or the file is spoiled."""
    name = f"{trial}.npz"
    if Path(name).name != name:  # a trial's name is never a way out of the folder
        return None
    try:
        with np.load(directory / "scores" / name, allow_pickle=False) as file:
            return ContourInfo.from_arrays({key: file[key] for key in file.files if key.startswith(PREFIX)})
    except (OSError, AuditError):
        return None
    except SPOILED:
        return None


def _row_of(trial: TrialInfo) -> tuple[str, ...]:
    named = [trial.factors.get(name) for name in ("architecture", "size", "dataset")]
    return *("" if value is None else str(value) for value in named), f"seed {trial.factors.get('seed')}"


def _original_first(contours: Mapping[str, ContourInfo]) -> dict[str, ContourInfo]:
    return dict(sorted(contours.items(), key=lambda item: (not item[0].startswith("original"), item[0])))


def _levels(contours: Mapping[str, ContourInfo]) -> tuple[float, ...]:
    values = np.concatenate([info.losses.ravel() for info in contours.values()])
    values = values[np.isfinite(values)]
    ends = (values.min(), values.max()) if len(values) else (1.0, 1.0)
    low, high = (float(np.clip(end, LOWEST, STEEPEST)) for end in ends)
    if low >= high:
        low, high = low / 2, low * 2
    return tuple(np.geomspace(low, high, LEVELS).tolist())


def _reach(contours: Mapping[str, ContourInfo]) -> float:
    """One point of the grid beyond the last one that is not too high to be drawn; all of it if there is none."""
    span = max(float(info.axis.max()) for info in contours.values())
    ends = []
    for info in contours.values():
        alpha, beta = np.meshgrid(info.axis, info.axis)
        drawn = np.maximum(np.abs(alpha), np.abs(beta))[info.losses <= STEEPEST]
        if len(drawn):
            ends.append(float(drawn.max() + info.axis[1] - info.axis[0]))
    return min([span, max(ends, default=span)])
