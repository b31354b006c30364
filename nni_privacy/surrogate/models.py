"""The surrogates that ship, as a table: committees of regressors under the names that commands know them by."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from nni_privacy.surrogate.base import Surrogate, register_surrogate
from nni_privacy.surrogate.committee import Committee, Regressor

__all__: list[str] = []

_TREES, _RIDGE = "sklearn_models.BoostedTrees", "sklearn_models.Ridge"
_STORES_DATA = "a saved one holds encoded training data."


def _register(name: str, summary: str, members: int, *, needs_extra: bool = False, **parts: str) -> None:
    """Registers a committee: how many fits it averages, and each part's name in files with its module and class."""

    @register_surrogate(name, needs_extra=needs_extra)
    def build(*, members: int = members) -> Surrogate:
        return Committee({part: _regressor(place) for part, place in parts.items()}, members=members)

    build.__doc__ = f"{summary}\n\nArgs:\n    members: number of fits that are averaged; each leaves out other data."


def _regressor(place: str) -> Callable[[], Regressor]:
    """The class at ``module.Class``; imported here, as scikit-learn and torch take seconds."""
    module, _, name = place.partition(".")
    regressor: Callable[[], Regressor] = getattr(import_module(f"nni_privacy.surrogate.{module}"), name)
    return regressor


_register(
    "default", "Ridge and boosted trees on topology features, averaged: what ships.", 5, ridge=_RIDGE, boosting=_TREES
)
_register("ridge", "Ridge regression on topology features.", 10, ridge=_RIDGE)
_register("ridge_one_hot", "Ridge regression on one-hot edges.", 10, ridge="sklearn_models.OneHotRidge")
_register("boosting", "scikit-learn's gradient boosting on topology features.", 5, boosting=_TREES)
_register("random_forest", "A random forest on topology features.", 5, forest="sklearn_models.RandomForest")
_register(
    "svr", f"Support vector regression on topology features; {_STORES_DATA}", 5, svr="sklearn_models.SupportVectors"
)
_register("gp", f"A Gaussian process on topology features; {_STORES_DATA}", 1, gp="sklearn_models.GaussianProcess")
_register(
    "gin",
    "A graph network over both cells with topology features at its readout, trained to predict and to rank.",
    4,
    gin="torch_models.GIN",
)
_register(
    "gin_paper",
    "The paper's graph network with its mislabelled edges: for comparison only.",
    1,
    gin="torch_models.PaperGIN",
)
_register(
    "bananas", "BANANAS: a multi-layer perceptron on path encodings.", 2, perceptron="torch_models.PathPerceptron"
)
_register("xgboost", "XGBoost on topology features.", 5, xgboost="boosting.XGBoost", needs_extra=True)
_register("lightgbm", "LightGBM on topology features.", 5, lightgbm="boosting.LightGBM", needs_extra=True)
