"""Plain data for a run's YAML and JSON files, made of whatever a user's evaluator or settings hold."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

__all__ = ["plain_data"]

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_MOST = 100
"""Numbers of an array that are written; of a longer one, its shape."""


def plain_data(value: Any) -> Any:
    """Numbers, texts, lists and mappings that stand for ``value``.

    Paths become texts, numpy's numbers numbers, sets and tuples lists, classes and functions their dotted names, NaN
    and infinities texts, and what has no such form a short description: it is for reading, not for reading back.
    """
    if isinstance(value, Mapping):  # one value that cannot be written does not take the others along
        return {key if isinstance(key, str) else str(_plain(key)): _plain(entry) for key, entry in value.items()}
    return _plain(value)


def _plain(value: Any) -> Any:
    try:
        return json.loads(to_json(value, fallback=_described, bytes_mode="base64", inf_nan_mode="strings"))
    except (PydanticSerializationError, ValueError, TypeError, RecursionError):
        return _described(value)


def _described(value: Any) -> Any:
    name = getattr(value, "__qualname__", None)
    if name is not None:
        return f"{getattr(value, '__module__', None) or 'builtins'}.{name}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and hasattr(value, "tolist"):
        return value.tolist() if math.prod(shape) <= _MOST else f"{type(value).__name__} {tuple(shape)}"
    try:
        text = " ".join(str(value).split())
    except Exception:  # a user's class may raise anything
        text = " at 0x0"
    return f"{type(value).__module__}.{type(value).__qualname__}" if _ADDRESS.search(text) else f"{text:.200}"
