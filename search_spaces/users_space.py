"""The model space that a user wrote, under what NNI makes of it."""

from __future__ import annotations

from typing import Any

from nni.nas.space import BaseModelSpace, ExecutableModelSpace

__all__ = ["users_space"]


def users_space(model_space: ExecutableModelSpace) -> Any:
    """The class that the user wrote, under NNI's wrappers; None where it cannot be found."""
    simplified = getattr(getattr(model_space, "model", None), "trace_symbol", None)
    if simplified is not None:
        return simplified
    raw = getattr(model_space, "model_space", None)
    seen_through = getattr(raw, "space", None)  # FixedPattern's view of a raw space
    return type(seen_through if isinstance(seen_through, BaseModelSpace) else raw)
