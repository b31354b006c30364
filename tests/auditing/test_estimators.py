"""Audits of scikit-learn's classifiers: what they are asked, their reference models, what is refused."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from joblib import parallel_config
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from nni_privacy import audit_sklearn
from nni_privacy.errors import AuditError

DATA, LABELS = load_breast_cancer(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(len(DATA))
DATA, LABELS = DATA[ORDER], LABELS[ORDER]
MEMBERS, OTHERS = (DATA[:280], LABELS[:280]), (DATA[280:560], LABELS[280:560])
NAMED = np.array(["malignant", "benign"])[LABELS]


def fitted(estimator: Any, *, labels: Any = LABELS, data: Any = DATA) -> Any:
    return estimator.fit(data[:280], labels[:280])


def test_a_tree_that_remembers_is_found_out() -> None:
    tree = fitted(DecisionTreeClassifier(max_depth=None, random_state=0))
    report = audit_sklearn(tree, MEMBERS, OTHERS)
    gap = 1 - tree.score(*OTHERS)
    assert report.attacks["gap"].roc.auc == pytest.approx(0.5 + gap / 2)
    assert report.verdict.leak and report.provenance["Estimator"].startswith("DecisionTreeClassifier(")
    assert np.array_equal(report.signals.is_member, np.arange(560) < 280)


def test_the_loss_is_that_of_its_probabilities() -> None:
    model = fitted(make_pipeline(StandardScaler(), LogisticRegression(C=0.1)))
    report = audit_sklearn(model, MEMBERS, OTHERS, attacks="loss_threshold")
    own = model.predict_log_proba(DATA[:560])[np.arange(560), LABELS[:560]]
    assert report.primary.roc.auc == pytest.approx(roc_auc_score(np.arange(560) < 280, own), abs=1e-9)


@pytest.mark.parametrize(
    ("estimator", "made"),
    [
        (make_pipeline(StandardScaler(), SVC()), {"loss_threshold", "lira"}),
        (make_pipeline(StandardScaler(), Perceptron()), {"loss_threshold", "lira"}),
    ],
    ids=["svc", "perceptron"],
)
def test_without_probabilities_decisions_stand_for_logits(estimator: Any, made: set[str]) -> None:
    model = fitted(clone(estimator))
    report = audit_sklearn(model, MEMBERS, OTHERS, references=4)
    assert made <= set(report.attacks)
    decisions = model.decision_function(DATA[:560])
    np.testing.assert_allclose(report.signals.confidences, np.where(LABELS[:560] == 1, decisions, -decisions))


def test_with_predicted_classes_alone_the_gap_is_left() -> None:
    class Silent:
        def __init__(self, inner: Any) -> None:
            self.inner, self.classes_ = inner, inner.classes_

        def predict(self, data: Any) -> Any:
            return self.inner.predict(data)

    tree = fitted(DecisionTreeClassifier(random_state=0))
    report = audit_sklearn(Silent(tree), MEMBERS, OTHERS, references=4)
    assert list(report.attacks) == ["gap"]
    assert report.metrics() == audit_sklearn(tree, MEMBERS, OTHERS, attacks="gap").metrics()


def test_reference_models_are_clones_fitted_on_random_halves() -> None:
    report = audit_sklearn(fitted(GaussianNB()), MEMBERS, OTHERS, references=4, attacks=["lira", "rmia"], seed=5)
    shadows = report.signals.shadows
    assert shadows is not None and shadows.keep.shape == (560, 4)
    assert np.array_equal(shadows.keep[:, 0], ~shadows.keep[:, 1]) and shadows.keep.sum(axis=0).tolist() == [280] * 4
    for number, keep in enumerate(shadows.keep.T):
        wanted = GaussianNB().fit(DATA[:560][keep], LABELS[:560][keep]).predict_log_proba(DATA[:560])
        margin = shadows.logits[:, number, 0, 1] - shadows.logits[:, number, 0, 0]
        finite = np.isfinite(margin)
        np.testing.assert_allclose(margin[finite], (wanted[:, 1] - wanted[:, 0])[finite], rtol=1e-3, atol=1e-3)


def test_a_seed_drives_the_reference_models_whatever_the_estimators_own_is() -> None:
    forest = fitted(RandomForestClassifier(5, min_samples_leaf=5, random_state=None))
    logits = [
        audit_sklearn(forest, MEMBERS, OTHERS, references=2, attacks="rmia", seed=seed).signals.shadows.logits
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(logits[0], logits[1]) and not np.array_equal(logits[0], logits[2])
    with parallel_config(backend="threading"):
        parallel = audit_sklearn(forest, MEMBERS, OTHERS, references=2, attacks="rmia", seed=1, n_jobs=2)
    assert np.array_equal(parallel.signals.shadows.logits, logits[0])


def test_a_forest_whose_trees_agree_is_attacked_by_all() -> None:
    """Probabilities of 0 and 1: losses and confidences are infinite."""
    forest = fitted(RandomForestClassifier(10, random_state=0))
    assert (forest.predict_proba(DATA) == 0).any()
    report = audit_sklearn(forest, MEMBERS, OTHERS, references=8)
    assert {"black_box_partial", "loss_threshold", "gap", "lira", "rmia"} <= set(report.attacks)
    for name in ("lira", "rmia"):
        assert report.attacks[name].roc.auc > 0.6
        assert np.isfinite(report.attacks[name].scores).all()
    own = forest.predict_proba(DATA[:560])[np.arange(560), LABELS[:560]]
    truth = roc_auc_score(np.arange(560) < 280, own)
    assert report.attacks["loss_threshold"].roc.auc == pytest.approx(truth, abs=1e-9)


@pytest.mark.parametrize("kind", ["frame", "sparse", "texts", "named", "lists"])
def test_records_are_taken_as_the_estimator_takes_them(kind: str) -> None:
    plain = audit_sklearn(fitted(GaussianNB()), MEMBERS, OTHERS, references=2, attacks=["rmia", "gap"]).metrics()
    data, labels, model = DATA, LABELS, GaussianNB()
    if kind == "frame":
        pandas = pytest.importorskip("pandas")
        data = pandas.DataFrame(DATA, columns=[f"c{at}" for at in range(30)], index=np.arange(569)[::-1])
        labels = pandas.Series(LABELS, index=data.index)
    elif kind == "named":
        labels = np.array(["b", "w"])[LABELS]
    elif kind == "lists":
        data = DATA.tolist()
    elif kind == "sparse":
        data, model = sparse.csr_matrix(DATA), MultinomialNB()
    else:
        data = [" ".join(f"w{at}" for at in np.flatnonzero(row > np.median(DATA, axis=0))) for row in DATA]
        model = make_pipeline(CountVectorizer(), MultinomialNB())
    fitted(model, labels=labels, data=data)
    sides = [(data[part], labels[part]) for part in (slice(280), slice(280, 560))]
    report = audit_sklearn(model, *sides, references=2, attacks=["rmia", "gap"])
    if kind not in ("sparse", "texts"):
        assert report.metrics() == plain
    assert len(report.primary.records) > 100


def test_records_on_both_sides_are_counted() -> None:
    model = fitted(GaussianNB())
    mixed = np.r_[DATA[:40], DATA[280:520]], np.r_[LABELS[:40], LABELS[280:520]]
    report = audit_sklearn(model, MEMBERS, mixed, attacks="gap")
    assert report.shared == 40 and any("members among non-members" in notice for notice in report.notices)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"estimator": DecisionTreeClassifier()}, "DecisionTreeClassifier has no classes_: it is not fitted"),
        ({"estimator": DecisionTreeClassifier}, "has no classes_"),
        ({"estimator": fitted(LinearRegression())}, "LinearRegression has no classes_: .*audit_predictions"),
        ({"members": DATA}, "members is a ndarray, expected a pair"),
        ({"members": (DATA[:30], LABELS[:29])}, "members: 30 records, labels of shape"),
        ({"nonmembers": (DATA[:19], LABELS[:19])}, "nonmembers: 19 records; an audit needs 20"),
        ({"nonmembers": (DATA[:30], LABELS[:30] + 5)}, r"labels: [56] is not among the estimator's classes \(0, 1\)"),
        (
            {"members": (DATA[:30, :4], LABELS[:30]), "nonmembers": (DATA[:30, :4], LABELS[:30])},
            "GaussianNB does not take",
        ),
        ({"references": -1}, "references is -1"),
        ({"references": 2, "attacks": "lira"}, "2 shadows each way"),
        ({"attacks": "lyra"}, "unknown attack 'lyra'.*'lira'"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(changes: dict[str, Any], words: str) -> None:
    options: dict[str, Any] = {"estimator": fitted(GaussianNB()), "members": MEMBERS, "nonmembers": OTHERS, **changes}
    with warnings.catch_warnings(), pytest.raises(ValueError, match=words) as error:
        audit_sklearn(options.pop("estimator"), options.pop("members"), options.pop("nonmembers"), **options)
    assert "\n" not in str(error.value)


def test_what_cannot_be_cloned_has_no_reference_models() -> None:
    class Fixed:
        classes_ = np.array([0, 1])

        def predict_proba(self, data: Any) -> Any:
            return np.full((len(data), 2), 0.5)

    assert audit_sklearn(Fixed(), MEMBERS, OTHERS).attacks["gap"].roc.auc > 0
    with pytest.raises(AuditError, match="reference model 0: cannot be made of the estimator"):
        audit_sklearn(Fixed(), MEMBERS, OTHERS, references=4)
