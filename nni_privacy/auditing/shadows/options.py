"""What an audit needs to know about shadow models."""

from __future__ import annotations

from dataclasses import dataclass

from nni_privacy.auditing.shadows.cache import CacheLocation
from nni_privacy.auditing.shadows.references import AnyModel, Records
from nni_privacy.errors import ConfigError
from nni_privacy.training.recipe import Recipe

__all__ = ["ShadowOptions"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ShadowOptions:
    """How shadow models are trained, and on what.

    Attributes:
        recipe: the target's.
        model: how to build more models of the target's architecture, see
            :func:`~nni_privacy.auditing.shadows.models.spec_for`; not needed for networks of our own spaces.
        train: images ``(m, C, H, W)`` and labels ``(m,)`` of the attacker's own, which the target never saw: members of
            the paper's shadow models (``black_box_shadow``, ``white_box_shadow``), and population of RMIA.
        test: more of them: non-members of the paper's shadow models, and population of RMIA.
        count: reference models of ``lira`` and ``rmia``, each trained on half of the attacked records, 1 or more.
        workers: processes that train them; 0 is this one.
        cache: where trained shadows are remembered: the user's cache by default, a folder, or ``False``.
    """

    recipe: Recipe
    model: AnyModel | None = None
    train: tuple[Records, Records] | None = None
    test: tuple[Records, Records] | None = None
    count: int = 4
    workers: int | None = 0
    cache: CacheLocation = None

    def __post_init__(self) -> None:
        if type(self.count) is not int or self.count < 1:
            raise ConfigError(f"shadow models: count is {self.count!r}: allowed are whole numbers of 1 or more")
        if self.workers is not None and (type(self.workers) is not int or self.workers < 0):
            raise ConfigError(f"shadow models: workers is {self.workers!r}: allowed are whole numbers of 0 or more")
