"""Learning rates over a training: what each epoch, or each step, runs at. Pure numbers, without torch.

===========  ==========================================================================================================
schedule     the rate
===========  ==========================================================================================================
steps        times ``decay`` at each of ``milestones`` (fractions of all epochs)
cosine       half a cosine from the learning rate towards 0: torch's ``CosineAnnealingLR`` over the epochs after warm-up
one_cycle    step by step up to the learning rate in 30% of all steps and down again: torch's ``OneCycleLR`` with its
             defaults, but that the momentum stays
constant     the learning rate
===========  ==========================================================================================================

With a warm-up of w epochs, epoch k <= w runs at k / (w + 1) of the learning rate: torch's ``LinearLR`` with
``start_factor=1 / (w + 1)`` and ``total_iters=w`` before the schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nni_privacy.training.recipe import Recipe

__all__ = ["SCHEDULES", "learning_rate"]

_ROUNDING = 1e-9  # 0.1 * 30 is a little more than 3: a milestone must not slip by an epoch for it
_RISE = 0.3
_START, _END = 25.0, 1e4
"""Of one cycle: the share of steps in which it rises; by what the highest rate is divided at the start, and that of the
start at the end."""


def learning_rate(recipe: Recipe, epoch: int, *, step: int = 0, steps: int = 1) -> float:
    """The learning rate of step ``step`` (from 0) of the ``steps`` of an epoch (from 1)."""
    if epoch <= recipe.warm_up:
        return recipe.learning_rate * epoch / (recipe.warm_up + 1)
    return SCHEDULES[recipe.schedule](recipe, epoch - 1, step, steps)


def _steps(recipe: Recipe, done: int, step: int, steps: int) -> float:
    passed = sum(done >= fraction * recipe.epochs - _ROUNDING for fraction in recipe.milestones)
    return recipe.learning_rate * recipe.decay**passed


def _cosine(recipe: Recipe, done: int, step: int, steps: int) -> float:
    share = (done - recipe.warm_up) / (recipe.epochs - recipe.warm_up)
    return recipe.learning_rate * (1 + math.cos(math.pi * share)) / 2


def _one_cycle(recipe: Recipe, done: int, step: int, steps: int) -> float:
    low, high = recipe.learning_rate / _START, recipe.learning_rate
    place, total = done * steps + step, recipe.epochs * steps
    top = _RISE * total - 1
    if place <= top:
        return _between(low, high, place / top)
    return _between(high, low / _END, (place - top) / (total - 1 - top))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _constant(recipe: Recipe, done: int, step: int, steps: int) -> float:
    return recipe.learning_rate


SCHEDULES: Mapping[str, Callable[[Recipe, int, int, int], float]] = MappingProxyType(
    {"steps": _steps, "cosine": _cosine, "one_cycle": _one_cycle, "constant": _constant}
)
"""Name in a recipe to the rate after so many whole epochs, at a step of so many."""
