from __future__ import annotations

from configparser import ConfigParser
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from nni_privacy.errors import ConfigError
from nni_privacy.surrogate.base import State
from nni_privacy.surrogate.trees import SCIKIT_LEARN, TreeEnsemble

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(600, 7)).astype(np.float32)
TARGET = FEATURES[:, 0] * FEATURES[:, 1] + RANDOM.normal(size=600)
UNSEEN = RANDOM.normal(size=(9000, 7)).astype(np.float32)


def test_boosted_trees_equal_scikit_learn() -> None:
    model = HistGradientBoostingRegressor(max_iter=40, random_state=0).fit(FEATURES, TARGET)
    trees = TreeEnsemble.from_boosting(model)
    np.testing.assert_array_equal(trees.predict(UNSEEN), model.predict(UNSEEN))
    np.testing.assert_array_equal(trees.predict(FEATURES), model.predict(FEATURES))


@pytest.mark.parametrize(
    ("version", "known"), [("1.3.2", False), ("1.4.0", True), ("1.9.1", True), ("1.10rc1", False), ("2.0", False)]
)
def test_boosted_trees_of_versions_that_were_not_tried_are_refused(
    version: str, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = HistGradientBoostingRegressor(max_iter=2, random_state=0).fit(FEATURES, TARGET)
    monkeypatch.setattr(sklearn, "__version__", version)
    if known:
        TreeEnsemble.from_boosting(model)
        return
    with pytest.raises(ConfigError, match=rf"^scikit-learn {version}: .* install 'scikit-learn>=1\.4,<1\.10'$"):
        TreeEnsemble.from_boosting(model)


def test_requirements_have_the_same_versions() -> None:
    setup = ConfigParser()
    setup.read(Path(__file__).resolve().parents[2] / "setup.cfg", encoding="utf-8")
    first, beyond = (".".join(map(str, version)) for version in SCIKIT_LEARN)
    assert f"scikit-learn >={first}, <{beyond}" in setup["options"]["install_requires"].splitlines()


@pytest.mark.parametrize("leaf", [1, 60], ids=["deep trees", "small trees"])
def test_forests_equal_scikit_learn(leaf: int) -> None:
    model = RandomForestRegressor(10, min_samples_leaf=leaf, random_state=0).fit(FEATURES, TARGET)
    np.testing.assert_allclose(
        TreeEnsemble.from_forest(model).predict(UNSEEN), model.predict(UNSEEN), rtol=1e-13, atol=1e-15
    )


@pytest.mark.parametrize("leaf", [1, 60], ids=["deep trees", "small trees"])
def test_few_rows_get_exactly_what_they_get_among_many(leaf: int) -> None:
    forest = RandomForestRegressor(10, min_samples_leaf=leaf, random_state=0).fit(FEATURES, TARGET)
    trees = TreeEnsemble.from_forest(forest)
    many = trees.predict(UNSEEN)
    for rows in (1, 2, 64, 65):
        np.testing.assert_array_equal(trees.predict(UNSEEN[:rows]), many[:rows])
    assert trees.predict(UNSEEN[:0]).shape == (0,)


def test_state_round_trips() -> None:
    model = HistGradientBoostingRegressor(max_iter=5, random_state=0).fit(FEATURES, TARGET)
    trees = TreeEnsemble.from_boosting(model)
    again = TreeEnsemble.from_state(trees.state())
    np.testing.assert_array_equal(again.predict(UNSEEN), trees.predict(UNSEEN))


def test_broken_trees_are_refused() -> None:
    model = HistGradientBoostingRegressor(max_iter=2, random_state=0).fit(FEATURES, TARGET)
    trees = TreeEnsemble.from_boosting(model)
    with pytest.raises(ValueError, match="circle"):
        replace(trees, left=np.zeros_like(trees.left))
    with pytest.raises(ValueError, match="refer"):
        replace(trees, right=trees.right + 10**6)
    with pytest.raises(ValueError, match="lengths"):
        replace(trees, values=trees.values[1:])
    with pytest.raises(KeyError):
        TreeEnsemble.from_state(State())
