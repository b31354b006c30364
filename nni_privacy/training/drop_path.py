"""Drop-path, or stochastic depth: in training, paths through a cell are left out at random, record by record.

Larsson et al. (FractalNet), ICLR 2017, as DARTS' evaluation protocol uses it. Networks say what a path is: those that
have a method ``set_drop_path_prob(p)``, NNI's hub among them, drop theirs with that probability.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nni_privacy.errors import ConfigError

__all__ = ["drop_path", "set_drop_path"]


def drop_path(output: Tensor, probability: float) -> Tensor:
    """``output`` ``(n, ...)``, in which records are 0 with ``probability``, below 1, and the others scaled to its mean."""
    kept = output.new_empty((len(output), *[1] * (output.ndim - 1))).bernoulli_(1 - probability)
    return output / (1 - probability) * kept


def set_drop_path(model: nn.Module, probability: float) -> None:
    """Sets the probability in all parts of a network that drop paths.

    Raises:
        ConfigError: if there is none.
    """
    found = [module for module in model.modules() if callable(getattr(module, "set_drop_path_prob", None))]
    if not found:
        raise ConfigError(
            f"recipe.drop_path: a {type(model).__name__} has no set_drop_path_prob(p); networks of our search spaces "
            "and of NNI's hub have one"
        )
    for module in found:
        setter: Any = module.set_drop_path_prob
        setter(probability)
