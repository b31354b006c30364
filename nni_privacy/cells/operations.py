"""Kinds of operations: which of them, in whichever space, are convolutions, poolings, skip connections, or nothing."""

from __future__ import annotations

from typing import Literal

__all__ = ["NO_CONNECTION", "OPERATION_KINDS", "OperationKind", "is_skip"]

OperationKind = Literal["convolution", "pooling", "skip", "none"]

NO_CONNECTION = "none"
"""The operation that stands for a missing edge: in NAS-Bench-201, and in DARTS during a search only."""

OPERATION_KINDS: dict[str, OperationKind] = {
    NO_CONNECTION: "none",
    "skip_connect": "skip",
    "max_pool_3x3": "pooling",
    "avg_pool_3x3": "pooling",
    "sep_conv_3x3": "convolution",
    "sep_conv_5x5": "convolution",
    "dil_conv_3x3": "convolution",
    "dil_conv_5x5": "convolution",
    "nor_conv_1x1": "convolution",
    "nor_conv_3x3": "convolution",
}
"""Name of an operation of any space to its kind; only :func:`~nni_privacy.cells.register_space` adds to it."""


def is_skip(op: str) -> bool:
    """Whether ``op`` is a skip connection; False for an operation of a user's own space, whatever it does."""
    return OPERATION_KINDS.get(op) == "skip"
