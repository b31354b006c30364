import math
import time
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from nni_privacy.attacks import attack_metrics, clopper_pearson, roc_auc, roc_curve
from nni_privacy.attacks.registry import AttackScores
from nni_privacy.attacks.report import report_attack
from nni_privacy.errors import AuditError

KEYS = [
    "mia_auc",
    "mia_auc_low",
    "mia_auc_high",
    "mia_balanced_accuracy",
    "mia_tpr_at_1pct_fpr",
    "mia_tpr_at_01pct_fpr",
]


@st.composite
def scored_records(draw):
    """Scores with few different values (many ties), both classes present."""
    n = draw(st.integers(2, 60))
    levels = draw(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6))
    scores = draw(st.lists(st.sampled_from(levels), min_size=n, max_size=n))
    member = draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda flags: 0 < sum(flags) < len(flags)))
    return np.array(scores), np.array(member)


def two_gaussians(seed, *, shift=1.0, n=3000):
    generator = np.random.default_rng(seed)
    member = np.arange(2 * n) < n
    return generator.normal(size=2 * n) + shift * member, member


@settings(deadline=None)
@given(scored_records())
def test_auc_and_curve_equal_scikit_learns(records):
    scores, member = records
    curve = roc_curve(scores, member)
    fpr, tpr, thresholds = sklearn_metrics.roc_curve(member, scores, drop_intermediate=False)
    assert curve.auc == pytest.approx(sklearn_metrics.roc_auc_score(member, scores), abs=1e-12)
    np.testing.assert_allclose(curve.fpr, fpr, atol=1e-12)
    np.testing.assert_allclose(curve.tpr, tpr, atol=1e-12)
    np.testing.assert_array_equal(curve.thresholds, thresholds)


def test_auc_equals_scikit_learns_with_nine_ties_in_ten():
    generator = np.random.default_rng(1)
    member = generator.random(5000) < 0.4
    scores = np.where(generator.random(5000) < 0.9, 1.0, generator.normal(size=5000) + member)
    assert roc_auc(scores, member) == pytest.approx(sklearn_metrics.roc_auc_score(member, scores), abs=1e-12)


@settings(deadline=None)
@given(scored_records())
def test_auc_is_the_share_of_pairs_won_with_ties_as_halves(records):
    scores, member = records
    difference = scores[member][:, None] - scores[~member][None, :]
    assert roc_auc(scores, member) == pytest.approx(((difference > 0) + 0.5 * (difference == 0)).mean(), abs=1e-12)


@settings(deadline=None)
@given(scored_records())
def test_metrics_are_in_order_and_follow_their_definitions(records):
    scores, member = records
    metrics = attack_metrics(scores, member)
    assert list(metrics) == KEYS
    assert 0 <= metrics["mia_auc_low"] <= metrics["mia_auc"] <= metrics["mia_auc_high"] <= 1
    thresholds = [np.inf, *np.unique(scores)]
    accuracy = max(((scores >= t)[member].mean() + (scores < t)[~member].mean()) / 2 for t in thresholds)
    assert metrics["mia_balanced_accuracy"] == pytest.approx(accuracy, abs=1e-12)
    for target in (0.05, 0.3, 0.999):
        rates = [((scores >= t)[~member].mean(), (scores >= t)[member].mean()) for t in thresholds]
        expected = max(tpr for fpr, tpr in rates if fpr <= target + 1e-12)
        resolvable = target * (~member).sum() >= 1 - 1e-9
        assert roc_curve(scores, member).tpr_at(target) == (pytest.approx(expected) if resolvable else None)


def test_binary_scores_with_90_and_50_percent_positives_give_070():
    scores = np.r_[np.ones(90), np.zeros(10), np.ones(50), np.zeros(50)]
    metrics = attack_metrics(scores, np.arange(200) < 100)
    assert metrics["mia_auc"] == pytest.approx(0.70, abs=1e-12)
    assert metrics["mia_auc_low"] < 0.70 < metrics["mia_auc_high"]


def test_extremes():
    member = np.arange(2000) < 1000
    perfect, wrong, constant = (
        attack_metrics(member, member),
        attack_metrics(~member, member),
        roc_curve(0 * member, member),
    )
    assert perfect["mia_auc"] == perfect["mia_auc_high"] == perfect["mia_balanced_accuracy"] == 1.0
    assert 0.99 < perfect["mia_auc_low"] < 1, "a thousand records are no proof of a perfect attack"
    assert perfect["mia_tpr_at_01pct_fpr"] == 1.0
    assert wrong["mia_auc"] == wrong["mia_tpr_at_1pct_fpr"] == 0.0, "an AUC below one half must not be turned around"
    assert constant.auc == constant.balanced_accuracy == 0.5 and constant.tpr_at(0.01) == 0.0


@pytest.mark.parametrize(("nonmembers", "resolvable"), [(99, 0), (100, 1), (999, 1), (1000, 2), (3000, 2)])
def test_rates_below_one_nonmember_are_not_resolvable(nonmembers, resolvable):
    scores = np.linspace(1, 0, 50 + nonmembers)
    metrics = attack_metrics(scores, np.arange(50 + nonmembers) < 50)
    found = [metrics["mia_tpr_at_1pct_fpr"], metrics["mia_tpr_at_01pct_fpr"]]
    assert found == [1.0] * resolvable + [None] * (2 - resolvable)


def test_exactly_the_allowed_number_of_false_positives_is_used():
    # 300 non-members at 1%: three false positives, though 0.01 * 300 is not exactly 3 in floating point.
    scores = np.r_[np.zeros(10), np.arange(1, 301)] + np.r_[297.5 * np.ones(10), np.zeros(300)]
    assert roc_curve(scores, np.arange(310) < 10).tpr_at(0.01) == 1.0
    assert roc_curve(scores - 1.0 * (np.arange(310) < 10), np.arange(310) < 10).tpr_at(0.01) == 0.0


def test_two_gaussians_agree_with_the_closed_form_within_the_interval():
    normal, inside, rates_inside, seeds = NormalDist(), 0, 0, 12
    for seed in range(seeds):
        scores, member = two_gaussians(seed)
        report = report_attack("x", AttackScores(scores, member, np.arange(len(scores))))
        truth = normal.cdf(1 / math.sqrt(2))
        inside += report.metrics["mia_auc_low"] <= truth <= report.metrics["mia_auc_high"]
        rate = report.rates["1pct"]
        rates_inside += rate.low <= normal.cdf(normal.inv_cdf(0.01) + 1) <= rate.high
    assert inside >= seeds - 2, f"the AUC's 95% interval held the truth for {inside} of {seeds} seeds"
    assert rates_inside >= seeds - 2, f"the TPR's 95% interval held the truth for {rates_inside} of {seeds} seeds"


def test_the_interval_of_a_null_contains_one_half_for_most_seeds():
    seeds, inside = 40, 0
    for seed in range(seeds):
        scores, member = two_gaussians(seed, shift=0.0, n=150)
        metrics = attack_metrics(scores, member)
        inside += metrics["mia_auc_low"] <= 0.5 <= metrics["mia_auc_high"]
    assert inside >= 35, f"{inside} of {seeds}: about 38 are expected at 95%"


def test_confidence_widens_the_interval():
    scores, member = two_gaussians(0, n=100)
    narrow, wide = (attack_metrics(scores, member, confidence=level) for level in (0.5, 0.99))
    assert wide["mia_auc_low"] < narrow["mia_auc_low"] and wide["mia_auc_high"] > narrow["mia_auc_high"]


def test_metrics_of_thirty_thousand_records_are_quick():
    scores, member = two_gaussians(0, n=15_000)
    started = time.process_time()
    attack_metrics(scores, member)
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize(
    ("scores", "member", "message"),
    [
        ([0.1, math.nan, 0.3], [1, 0, 1], "1 of 3 scores are NaN or infinite"),
        ([0.1, math.inf], [1, 0], "NaN or infinite"),
        ([0.1, 0.2, 0.3], [1, 0], "3 scores but 2"),
        ([[0.1, 0.2]], [1, 0], "shape"),
        (0.5, 1, "shape"),
        ([], [], "no records"),
        ([0.1, 0.2], [1, 1], "only members"),
        ([0.1, 0.2], [False, False], "only non-members"),
        ([0.1, 0.2], [2, 0], "other than booleans"),
        (["a", "b"], [1, 0], "arrays of numbers"),
        ([[1], [1, 2]], [1, 0], "arrays of numbers"),
    ],
)
def test_bad_scores_are_refused(scores, member, message):
    with pytest.raises(AuditError, match=message):
        attack_metrics(scores, member)


def test_bad_options_are_refused():
    for confidence in (1.0, 0):
        with pytest.raises(AuditError, match="confidence is"):
            attack_metrics([1, 0], [1, 0], confidence=confidence)


def test_clopper_pearson_equals_the_binomial_tails():
    from scipy.stats import binom

    for successes, trials in ((0, 10), (3, 10), (10, 10), (17, 1000)):
        low, high = clopper_pearson(successes, trials)
        assert low <= successes / trials <= high
        assert low == 0 if successes == 0 else binom.sf(successes - 1, trials, low) == pytest.approx(0.025)
        assert high == 1 if successes == trials else binom.cdf(successes, trials, high) == pytest.approx(0.025)
    with pytest.raises(AuditError, match="11 successes"):
        clopper_pearson(11, 10)


@pytest.mark.parametrize("trials", [1, 10, 225, 5000])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_clopper_pearson_equals_quantiles_of_the_beta_distribution(trials, confidence):
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    for k in {0, 1, trials // 100, trials // 3, trials - 1, trials}:
        low = 0.0 if k == 0 else betaincinv(k, trials - k + 1, tail)
        high = 1.0 if k == trials else betaincinv(k + 1, trials - k, 1 - tail)
        assert clopper_pearson(k, trials, confidence=confidence) == pytest.approx((low, high), abs=1e-12, rel=0)


def test_a_report_gives_the_reason_where_a_rate_is_not_resolvable():
    scores, member = two_gaussians(0, n=150)
    report = report_attack("mine", AttackScores(scores, member, np.arange(300)))
    assert report.rates["1pct"].tpr == report.metrics["mia_tpr_at_1pct_fpr"] and not report.rates["1pct"].reason
    assert report.rates["1pct"].low <= report.rates["1pct"].tpr <= report.rates["1pct"].high
    assert report.rates["01pct"].tpr is None and "150 non-members" in report.rates["01pct"].reason
    assert "mine" in repr(report)
