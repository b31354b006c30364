"""Regressors that scikit-learn fits: ridge, support vectors, a Gaussian process, boosted trees and a random forest.

All of them are kept as plain arrays. The kernel methods keep encoded architectures that they learned from: a saved one
holds a part of the data, and is not for publishing where the data must not be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nni_privacy.surrogate.base import Floats, State
from nni_privacy.surrogate.committee import Encoder, Regressor, standardise
from nni_privacy.surrogate.encodings import encode_one_hot
from nni_privacy.surrogate.trees import TreeEnsemble

__all__ = ["BoostedTrees", "GaussianProcess", "OneHotRidge", "RandomForest", "Ridge", "SupportVectors"]

ALPHAS = np.logspace(0, 5, 31)
"""Penalties that ridge regression chooses from."""

_CHUNK = 2048
"""Rows whose kernel is computed at once: bounds the memory."""


class Ridge(Regressor):
    """Linear in the standardised topology features; penalty by exact leave-one-out (scikit-learn's RidgeCV)."""

    def __init__(self) -> None:
        self._weights: Floats = np.empty(0)
        self._intercept = 0.0

    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Learns in closed form; neither ``held`` nor ``seed`` is used."""
        from sklearn.linear_model import RidgeCV

        centre, scale = standardise(features)
        model = RidgeCV(alphas=ALPHAS).fit((features - centre) / scale, target)
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


class _KernelExpansion(Regressor):
    """A prediction that is a weighted sum of similarities exp(-gamma |x - z|^2) to stored rows z."""

    def __init__(self) -> None:
        self._centre = self._scale = self._weights = np.empty(0)
        self._rows = np.empty((0, 0))
        self._gamma, self._intercept = 0.0, 0.0

    def predict(self, features: Any) -> Floats:
        """(n,) kernel (n, m) @ weights (m,) + intercept."""
        scaled = (features - self._centre) / self._scale
        parts = [
            np.exp(-self._gamma * _squared_distances(scaled[begin : begin + _CHUNK], self._rows)) @ self._weights
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
        return State(arrays, {"width": self._gamma, "intercept": self._intercept})  # gamma's name in files

    def restore(self, state: State) -> None:
        """Takes all of it over."""
        names = ("centre", "scale", "weights", "rows")
        self._centre, self._scale, self._weights, self._rows = (np.asarray(state.arrays[name]) for name in names)
        if self._rows.shape != (len(self._weights), len(self._centre)):
            raise ValueError("the stored rows do not fit their weights")
        self._gamma, self._intercept = float(state.facts["width"]), float(state.facts["intercept"])


class SupportVectors(_KernelExpansion):
    """Support vector regression.

    Args:
        C: penalty of an error beyond ``epsilon``.
        epsilon: largest error without penalty, in standard deviations of the AUC.
        gamma: of the kernel, times the number of features: 1 is scikit-learn's ``"auto"``.
    """

    def __init__(self, *, C: float = 0.3, epsilon: float = 0.3, gamma: float = 0.3) -> None:
        super().__init__()
        self._options = {"C": C, "epsilon": epsilon}
        self._gamma_times_features = gamma

    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Solves the quadratic program; neither ``held`` nor ``seed`` is used."""
        from sklearn.svm import SVR

        scaled = self._scale_features(features)
        self._gamma = self._gamma_times_features / scaled.shape[1]
        model = SVR(gamma=self._gamma, **self._options).fit(scaled, target)
        self._rows, self._weights = model.support_vectors_, model.dual_coef_[0]
        self._intercept = float(model.intercept_[0])


class GaussianProcess(_KernelExpansion):
    """A Gaussian process with a squared-exponential kernel; its three scales have the greatest marginal likelihood.

    Args:
        gammas: kernel parameters to try, times the number of features.
        noises: ratios of noise to signal variance to try.
    """

    def __init__(
        self, *, gammas: tuple[float, ...] = (0.03, 0.1, 0.3), noises: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0)
    ) -> None:
        super().__init__()
        self._gammas, self._noises = gammas, noises

    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Tries all scales on one eigendecomposition per gamma; neither ``held`` nor ``seed`` is used."""
        from scipy.linalg import eigh

        scaled = self._scale_features(features)
        self._rows, self._intercept = scaled, float(target.mean())
        distances = _squared_distances(scaled, scaled)
        best = -np.inf
        for gamma in np.array(self._gammas) / scaled.shape[1]:
            values, vectors = eigh(np.exp(-gamma * distances), check_finite=False)
            rotated = vectors.T @ (target - self._intercept)
            for noise in self._noises:
                spectrum = np.maximum(values, 0.0) + noise
                # Log marginal likelihood, up to a constant, with the signal's variance at its best value.
                evidence = -0.5 * (len(rotated) * np.log(np.mean(rotated**2 / spectrum)) + np.log(spectrum).sum())
                if evidence > best:
                    best, self._gamma, self._weights = evidence, float(gamma), vectors @ (rotated / spectrum)


def _squared_distances(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> Floats:
    """(n, k), (m, k) -> (n, m)."""
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    distances: Floats = np.maximum(squares, 0.0)
    return distances


class _Trees(Regressor):
    """Trees that scikit-learn grows and :class:`TreeEnsemble` evaluates.

    Args:
        **options: of scikit-learn's estimator, instead of :attr:`defaults`.
    """

    defaults: ClassVar[Mapping[str, Any]]

    _trees: TreeEnsemble

    def __init__(self, **options: Any) -> None:
        self._options = {**self.defaults, **options}

    def predict(self, features: Any) -> Floats:
        """(n,) sums over the trees."""
        return self._trees.predict(np.asarray(features, dtype=np.float32))

    def state(self) -> State:
        """The trees' nodes."""
        return self._trees.state()

    def restore(self, state: State) -> None:
        """Takes the trees over."""
        self._trees = TreeEnsemble.from_state(state)


class BoostedTrees(_Trees):
    """Gradient boosting on topology features: small trees, slow learning, a few features per split."""

    defaults: ClassVar[Mapping[str, Any]] = {
        "max_iter": 150,
        "learning_rate": 0.04,
        "max_leaf_nodes": 12,
        "max_features": 0.15,
        "min_samples_leaf": 20,
        "early_stopping": False,
    }

    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Grows the trees; ``held`` is not used."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(random_state=seed, **self._options)
        self._trees = TreeEnsemble.from_boosting(model.fit(np.asarray(features, dtype=np.float32), target))


class RandomForest(_Trees):
    """A random forest on topology features."""

    defaults: ClassVar[Mapping[str, Any]] = {"n_estimators": 60, "max_features": 0.15, "min_samples_leaf": 5}

    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Grows the trees; ``held`` is not used."""
        from sklearn.ensemble import RandomForestRegressor

        model = RandomForestRegressor(random_state=seed, n_jobs=1, **self._options)
        self._trees = TreeEnsemble.from_forest(model.fit(np.asarray(features, dtype=np.float32), target))
