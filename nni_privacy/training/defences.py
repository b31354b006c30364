"""Defences as changes of a :class:`~nni_privacy.training.Recipe`: augmentation, label smoothing, DP-SGD, any together.

Shadow models are trained by the target's recipe, so that they have the target's defences too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nni_privacy.errors import ConfigError, DataError
from nni_privacy.training.recipe import Recipe

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["DEFENCES", "PADDING", "apply_defence", "augment", "defence_label"]

PADDING = 4
"""Pixels by which an augmented image may be shifted to either side (the paper: random crop, padding 4)."""

DEFENCES: Mapping[str, Callable[[Recipe], bool]] = MappingProxyType(
    {
        "augmentation": lambda recipe: recipe.augmentation,
        "label-smoothing": lambda recipe: recipe.label_smoothing > 0,
        "dp-sgd": lambda recipe: recipe.dp is not None,
        "mixup": lambda recipe: recipe.mixup > 0,
        "cutmix": lambda recipe: recipe.cutmix > 0,
        "early-stopping": lambda recipe: recipe.stop_early is not None,
    }
)
"""Name in tables to whether a recipe has that defence, in the order in which a label names them."""


def apply_defence(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """``recipe`` with fields changed: those of a defence, and others that it needs, such as its learning rate.

    Args:
        recipe: how training goes without the defence.
        changes: fields of :class:`Recipe` and their new values; ``dp`` is replaced as a whole.

    Raises:
        ConfigError: if a field is unknown, a value out of range, or no defence is on afterwards.
    """
    changed = Recipe.from_mapping({**recipe.to_dict(), **_checked(changes)})
    _names(changed, changes)
    return changed


def defence_label(changes: Mapping[str, Any]) -> str:
    """What a defence is called: ``augmentation``, ``label-smoothing``, ``dp-sgd``, several joined by ``+``.

    Raises:
        ConfigError: as :func:`apply_defence`.
    """
    return "+".join(_names(Recipe.from_mapping(_checked(changes)), changes))


def _checked(changes: Any) -> Mapping[str, Any]:
    if not isinstance(changes, Mapping):
        raise ConfigError(f"defences: {changes!r}: allowed are mappings of a recipe's fields")
    return changes


def _names(recipe: Recipe, changes: Mapping[str, Any]) -> list[str]:
    names = [name for name, is_on in DEFENCES.items() if is_on(recipe)]
    if not names:
        fields = "augmentation, label_smoothing, dp, mixup, cutmix or stop_early"
        raise ConfigError(f"defences: {dict(changes)} turns no defence on: give {fields}")
    return names


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flips every image with probability 1/2, pads it with 4 black pixels, and crops it at random to its own size.

    Each of the 9 x 9 crops is equally likely, and every image gets its own flip and crop.

    Args:
        images: ``(n, C, H, W)`` of any type, before normalising.
        generator: on the CPU, so that the draws are the same wherever the images are.

    Raises:
        DataError: if the images have another number of dimensions.
    """
    import torch
    from torch.nn import functional

    if images.ndim != 4:
        raise DataError(f"augmentation needs images (n, C, H, W), found shape {tuple(images.shape)}")
    count, _, height, width = images.shape
    place = images.device
    flipped = (torch.rand(count, generator=generator) < 0.5).to(place)
    shifts = torch.randint(2 * PADDING + 1, (2, count, 1), generator=generator).to(place)
    rows = shifts[0] + torch.arange(height, device=place)
    columns = torch.arange(width, device=place).expand(count, width)
    columns = shifts[1] + torch.where(flipped[:, None], columns.flip(1), columns)
    padded = functional.pad(images, (PADDING,) * 4)
    each = torch.arange(count, device=place)[:, None, None]
    # Advanced indices around a slice: the channels come last.
    return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
