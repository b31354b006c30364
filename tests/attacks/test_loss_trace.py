"""Attacks on loss traces: against definitions, scikit-learn, a planted memory and a null."""

import dataclasses

import numpy as np
import pytest
from planted_signals import planted_signals
from scipy.stats import iqr

from nni_privacy.attacks import TargetSignals, get_attack, logit_confidence, roc_auc
from nni_privacy.attacks.loss_trace import trace_confidences
from nni_privacy.errors import AuditError


def test_the_score_is_the_interquartile_range():
    signals = planted_signals(gap=1.0)
    found = get_attack("lt_iqr")(signals)
    np.testing.assert_allclose(found.scores, iqr(signals.loss_trace.astype(float), axis=0), rtol=1e-12)
    assert len(found.scores) == len(signals)


def test_confidences_follow_from_losses_without_saturation():
    generator = np.random.default_rng(0)
    logits, labels = 20 * generator.normal(size=(200, 5)), generator.integers(0, 5, 200)
    signals = TargetSignals.from_logits(logits, labels, labels > 2)
    np.testing.assert_allclose(
        trace_confidences(signals.losses), logit_confidence(logits, labels), rtol=1e-6, atol=1e-9
    )
    assert np.isfinite(trace_confidences(np.array([[0.0, 1e-45, 700.0]]))).all()


def hard_records(*, memorised, n=400, seed=0):
    """Records whose difficulty hides who is a member from the last loss; early losses tell the difficulty."""
    generator = np.random.default_rng(seed)
    member = np.arange(2 * n) < n
    confidence = 3 * generator.normal(size=2 * n) + np.linspace(0, 1, 6)[:, None] * (1 + memorised * member)
    confidence += 0.3 * generator.normal(size=confidence.shape)
    trace = np.logaddexp(0, -confidence).astype(np.float32)
    logits = np.stack([confidence[-1], np.zeros(2 * n)], axis=1)
    return TargetSignals.from_logits(logits, np.zeros(2 * n, int), member, loss_trace=trace)


def test_difficulty_that_hides_members_is_seen_in_the_early_losses():
    signals = hard_records(memorised=1.5)
    by_loss, by_trajectory, by_range = (
        roc_auc(found.scores, found.is_member)
        for found in (get_attack(name)(signals) for name in ("loss_threshold", "loss_trajectory", "lt_iqr"))
    )
    assert by_loss < 0.65 and by_trajectory > 0.9 and by_range > 0.55


def test_without_memory_nothing_is_found():
    found = [
        get_attack(name)(hard_records(memorised=0.0, seed=seed))
        for seed in range(20)
        for name in ("lt_iqr", "loss_trajectory")
    ]
    aucs = np.array([roc_auc(one.scores, one.is_member) for one in found]).reshape(20, 2)
    assert (np.abs(aucs.mean(axis=0) - 0.5) < 3 * 0.0204 / np.sqrt(20)).all()  # of an AUC of 400 + 400


def test_the_trajectory_is_learned_from_a_third_as_the_partial_attacks_do():
    signals = hard_records(memorised=1.0)
    found = get_attack("loss_trajectory")(signals, seed=3)
    assert len(found.records) == len(signals) and found.scores.min() >= 0 and found.scores.max() <= 1
    single = get_attack("loss_trajectory")(signals, seed=3, protocol="paper")
    assert len(single.records) == 2 * (400 // 3)


@pytest.mark.parametrize("name", ["lt_iqr", "loss_trajectory"])
def test_one_epoch_is_no_trace(name):
    signals = planted_signals(gap=1.0)
    with pytest.raises(AuditError, match="loss_trace has 1 epoch, expected 2 or more"):
        get_attack(name)(dataclasses.replace(signals, loss_trace=signals.loss_trace[:1]))
