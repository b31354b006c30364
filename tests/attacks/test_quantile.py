"""Quantile regression: against leave-one-out by hand and a planted distribution, and honest where nothing leaks."""

import dataclasses

import numpy as np
import pytest
from planted_signals import planted_signals
from scipy.stats import kstest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from nni_privacy.attacks import ShadowSignals, TargetSignals, get_attack, roc_auc
from nni_privacy.attacks.quantile import _PENALTIES, _ridge, outsider_features, standardised
from nni_privacy.errors import AuditError


def test_the_regression_is_ridge_with_the_best_leave_one_out_error():
    generator = np.random.default_rng(0)
    known, features = generator.normal(size=(40, 12)) * 5 + 3, generator.normal(size=(7, 12)) * 5 + 3
    values = known[:, 0] - 2 * known[:, 1] + 8 * generator.normal(size=40)
    scaler = StandardScaler().fit(known)
    scaled = scaler.transform(known)
    errors = {}
    for penalty in _PENALTIES:
        out = [np.delete(np.arange(40), left) for left in range(40)]
        models = [Ridge(penalty).fit(scaled[rows], values[rows]) for rows in out]
        errors[penalty] = np.array([values[i] - m.predict(scaled[i : i + 1])[0] for i, m in enumerate(models)])
    best = min(errors, key=lambda penalty: (errors[penalty] ** 2).mean())
    predicted, residuals = _ridge(known, values, features)
    expected = Ridge(best).fit(scaled, values).predict(scaler.transform(features))
    np.testing.assert_allclose(predicted, expected, rtol=1e-8)
    np.testing.assert_allclose(residuals, errors[best], rtol=1e-8)


def test_scores_of_new_non_members_are_standard_normal():
    """Mean and deviation depend on the record."""
    generator = np.random.default_rng(1)
    features = generator.normal(size=(4000, 3))
    mean, deviation = 2 * features[:, 0] - features[:, 1], np.exp(0.5 + 0.6 * features[:, 2])
    values = mean + deviation * generator.normal(size=4000)
    half = slice(0, 2000), slice(2000, 4000)
    scores = standardised(features[half[1]], values[half[1]], known=features[half[0]], known_values=values[half[0]])
    assert kstest(scores, "norm").pvalue > 0.01
    true = (values - mean) / deviation
    assert np.corrcoef(scores, true[half[1]])[0, 1] > 0.99


def test_features_tell_confidence_posteriors_and_class():
    logits, labels = np.array([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]], dtype=np.float32), np.array([1, 0])
    found = outsider_features(logits, labels)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    own = p[[0, 1], labels]
    np.testing.assert_allclose(found[:, 0], np.log(own / (1 - own)), rtol=1e-6)
    np.testing.assert_allclose(found[:, 1], found[:, 0] ** 2)
    np.testing.assert_allclose(found[:, 2:5], np.log(p), rtol=1e-6)
    assert found[:, 5:].tolist() == [[0, 1, 0], [1, 0, 0]]


def outside(*, memorised, n=300, seed=0, classes=4):
    """A target and a small network that agree on how hard a record is; of members the target is surer."""
    generator = np.random.default_rng(seed)
    labels, member = generator.integers(0, classes, 2 * n), np.arange(2 * n) < n
    others = generator.integers(0, classes, n)

    def answers(truth, hardness, gap):
        logits = 0.5 * generator.normal(size=(len(truth), classes))
        logits[np.arange(len(truth)), truth] += hardness + gap
        return logits.astype(np.float32)

    hardness, theirs = 2.5 * generator.normal(size=2 * n), 2.5 * generator.normal(size=n)
    shadows = ShadowSignals(
        answers(labels, hardness, 0)[:, None, None],
        np.zeros((2 * n, 1), bool),
        answers(others, theirs, 0)[:, None, None],
        others,
        None,
        answers(others, theirs, 0)[:, None],
    )
    return TargetSignals.from_logits(answers(labels, hardness, memorised * member), labels, member, outsider=shadows)


def test_difficulty_that_hides_members_is_taken_out():
    signals = outside(memorised=1.5)
    aucs = [
        roc_auc(found.scores, found.is_member)
        for found in (get_attack(name)(signals) for name in ("loss_threshold", "quantile"))
    ]
    assert aucs[0] < 0.75 < 0.9 < aucs[1]


def test_without_memory_nothing_is_found():
    aucs = [
        roc_auc(get_attack("quantile")(signals).scores, signals.is_member)
        for signals in (outside(memorised=0.0, seed=seed) for seed in range(20))
    ]
    assert abs(np.mean(aucs) - 0.5) < 3 * 0.0236 / np.sqrt(20)  # of an AUC of 300 + 300


def test_a_class_that_the_attacker_has_no_record_of_is_scored():
    signals = outside(memorised=1.5)
    others = signals.outsider
    rows = others.population_labels != 2
    fewer = {
        name: getattr(others, name)[rows]
        for name in ("population_logits", "population_labels", "target_population_logits")
    }
    found = get_attack("quantile")(dataclasses.replace(signals, outsider=dataclasses.replace(others, **fewer)))
    assert np.isfinite(found.scores).all() and np.abs(found.scores).max() < 100
    assert roc_auc(found.scores, found.is_member) > 0.75


def test_a_handful_of_own_records_is_too_few():
    signals = planted_signals(gap=1.0)
    others = signals.outsider
    few = {
        name: getattr(others, name)[:19]
        for name in ("population_logits", "population_labels", "target_population_logits")
    }
    with pytest.raises(AuditError, match="19 records of the attacker's own to learn from, 20 are needed"):
        get_attack("quantile")(dataclasses.replace(signals, outsider=dataclasses.replace(others, **few)))
