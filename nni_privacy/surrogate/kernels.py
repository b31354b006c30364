"""Kernel methods on topology features: support vectors and a Gaussian process.

Both keep encoded architectures that they learned from: a saved one holds a part of the data, and is not for publishing
where the data must not be.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nni_privacy.surrogate.base import Floats, State
from nni_privacy.surrogate.regressor import Encoder, Regressor, standardise
from nni_privacy.surrogate.topology import encode_topology

__all__ = ["GaussianProcess", "SupportVectors"]

_CHUNK = 2048


class _KernelExpansion(Regressor):
    """A prediction that is a weighted sum of similarities exp(-width |x - z|^2) to stored rows z."""

    encoder: ClassVar[Encoder] = staticmethod(encode_topology)

    def __init__(self) -> None:
        self._centre = self._scale = self._weights = np.empty(0)
        self._rows = np.empty((0, 0))
        self._width, self._intercept = 0.0, 0.0

    def predict(self, features: Any) -> Floats:
        """(n,) kernel (n, m) @ weights (m,) + intercept."""
        scaled = (features - self._centre) / self._scale
        parts = [
            np.exp(-self._width * _squared_distances(scaled[begin : begin + _CHUNK], self._rows)) @ self._weights
            for begin in range(0, len(scaled), _CHUNK)
        ]
        return np.concatenate([*parts, np.empty(0)]) + self._intercept

    def _scale_features(self, features: Any) -> Floats:
        self._centre, self._scale = standardise(features)
        scaled: Floats = (features - self._centre) / self._scale
        return scaled

    def state(self) -> State:
        """Stored rows, their weights, and how features are scaled."""
        arrays = {"centre": self._centre, "scale": self._scale, "weights": self._weights, "rows": self._rows}
        return State(arrays, {"width": self._width, "intercept": self._intercept})

    def restore(self, state: State) -> None:
        """Takes all of it over."""
        arrays = state.arrays
        self._centre, self._scale, self._weights, self._rows = (
            np.asarray(arrays[name]) for name in ("centre", "scale", "weights", "rows")
        )
        if self._rows.shape != (len(self._weights), len(self._centre)):
            raise ValueError("the stored rows do not fit their weights")
        self._width, self._intercept = float(state.facts["width"]), float(state.facts["intercept"])


class SupportVectors(_KernelExpansion):
    """Support vector regression.

    Args:
        penalty: of an error beyond the tube, C.
        tube: half the width of the tube without penalty, in standard deviations of the AUC.
        reach: the kernel's width is ``reach`` / number of features.
    """

    def __init__(self, *, penalty: float = 0.3, tube: float = 0.3, reach: float = 0.3) -> None:
        super().__init__()
        self._penalty, self._tube, self._reach = penalty, tube, reach

    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Solves the quadratic program; neither ``held`` nor ``seed`` is used."""
        from sklearn.svm import SVR

        scaled = self._scale_features(features)
        self._width = self._reach / scaled.shape[1]
        model = SVR(C=self._penalty, epsilon=self._tube, gamma=self._width).fit(scaled, target)
        self._rows, self._weights = model.support_vectors_, model.dual_coef_[0]
        self._intercept = float(model.intercept_[0])


class GaussianProcess(_KernelExpansion):
    """A Gaussian process with a squared-exponential kernel; its three scales have the greatest marginal likelihood.

    Args:
        reaches: kernel widths to try, as multiples of 1 / number of features.
        noises: ratios of noise to signal variance to try.
    """

    def __init__(
        self, *, reaches: tuple[float, ...] = (0.03, 0.1, 0.3), noises: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0)
    ) -> None:
        super().__init__()
        self._reaches, self._noises = reaches, noises

    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Tries all scales on one eigendecomposition a kernel width; neither ``held`` nor ``seed`` is used."""
        from scipy.linalg import eigh

        scaled = self._scale_features(features)
        self._rows, self._intercept = scaled, float(target.mean())
        distances = _squared_distances(scaled, scaled)
        best = -np.inf
        for reach in self._reaches:
            width = reach / scaled.shape[1]
            values, vectors = eigh(np.exp(-width * distances), check_finite=False)
            rotated = vectors.T @ (target - self._intercept)
            for noise in self._noises:
                spectrum = np.maximum(values, 0.0) + noise
                evidence = _log_evidence(spectrum, rotated)
                if evidence > best:
                    best, self._width, self._weights = evidence, width, vectors @ (rotated / spectrum)


def _log_evidence(spectrum: Floats, rotated: Floats) -> float:
    """Log marginal likelihood, up to a constant, with the signal's variance at its best value."""
    return float(-0.5 * (len(rotated) * np.log(np.mean(rotated**2 / spectrum)) + np.log(spectrum).sum()))


def _squared_distances(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> Floats:
    """(n, k), (m, k) -> (n, m)."""
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    distances: Floats = np.maximum(squares, 0.0)
    return distances
