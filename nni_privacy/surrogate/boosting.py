"""XGBoost and LightGBM on topology features. Both are stored as the text that the library itself writes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from nni_privacy.errors import ConfigError
from nni_privacy.surrogate.base import Floats, State
from nni_privacy.surrogate.committee import Regressor

__all__ = ["LightGBM", "XGBoost"]

MAX_ITER, LEARNING_RATE, MAX_LEAVES, FEATURE_FRACTION = 300, 0.02, 12, 0.15


class _Booster(Regressor):
    """A booster of a library that may not be installed; ``data`` is the library's class of a training set.

    Raises:
        ConfigError: if it is not.
    """

    package: ClassVar[str]
    data: ClassVar[str]
    options: ClassVar[Mapping[str, Any]]

    def __init__(self) -> None:
        try:
            self._library = import_module(self.package)
        except ImportError:
            raise ConfigError(
                f"the surrogate {self.package!r} needs it installed: pip install {self.package}"
            ) from None
        self._model: Any = None

    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Boosts a fixed number of rounds; ``held`` is not used."""
        data = getattr(self._library, self.data)(features, target)
        self._model = self._library.train({**self.options, "seed": seed % 2**31}, data, MAX_ITER)


class XGBoost(_Booster):
    """XGBoost (Chen & Guestrin, KDD 2016) with trees grown leaf by leaf."""

    package, data = "xgboost", "DMatrix"
    options: ClassVar[Mapping[str, Any]] = {
        "eta": LEARNING_RATE,
        "max_leaves": MAX_LEAVES,
        "max_depth": 0,
        "grow_policy": "lossguide",
        "tree_method": "hist",
        "colsample_bynode": FEATURE_FRACTION,
        "min_child_weight": 20,
        "nthread": 1,
    }

    def predict(self, features: Any) -> Floats:
        """(n,) sums over the trees."""
        return np.asarray(self._model.predict(self._library.DMatrix(features)), dtype=np.float64)

    def state(self) -> State:
        """The library's own text."""
        return State({"model": np.frombuffer(bytes(self._model.save_raw("json")), dtype=np.uint8)})

    def restore(self, state: State) -> None:
        """Takes the model over."""
        self._model = self._library.Booster()
        try:
            self._model.load_model(bytearray(state.arrays["model"].tobytes()))
        except self._library.core.XGBoostError as error:
            raise ValueError(str(error).partition("\n")[0]) from None


class LightGBM(_Booster):
    """LightGBM (Ke et al., NeurIPS 2017)."""

    package, data = "lightgbm", "Dataset"
    options: ClassVar[Mapping[str, Any]] = {
        "learning_rate": LEARNING_RATE,
        "num_leaves": MAX_LEAVES,
        "feature_fraction_bynode": FEATURE_FRACTION,
        "num_threads": 1,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }

    def predict(self, features: Any) -> Floats:
        """(n,) sums over the trees."""
        return np.asarray(self._model.predict(features, num_threads=1), dtype=np.float64)

    def state(self) -> State:
        """The library's own text."""
        return State({"model": np.frombuffer(self._model.model_to_string().encode(), dtype=np.uint8)})

    def restore(self, state: State) -> None:
        """Takes the model over."""
        try:
            self._model = self._library.Booster(model_str=state.arrays["model"].tobytes().decode())
        except self._library.basic.LightGBMError as error:
            raise ValueError(str(error)) from None
