"""What an audit needs to know about shadow models."""

from __future__ import annotations

from typing import Any

from pydantic import SkipValidation, field_validator

from nni_privacy.auditing.options import ShadowSettings
from nni_privacy.auditing.shadows.cache import ShadowCache
from nni_privacy.auditing.shadows.references import AnyModel, Records
from nni_privacy.schema import options
from nni_privacy.training.recipe import Recipe

__all__ = ["ShadowOptions"]


@options(section="shadow", eq=False)
class ShadowOptions(ShadowSettings):
    """How shadow models are trained, and on what.

    Attributes:
        recipe: the target's.
        model: how to build more models of the target's architecture, see
            :func:`~nni_privacy.auditing.shadows.models.spec_for`; not needed for networks of our own spaces.
        train: inputs and labels ``(m,)`` of the attacker's own, which the target never saw: members of the
            paper's shadow models (``black_box_shadow``, ``white_box_shadow``), and population of RMIA.
        test: more of them: non-members of the paper's shadow models, and population of RMIA.
        cache: as in :class:`~nni_privacy.auditing.options.ShadowSettings`, or a cache.
    """

    recipe: Recipe
    model: SkipValidation[AnyModel | None] = None
    train: SkipValidation[tuple[Records, Records] | None] = None
    test: SkipValidation[tuple[Records, Records] | None] = None

    @field_validator("cache")
    @classmethod
    def _is_a_place(cls, cache: Any) -> Any:
        return cache if isinstance(cache, ShadowCache) else super()._is_a_place(cache)
