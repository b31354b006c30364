"""Tick labels of a figure that lie on one another."""

from __future__ import annotations

from itertools import combinations
from typing import Any

PIXELS = 1.0
"""Room that there must be between two labels of an axis along it."""


def overlapping_ticks(figure: Any) -> list[tuple[str, str]]:
    """Pairs of labels of ticks that meet, of one axis or of two panels."""
    figure.draw_without_rendering()
    boxes = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            reach = 1e-9 * (high - low)
            shown = [tick for tick in axis.get_major_ticks() if low - reach <= tick.get_loc() <= high + reach]
            labels = [label for tick in shown for label in (tick.label1, tick.label2)]
            boxes += [
                (label.get_text(), label.get_window_extent().padded(PIXELS / 2))
                for label in labels
                if label.get_visible() and label.get_text().strip()
            ]
    return [(one, two) for (one, first), (two, second) in combinations(boxes, 2) if first.overlaps(second)]
