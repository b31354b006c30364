"""What LiRA and RMIA compare: their statistics and confidences, and the options that choose among them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from planted_signals import planted_signals
from scipy.special import softmax

from nni_privacy.attacks import (
    ShadowSignals,
    TargetSignals,
    attack_names,
    get_attack,
    lira_scores,
    roc_auc,
    roc_curve,
)
from nni_privacy.attacks.lira import logit_margin
from nni_privacy.attacks.rmia import OFFLINE_AS, choose_setting, rmia_confidence
from nni_privacy.auditing.audit import audit_signals
from nni_privacy.auditing.options import Effort
from nni_privacy.errors import ConfigError
from nni_privacy.training import Recipe

CLASSES = 4
LOGITS = arrays(np.float64, (5, 2, CLASSES), elements=st.floats(-40, 40))
LABELS = arrays(np.int64, 5, elements=st.integers(0, CLASSES - 1))
OTHERS = {"lira": [{"statistic": "margin"}], "rmia": [{"confidence": "sm_taylor"}, {"temperature": 8.0}]}


@given(LOGITS, LABELS, st.sampled_from([0.5, 1.0, 2.0, 10.0]))
def test_softmax_confidence_equals_scipys_of_tempered_logits(logits, labels, temperature):
    expected = softmax(logits / temperature, axis=2)[np.arange(5), :, labels].mean(axis=1)
    np.testing.assert_allclose(rmia_confidence(logits, labels, temperature=temperature), expected, rtol=1e-9)
    shifted = rmia_confidence(logits + 3.0, labels, temperature=temperature)
    np.testing.assert_allclose(shifted, expected, rtol=1e-9, err_msg="of logits only differences count")


@given(LOGITS, LABELS, st.sampled_from([1.0, 2.0]))
def test_taylor_confidence_equals_the_papers_formula_in_extended_precision(logits, labels, temperature):
    tempered = logits.astype(np.longdouble) / temperature

    def polynomial(values):
        return sum(values**power / factorial(power) for power in range(5))

    expected = np.zeros(5)
    for i in range(5):
        for view in range(2):
            own = polynomial(tempered[i, view, labels[i]] - np.longdouble(0.6))
            others = sum(polynomial(tempered[i, view, k]) for k in range(CLASSES) if k != labels[i])
            expected[i] += float(own / (own + others)) / 2
    found = rmia_confidence(logits, labels, confidence="sm_taylor", temperature=temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@given(LOGITS, LABELS)
def test_the_margin_is_the_true_logit_above_the_best_other(logits, labels):
    for i, view in np.ndindex(5, 2):
        expected = logits[i, view, labels[i]] - max(logits[i, view, k] for k in range(CLASSES) if k != labels[i])
        assert logit_margin(logits, labels)[i, view] == expected


@pytest.mark.parametrize("confidence", ["softmax", "sm_taylor"])
@given(LOGITS, LABELS, st.floats(0.1, 30))
def test_a_higher_logit_of_the_true_class_never_lowers_the_confidence(confidence, logits, labels, more):
    logits = np.abs(logits)  # below about -1 the polynomial of degree 4 grows again
    raised = logits.copy()
    np.put_along_axis(raised, labels[:, None, None], np.take_along_axis(raised, labels[:, None, None], -1) + more, -1)
    before, after = (rmia_confidence(part, labels, confidence=confidence) for part in (logits, raised))
    assert (after >= before - 1e-15).all() and (before >= 0).all() and (after <= 1).all()


@pytest.mark.parametrize("confidence", ["softmax", "sm_taylor"])
def test_classes_without_a_chance_do_not_count(confidence):
    logits = np.random.default_rng(0).normal(size=(6, 1, 5))
    labels = np.array([0, 1, 2, 0, 1, 2])
    expected = rmia_confidence(logits[:, :, :3], labels, confidence=confidence)
    logits[:, :, 3:] = -np.inf
    np.testing.assert_allclose(rmia_confidence(logits, labels, confidence=confidence), expected, rtol=1e-12)
    assert rmia_confidence(logits, labels + 3 - labels, confidence=confidence).tolist() == [0.0] * 6


@pytest.mark.parametrize(("name", "options"), [(name, options) for name in OTHERS for options in OTHERS[name]])
def test_another_score_finds_a_planted_leak_and_no_other(name, options):
    attack = get_attack(name)
    leak, null = planted_signals(gap=3.0), planted_signals(gap=0.0, seed=100)
    result = attack(leak, **options)
    assert not np.array_equal(result.scores, attack(leak).scores), "the option is read"
    assert roc_auc(result.scores, result.is_member) > 0.7
    nothing = attack(null, **options)
    assert abs(roc_auc(nothing.scores, nothing.is_member) - 0.5) < 3 / np.sqrt(3 * len(null))


def test_the_margin_goes_through_the_same_gaussians():
    signals = planted_signals(gap=1.0, n=40)
    shadows, labels = signals.shadows, signals.labels
    target, references = (logit_margin(part, labels) for part in (signals.view_logits, shadows.logits))
    expected = lira_scores(target, references, shadows.keep)
    np.testing.assert_allclose(get_attack("lira")(signals, statistic="margin").scores, expected, rtol=1e-12)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_what_is_chosen_is_what_finds_the_references_members_best(mode):
    signals = planted_signals(gap=1.5, n=150, seed=2)
    keep, labels, logits = signals.shadows.keep, signals.labels, signals.shadows.logits
    both = (1.0, 2.0)
    candidates = list(itertools.product((both, 2.0), OFFLINE_AS if mode == "offline" else (0.3,)))
    found = []
    for temperature, a in candidates:
        results = []
        for target in range(keep.shape[1]):
            others = [s for s in range(keep.shape[1]) if s != target]
            shadows = ShadowSignals(logits[:, others], keep[:, others])
            one = TargetSignals.from_logits(
                logits[:, target, 0], labels, keep[:, target], view_logits=logits[:, target], shadows=shadows
            )
            scores = get_attack("rmia")(one, mode=mode, temperature=temperature, offline_a=a)
            curve = roc_curve(scores.scores, scores.is_member)
            results.append((curve.auc, (curve.tpr_at(0.01) + curve.tpr_at(0.02)) / 2))
        found.append(np.mean(results, axis=0))
    auc, tpr = np.transpose(found)
    missing = np.maximum((auc.max() - auc) / 0.005, (tpr.max() - tpr) / tpr.max() / 0.05)
    temperature, a = candidates[int(missing.argmin())]
    expected = get_attack("rmia")(signals, mode=mode, temperature=temperature, offline_a=a).scores
    np.testing.assert_array_equal(get_attack("rmia")(signals, mode=mode).scores, expected)


def test_confidences_of_several_temperatures_are_averaged():
    logits, labels = np.random.default_rng(0).normal(0, 3, (30, 2, 5)), np.arange(30) % 5
    expected = [rmia_confidence(logits, labels, temperature=one) for one in (1.0, 2.0)]
    np.testing.assert_allclose(rmia_confidence(logits, labels, temperature=(1.0, 2.0)), np.mean(expected, axis=0))
    with pytest.raises(ConfigError, match=r"temperature is \(1\.0, 0\.0\): allowed are numbers above 0"):
        rmia_confidence(logits, labels, temperature=(1.0, 0.0))


def test_the_target_has_no_part_in_what_is_chosen_and_complements_are_left_out():
    keep = np.random.default_rng(0).random((200, 1)) < 0.5
    keep = np.concatenate([keep, ~keep], axis=1)
    values = [np.random.default_rng(seed).random((200, 2)) for seed in range(3)]
    assert choose_setting(values, keep, mode="offline", offline_as=(0.3, 1.0)) is None
    assert choose_setting(values, np.zeros_like(keep), mode="offline", offline_as=(0.3, 1.0)) is None
    assert choose_setting(values[:1], keep, mode="online", offline_as=(0.5,)) == (0, 0.5)
    kept = np.random.default_rng(1).random((200, 3)) < 0.5
    memberless = np.concatenate([np.zeros((200, 8), dtype=bool), kept], axis=1)  # more than are attacked to choose
    values = [np.random.default_rng(seed).random((200, 11)) for seed in range(3)]
    assert choose_setting(values, memberless, mode="offline", offline_as=(0.3, 1.0)) is not None
    signals = planted_signals(gap=1.0, n=40)
    nobody = replace(signals.shadows, keep=np.zeros_like(signals.shadows.keep))
    signals = replace(signals, shadows=nobody)
    expected = get_attack("rmia")(signals, temperature=(1.0, 2.0), offline_a=0.9).scores
    np.testing.assert_array_equal(get_attack("rmia")(signals).scores, expected)


def test_effort_chooses_the_score_and_its_defaults_are_those_of_the_attacks():
    signals = planted_signals(gap=1.0, n=40)
    for name in attack_names():
        attack = get_attack(name)
        said = Effort().options_of(attack)
        assert said == {key: attack.options[key] for key in said}, name
    assert set(Effort().options_of(get_attack("rmia"))) == {"confidence", "temperature"}
    assert set(Effort().options_of(get_attack("lira"))) == {"statistic"}
    assert Effort(protocol="paper").options_of(get_attack("black_box_partial")) == {"protocol": "paper"}
    effort = Effort(lira_statistic="margin", rmia_confidence="sm_taylor", rmia_temperature=1)
    report = audit_signals(signals, attacks=["lira", "rmia", "loss_threshold"], effort=effort)
    for name, options in {"lira": {"statistic": "margin"},
                          "rmia": {"confidence": "sm_taylor", "temperature": 1}}.items():  # fmt: skip
        np.testing.assert_array_equal(report.attacks[name].scores, get_attack(name)(signals, **options).scores)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lira", {"statistic": "logits"}, "statistic is 'logits': did you mean 'logit'"),
        ("rmia", {"confidence": "soft_max"}, "confidence is 'soft_max': did you mean 'softmax'"),
        ("rmia", {"temperature": 0}, "temperature is 0: allowed are numbers above 0"),
        ("rmia", {"temperature": float("inf")}, "temperature is inf"),
        ("rmia", {"temperature": "automatic"}, "temperature is 'automatic': allowed are numbers and 'auto'"),
        ("rmia", {"offline_a": "0.3"}, "offline_a is '0.3': allowed are numbers and 'auto'"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        get_attack(name)(planted_signals(gap=0.0, n=20), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 0}, "effort.views: 0; input should be greater than or equal to 1, or 'auto'"),
        ({"views": "all"}, "effort.views: 'all'; input should be a valid integer, or 'auto'"),
        ({"views": True}, "effort.views: True; input should be a valid integer, or 'auto'"),
        ({"lira_statistic": "hinge"}, "effort.lira_statistic: 'hinge'; input should be 'logit' or 'margin'"),
        ({"rmia_confidence": 3}, "effort.rmia_confidence: 3; input should be 'softmax' or 'sm_taylor'"),
        ({"rmia_temperature": 0}, "effort.rmia_temperature: 0; input should be greater than 0, or 'auto'"),
    ],
)
def test_bad_effort_is_told_by_its_field(options, message):
    with pytest.raises(ConfigError) as fault:
        Effort(**options)
    assert message in str(fault.value)


def test_auto_is_one_view_unless_the_recipe_augments():
    plain, augmented = Recipe(), Recipe(augmentation=True)
    assert [Effort().reference_views(recipe) for recipe in (None, plain, augmented)] == [1, 1, 2]
    assert [Effort(views=5).reference_views(recipe) for recipe in (None, plain, augmented)] == [5, 5, 5]
    assert (Effort().robustness_views, Effort(views=5).robustness_views) == (2, 5)
    assert Effort.from_mapping(Effort().to_dict()) == Effort() == Effort(views="auto")
    assert Effort.from_mapping({"views": 3}).to_dict()["views"] == 3
