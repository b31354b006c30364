"""Drop-path, or stochastic depth: in training, paths through a cell are left out at random, record by record.

Larsson et al. (FractalNet), ICLR 2017, as DARTS' evaluation protocol uses it. Layers that drop paths have an attribute
``drop_prob``, as timm's and NNI's ``DropPath`` have: the edges of our cells, and the layers of networks that were built
with such.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nni_privacy.errors import ConfigError

__all__ = ["drop_path", "drop_path_layers", "set_drop_path"]


def drop_path(output: Tensor, probability: float) -> Tensor:
    """``output`` ``(n, ...)`` with records set to 0 with ``probability``, below 1; the others make up for them."""
    kept = output.new_empty((len(output), *[1] * (output.ndim - 1))).bernoulli_(1 - probability)
    return output / (1 - probability) * kept


def drop_path_layers(model: nn.Module) -> list[Any]:
    """The layers that drop paths.

    Raises:
        ConfigError: if there is none.
    """
    found: list[Any] = [
        module for module in model.modules() if isinstance(getattr(module, "drop_prob", None), int | float)
    ]
    if not found:
        raise ConfigError(
            f"recipe.drop_path: a {type(model).__name__} has no layer with a drop_prob; networks of our search spaces "
            "have some, and others with timm's or NNI's DropPath"
        )
    return found


def set_drop_path(model: nn.Module, probability: float) -> None:
    """Sets the probability of all layers that drop paths.

    Raises:
        ConfigError: if there is none.
    """
    for layer in drop_path_layers(model):
        layer.drop_prob = probability
