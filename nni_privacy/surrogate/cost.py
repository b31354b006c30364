"""Parameters and multiply-adds of the network that a genotype stands for, by table instead of by building it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES
from nni_privacy.genotype_codes import GenotypeCodes
from nni_privacy.surrogate.paths import LAYOUT

__all__ = ["COST_NAMES", "network_cost"]

COST_NAMES = ("parameters", "multiply_adds")
CHANNELS, STEM_MULTIPLIER, COLOURS, CLASSES = 16, 3, 3, 10
"""Of the paper's networks (section 4.1)."""
PIXELS = 32
"""Sides of the images; a larger image multiplies all multiply-adds alike (but the classifier's)."""

Cost = npt.NDArray[np.float64]


class _Place(NamedTuple):
    """Where an operation stands: channels, pixels a side of its output, whether it halves the resolution."""

    channels: int
    side: int
    halves: bool


def network_cost(codes: GenotypeCodes) -> npt.NDArray[np.float64]:
    """(n, 2): parameters, and multiply-adds of convolutions and classifier for one image of 32 x 32."""
    channels, side = CHANNELS, PIXELS
    stem = STEM_MULTIPLIER * channels
    total = np.tile(_convolution(COLOURS, stem, 3, side) + _norm(stem), (len(codes), 1))
    before_last, last, last_side = stem, stem, side
    for kind in LAYOUT:
        reduces = CELL_TYPES[kind] == "reduction"
        channels = 2 * channels if reduces else channels
        # Inputs are brought to the cell's width first; one of twice the resolution is halved by the way.
        for width in (before_last, last):
            total += _convolution(width, channels, 1, last_side) + _norm(channels)
        side = last_side // 2 if reduces else last_side
        total += _edges(codes, kind, _Place(channels, side, reduces))
        before_last, last, last_side = last, channels * codes.nodes, side
    return total + np.array([last * CLASSES + CLASSES, last * CLASSES])


def _edges(codes: GenotypeCodes, kind: int, place: _Place) -> Cost:
    """(n, 2): of all edges of one cell."""
    inner = np.stack([_operation(name, place._replace(halves=False)) for name in DARTS_OPERATIONS])
    outer = np.stack([_operation(name, place) for name in DARTS_OPERATIONS])
    table = np.stack([inner, outer])
    from_input = (codes.sources[:, kind] < INPUT_NODES).astype(np.int8)
    cost: Cost = table[from_input, codes.operations[:, kind]].sum(axis=(1, 2))
    return cost


def _operation(name: str, place: _Place) -> Cost:
    """(2,): of one operation; poolings cost no multiply-add of a convolution and have no parameters."""
    if "pool" in name:
        return np.zeros(2)
    channels, side, halves = place
    if name == "skip_connect":
        return _convolution(channels, channels, 1, side) + _norm(channels) if halves else np.zeros(2)
    kernel = 5 if "5x5" in name else 3
    once = _depthwise(channels, kernel, side) + _convolution(channels, channels, 1, side) + _norm(channels)
    return 2 * once if name.startswith("sep") else once


def _convolution(inputs: int, outputs: int, kernel: int, side: int) -> Cost:
    weights = inputs * outputs * kernel**2
    return np.array([weights, weights * side**2], dtype=np.float64)


def _depthwise(channels: int, kernel: int, side: int) -> Cost:
    return _convolution(1, channels, kernel, side)


def _norm(channels: int) -> Cost:
    return np.array([2 * channels, 0], dtype=np.float64)
