import numpy as np
import pytest
from scipy.stats import norm

from nni_privacy.attacks import ShadowSignals, TargetSignals, get_attack, lira_scores, logit_confidence, roc_auc
from nni_privacy.errors import AuditError, ConfigError


def draw(n=40, shadows=12, views=1, seed=0):
    generator = np.random.default_rng(seed)
    keep = np.array([generator.permutation(shadows) < shadows // 2 for _ in range(n)])
    hardness = generator.normal(scale=3, size=(n, 1, 1))
    stats = hardness + generator.normal(size=(n, shadows, views)) + 1.5 * keep[:, :, None]
    return hardness[:, 0] + generator.normal(size=(n, views)), stats, keep


def direct(target, stats, keep, *, pooled):
    """The definition, record by record, with scipy."""
    n, _, views = stats.shape
    deviations = {side: [] for side in (True, False)}
    for i in range(n):
        for side in (True, False):
            chosen = stats[i, keep[i] == side]
            deviations[side].append(chosen - chosen.mean(0))
    scores = np.zeros(n)
    for i in range(n):
        for v in range(views):
            parts = {}
            for side in (True, False):
                chosen = stats[i, keep[i] == side, v]
                scale = chosen.std(ddof=1)
                if pooled:
                    own = [part[:, v] for part in deviations[side]]
                    scale = np.sqrt(sum((x**2).sum() for x in own) / sum(len(x) - 1 for x in own))
                parts[side] = norm.logpdf(target[i, v], chosen.mean(), scale)
            scores[i] += (parts[True] - parts[False]) / views
    return scores


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("pooled", [False, True])
def test_online_scores_equal_a_direct_gaussian_log_likelihood_ratio(views, pooled):
    target, stats, keep = draw(views=views)
    found = lira_scores(target, stats, keep, mode="online", variance="pooled" if pooled else "per_example")
    np.testing.assert_allclose(found, direct(target, stats, keep, pooled=pooled), rtol=1e-9, atol=1e-9)


def test_offline_scores_order_records_as_the_papers_one_sided_test():
    target, stats, _ = draw()
    keep = np.zeros(stats.shape[:2], dtype=bool)
    found = lira_scores(target, stats, keep, variance="per_example")
    probability = norm.cdf(target[:, 0], stats[:, :, 0].mean(1), stats[:, :, 0].std(1, ddof=1))
    assert np.array_equal(np.argsort(found), np.argsort(probability))
    np.testing.assert_allclose(norm.cdf(found), probability, rtol=1e-9)


def test_many_records_in_chunks_give_the_same_scores(monkeypatch):
    target, stats, keep = draw(views=2)
    whole = lira_scores(target, stats, keep)
    monkeypatch.setattr("nni_privacy.attacks.lira._CHUNK", 100)
    np.testing.assert_array_equal(lira_scores(target, stats, keep), whole)


def test_variance_is_pooled_by_default_below_64_shadows():
    for shadows, variance in ((62, "pooled"), (64, "per_example")):
        target, stats, keep = draw(shadows=shadows)
        expected = lira_scores(target, stats, keep, variance=variance)
        assert np.array_equal(lira_scores(target, stats, keep), expected)


def test_pooling_helps_when_there_are_few_shadows():
    generator = np.random.default_rng(0)
    n, keep = 2000, np.tile([True, False], (2000, 2))
    member = np.arange(n) < n // 2
    hardness = generator.normal(scale=3, size=n)
    stats = hardness[:, None] + generator.normal(size=(n, 4)) + 1.5 * keep
    target = hardness + generator.normal(size=n) + 1.5 * member
    pooled, single = (roc_auc(lira_scores(target, stats, keep, variance=v), member) for v in ("pooled", "per_example"))
    assert pooled > single + 0.02 and roc_auc(target, member) < pooled


def test_records_without_two_shadows_of_either_kind_are_left_out():
    target, stats, keep = draw()
    keep[0], keep[1], keep[2, 1:] = False, True, False
    scores = lira_scores(target, stats, keep, mode="online", variance="per_example")
    assert np.isnan(scores[:2]).all() and np.isnan(scores[2]) and np.isfinite(scores[3:]).all()
    assert np.flatnonzero(np.isnan(lira_scores(target, stats, keep, mode="offline"))).tolist() == [1]
    rest = lira_scores(target[3:], stats[3:], keep[3:], mode="online", variance="per_example")
    np.testing.assert_allclose(scores[3:], rest, rtol=1e-12)


def test_the_confidence_is_the_logit_of_the_probability_and_does_not_saturate():
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(20, 3, 5)), generator.integers(0, 5, 20)
    p = np.take_along_axis(np.exp(logits), labels[:, None, None], -1)[..., 0] / np.exp(logits).sum(-1)
    np.testing.assert_allclose(logit_confidence(logits, labels), np.log(p / (1 - p)), rtol=1e-9)
    assert logit_confidence(np.array([[1e4, 0.0], [0.0, 1e4]]), np.array([0, 0])).tolist() == [1e4, -1e4]


def test_identical_shadows_give_finite_scores():
    assert np.isfinite(lira_scores(np.ones(4), np.zeros((4, 4)), np.tile([True, False], (4, 2)))).all()


def test_the_attack_reads_all_views():
    generator = np.random.default_rng(0)
    labels, member = generator.integers(0, 3, 30), np.arange(30) < 15
    answers, references = generator.normal(size=(30, 2, 3)), generator.normal(size=(30, 8, 2, 3))
    keep = np.tile([True, False], (30, 4))
    shadows = ShadowSignals(references.astype(np.float32), keep)
    signals = TargetSignals.from_logits(
        answers[:, 0], labels, member, view_logits=answers.astype(np.float32), shadows=shadows
    )
    expected = lira_scores(
        logit_confidence(signals.view_logits, labels), logit_confidence(shadows.logits, labels), keep
    )
    np.testing.assert_allclose(get_attack("lira")(signals).scores, expected)
    with pytest.raises(AuditError, match="2 views of each record, the target 1"):
        get_attack("lira")(TargetSignals.from_logits(answers[:, 0], labels, member, shadows=shadows))
    offline = ShadowSignals(references[:, :, :1].astype(np.float32), np.ones_like(keep))
    with pytest.raises(AuditError, match="0 of 30 records have 2 shadows"):
        get_attack("lira")(TargetSignals.from_logits(answers[:, 0], labels, member, shadows=offline))


def test_bad_statistics_are_refused():
    target, stats, keep = draw()
    for bad in ((target[1:], stats, keep), (target, stats, keep[:, 1:]), (target, stats, keep.astype(int))):
        with pytest.raises(AuditError, match="expected"):
            lira_scores(*bad)
    with pytest.raises(AuditError, match="NaN"):
        lira_scores(target * np.nan, stats, keep)
    with pytest.raises(ConfigError, match="did you mean 'offline'"):
        lira_scores(target, stats, keep, mode="ofline")
    with pytest.raises(ConfigError, match="did you mean 'pooled'"):
        lira_scores(target, stats, keep, variance="poled")
