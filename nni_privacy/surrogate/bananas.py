"""The regressor of BANANAS: a multi-layer perceptron on path encodings (White et al., AAAI 2021, section 3)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from nni_privacy.surrogate.network_training import Inputs, NetworkRegressor, Training
from nni_privacy.surrogate.path_encoding import COLUMNS, encode_paths
from nni_privacy.surrogate.regressor import Encoder

__all__ = ["PathPerceptron"]


class PathPerceptron(NetworkRegressor):
    """The perceptron as a regressor.

    Args:
        width: of a hidden layer.
        layers: number of hidden layers.
        epochs: passes over the data.
    """

    encoder: ClassVar[Encoder] = staticmethod(encode_paths)

    def __init__(self, *, width: int = 20, layers: int = 10, epochs: int = 40) -> None:
        self._network_options = (width, layers)
        self.training = Training(epochs=epochs, batch=32, learning_rate=1e-3)

    def _build(self) -> nn.Module:
        return _Perceptron(*self._network_options)

    def _inputs(self, features: Any) -> Inputs:
        return Inputs((torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)),))


class _Perceptron(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(COLUMNS, width), nn.ReLU())
        for _ in range(layers - 1):
            self.layers.extend([nn.Linear(width, width), nn.ReLU()])
        self.layers.append(nn.Linear(width, 1))

    def forward(self, paths: Tensor) -> Tensor:
        """(n, 224) -> (n,)."""
        return self.layers(paths).squeeze(1)
