"""The surrogates that ship, as a table: committees of regressors under the names that commands know them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import NamedTuple

from nni_privacy.surrogate.base import Surrogate, register_surrogate
from nni_privacy.surrogate.committee import Committee, Regressor

__all__: list[str] = []


class _Model(NamedTuple):
    """A row: what the model is, how many fits are averaged, and each part's name in files to its module and class."""

    summary: str
    members: int
    parts: Mapping[str, str]


_BOOSTING = {"boosting": "sklearn_models.BoostedTrees"}
_RIDGE = {"ridge": "sklearn_models.Ridge"}
_STORES_DATA = "a saved one holds encoded training data."

_MODELS = {
    "default": _Model(
        "Ridge and boosted trees on topology features, averaged: what ships.", 5, {**_RIDGE, **_BOOSTING}
    ),
    "ridge": _Model("Ridge regression on topology features.", 10, _RIDGE),
    "ridge_one_hot": _Model("Ridge regression on one-hot edges.", 10, {"ridge": "sklearn_models.OneHotRidge"}),
    "boosting": _Model("scikit-learn's gradient boosting on topology features.", 5, _BOOSTING),
    "random_forest": _Model("A random forest on topology features.", 5, {"forest": "sklearn_models.RandomForest"}),
    "svr": _Model(
        f"Support vector regression on topology features; {_STORES_DATA}", 5, {"svr": "sklearn_models.SupportVectors"}
    ),
    "gp": _Model(
        f"A Gaussian process on topology features; {_STORES_DATA}", 1, {"gp": "sklearn_models.GaussianProcess"}
    ),
    "gin": _Model(
        "A graph network over both cells with topology features at its readout, trained to predict and to rank.",
        4,
        {"gin": "torch_models.GIN"},
    ),
    "gin_paper": _Model(
        "The paper's graph network with its mislabelled edges: for comparison only.",
        1,
        {"gin": "torch_models.PaperGIN"},
    ),
    "bananas": _Model(
        "BANANAS: a multi-layer perceptron on path encodings.", 2, {"perceptron": "torch_models.PathPerceptron"}
    ),
    "xgboost": _Model("XGBoost on topology features.", 5, {"xgboost": "boosting.XGBoost"}),
    "lightgbm": _Model("LightGBM on topology features.", 5, {"lightgbm": "boosting.LightGBM"}),
}
_NEED_EXTRA = ("xgboost", "lightgbm")


def _builder(model: _Model) -> Callable[..., Surrogate]:
    def build(*, members: int = model.members) -> Surrogate:
        return Committee({part: _regressor(place) for part, place in model.parts.items()}, members=members)

    build.__doc__ = (
        f"{model.summary}\n\nArgs:\n    members: number of fits that are averaged; each leaves out other data."
    )
    return build


def _regressor(place: str) -> Callable[[], Regressor]:
    """The class at ``module.Class``; imported here, as scikit-learn and torch take seconds."""
    module, _, name = place.partition(".")
    regressor: Callable[[], Regressor] = getattr(import_module(f"nni_privacy.surrogate.{module}"), name)
    return regressor


for _name, _model in _MODELS.items():
    register_surrogate(_name, needs_extra=_name in _NEED_EXTRA)(_builder(_model))
