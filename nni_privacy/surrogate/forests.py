"""Regressors made of trees: gradient boosting and random forest, grown by scikit-learn, kept as plain arrays."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from nni_privacy.surrogate.base import Floats, State
from nni_privacy.surrogate.regressor import Encoder, Regressor
from nni_privacy.surrogate.topology import encode_topology
from nni_privacy.surrogate.trees import TreeEnsemble

__all__ = ["BoostedTrees", "RandomForest"]


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
