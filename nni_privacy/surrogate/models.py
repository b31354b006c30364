"""The surrogates that ship: each a function that builds one, under the name that commands know it by."""

from __future__ import annotations

from nni_privacy.surrogate.base import Surrogate
from nni_privacy.surrogate.committee import Committee
from nni_privacy.surrogate.registry import register_surrogate

__all__: list[str] = []


@register_surrogate("ridge")
def _ridge(*, members: int = 10) -> Surrogate:
    """Ridge regression on topology features."""
    from nni_privacy.surrogate.ridge import Ridge

    return Committee({"ridge": Ridge}, members=members)


@register_surrogate("ridge_one_hot")
def _ridge_one_hot(*, members: int = 10) -> Surrogate:
    """Ridge regression on one-hot edges."""
    from nni_privacy.surrogate.ridge import OneHotRidge

    return Committee({"ridge": OneHotRidge}, members=members)


@register_surrogate("default")
def _default(*, members: int = 5) -> Surrogate:
    """What ships."""
    from nni_privacy.surrogate.ridge import Ridge

    return Committee({"ridge": Ridge}, members=members)
