"""Intervals against definitions by brute force, draws of the Bayesian bootstrap, and planted truths."""

from __future__ import annotations

import math
import time
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom
from scipy.stats import t as student

from nni_privacy.attacks import RocCurve, attack_metrics, clopper_pearson, roc_curve
from nni_privacy.attacks.intervals import auc_interval, nonmembers_for, rate_interval, roc_band
from nni_privacy.attacks.registry import AttackScores
from nni_privacy.attacks.report import RateAtFpr, report_attack
from nni_privacy.errors import AuditError

Floats = npt.NDArray[np.float64]
NORMAL = NormalDist()


def curve_of(seed: int, *, members: int, others: int, shift: float, step: float = 0.0) -> RocCurve:
    """Two normal distributions; rounded if there is a step."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=members + others) + shift * (np.arange(members + others) < members)
    return roc_curve(np.round(scores / step) * step if step else scores, np.arange(members + others) < members)


def shift_for(tpr: float, fpr: float) -> float:
    return NORMAL.inv_cdf(tpr) - NORMAL.inv_cdf(fpr)


@st.composite
def tied_curves(draw: st.DrawFn) -> RocCurve:
    n = draw(st.integers(2, 60))
    levels = draw(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6))
    scores = draw(st.lists(st.sampled_from(levels), min_size=n, max_size=n))
    member = draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda flags: 0 < sum(flags) < len(flags)))
    return roc_curve(scores, member)


@settings(deadline=None, max_examples=30)
@given(tied_curves(), st.sampled_from([0.01, 0.1, 0.5, 0.9, 1.0]), st.sampled_from([0.5, 0.95, 0.999]))
def test_intervals_are_in_order_and_within_zero_and_one(curve: RocCurve, fpr: float, confidence: float) -> None:
    low, high = auc_interval(curve, confidence=confidence)
    assert 0 <= low <= curve.auc <= high <= 1 and low < high
    low, median, high = rate_interval(curve, fpr, confidence=confidence)
    assert 0 <= low <= median <= high <= 1


@pytest.mark.parametrize(("members", "others"), [(30, 45), (120, 20)])
def test_the_aucs_interval_is_delongs_on_the_logit_scale_made_steady(members: int, others: int) -> None:
    generator = np.random.default_rng(members)
    inside, outside = generator.normal(1.2, 1, members).round(1), generator.normal(size=others).round(1)
    wins = (inside[:, None] > outside) + (inside[:, None] == outside) / 2
    auc = wins.mean()
    variance, noise = 1.959963985**2 * auc * (1 - auc) / min(members, others) ** 2, 0.0
    for axis, size in ((1, members), (0, others)):
        squares = (wins.mean(axis=axis) - auc) ** 2
        variance += np.mean(squares) / size
        noise += np.var(squares) / size**3  # of that estimate
    quantile = student.ppf(0.975, 2 * variance**2 / noise)
    odds, margin = math.log(auc / (1 - auc)), quantile * math.sqrt(variance) / (auc * (1 - auc))
    expected = [1 / (1 + math.exp(-end)) for end in (odds - margin, odds + margin)]
    curve = roc_curve(np.r_[inside, outside], np.arange(members + others) < members)
    assert auc_interval(curve) == pytest.approx(expected, abs=1e-9)
    mirrored = auc_interval(roc_curve(-np.r_[inside, outside], np.arange(members + others) < members))
    assert mirrored == pytest.approx((1 - expected[1], 1 - expected[0]), abs=1e-9)


def test_the_aucs_interval_agrees_with_a_bootstrap_over_records() -> None:
    generator = np.random.default_rng(0)
    inside, outside = generator.normal(1, 1, 150), generator.normal(size=200)
    wins = (inside[:, None] > outside).astype(float)
    times = [generator.multinomial(size, np.full(size, 1 / size), size=4000) for size in wins.shape]
    areas = ((times[0] @ wins) * times[1]).sum(axis=1) / wins.size
    curve = roc_curve(np.r_[inside, outside], np.arange(350) < 150)
    assert auc_interval(curve) == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.01)


def test_an_auc_of_one_has_the_width_of_as_many_wins_as_the_smaller_side_has_records() -> None:
    """With an AUC below the lower end, fewer than one sample in 40 has no misplaced pair: n pairs are independent."""
    for members, others in ((20, 20), (50, 1000), (1000, 50)):
        curve = roc_curve(np.arange(members + others) < members, np.arange(members + others) < members)
        assert auc_interval(curve) == pytest.approx((0.025 ** (1 / min(members, others)), 1.0))
        wrong = roc_curve(np.arange(members + others) >= members, np.arange(members + others) < members)
        assert auc_interval(wrong) == pytest.approx((0.0, 1 - 0.025 ** (1 / min(members, others))))
    almost = roc_curve(np.r_[np.arange(1, 51), np.arange(-998, 2) + 0.5], np.arange(1050) < 50)
    assert 0.99997 < almost.auc < 1 and 0.92 < auc_interval(almost)[0] < 0.99, "one misplaced pair is little proof"
    constant = auc_interval(roc_curve(np.zeros(200), np.arange(200) < 100))
    assert 0.47 < constant[0] < 0.5 < constant[1] < 0.53


def percentile_bootstrap(inside: Floats, outside: Floats, generator: np.random.Generator) -> tuple[float, float]:
    """What was printed of AUCs before."""
    wins = (inside[:, None] > outside).astype(float)
    times = [generator.multinomial(size, np.full(size, 1 / size), size=200) for size in wins.shape]
    low, high = np.quantile(((times[0] @ wins) * times[1]).sum(axis=1) / wins.size, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize(("members", "others", "auc"), [(20, 20, 0.97), (50, 200, 0.99)])
def test_near_one_and_with_few_records_an_interval_of_the_auc_covers_it(members: int, others: int, auc: float) -> None:
    runs, ours, before, resampled = 400, 0, 0, 100
    generator = np.random.default_rng([members, others])
    for run in range(runs):
        inside = generator.normal(math.sqrt(2) * NORMAL.inv_cdf(auc), 1, members)
        outside = generator.normal(size=others)
        low, high = auc_interval(roc_curve(np.r_[inside, outside], np.arange(members + others) < members))
        ours += low <= auc <= high
        if run < resampled:
            low, high = percentile_bootstrap(inside, outside, generator)
            before += low <= auc <= high
    assert ours / runs >= 0.93 and before / resampled <= 0.92, f"{ours / runs}, by the bootstrap {before / resampled}"


def drawn_rates(curve: RocCurve, fpr: float, *, bend: int = 1, draws: int = 20_000) -> Floats:
    """TPRs by the definition: FPRs of the non-members' scores are those of uniform numbers in order.

    From the origin to the first of them the curve is straight, or a parabola (``bend`` 2).
    """
    generator = np.random.default_rng(0)
    n, m = curve.nonmembers, curve.members
    at = np.hstack([np.zeros((draws, 1)), np.sort(generator.random((draws, n)), axis=1), np.ones((draws, 1))])
    above = (at <= fpr).sum(axis=1) - 1
    rows = np.arange(draws)
    share = (fpr - at[rows, above]) / (at[rows, above + 1] - at[rows, above])
    found = np.array([curve.true_positives[curve.false_positives <= accused][-1] for accused in range(n + 1)])
    earlier = np.where(above > 0, found[above - 1], 0)
    members = earlier + np.where(above > 0, share, share**bend) * (found[above] - earlier)
    return np.asarray(generator.beta(members + 0.5, m - members + 0.5))


@pytest.mark.parametrize(("members", "others", "fpr"), [(80, 60, 0.02), (60, 150, 0.1), (300, 200, 0.01)])
@pytest.mark.parametrize("step", [0.0, 0.4])
def test_a_rates_interval_has_the_quantiles_of_drawn_thresholds(
    members: int, others: int, fpr: float, step: float
) -> None:
    curve = curve_of(1, members=members, others=others, shift=1.5, step=step)
    low, median, high = rate_interval(curve, fpr)
    assert (median, high) == pytest.approx(np.quantile(drawn_rates(curve, fpr), [0.5, 0.975]), abs=0.025)
    lowest = np.quantile(drawn_rates(curve, fpr, bend=2), 0.025)
    assert low == pytest.approx(lowest, abs=0.025) or (step and low < lowest)


@pytest.mark.parametrize(("members", "others"), [(200, 200), (1000, 200), (1000, 1000)])
def test_scores_on_a_coarse_scale_are_covered_though_the_threshold_cannot_lie_between_them(
    members: int, others: int
) -> None:
    """Scores in halves of a standard deviation: the largest FPR of at most 1% is that from 2.75 on, .3%."""
    shift, runs, covered = shift_for(0.1, 0.01), 200, 0
    truth = 1 - NORMAL.cdf(2.75 - shift)
    for seed in range(runs):
        low, _, high = rate_interval(curve_of(seed, members=members, others=others, shift=shift, step=0.5), 0.01)
        covered += low <= truth <= high
    assert covered / runs >= 0.95, covered / runs


def test_a_threshold_that_is_known_leaves_the_chance_of_the_members_alone() -> None:
    """A million non-members, all of them below or above all members."""
    scores = np.r_[np.ones(12), np.zeros(28), np.full(5_000, 2.0), np.full(995_000, 0.5)]
    low, median, high = rate_interval(roc_curve(scores, np.arange(len(scores)) < 40), 0.01)
    assert (low, median, high) == pytest.approx(beta.ppf([0.025, 0.5, 0.975], 12.5, 28.5), abs=1e-6)


def test_an_attack_with_two_scores_finds_nobody_at_a_low_rate() -> None:
    scores = np.r_[np.ones(150), np.zeros(50), np.ones(60), np.zeros(140)]
    low, _, high = rate_interval(roc_curve(scores, np.arange(400) < 200), 0.01)
    assert low == pytest.approx(0, abs=1e-4) and 0 < high < clopper_pearson(0, 200)[1] + 1e-9


@pytest.mark.parametrize(
    ("members", "others", "tpr"),
    [(200, 200, 0.4), (200, 200, 0.1), (1000, 1000, 0.2), (50, 1000, 0.2), (500, 150, 0.05)],
)
def test_an_interval_of_the_tpr_at_one_percent_covers_it_and_that_of_a_known_threshold_does_not(
    members: int, others: int, tpr: float
) -> None:
    runs, ours, before, found, corrected = 250, 0, 0, 0.0, 0.0
    for seed in range(runs):
        curve = curve_of(seed, members=members, others=others, shift=shift_for(tpr, 0.01))
        low, median, high = rate_interval(curve, 0.01)
        ours += low <= tpr <= high
        point = curve.point_at(0.01)
        assert point is not None
        low, high = clopper_pearson(int(curve.true_positives[point]), members)
        before += low <= tpr <= high
        found, corrected = found + float(curve.tpr[point]) / runs, corrected + median / runs
    assert ours / runs >= 0.925, ours / runs
    assert before / runs < (0.9 if members > 50 else ours / runs), before / runs
    assert abs(corrected - tpr) < max(abs(found - tpr), 0.02)
    if others == 200:
        assert found > 1.08 * tpr


def test_with_ten_times_the_records_a_rates_interval_is_about_a_third_as_wide() -> None:
    widths = np.zeros(2)
    for seed in range(10):
        for place, size in enumerate((1000, 10_000)):
            low, _, high = rate_interval(curve_of(seed, members=size, others=size, shift=shift_for(0.3, 0.01)), 0.01)
            widths[place] += high - low
    assert widths[1] / widths[0] == pytest.approx(10**-0.5, rel=0.2)


def test_a_band_has_the_interval_of_each_rate_and_ends_at_one() -> None:
    curve = curve_of(0, members=300, others=250, shift=1.0)
    grid = np.geomspace(1 / 250, 1, 9)
    low, high = roc_band(curve, grid)
    for rate, *ends in zip(grid[:-1], low, high, strict=False):
        expected = rate_interval(curve, float(rate))
        assert ends == pytest.approx([expected[0], expected[2]], abs=1e-3)
    assert low[-1] == high[-1] == 1 and (np.diff(low) > -1e-9).all() and (np.diff(high) > -1e-9).all()


def test_so_many_non_members_fix_a_threshold() -> None:
    for fpr in (0.001, 0.01, 0.2):
        needed = nonmembers_for(fpr)
        assert binom.pmf(0, needed, fpr) <= 0.025 < binom.pmf(0, needed - 1, fpr)


def test_a_report_says_where_non_members_hardly_fix_the_threshold() -> None:
    def rate(others: int) -> RateAtFpr:
        scores = np.random.default_rng(0).normal(size=100 + others) + (np.arange(100 + others) < 100)
        member = np.arange(100 + others) < 100
        return report_attack("x", AttackScores(scores, member, np.arange(100 + others))).rates["1pct"]

    few, many, none = rate(200), rate(400), rate(80)
    assert "200 non-members" in few.note and "368" in few.note and not many.note
    assert few.low is not None and few.corrected is not None and few.tpr is not None and few.high is not None
    assert few.low <= few.corrected < few.tpr <= few.high
    assert str(few) == f"{few.tpr:.4f} [{few.low:.4f}, {few.high:.4f}]" and str(none) == "not resolvable"
    assert none.corrected is None and not none.note


def test_intervals_of_fifty_thousand_records_take_no_time() -> None:
    curve = curve_of(0, members=25_000, others=25_000, shift=1.0)
    started = time.process_time()
    auc_interval(curve)
    rate_interval(curve, 0.01)
    assert time.process_time() - started < 0.2


def test_options_of_the_former_bootstrap_do_nothing_and_say_so() -> None:
    scores, member = np.arange(40.0), np.arange(40) % 3 == 0
    with pytest.warns(DeprecationWarning, match="bootstrap has no effect"):
        assert attack_metrics(scores, member, bootstrap=20) == attack_metrics(scores, member)
    with pytest.raises(AuditError, match="bootstrap is 0"):
        attack_metrics(scores, member, bootstrap=0)
    with pytest.raises(AuditError, match="confidence is 1"):
        rate_interval(roc_curve(scores, member), 0.1, confidence=1)
