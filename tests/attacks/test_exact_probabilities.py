"""Probabilities of exactly 0 and 1, as a vote of trees gives them: finite scores, ties, and the same order."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from planted_signals import planted_signals
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

from nni_privacy.attacks import (
    ShadowSignals,
    TargetSignals,
    attack_names,
    get_attack,
    lira_scores,
    logit_confidence,
    report_attack,
    rmia_ratios,
)
from nni_privacy.attacks.signals import finite_confidences
from nni_privacy.errors import AuditError

NOTHING = float("-inf")
RECORDS, TREES, CLASSES = 300, 25, 3
VOTES = arrays(np.int64, (8, CLASSES), elements=st.integers(0, 6)).filter(lambda votes: votes.sum(axis=1).all())


def log_of(probabilities: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(probabilities)


def signals_of(votes: np.ndarray, labels: np.ndarray) -> TargetSignals:
    return TargetSignals.from_logits(
        log_of(votes / votes.sum(axis=1, keepdims=True)), labels, np.arange(len(votes)) % 2 == 0
    )


@given(VOTES, arrays(np.int64, 8, elements=st.integers(0, CLASSES - 1)))
def test_losses_of_votes_are_finite_and_ordered_as_the_share_of_the_votes(votes: np.ndarray, labels: np.ndarray):
    signals = signals_of(votes, labels)
    share = votes[np.arange(8), labels] / votes.sum(axis=1)
    np.testing.assert_allclose(signals.posteriors, votes / votes.sum(axis=1, keepdims=True), atol=1e-12)
    assert np.isfinite(signals.losses).all() and (signals.losses >= 0).all()
    assert (np.diff(signals.losses[np.argsort(share, kind="stable")]) <= 1e-12).all()
    for exact in (0, 1):
        assert len(set(signals.losses[share == exact])) <= 1
        others = signals.losses[share != exact]
        assert all(np.sign(others - loss).tolist() == [2 * exact - 1] * len(others)
                   for loss in signals.losses[share == exact])  # fmt: skip
    inner = (share > 0) & (share < 1)
    np.testing.assert_allclose(signals.losses[inner], -np.log(share[inner]), rtol=1e-9)
    own = signals.residuals[np.arange(8), labels]
    np.testing.assert_allclose(own, share - 1, atol=1e-6)
    assert (own[share == 0] == -1).all() and (own[share == 1] == 0).all()


def test_the_confidence_of_an_exact_probability_is_infinite_and_made_finite_by_a_factor_of_two():
    logits = np.array([[NOTHING, 0.0, NOTHING], [0.0, NOTHING, NOTHING], [np.log(0.25), np.log(0.5), np.log(0.25)]])
    confidences = logit_confidence(logits, np.array([0, 0, 1]))
    assert confidences.tolist() == [NOTHING, np.inf, pytest.approx(0, abs=1e-15)]
    (finite,) = finite_confidences(confidences)
    np.testing.assert_allclose(finite, [-np.log(2), np.log(2), 0], atol=1e-15)
    target, shadows = finite_confidences(np.array([NOTHING, 3.0]), np.array([[np.inf, -1.0]]))
    np.testing.assert_allclose([*target, *shadows[0]], [-1 - np.log(2), 3, 3 + np.log(2), -1])
    (only,) = finite_confidences(np.array([NOTHING, np.inf]))
    np.testing.assert_allclose(only, [-np.log(2), np.log(2)])
    same = np.array([1.0, -2.0])
    assert finite_confidences(same)[0] is same


@given(arrays(np.float64, (6, 4), elements=st.floats(-700, 700)), arrays(np.int64, 6, elements=st.integers(0, 3)))
def test_the_confidence_equals_its_definition_in_extended_precision(logits: np.ndarray, labels: np.ndarray):
    values = np.exp(logits.astype(np.longdouble))  # 80 bits: up to e^11356
    own = np.arange(4) == labels[:, None]
    expected = np.log(np.where(own, values, 0).sum(axis=1) / np.where(own, 0, values).sum(axis=1))
    np.testing.assert_allclose(logit_confidence(logits, labels), expected.astype(float), rtol=1e-12, atol=1e-12)
    plain = logit_confidence(logits[:, :2], labels % 2)
    np.testing.assert_array_equal(plain, np.where(labels % 2, 1, -1) * (logits[:, 1] - logits[:, 0]))


def test_lira_takes_infinite_statistics_as_finite_ones_beyond_all_others():
    generator = np.random.default_rng(0)
    target, stats = generator.normal(size=(20, 1)), generator.normal(size=(20, 8, 1))
    keep = np.tile([True, False], (20, 4))
    target[0], target[1], stats[2, 3], stats[3, 4] = NOTHING, np.inf, NOTHING, np.inf
    clamped = [part.copy() for part in (target, stats)]
    low, high = (f([f(part[np.isfinite(part)]) for part in clamped]) for f in (np.min, np.max))
    for part in clamped:
        part[part == NOTHING], part[part == np.inf] = low - np.log(2), high + np.log(2)
    for mode in ("online", "offline"):
        found = lira_scores(target, stats, keep, mode=mode)
        np.testing.assert_array_equal(found, lira_scores(*clamped, keep, mode=mode))
        assert np.isfinite(found).all()


def test_rmia_is_neutral_where_nobody_gives_the_class_a_chance():
    keep = np.array([[True, False]] * 4)
    target, references = np.array([0, 0.5, 0, 1.0]), np.array([[0, 0], [0, 0], [0.5, 0.5], [1.0, 1.0]])
    ratios = rmia_ratios(target, references, keep, mode="online")
    assert ratios[[0, 2, 3]].tolist() == [1, 0, 1] and 1e300 < ratios[1] < np.inf


@cache
def forest_signals(seed: int) -> TargetSignals:
    """A random forest's log-probabilities, with those of eight more that were trained on halves of the records."""
    x, y = make_classification(
        RECORDS, 10, n_informative=4, n_classes=CLASSES, n_clusters_per_class=1, flip_y=0.3, random_state=seed
    )
    generator = np.random.default_rng(seed)
    halves = [generator.permutation(RECORDS) < RECORDS // 2 for _ in range(5)]
    keep = [halves[0], *(side for half in halves[1:] for side in (half, ~half))]
    forests = [
        RandomForestClassifier(TREES, random_state=number).fit(x[rows], y[rows]) for number, rows in enumerate(keep)
    ]
    answers = [log_of(forest.predict_proba(x)).astype(np.float32) for forest in forests]
    shadows = ShadowSignals(np.stack(answers[1:], axis=1)[:, :, None], np.stack(keep[1:], axis=1))
    features = x.astype(np.float32)
    return TargetSignals.from_logits(answers[0], y, keep[0], shadows=shadows, features=features)


POSSIBLE = [name for name in attack_names() if get_attack(name).requires <= {"logits", "gradients", "shadows"}]


@pytest.mark.parametrize("name", POSSIBLE)
def test_attacks_find_the_members_of_a_forest_and_none_where_membership_is_drawn(name: str):
    signals = forest_signals(0)
    assert np.isneginf(signals.logits).any() and np.isneginf(signals.shadows.logits).any()
    result = get_attack(name)(signals)
    assert np.isfinite(result.scores).all() and report_attack(name, result).metrics["mia_auc_low"] > 0.58
    drawn = np.random.default_rng(1).permutation(signals.is_member)
    null = get_attack(name)(dataclasses.replace(signals, is_member=drawn))
    assert abs(report_attack(name, null).metrics["mia_auc"] - 0.5) < 3 / np.sqrt(3 * RECORDS)  # 3 standard errors


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("name", ["lira", "rmia"])
def test_references_tell_more_of_a_forest_than_its_votes_alone(name: str, mode: str):
    found = [
        report_attack(name, get_attack(name)(forest_signals(seed), mode=mode)).metrics["mia_auc"]
        - report_attack("loss", get_attack("loss_threshold")(forest_signals(seed))).metrics["mia_auc"]
        for seed in range(2)
    ]
    assert np.mean(found) > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, "all"])
@pytest.mark.parametrize("block", ["logits", "view_logits", "shadows", "population_logits", "target_population_logits"])
def test_what_is_no_logit_is_refused_as_before(block: str, bad: object):
    signals = planted_signals(gap=0.0, n=20)
    owner = signals if block in ("logits", "view_logits") else signals.shadows
    name = "logits" if block == "shadows" else block
    values = getattr(owner, name).copy()
    values[(0,) * (values.ndim - 1)][0] = NOTHING
    dataclasses.replace(owner, **{name: values})
    values[(0,) * (values.ndim - 1)] = NOTHING if bad == "all" else bad
    with pytest.raises(AuditError, match="NaN or infinite"):
        dataclasses.replace(owner, **{name: values})


def test_features_must_be_finite():
    signals = planted_signals(gap=0.0, n=20)
    features = signals.features.copy()
    features[0, 0] = NOTHING
    with pytest.raises(AuditError, match="features: there are NaN or infinite"):
        dataclasses.replace(signals, features=features)
