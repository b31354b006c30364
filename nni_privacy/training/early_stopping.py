"""Early stopping of one training: the records that are held out for it, and the best weights by their loss.

(Early stopping of whole trials, by what others reported, is :mod:`nni_privacy.runs.stopping`.)
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from nni_privacy.data.split import FourWaySplit
from nni_privacy.rng import derived_seed
from nni_privacy.training.recipe import MIN_BATCH, Recipe

__all__ = ["Patience", "held_out", "without_held_out"]


def held_out(recipe: Recipe, count: int, *, seed: int) -> npt.NDArray[np.bool_]:
    """Which of ``count`` training records ``recipe.stop_early`` looks at: ``(count,)`` booleans; none without it.

    These are not trained on, and so no members. At least one, and so many that enough is left to train on.
    """
    chosen = np.zeros(count, dtype=np.bool_)
    if recipe.stop_early is not None:
        most = max(0, count - MIN_BATCH)
        number = min(most, max(1, round(recipe.stop_early.share * count)))
        chosen[np.random.default_rng(derived_seed(seed, "held out")).permutation(count)[:number]] = True
    return chosen


def without_held_out(split: FourWaySplit, recipe: Recipe, *, seed: int) -> tuple[FourWaySplit, npt.NDArray[np.int64]]:
    """A split whose target-train are the records that really are trained on; and those that are held out of it."""
    held = held_out(recipe, len(split.target_train), seed=seed)
    return replace(split, target_train=split.target_train[~held]), split.target_train[held]


class Patience:
    """Keeps the weights of the best epoch, and says when nothing better has come for long enough.

    Args:
        model: that is trained.
        patience: epochs in a row that may be no better.
    """

    def __init__(self, model: nn.Module, patience: int) -> None:
        self.model, self.patience = model, patience
        self.best_epoch, self.best_loss = 0, math.inf
        self._best: dict[str, Any] = {}

    def note(self, epoch: int, loss: float) -> bool:
        """Takes an epoch's loss, of the model as it is; whether to stop."""
        if loss < self.best_loss:
            self.best_epoch, self.best_loss = epoch, loss
            self._best = {
                name: value.detach().clone() if isinstance(value, Tensor) else value
                for name, value in self.model.state_dict().items()
            }
        return epoch - self.best_epoch >= self.patience

    def restore(self) -> None:
        """Gives the model the weights of its best epoch, if there was one."""
        if self._best:
            self.model.load_state_dict(self._best)
