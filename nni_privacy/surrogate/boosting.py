"""XGBoost and LightGBM on topology features. Both are stored as the text that the library itself writes."""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nni_privacy.errors import ConfigError
from nni_privacy.surrogate.base import Floats, State
from nni_privacy.surrogate.committee import Encoder, Regressor
from nni_privacy.surrogate.topology import encode_topology

__all__ = ["LightGBM", "XGBoost"]

ROUNDS, LEARNING_RATE, LEAVES, FEATURE_SHARE = 300, 0.02, 12, 0.15
_INSTALL = "pip install 'nni-privacy[surrogate]'"


class XGBoost(Regressor):
    """XGBoost (Chen & Guestrin, KDD 2016) with trees grown leaf by leaf."""

    encoder: ClassVar[Encoder] = staticmethod(encode_topology)

    def __init__(self) -> None:
        self._library = _import("xgboost")
        self._model: Any = None

    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Boosts a fixed number of rounds; ``held`` is not used."""
        options = {
            "eta": LEARNING_RATE,
            "max_leaves": LEAVES,
            "max_depth": 0,
            "grow_policy": "lossguide",
            "tree_method": "hist",
            "colsample_bynode": FEATURE_SHARE,
            "min_child_weight": 20,
            "nthread": 1,
            "seed": seed % 2**31,
        }
        self._model = self._library.train(options, self._library.DMatrix(features, target), ROUNDS)

    def predict(self, features: Any) -> Floats:
        """(n,) sums over the trees."""
        return np.asarray(self._model.predict(self._library.DMatrix(features)), dtype=np.float64)

    def state(self) -> State:
        """XGBoost's own JSON."""
        return State({"model": _as_bytes(bytes(self._model.save_raw("json")))})

    def restore(self, state: State) -> None:
        """Takes the model over."""
        self._model = self._library.Booster()
        try:
            self._model.load_model(bytearray(state.arrays["model"].tobytes()))
        except self._library.core.XGBoostError as error:
            raise ValueError(str(error).partition("\n")[0]) from None


class LightGBM(Regressor):
    """LightGBM (Ke et al., NeurIPS 2017)."""

    encoder: ClassVar[Encoder] = staticmethod(encode_topology)

    def __init__(self) -> None:
        self._library = _import("lightgbm")
        self._model: Any = None

    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Boosts a fixed number of rounds; ``held`` is not used."""
        options = {
            "learning_rate": LEARNING_RATE,
            "num_leaves": LEAVES,
            "feature_fraction_bynode": FEATURE_SHARE,
            "num_threads": 1,
            "deterministic": True,
            "force_col_wise": True,
            "seed": seed % 2**31,
            "verbosity": -1,
        }
        self._model = self._library.train(options, self._library.Dataset(features, target), ROUNDS)

    def predict(self, features: Any) -> Floats:
        """(n,) sums over the trees."""
        return np.asarray(self._model.predict(features, num_threads=1), dtype=np.float64)

    def state(self) -> State:
        """LightGBM's own text."""
        return State({"model": _as_bytes(self._model.model_to_string().encode())})

    def restore(self, state: State) -> None:
        """Takes the model over."""
        try:
            self._model = self._library.Booster(model_str=state.arrays["model"].tobytes().decode())
        except self._library.basic.LightGBMError as error:
            raise ValueError(str(error)) from None


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(f"the surrogate {name!r} needs the package {name}: {_INSTALL}") from None


def _as_bytes(text: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text, dtype=np.uint8)
