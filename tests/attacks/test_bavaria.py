"""BaVarIA: conjugate formulae against scipy and numerical integration, the prior against a planted one, and its use."""

import dataclasses

import numpy as np
import pytest
from planted_signals import planted_signals
from scipy import integrate
from scipy.stats import invgamma, norm

from nni_privacy.attacks import get_attack, lira_scores, roc_auc
from nni_privacy.attacks.bavaria import Prior, bavaria_scores, estimate_prior, predictive, summarise
from nni_privacy.errors import AuditError

PRIOR = Prior(np.array([5.0]), np.array([0.8]), np.array([-1.0]), np.array([0.4]))


def draw(n, shadows, *, seed=0, freedom=6.0, scale=0.7, gap=1.0):
    """Records whose means and variances are drawn from a normal-inverse-gamma distribution, and their shadows."""
    generator = np.random.default_rng(seed)
    variance = freedom * scale / generator.chisquare(freedom, n)
    mean = 2 + np.sqrt(variance / 0.1) * generator.normal(size=n)
    keep = np.tile([True, False], (n, shadows // 2))
    stats = mean[:, None] + np.sqrt(variance)[:, None] * generator.normal(size=(n, shadows)) + gap * keep
    member = np.arange(n) < n // 2
    target = mean + np.sqrt(variance) * generator.normal(size=n) + gap * member
    return target[:, None], stats[:, :, None], keep, member


@pytest.mark.slow
def test_the_predictive_density_is_the_integral_over_the_posterior():
    values, point = np.array([0.3, -0.6, 1.1]), 0.9
    found = predictive(summarise(values[None, :, None], np.ones((1, 3), bool)), PRIOR)

    def joint(mean, variance):
        likelihood = np.prod(norm.pdf(values, mean, np.sqrt(variance)))
        density = invgamma.pdf(variance, 2.5, scale=2.5 * 0.8) * norm.pdf(mean, -1, np.sqrt(variance / 0.4))
        return likelihood * density

    limits = (1e-3, 60, -8, 8)
    evidence = integrate.dblquad(joint, *limits)[0]
    expected = integrate.dblquad(lambda m, v: joint(m, v) * norm.pdf(point, m, np.sqrt(v)), *limits)[0] / evidence
    assert np.exp(found.log_density(np.array([[point]])))[0, 0] == pytest.approx(expected, rel=1e-4)


def test_one_shadow_at_a_time_or_all_at_once_give_the_same_posterior():
    """Conjugacy: the posterior of the first shadows is the prior of the next."""
    values = np.array([0.3, -0.6, 1.1, 0.2])
    all_at_once = predictive(summarise(values[None, :, None], np.ones((1, 4), bool)), PRIOR)
    freedom, weight, mean, variance = 5.0, 0.4, -1.0, 0.8
    for value in values:
        squares = freedom * variance + weight / (weight + 1) * (value - mean) ** 2
        mean = (weight * mean + value) / (weight + 1)
        freedom, weight = freedom + 1, weight + 1
        variance = squares / freedom
    assert all_at_once.freedom[0, 0] == freedom and all_at_once.centre[0, 0] == pytest.approx(mean)
    assert all_at_once.scale[0, 0] == pytest.approx(np.sqrt(variance * (1 + 1 / weight)))


@pytest.mark.parametrize("shadows", [4, 16])
def test_the_prior_that_records_were_drawn_from_is_found(shadows):
    _, stats, keep, _ = draw(200_000, shadows)
    found = estimate_prior(summarise(stats, ~keep))
    assert found.freedom[0] == pytest.approx(6.0, rel=0.25) and found.variance[0] == pytest.approx(0.7, rel=0.05)
    assert found.mean[0] == pytest.approx(2.0, abs=0.1) and found.weight[0] == pytest.approx(0.1, rel=0.2)


def test_with_equal_variances_it_is_a_gaussian_with_the_pooled_one():
    generator = np.random.default_rng(0)
    stats = generator.normal(size=(5000, 8, 1)) * 1.5 + 30 * generator.normal(size=(5000, 1, 1))
    found = predictive(summarise(stats, np.ones((5000, 8), bool)))
    assert found.freedom.min() > 100 and found.scale == pytest.approx(
        np.full((5000, 1), 1.5 * np.sqrt(1 + 1 / 8)), rel=0.05
    )


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_with_many_shadows_it_orders_records_as_lira_does(mode):
    target, stats, keep, _ = draw(300, 2000)
    own = bavaria_scores(target, stats, keep, mode=mode)
    other = lira_scores(target, stats, keep, mode=mode, variance="per_example")
    assert np.corrcoef(own, other)[0, 1] > 0.995


@pytest.mark.parametrize("shadows", [4, 8])
def test_with_few_shadows_it_is_stronger_than_lira_with_either_variance(shadows):
    target, stats, keep, member = draw(20_000, shadows, freedom=3.0)
    aucs = {
        name: roc_auc(lira_scores(target, stats, keep, variance=name), member) for name in ("pooled", "per_example")
    }
    found = roc_auc(bavaria_scores(target, stats, keep, mode="online"), member)
    assert found > max(aucs.values()) + 0.005, (found, aucs)
    nothing, _, _, _ = draw(20_000, shadows, freedom=3.0, gap=0.0)
    assert abs(roc_auc(bavaria_scores(nothing, stats, keep, mode="online"), member) - 0.5) < 4 * np.sqrt(1 / 60_000)


def test_a_record_with_one_shadow_of_a_kind_is_attacked_and_one_without_is_not():
    target, stats, keep, _ = draw(40, 8)
    keep[0, :], keep[1, :], keep[2, :] = [True] + 7 * [False], False, True
    online, offline = (bavaria_scores(target, stats, keep, mode=mode) for mode in ("online", "offline"))
    assert np.flatnonzero(np.isnan(online)).tolist() == [1, 2]
    assert np.flatnonzero(np.isnan(offline)).tolist() == [2]


def test_shadows_that_agree_to_the_last_bit_give_finite_scores():
    keep = np.tile([True, False], (30, 2))
    assert np.isfinite(bavaria_scores(np.ones((30, 1)), np.zeros((30, 4, 1)), keep, mode="online")).all()


def test_it_reads_the_views_and_modes_that_lira_reads():
    signals = planted_signals(gap=2.0)
    assert get_attack("bavaria").options == {"mode": "auto"} and get_attack("bavaria").reference_models == 4
    online, offline = (get_attack("bavaria")(signals, mode=mode) for mode in ("online", "offline"))
    assert np.array_equal(get_attack("bavaria")(signals).scores, online.scores)
    assert len(offline.scores) == len(signals) and not np.array_equal(offline.scores, online.scores)
    bare = dataclasses.replace(signals, view_logits=signals.view_logits[:, :2])
    with pytest.raises(AuditError, match="3 views of each record, the target 2"):
        get_attack("bavaria")(bare)


def test_one_shadow_of_each_kind_is_too_few():
    keep = np.tile([True, False], (30, 1))
    with pytest.raises(AuditError, match="no record has two shadows"):
        bavaria_scores(np.ones((30, 1)), np.zeros((30, 2, 1)), keep, mode="online")
