from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from surrogate.samples import planted_auc, random_codes

from nni_privacy.errors import ConfigError, DataError, GenotypeError
from nni_privacy.surrogate import Surrogate, build_surrogate, load_surrogate, register_surrogate, surrogate_names
from nni_privacy.surrogate.base import METADATA, surrogates_without_extra
from nni_privacy.surrogate.sklearn_models import ALPHAS, Ridge

FEW_MEMBERS = 2
CODES = random_codes(260)
AUC = planted_auc(CODES)
UNSEEN = random_codes(200, seed=7)


def build(name: str, *, members: int = FEW_MEMBERS) -> Surrogate:
    if name not in surrogates_without_extra() and importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return build_surrogate(name, members=members)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "bananas" else []) for name in surrogate_names()]
)
def test_every_surrogate_predicts_repeats_and_survives_a_file(name: str, tmp_path: Path) -> None:
    few, aucs = CODES[:100], AUC[:100]
    surrogate = build(name).fit(few, aucs, seed=1)
    mean, deviation = surrogate.predict_with_uncertainty(UNSEEN)
    assert mean.dtype == deviation.dtype == np.float64
    assert mean.shape == deviation.shape == (200,)
    assert ((mean >= 0) & (mean <= 1)).all() and (deviation > 0).all()
    again = build(name).fit(few.to_genotypes(), aucs, seed=1)
    np.testing.assert_array_equal(again.predict(UNSEEN.to_genotypes()), mean)
    surrogate.save(tmp_path / "a.npz")
    loaded = load_surrogate(tmp_path / "a.npz")
    np.testing.assert_array_equal(loaded.predict_with_uncertainty(UNSEEN), (mean, deviation))
    assert (loaded.name, loaded.options) == (name, {"members": FEW_MEMBERS})
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("name", ["default", "gin", "gp", "svr", "random_forest", "boosting", "ridge"])
def test_what_was_planted_is_found(name: str) -> None:
    predicted = build(name).fit(CODES, AUC, seed=0).predict(UNSEEN)
    assert spearmanr(predicted, planted_auc(UNSEEN, noise=0.0))[0] > 0.5


@pytest.mark.parametrize("name", ["default", "ridge", "gp"])
def test_stated_uncertainty_covers_new_measurements(name: str) -> None:
    codes, fresh = random_codes(600, seed=2), random_codes(2000, seed=3)
    surrogate = build(name, members=5).fit(codes, planted_auc(codes, seed=2), seed=0)
    mean, deviation = surrogate.predict_with_uncertainty(fresh)
    covered = np.abs(planted_auc(fresh, seed=9) - mean) < 1.645 * deviation
    assert 0.86 < covered.mean() < 0.95  # 90% is what is stated


def test_order_and_company_do_not_change_a_prediction() -> None:
    surrogate = build("default").fit(CODES, AUC, seed=0)
    order = np.random.default_rng(0).permutation(len(UNSEEN))
    np.testing.assert_allclose(surrogate.predict(UNSEEN[order]), surrogate.predict(UNSEEN)[order], rtol=1e-12)
    assert surrogate.predict([]).shape == (0,)


def test_in_edges_may_come_in_any_order() -> None:
    from nni_privacy.cells.codes import GenotypeCodes

    surrogate = build("ridge_one_hot").fit(CODES, AUC, seed=0)
    turned = GenotypeCodes(UNSEEN.sources[..., ::-1], UNSEEN.operations[..., ::-1])
    np.testing.assert_array_equal(surrogate.predict(turned), surrogate.predict(UNSEEN))


def test_ridge_equals_scikit_learn() -> None:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    features, target = random.normal(size=(80, 5)) * 3 + 1, random.normal(size=80)
    ridge = Ridge()
    ridge.fit(features, target, features, target, seed=0)
    expected = make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(features, target).predict(features)
    np.testing.assert_allclose(ridge.predict(features), expected, rtol=1e-10)


def test_gaussian_process_equals_scikit_learn() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    from nni_privacy.surrogate.sklearn_models import GaussianProcess
    from nni_privacy.surrogate.topology import encode_topology

    features, target = encode_topology(CODES), (AUC - AUC.mean()) / AUC.std()
    process = GaussianProcess(gammas=(0.1,), noises=(3.0,))
    process.fit(features, target, features, target, seed=0)
    scale = np.where(features.std(axis=0) > 1e-12, features.std(axis=0), 1)
    scaled = (features - features.mean(axis=0)) / scale
    unseen = (encode_topology(UNSEEN) - features.mean(axis=0)) / scale
    reach = np.sqrt(features.shape[1] / 0.2)  # exp(-|d|^2 / (2 reach^2)) = exp(-0.1 / k |d|^2)
    kernel = ConstantKernel(1.0) * RBF(reach) + WhiteKernel(3.0)
    oracle = GaussianProcessRegressor(kernel, optimizer=None).fit(scaled, target - target.mean())
    np.testing.assert_allclose(
        process.predict(encode_topology(UNSEEN)), oracle.predict(unseen) + target.mean(), atol=1e-9
    )


def test_support_vectors_equal_scikit_learn() -> None:
    from sklearn.svm import SVR

    from nni_privacy.surrogate.sklearn_models import SupportVectors

    random = np.random.default_rng(0)
    features, target = random.normal(size=(80, 5)) * 3 + 1, random.normal(size=80)
    ours = SupportVectors(C=1.0, epsilon=0.1, gamma=0.5)
    ours.fit(features, target, features, target, seed=0)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    expected = SVR(C=1.0, epsilon=0.1, gamma=0.1).fit(scaled, target).predict(scaled)
    np.testing.assert_allclose(ours.predict(features), expected, rtol=1e-9)


def test_bad_input_is_named() -> None:
    surrogate = build("ridge")
    with pytest.raises(DataError, match="has not been fitted"):
        surrogate.predict(UNSEEN)
    with pytest.raises(DataError, match="has not been fitted"):
        surrogate.save("nowhere.npz")
    with pytest.raises(DataError, match="one value a genotype"):
        surrogate.fit(CODES, AUC[:-1], seed=0)
    with pytest.raises(DataError, match="between 0 and 1"):
        surrogate.fit(CODES, np.where(np.arange(260) == 5, np.nan, AUC), seed=0)
    with pytest.raises(DataError, match="needs 20"):
        surrogate.fit(CODES[:19], AUC[:19], seed=0)
    surrogate.fit(CODES, AUC, seed=0)
    with pytest.raises(GenotypeError, match="3 intermediate nodes"):
        surrogate.predict(random_codes(2, nodes=3))
    with pytest.raises(GenotypeError, match="DARTS space"):
        surrogate.predict(["|nor_conv_3x3~0|"])


def test_names_and_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="did you mean 'ridge'"):
        build_surrogate("rigde")
    with pytest.raises(ConfigError, match="unknown key 'member'"):
        build_surrogate("ridge", member=3)
    with pytest.raises(ConfigError, match="members: 0"):
        build_surrogate("ridge", members=0)
    with pytest.raises(ConfigError, match="registered already"):
        register_surrogate("ridge")


def test_an_extra_that_is_missing_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xgboost", None)
    with pytest.raises(ConfigError, match="needs it installed: pip install"):
        build_surrogate("xgboost").fit(CODES, AUC, seed=0)


def test_the_shipped_surrogate_is_small_and_holds_no_architectures() -> None:
    surrogate = load_surrogate()
    assert surrogate.name == "default"
    mean, deviation = surrogate.predict_with_uncertainty(UNSEEN)
    assert 0.7 < mean.mean() < 0.9 and 0.01 < deviation.mean() < 0.05
    path = Path(__import__("nni_privacy.surrogate").surrogate.__file__).parent / "shipped" / "default.npz"
    assert path.stat().st_size < 1_000_000
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].ndim <= 1 for name in file.files)


def test_foreign_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="cannot be read"):
        load_surrogate(path)
    for content in (b"", b"PK\x03\x04 nonsense", b"hello", b"\x80\x04K\x01."):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a surrogate's file"):
            load_surrogate(path)
    np.savez(path, weights=np.ones(3))
    with pytest.raises(DataError, match="not a surrogate's file"):
        load_surrogate(path)
    np.savez(path, weights=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="not a surrogate's file"):
        load_surrogate(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2; this nni-privacy reads version 1"),
        ({"surrogate": "nobody"}, "not a valid surrogate: unknown surrogate 'nobody'"),
        ({"options": {"members": "x"}}, "not a valid surrogate: members"),
        ({"facts": {}}, "not a valid surrogate"),
        ({"options": {"members": 3}}, "not a valid surrogate"),
        ({"surrogate": "gin"}, "not a valid surrogate"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "a.npz"
    build("ridge").fit(CODES, AUC, seed=0).save(path)
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    metadata = json.loads(str(content.pop(METADATA)))
    np.savez(path, **content, **{METADATA: np.array(json.dumps({**metadata, **change}))})
    with pytest.raises(DataError) as caught:
        load_surrogate(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)
