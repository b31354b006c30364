"""Ridge regression, its strength chosen by leave-one-out."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nni_privacy.surrogate.base import Floats, State
from nni_privacy.surrogate.one_hot import encode_one_hot
from nni_privacy.surrogate.regressor import Encoder, Regressor, standardise
from nni_privacy.surrogate.topology import encode_topology

__all__ = ["OneHotRidge", "Ridge"]

STRENGTHS = np.logspace(0, 5, 31)


class Ridge(Regressor):
    """Linear in the standardised topology features; penalty by exact leave-one-out (scikit-learn's RidgeCV)."""

    encoder: ClassVar[Encoder] = staticmethod(encode_topology)

    def __init__(self) -> None:
        self._weights: Floats = np.empty(0)
        self._intercept = 0.0

    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Learns in closed form; neither ``held`` nor ``seed`` is used."""
        from sklearn.linear_model import RidgeCV

        centre, scale = standardise(features)
        model = RidgeCV(alphas=STRENGTHS).fit((features - centre) / scale, target)
        self._weights = model.coef_ / scale
        self._intercept = float(model.intercept_ - centre @ self._weights)

    def predict(self, features: Any) -> Floats:
        """(n,) = features (n, k) @ weights + intercept."""
        predicted: Floats = features @ self._weights + self._intercept
        return predicted

    def state(self) -> State:
        """The weights and the intercept."""
        return State({"weights": self._weights}, {"intercept": self._intercept})

    def restore(self, state: State) -> None:
        """Takes weights and intercept over."""
        self._weights, self._intercept = np.asarray(state.arrays["weights"]), float(state.facts["intercept"])


class OneHotRidge(Ridge):
    """The same on the 196 one-hot columns: what single edges contribute, without their interplay."""

    encoder: ClassVar[Encoder] = staticmethod(encode_one_hot)
