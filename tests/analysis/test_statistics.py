from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from nni_privacy.analysis.statistics import orders, rank_correlation, spread_of


def test_three_or_more_values_have_students_interval():
    values = [0.61, 0.64, 0.60, 0.69]
    spread = spread_of(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (spread.mean, spread.low, spread.high) == pytest.approx((np.mean(values), low, high))
    assert (spread.basis, spread.count) == ("t", 4)


def test_two_values_have_their_range():
    spread = spread_of([0.7, 0.6])
    assert (spread.mean, spread.low, spread.high, spread.basis) == (pytest.approx(0.65), 0.6, 0.7, "range")


def test_one_value_has_its_interval_over_records_or_none():
    assert spread_of([0.7], records=(0.66, 0.73)).basis == "records"
    assert spread_of([0.7], records=(0.66, 0.73)).low == 0.66
    lonely = spread_of([0.7], records=(0.66, None))
    assert (lonely.low, lonely.high, lonely.basis) == (None, None, "none")


def test_intervals_of_fractions_stay_fractions():
    spread = spread_of([0.99, 0.5, 0.99])
    assert spread.high == 1.0 and 0 <= (spread.low or 0) < spread.mean


def test_rank_correlation_agrees_with_scipy():
    rng = np.random.default_rng(3)
    x = rng.normal(size=16)
    y = np.round(x + rng.normal(size=16), 1)  # has ties
    found, truth = rank_correlation(x.tolist(), y.tolist()), stats.spearmanr(x, y)
    assert found is not None
    assert found.rho == pytest.approx(truth.statistic)
    assert found.p_value == pytest.approx(truth.pvalue, abs=0.01)
    assert found.low is not None and found.high is not None and found.low < found.rho < found.high
    assert math.atanh(found.high) - math.atanh(found.low) == pytest.approx(
        2 * 1.959964 * math.sqrt((1 + found.rho**2 / 2) / 13), abs=1e-6
    )


def test_p_value_of_few_pairs_is_exact():
    x, y = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 3.0, 5.0, 4.0]
    exact = stats.permutation_test(
        (x,), lambda a: stats.spearmanr(a, y).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    found = rank_correlation(x, y)
    assert found is not None and found.p_value == pytest.approx(exact.pvalue)


def test_perfect_agreement_has_no_interval_but_a_p_value():
    found = rank_correlation([1, 2, 3, 4, 5], [2, 4, 6, 8, 10])
    assert found is not None
    assert (found.rho, found.low, found.high) == (pytest.approx(1.0), None, None)
    assert found.p_value == pytest.approx(2 / 120)


@pytest.mark.parametrize(("x", "y"), [([1, 2], [2, 1]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [4, 4, 4]), ([], [])])
def test_too_few_or_constant_values_have_no_correlation(x, y):
    assert rank_correlation(x, y) is None


def test_few_things_are_ordered_in_every_way_once():
    found = orders(4)
    assert found.shape == (24, 4)
    assert len({tuple(row) for row in found}) == 24
    assert found[0].tolist() == [0, 1, 2, 3]


def test_many_things_are_drawn_as_the_seed_says():
    found = orders(9, seed=5, draws=50)
    assert found.shape == (51, 9)
    assert found[0].tolist() == list(range(9))
    assert (np.sort(found, axis=1) == np.arange(9)).all()
    assert (found == orders(9, seed=5, draws=50)).all()
    assert (found != orders(9, seed=6, draws=50)).any()
