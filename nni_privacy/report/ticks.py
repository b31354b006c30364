"""Ticks below an axis that leave room for their labels, whatever the numbers; importing this imports Matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FixedLocator, MaxNLocator

__all__ = ["RoomyFixedLocator", "RoomyLocator"]

STEPS = (1, 2, 2.5, 5, 10)
FONT = 9.0
"""Size of the labels, in points, as the reports' style has it."""
CHARACTER = 0.64
"""Width of a digit, in sizes of the font."""
BETWEEN = 0.7
"""Room between two labels, likewise."""


class RoomyLocator(MaxNLocator):
    """As many round numbers as there is room for their labels; ``auto`` takes all labels for three characters."""

    def __init__(self) -> None:
        super().__init__(nbins=9, steps=STEPS)

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """The positions of the ticks."""
        for bins in range(self._nbins, 0, -1):  # type: ignore[attr-defined]
            ticks = MaxNLocator(bins, steps=STEPS, min_n_ticks=1).tick_values(vmin, vmax)
            if (np.diff(ticks) >= _room(self.axis, ticks)).all():
                break
        return ticks


class RoomyFixedLocator(FixedLocator):
    """These numbers, without those whose labels would lie on one before."""

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__(values)
        self.values = sorted(values)

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """The positions of the ticks."""
        kept: list[float] = []
        room = _room(self.axis, self.values)
        for value in self.values:
            if not kept or value - kept[-1] >= room:
                kept.append(value)
        return np.array(kept)


def _room(axis: Any, ticks: Any) -> float:
    """What the longest label takes, in units of the axis."""
    low, high = sorted(axis.get_view_interval())
    axes = axis.axes
    longest = max(map(len, axis.get_major_formatter().format_ticks(ticks)))
    points = axes.bbox.width / axes.figure.dpi * 72
    return float((CHARACTER * longest + BETWEEN) * FONT * (high - low) / points)
