"""Shrinkage: against brute-force Bayes, the textbook's analysis of variance, and a planted winner's curse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from nni_privacy.analysis.confirmation import confirmed_mean, paired_differences
from nni_privacy.analysis.shrinkage import expected_minimum, posterior, shrink, within_variance
from nni_privacy.errors import DataError

MEASURED = (0.669, 0.662, 0.704, 0.664, 0.728)
"""AUC of one cell of the quickstart on one split, with five initial weights."""
RUNS, ARCHITECTURES, TOP, SEEDS = 200, 40, 5, 5
TRUE = 0.66


def brute_force(values: list[float], within: float, between: float, index: int) -> tuple[float, float]:
    """Posterior mean and standard deviation of one true value, summed over a grid of the mean and all true values."""
    grid = np.linspace(0.3, 1.0, 141)
    mu = grid[:, None]
    prior = stats.norm.pdf(grid[None, :], mu, math.sqrt(between))
    likely = [stats.norm.pdf(value, grid, math.sqrt(within)) for value in values]
    others = np.prod([(prior * one).sum(axis=1) for place, one in enumerate(likely) if place != index], axis=0)
    weights = (others[:, None] * prior * likely[index]).sum(axis=0)
    weights /= weights.sum()
    mean = float(weights @ grid)
    return mean, math.sqrt(float(weights @ (grid - mean) ** 2))


@pytest.mark.parametrize("between", [0.0009, 0.004])
def test_the_posterior_is_that_of_brute_force(between: float) -> None:
    values, within = [0.61, 0.66, 0.72, 0.64], 0.0016
    found = posterior(np.array(values), within, between)
    for index in range(len(values)):
        mean, sd = brute_force(values, within, between, index)
        assert found.estimates(values)[index] == pytest.approx(mean, abs=2e-4)
        assert found.standard_errors(values)[index] == pytest.approx(sd, rel=2e-3)


def test_the_variance_between_is_what_the_noise_does_not_explain() -> None:
    values = np.array([0.60, 0.64, 0.65, 0.66, 0.70])
    found = shrink(values, 0.0005)
    assert found.between == pytest.approx(values.var(ddof=1) - 0.0005)
    assert found.weight == pytest.approx(1 - 0.75 * 0.0005 / values.var(ddof=1))
    assert shrink(values, 0.0).estimates(values).tolist() == pytest.approx(values.tolist())
    assert shrink([0.5] * 3, 0.0).estimates([0.5] * 3).tolist() == [0.5] * 3


def test_noise_that_is_larger_than_the_scatter_turns_values_round_their_mean_but_never_farther_away() -> None:
    values = np.array([0.60, 0.64, 0.65, 0.66, 0.70])
    assert shrink(values, 1.0).estimates(values).tolist() == pytest.approx(values[::-1].tolist())
    assert shrink(values, 1.0).between == 0


@pytest.mark.parametrize(("share", "dof"), [(0.0, 16), (0.5, 16), (1.0, 16), (2.0, 16)])
def test_intervals_of_the_lowest_contain_the_truth(share: float, dof: int) -> None:
    rng = np.random.default_rng(5)
    hits = []
    for _ in range(2000):
        truths = rng.normal(TRUE, share, ARCHITECTURES)
        values = truths + rng.normal(0, 1, ARCHITECTURES)
        found, lowest = shrink(values, float(rng.chisquare(dof) / dof), dof=dof), values.argmin()
        estimate, error = found.estimates(values)[lowest], found.standard_errors(values)[lowest]
        hits.append(abs(estimate - truths[lowest]) < 1.96 * error)
    assert 0.92 <= np.mean(hits) <= 0.98


@pytest.mark.parametrize("values", [[0.6, 0.7], [0.6, 0.7, float("nan")], [[0.6, 0.7, 0.8]]])
def test_too_few_values_and_none_are_refused(values: list[float]) -> None:
    with pytest.raises(DataError):
        shrink(values, 0.01)


def test_the_variance_within_is_the_residual_of_a_two_way_analysis() -> None:
    table = np.random.default_rng(0).normal(0.6, 0.02, (4, 6)) + np.arange(6) * 0.1 + np.arange(4)[:, None]
    residual = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    assert within_variance(table) == (pytest.approx((residual**2).sum() / 15), 15)
    assert within_variance(table[0]) == (pytest.approx(table[0].var(ddof=1)), 5)


def test_the_variance_within_of_a_table_with_gaps() -> None:
    table = np.array([[1.0, 2.0, np.nan], [2.0, 3.0, 5.0], [np.nan, np.nan, np.nan]])
    # The third seed has one value, which says nothing; of the other four the two rows differ by 1 throughout.
    assert within_variance(table) == (pytest.approx(0, abs=1e-20), 1)
    assert within_variance(np.full((2, 3), np.nan)) == (0.0, 0)
    assert within_variance([[0.5]]) == (0.0, 0)


def test_the_expected_lowest_of_normal_numbers() -> None:
    assert expected_minimum(1) == pytest.approx(0, abs=1e-9)
    assert expected_minimum(2) == pytest.approx(-1 / math.sqrt(math.pi))
    assert expected_minimum(3) == pytest.approx(-1.5 / math.sqrt(math.pi))
    drawn = np.random.default_rng(0).standard_normal((40_000, 40)).min(axis=1)
    assert expected_minimum(40) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / 200)
    with pytest.raises(DataError):
        expected_minimum(0)


def off(estimates: np.ndarray, truths: np.ndarray | float = TRUE) -> float:
    """The mean error in its standard errors."""
    errors = estimates - truths
    return float(errors.mean() / (errors.std(ddof=1) / math.sqrt(len(errors))))


@pytest.mark.parametrize("sd", [0.016, float(np.std(MEASURED, ddof=1))])
def test_a_planted_winners_curse(sd: float) -> None:
    """Forty architectures that all leak the same: the lowest is as much too low as theory says, its retraining not."""
    rng = np.random.default_rng(17)
    searched = rng.normal(TRUE, sd, (RUNS, ARCHITECTURES))
    again = rng.normal(TRUE, sd, (RUNS, TOP, SEEDS)) + rng.normal(0, sd, (RUNS, 1, SEEDS))  # a split moves them all
    lowest = searched.min(axis=1)
    assert lowest.mean() - TRUE == pytest.approx(sd * expected_minimum(ARCHITECTURES), abs=3 * lowest.std() / RUNS**0.5)
    assert lowest.mean() < TRUE - 2 * sd

    confirmed = np.array([confirmed_mean("mia_auc", table[0].tolist()).mean for table in again])
    assert abs(off(confirmed)) < 3

    noise = [within_variance(table) for table in again]
    assert {dof for _, dof in noise} == {(TOP - 1) * (SEEDS - 1)}
    assert np.mean([variance for variance, _ in noise]) == pytest.approx(sd**2, rel=0.1)
    shrunken = [
        shrink(one, variance, dof=dof).estimates(one) for one, (variance, dof) in zip(searched, noise, strict=True)
    ]
    assert abs(off(np.array([one.mean() for one in shrunken]))) < 3
    of_the_lowest = np.array([one[found.argmin()] for one, found in zip(shrunken, searched, strict=True)])
    assert abs(off(of_the_lowest)) < 2.5
    assert abs(of_the_lowest.mean() - TRUE) < 0.1 * (TRUE - lowest.mean())

    differ = [any(one.differ for one in paired_differences(table, range(TOP), metric="mia_auc")) for table in again]
    assert np.mean(differ) <= 0.05


@pytest.mark.parametrize("share", [0.5, 1.0, 2.0])
def test_the_estimate_of_the_lowest_is_right_where_architectures_differ(share: float) -> None:
    """With the variances known, an estimate is unbiased however its architecture was picked; the measurement is not."""
    rng, sd = np.random.default_rng(3), 0.016
    truths = rng.normal(TRUE, share * sd, (RUNS, ARCHITECTURES))
    searched = truths + rng.normal(0, sd, truths.shape)
    picked = np.arange(RUNS), searched.argmin(axis=1)
    exact = np.array([posterior(one, sd**2, (share * sd) ** 2).estimates(one).min() for one in searched])
    assert abs(off(exact, truths[picked])) < 3
    assert off(searched.min(axis=1), truths[picked]) < -10
    noise = sd**2 * rng.chisquare(16, RUNS) / 16
    estimated = [shrink(one, variance, dof=16).estimates(one) for one, variance in zip(searched, noise, strict=True)]
    assert abs(off(np.array(estimated)[picked], truths[picked])) < 3
