"""Kinds of operations: which of them, in whichever space, are convolutions, poolings, skip connections, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from nni_privacy.errors import ConfigError

__all__ = ["NO_CONNECTION", "OPERATION_KINDS", "OperationKind", "is_skip", "operation_kind", "register_operation"]

OperationKind = Literal["convolution", "pooling", "skip", "none"]

NO_CONNECTION = "none"
"""The operation that stands for a missing edge: in NAS-Bench-201, and in DARTS during a search only."""

_KINDS: dict[str, OperationKind] = {
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
OPERATION_KINDS: Mapping[str, OperationKind] = MappingProxyType(_KINDS)
"""Name of an operation of any space to its kind."""


def register_operation(op: str, kind: OperationKind) -> None:
    """Makes an operation known; ConfigError if it is of another kind elsewhere."""
    if _KINDS.setdefault(op, kind) != kind:
        raise ConfigError(f"operation {op!r}: a {_KINDS[op]} in another space, not a {kind}")


def operation_kind(op: str) -> OperationKind:
    """The kind of operation ``op``; KeyError if no space has it.

    >>> operation_kind("dil_conv_5x5")
    'convolution'
    """
    return OPERATION_KINDS[op]


def is_skip(op: str) -> bool:
    """Whether ``op`` is a skip connection; False for an operation of a user's own space, whatever it does."""
    return OPERATION_KINDS.get(op) == "skip"
