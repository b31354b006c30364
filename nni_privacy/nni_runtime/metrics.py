"""Results that trials report: what strategies can take, and what is wrong with any other, said with what it is."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["as_metric", "final_fault", "in_short"]

_ALLOWED = "allowed is a finite number, or a mapping whose 'default' is one"


def as_metric(value: Any) -> Any:
    """A reported result as strategies take it: a number, or a mapping whose ``default`` is one; no arrays.

    Raises:
        ValueError: if it is neither; NNI's strategies end at such a one.
    """
    plain = _without_arrays(value)
    default = plain.get("default") if isinstance(plain, dict) else plain
    if not isinstance(default, (int, float)):
        raise ValueError(f"{in_short(value)} was reported; {_ALLOWED}")
    try:
        float(default)
    except OverflowError:
        raise ValueError(f"{in_short(value)} was reported, which is too large; {_ALLOWED}") from None
    return plain


def final_fault(value: Any) -> str | None:
    """What is wrong with a trial's final result, in one line; None if strategies can take it."""
    try:
        plain = as_metric(value)
    except ValueError as error:
        return f"the final result {error}"
    if not math.isfinite(plain["default"] if isinstance(plain, dict) else plain):
        return f"the final result {in_short(value)} was reported; {_ALLOWED}"
    return None


def _without_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_arrays(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_arrays(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def in_short(value: Any) -> str:
    """A reported value as it can stand in a line."""
    return f"{' '.join(repr(value).split()):.80}"
