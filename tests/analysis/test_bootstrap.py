from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nni_privacy.analysis import bootstrap
from nni_privacy.analysis.bootstrap import BOOTSTRAP_FROM, clustered_estimate
from nni_privacy.errors import DataError

TRUTH = -0.02
SIMULATIONS = 1000


def simulated(rng: np.random.Generator, architectures: int, seeds: int) -> tuple[np.ndarray, list[int]]:
    """Differences with an effect of each architecture's own, and noise of each pair."""
    own = rng.normal(TRUTH, 0.015, size=(architectures, 1))
    values = own + rng.normal(0, 0.012, size=(architectures, seeds))
    return values.ravel(), np.repeat(np.arange(architectures), seeds).tolist()


@pytest.mark.parametrize(("architectures", "seeds"), [(3, 1), (3, 2), (5, 2), (8, 2), (10, 1), (10, 2), (30, 2)])
def test_intervals_cover_a_known_effect(monkeypatch: pytest.MonkeyPatch, architectures: int, seeds: int) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 999)
    rng = np.random.default_rng([5, architectures, seeds])
    estimates = [clustered_estimate(*simulated(rng, architectures, seeds), seed=k) for k in range(SIMULATIONS)]
    covered = np.mean([estimate.low <= TRUTH <= estimate.high for estimate in estimates])
    assert 0.93 <= covered <= 0.97
    assert np.mean([estimate.p_value(TRUTH) > 0.05 for estimate in estimates]) == covered


def test_pairs_of_one_architecture_are_not_independent() -> None:
    """An interval that took seeds for architectures would be far too narrow."""
    rng = np.random.default_rng(0)
    own = np.repeat(rng.normal(0, 1.0, size=10), 20)
    clustered = clustered_estimate(own + rng.normal(0, 0.01, 200), np.repeat(np.arange(10), 20).tolist())
    naive = clustered_estimate(own, np.arange(200).tolist())
    assert clustered.high - clustered.low > 3 * (naive.high - naive.low)


def test_few_architectures_have_students_interval_over_their_means() -> None:
    estimate = clustered_estimate([0.1, 0.3, 0.4, 0.9, 1.1], ["a", "a", "b", "c", "c"])
    means = [0.2, 0.4, 1.0]
    low, high = stats.t.interval(0.95, 2, np.mean(means), stats.sem(means))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((np.mean(means), low, high))
    assert (estimate.pairs, estimate.architectures) == (5, 3)
    assert "Student" in estimate.method
    assert estimate.p_value() == pytest.approx(stats.ttest_1samp(means, 0).pvalue)


def test_the_bootstrap_is_the_same_for_the_same_seed_and_near_students() -> None:
    values, architectures = simulated(np.random.default_rng(3), 20, 2)
    one, two, other = (clustered_estimate(values, architectures, seed=seed) for seed in (0, 0, 1))
    assert (one.low, one.high) == (two.low, two.high) != (other.low, other.high)
    assert "bootstrap" in one.method
    means = values.reshape(20, 2).mean(axis=1)
    low, high = stats.t.interval(0.95, 19, means.mean(), stats.sem(means))
    assert (one.low, one.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_resamples_of_one_pair_each_are_a_plain_studentised_bootstrap() -> None:
    values = np.random.default_rng(1).exponential(size=12)
    estimate = clustered_estimate(values, list(range(12)), seed=4)
    assert estimate.t_statistics is not None
    rng, reference = np.random.default_rng(9), []
    for _ in range(4999):
        drawn = rng.choice(values, 12)
        reference.append((drawn.mean() - values.mean()) / stats.sem(drawn))
    assert np.quantile(estimate.t_statistics, [0.05, 0.5, 0.95]) == pytest.approx(
        np.quantile(reference, [0.05, 0.5, 0.95]), abs=0.2
    )


def test_architectures_count_alike_however_many_seeds_they_have() -> None:
    labels = [str(number) for number in range(BOOTSTRAP_FROM) for _ in range(1 + 5 * (number == 0))]
    values = [1.0 if label == "0" else 0.1 * int(label) for label in labels]
    assert clustered_estimate(values, labels).value == pytest.approx((1.0 + 0.1 * sum(range(1, BOOTSTRAP_FROM))) / 8)


@pytest.mark.parametrize("architectures", [3, 12])
def test_equal_differences_have_an_interval_of_no_width(architectures: int) -> None:
    estimate = clustered_estimate([0.5] * architectures, list(range(architectures)))
    assert (estimate.low, estimate.high) == (0.5, 0.5)
    assert (estimate.p_value(0.5), estimate.p_value(0.0)) == (1.0, 0.0)


def test_ties_have_students_interval() -> None:
    values = [0.0] * 9 + [0.1]
    estimate = clustered_estimate(values, list(range(10)))
    wanted = stats.t.interval(0.95, 9, np.mean(values), stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("values", "architectures", "message"),
    [
        ([0.1, 0.2], ["a", "b"], "2 pairs; an interval needs at least 3"),
        ([0.1, 0.2, 0.3], ["a", "a", "a"], "one architecture"),
        ([0.1, np.nan, 0.3], ["a", "b", "c"], "not a finite number"),
        ([0.1, 0.2, 0.3], ["a", "b"], "one per pair"),
    ],
)
def test_what_has_no_interval_says_why(values: list[float], architectures: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        clustered_estimate(values, architectures)
