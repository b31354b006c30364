"""Regressors that scikit-learn fits: ridge, support vectors, a Gaussian process, boosted trees and a random forest.

All of them are kept as plain arrays. The kernel methods keep encoded architectures that they learned from: a saved one
holds a part of the data, and is not for publishing where the data must not be.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nni_privacy.surrogate.base import Floats, State
from nni_privacy.surrogate.committee import Encoder, Regressor, standardise
from nni_privacy.surrogate.encodings import encode_one_hot
from nni_privacy.surrogate.topology import encode_topology
from nni_privacy.surrogate.trees import TreeEnsemble

__all__ = ["BoostedTrees", "GaussianProcess", "OneHotRidge", "RandomForest", "Ridge", "SupportVectors"]

STRENGTHS = np.logspace(0, 5, 31)

_CHUNK = 2048


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


class _Trees(Regressor):
    """What all of them share: the trees do the predicting."""

    _trees: TreeEnsemble

    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Grows the trees; ``held`` is not used."""
        self._trees = self._grow(np.asarray(features, dtype=np.float32), target, seed)

    def predict(self, features: Any) -> Floats:
        """(n,) sums over the trees."""
        return self._trees.predict(np.asarray(features, dtype=np.float32))

    def state(self) -> State:
        """The trees' nodes."""
        return self._trees.state()

    def restore(self, state: State) -> None:
        """Takes the trees over."""
        self._trees = TreeEnsemble.from_state(state)

    @abstractmethod
    def _grow(self, features: Any, target: Floats, seed: int) -> TreeEnsemble: ...


class BoostedTrees(_Trees):
    """Gradient boosting on topology features: small trees, slow learning, a few features a split.

    Args:
        rounds: number of trees.
        learning_rate: what each of them counts.
        leaves: of a tree, at most.
        share: of the features that a split may choose from.
        smallest_leaf: architectures in a leaf, at least.
    """

    encoder: ClassVar[Encoder] = staticmethod(encode_topology)

    def __init__(
        self,
        *,
        rounds: int = 150,
        learning_rate: float = 0.04,
        leaves: int = 12,
        share: float = 0.15,
        smallest_leaf: int = 20,
    ) -> None:
        self._options = {
            "max_iter": rounds,
            "learning_rate": learning_rate,
            "max_leaf_nodes": leaves,
            "max_features": share,
            "min_samples_leaf": smallest_leaf,
        }

    def _grow(self, features: Any, target: Floats, seed: int) -> TreeEnsemble:
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(early_stopping=False, random_state=seed, **self._options)
        return TreeEnsemble.from_boosting(model.fit(features, target))


class RandomForest(_Trees):
    """A random forest on topology features.

    Args:
        trees: how many.
        share: of the features that a split may choose from.
        smallest_leaf: architectures in a leaf, at least.
    """

    encoder: ClassVar[Encoder] = staticmethod(encode_topology)

    def __init__(self, *, trees: int = 60, share: float = 0.15, smallest_leaf: int = 5) -> None:
        self._options = {"n_estimators": trees, "max_features": share, "min_samples_leaf": smallest_leaf}

    def _grow(self, features: Any, target: Floats, seed: int) -> TreeEnsemble:
        from sklearn.ensemble import RandomForestRegressor

        model = RandomForestRegressor(random_state=seed, n_jobs=1, **self._options)
        return TreeEnsemble.from_forest(model.fit(features, target))
