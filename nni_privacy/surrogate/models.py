"""The surrogates that ship: each a function that builds one, under the name that commands know it by.

Every ``members`` option is the number of fits that are averaged; each leaves out another part of the data.
"""

from __future__ import annotations

from nni_privacy.surrogate.base import Surrogate, register_surrogate
from nni_privacy.surrogate.committee import Committee

__all__: list[str] = []


@register_surrogate("default")
def _default(*, members: int = 5) -> Surrogate:
    """Ridge and boosted trees on topology features, averaged: what ships."""
    from nni_privacy.surrogate.sklearn_models import BoostedTrees, Ridge

    return Committee({"ridge": Ridge, "boosting": BoostedTrees}, members=members)


@register_surrogate("ridge")
def _ridge(*, members: int = 10) -> Surrogate:
    """Ridge regression on topology features."""
    from nni_privacy.surrogate.sklearn_models import Ridge

    return Committee({"ridge": Ridge}, members=members)


@register_surrogate("ridge_one_hot")
def _ridge_one_hot(*, members: int = 10) -> Surrogate:
    """Ridge regression on one-hot edges."""
    from nni_privacy.surrogate.sklearn_models import OneHotRidge

    return Committee({"ridge": OneHotRidge}, members=members)


@register_surrogate("boosting")
def _boosting(*, members: int = 5) -> Surrogate:
    """scikit-learn's gradient boosting on topology features."""
    from nni_privacy.surrogate.sklearn_models import BoostedTrees

    return Committee({"boosting": BoostedTrees}, members=members)


@register_surrogate("random_forest")
def _random_forest(*, members: int = 5) -> Surrogate:
    """A random forest on topology features."""
    from nni_privacy.surrogate.sklearn_models import RandomForest

    return Committee({"forest": RandomForest}, members=members)


@register_surrogate("svr")
def _svr(*, members: int = 5) -> Surrogate:
    """Support vector regression on topology features; a saved one holds encoded training data."""
    from nni_privacy.surrogate.sklearn_models import SupportVectors

    return Committee({"svr": SupportVectors}, members=members)


@register_surrogate("gp")
def _gp(*, members: int = 1) -> Surrogate:
    """A Gaussian process on topology features; a saved one holds encoded training data."""
    from nni_privacy.surrogate.sklearn_models import GaussianProcess

    return Committee({"gp": GaussianProcess}, members=members)


@register_surrogate("gin")
def _gin(*, members: int = 4) -> Surrogate:
    """A graph network over both cells with topology features at its readout, trained to predict and to rank."""
    from nni_privacy.surrogate.torch_models import GIN

    return Committee({"gin": GIN}, members=members)


@register_surrogate("gin_paper")
def _gin_paper(*, members: int = 1) -> Surrogate:
    """The paper's graph network with its mislabelled edges: for comparison only."""
    from nni_privacy.surrogate.torch_models import PaperGIN

    return Committee({"gin": PaperGIN}, members=members)


@register_surrogate("bananas")
def _bananas(*, members: int = 2) -> Surrogate:
    """BANANAS: a multi-layer perceptron on path encodings."""
    from nni_privacy.surrogate.torch_models import PathPerceptron

    return Committee({"perceptron": PathPerceptron}, members=members)


@register_surrogate("xgboost", needs_extra=True)
def _xgboost(*, members: int = 5) -> Surrogate:
    """XGBoost on topology features."""
    from nni_privacy.surrogate.boosting import XGBoost

    return Committee({"xgboost": XGBoost}, members=members)


@register_surrogate("lightgbm", needs_extra=True)
def _lightgbm(*, members: int = 5) -> Surrogate:
    """LightGBM on topology features."""
    from nni_privacy.surrogate.boosting import LightGBM

    return Committee({"lightgbm": LightGBM}, members=members)
