"""Augmentation of prepared batches: cutout, mixup and cutmix. What an image alone is made of is in ``defences.py``.

Cutout: DeVries & Taylor, arXiv 1708.04552, as DARTS uses it: a square around a random pixel, cut off at the borders,
of every image by itself. Mixup: Zhang et al., ICLR 2018. CutMix: Yun et al., ICCV 2019. Both mix a batch with a
permutation of itself by one share, drawn from Beta(alpha, alpha), and the losses of both labels by the same share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nni_privacy.data.inputs import Inputs
from nni_privacy.rng import derived_seed
from nni_privacy.training.recipe import Recipe

__all__ = ["BatchAugmentation", "Mix", "cutout"]


@dataclass(frozen=True, eq=False)
class Mix:
    """How a batch was mixed with itself.

    Attributes:
        partner: ``(B,)`` ``int64``, the row that each record was mixed with.
        share: of the record itself, 0..1; the rest is the partner's.
    """

    partner: Tensor
    share: float


class BatchAugmentation:
    """Cutout, mixup and cutmix of a recipe, drawn from streams of their own.

    Args:
        recipe: which of them are on; :mod:`nni_privacy.training.recipe_checks` looks whether the records suit it.
        seed: of the training.
    """

    def __init__(self, recipe: Recipe, *, seed: int) -> None:
        self.recipe = recipe
        self.random = np.random.default_rng(derived_seed(seed, "mixed batches"))
        self.squares = torch.Generator().manual_seed(derived_seed(seed, "cutout"))

    def __call__(self, prepared: Inputs) -> tuple[Inputs, Mix | None]:
        """A batch of floats, augmented, and how it was mixed; None: it was not."""
        side = self.recipe.cutout
        if side:
            prepared = prepared.map(lambda images: cutout(images, side, self.squares))
        if not (self.recipe.mixup or self.recipe.cutmix):
            return prepared, None
        cut = self.recipe.cutmix > 0 and (self.recipe.mixup == 0 or self.random.random() < 0.5)
        alpha = self.recipe.cutmix if cut else self.recipe.mixup
        share, images = float(self.random.beta(alpha, alpha)), prepared.tensors[0]
        partner = torch.from_numpy(self.random.permutation(len(prepared))).to(images.device)
        if not cut:
            return prepared.map(lambda one: share * one + (1 - share) * one[partner]), Mix(partner, share)
        rows, columns = self._rectangle(share, *images.shape[2:])
        images = images.clone()
        images[:, :, rows, columns] = images[partner][:, :, rows, columns]
        pasted = (rows.stop - rows.start) * (columns.stop - columns.start) / math.prod(images.shape[2:])
        return Inputs((images,)), Mix(partner, 1 - pasted)

    def _rectangle(self, share: float, height: int, width: int) -> tuple[slice, slice]:
        """A rectangle of the image's form and 1 - ``share`` of its area around a random pixel, cut off at borders."""
        scale = math.sqrt(1 - share)
        return self._span(int(height * scale), height), self._span(int(width * scale), width)

    def _span(self, length: int, side: int) -> slice:
        start = int(self.random.integers(side)) - length // 2
        return slice(max(0, start), min(side, start + length))


def cutout(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Images ``(n, C, H, W)`` with a square of ``side`` pixels set to 0 in each, around a random pixel of its own."""
    count, _, height, width = images.shape
    away = []
    for length in (height, width):
        centre = torch.randint(length, (count, 1), generator=generator).to(images.device)
        place = torch.arange(length, device=images.device)
        start = centre - side // 2
        away.append((place < start) | (place >= start + side))
    kept = away[0][:, None, :, None] | away[1][:, None, None, :]
    return images * kept
