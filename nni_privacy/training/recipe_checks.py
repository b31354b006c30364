"""Whether a recipe suits a network and its records, looked at before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nni_privacy.data.inputs import IMAGE_DIMS, Inputs
from nni_privacy.errors import ConfigError, DataError
from nni_privacy.training.auxiliary import auxiliary_layer
from nni_privacy.training.drop_path import drop_path_layers
from nni_privacy.training.recipe import Recipe

__all__ = ["check_cutout", "check_network", "check_records", "looks_at_network"]

REDUCED = (torch.float16, torch.bfloat16)


def looks_at_network(recipe: Recipe) -> bool:
    """Whether there are networks that the recipe does not suit."""
    return bool(recipe.drop_path or recipe.auxiliary or recipe.precision != "float32")


def check_network(recipe: Recipe, model: nn.Module) -> None:
    """Raises ConfigError unless the network has the layers, and weights of the type, that the recipe needs."""
    if recipe.drop_path:
        drop_path_layers(model)
    if recipe.auxiliary:
        auxiliary_layer(model)
    kinds = {parameter.dtype for parameter in model.parameters()} & set(REDUCED)
    if recipe.precision != "float32" and kinds:
        found = str(kinds.pop()).removeprefix("torch.")
        raise ConfigError(
            f"recipe.precision: {recipe.precision!r} computes so with weights of float32, the {type(model).__name__}'s "
            f"are {found}; give the model as float32, or leave precision out"
        )


def check_records(recipe: Recipe, inputs: Inputs) -> None:
    """Raises DataError unless the records are of the kind that the recipe needs, ConfigError if one is too small."""
    images = inputs.images
    for name in ("cutout", "cutmix"):
        if getattr(recipe, name) and (images is None or images.ndim != IMAGE_DIMS):
            raise DataError(f"recipe: {name} needs images (n, C, H, W), found {inputs}")
    if recipe.cutout and images is not None:
        check_cutout(recipe, images.shape[2:])
    if recipe.mixup and inputs.numbers is None:
        raise DataError(f"recipe: mixup needs images or one tensor of floats, found {inputs}")
    if recipe.augmentation and images is None:
        raise DataError(f"recipe: augmentation needs images (n, C, H, W), found {inputs}")


def check_cutout(recipe: Recipe, size: Sequence[int]) -> None:
    """Raises ConfigError if a square may blank whole images of such height and width."""
    if recipe.cutout > min(size):
        height, width = size
        raise ConfigError(f"recipe.cutout: {recipe.cutout}; images are {height} x {width}: at most {min(size)}")
