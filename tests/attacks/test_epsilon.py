"""Lower bounds on epsilon: against linear programs, exact tails and mechanisms of known epsilon."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, linprog
from scipy.stats import binom, norm

from nni_privacy.attacks import clopper_pearson
from nni_privacy.attacks.epsilon import (
    Guesses,
    epsilon_bounds,
    gaussian_accuracy,
    gaussian_epsilon,
    least_fpr,
    paired,
    threshold_epsilon,
)
from nni_privacy.errors import AuditError

DELTA = 1e-5
ONE = np.ones(1)


# --- trade-off curves ---


@pytest.mark.parametrize("mu", [0.1, 0.5, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-5, 1e-9])
def test_epsilon_of_gaussian_noise_is_that_of_opacus_and_of_the_hockey_stick_integral(mu: float, delta: float) -> None:
    from opacus.accountants.analysis.gdp import eps_from_mu  # here, as it imports torch

    found = gaussian_epsilon(mu, delta)
    if not found:
        assert 2 * norm.cdf(mu / 2) - 1 <= delta  # the total variation distance
        return
    assert found == pytest.approx(eps_from_mu(mu=mu, delta=delta), rel=1e-6)
    start = found / mu + mu / 2  # from where the one density is e^epsilon times the other
    lost = quad(lambda x: norm.pdf(x - mu) - math.exp(found) * norm.pdf(x), start, start + 40, epsabs=1e-15)[0]
    assert lost == pytest.approx(delta, rel=1e-3)


def test_no_noise_of_no_signal_is_perfectly_private() -> None:
    assert gaussian_epsilon(0.0, DELTA) == 0.0


@pytest.mark.parametrize("swapped", [False, True])
def test_the_least_fpr_of_approximate_privacy_keeps_both_of_its_inequalities_and_no_more(swapped: bool) -> None:
    epsilon, delta = (2.0, DELTA * (1 + math.e)) if swapped else (1.0, DELTA)
    for tpr in np.linspace(0, 1, 201):
        fpr = float(least_fpr(ONE, delta=DELTA, swapped=swapped)(np.full(1, tpr))[0])
        first, second = tpr - math.exp(epsilon) * fpr, (1 - fpr) - math.exp(epsilon) * (1 - tpr)
        assert max(first, second) <= delta + 1e-12
        assert fpr == 0 or max(first, second) == pytest.approx(delta, abs=1e-12)


def test_the_least_fpr_of_gaussian_noise_is_its_likelihood_ratio_test() -> None:
    threshold = np.linspace(-3, 3, 13)
    tpr, fpr = norm.sf(threshold - 1.5), norm.sf(threshold)
    found = [float(least_fpr(1.5 * ONE, gaussian=True)(np.full(1, one))[0]) for one in tpr]
    assert found == pytest.approx(fpr.tolist())


# --- guesses about one training ---


def most_likely(right: int, made: int, coins: int, epsilon: float, delta: float) -> float:
    """The largest probability of ``right`` guesses or more, as a linear program over how many are right."""
    counts = np.arange(made + 1)
    rows, limits = [], []
    odds = math.exp(epsilon)
    for least in range(1, made + 1):
        power = np.where(counts >= least, counts, 0) / coins
        rest = np.where(counts >= least - 1, made - counts, 0) / coins
        rows += [power - odds * rest, power - rest / odds]
        limits += [delta, 1 - (1 - delta) / odds]
    objective = -(counts >= right).astype(float)
    found = linprog(objective, A_ub=rows, b_ub=limits, A_eq=np.ones((1, made + 1)), b_eq=[1], bounds=(0, 1))
    return float(-found.fun)


@pytest.mark.parametrize(("made", "coins"), [(8, 8), (6, 12), (10, 40)])
@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 0.0), (1.0, 1e-3), (2.0, 1e-2)])
def test_guesses_are_refuted_where_a_linear_program_says_that_they_are_unlikely(
    made: int, coins: int, epsilon: float, delta: float
) -> None:
    curve = least_fpr(np.full(1, epsilon), delta=delta)
    for right in range(made // 2 + 1, made + 1):
        exact = most_likely(right, made, coins, epsilon, delta)
        guesses = Guesses(right, made, coins)
        if exact < 1 - 1e-6:
            assert guesses.refute(curve, exact * 1.001, 1)[0] and not guesses.refute(curve, exact * 0.999, 1)[0]
        assert guesses.tail(epsilon, 0.0) <= exact + 1e-9 or delta  # the binomial tail is the tighter without a delta
        # Randomised response is a mechanism, so both bounds lie above its exact tail.
        tail = binom.sf(right - 1, made, 1 / (1 + math.exp(-epsilon)))
        assert min(exact, guesses.tail(epsilon, delta)) >= tail - 1e-9


def test_the_tail_holds_for_a_mechanism_that_fails_with_probability_delta() -> None:
    """Each coin is given away with probability delta, else answered by randomised response."""
    for epsilon, delta, made in ((1.0, 1e-3, 200), (0.3, 1e-2, 50), (3.0, 1e-4, 1000)):
        share = delta + (1 - delta) / (1 + math.exp(-epsilon))
        for right in range(made // 2, made + 1, 7):
            exact = binom.sf(right - 1, made, share)
            assert Guesses(right, made, made).tail(epsilon, delta) >= exact - 1e-12
            assert not Guesses(right, made, made).refute(least_fpr(np.full(1, epsilon), delta=delta), exact * 0.999, 1)


def test_without_delta_the_tail_is_the_binomial_one_and_inverts_clopper_pearson() -> None:
    assert Guesses(80, 100, 200).tail(1.0, 0.0) == pytest.approx(binom.sf(79, 100, 1 / (1 + math.exp(-1))))
    low, _ = clopper_pearson(80, 100, confidence=0.9)
    assert Guesses(80, 100, 200).epsilon(delta=1e-300) == pytest.approx(math.log(low / (1 - low)), abs=1e-4)


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.125, 0.125), (0.25, 0.0)])
def test_guesses_about_gaussian_noise_are_right_as_often_as_it_allows_and_do_not_refute_it(
    mu: float, shares: tuple[float, float]
) -> None:
    coins, count = np.random.default_rng(0).random(400_000) < 0.5, 400
    scores = mu * coins + np.random.default_rng(1).normal(size=len(coins))
    many = Guesses.of(scores, coins, shares, np.random.default_rng(2))
    share = gaussian_accuracy(mu, max(shares))
    assert many.right / many.made == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / many.made))
    # The likeliest guesses of independent records are right as often as a binomial says; the bounds know no better.
    made = round(sum(shares) * count)
    for level in (0.05, 0.001):
        right = min(int(binom.isf(level, made, share)) + 2, made)
        exact, guesses = binom.sf(right - 1, made, share), Guesses(right, made, count)
        assert not guesses.refute(least_fpr(np.full(1, mu), gaussian=True), exact, 1)[0]
        assert guesses.independent_mu(shares, level=exact) <= mu * (1 + 1e-9)
    typical = Guesses(round(share * made), made, count)
    assert typical.epsilon(delta=DELTA, gaussian=True) > 0 or mu < 1
    assert 0.4 * mu < typical.independent_mu(shares) < mu or mu < 1


# What jax-privacy gives for these counts at significance .05 and delta 1e-5, see the docstring below.
FIGURES = [
    (731, 1000, 1000, 0.88032, 1.64267),
    (118, 124, 1000, 2.26808, 3.55841),
    (60, 62, 1000, 2.20596, 3.24446),
    (300, 500, 2000, 0.25072, 0.38143),
    (249, 250, 250, 3.9491, 8.56233),
    (560, 1000, 1000, 0.13426, 0.26881),
]


@pytest.mark.parametrize(("right", "made", "coins", "steinke", "gaussian"), FIGURES)
def test_bounds_are_those_of_jax_privacy(right: int, made: int, coins: int, steinke: float, gaussian: float) -> None:
    """Figures of jax-privacy 2.0.0 (``_epsilon_one_run`` and ``_epsilon_one_run_fdp`` of its module ``auditing``)."""
    guesses = Guesses(right, made, coins)
    found = float(brentq(lambda epsilon: guesses.tail(epsilon, DELTA) - 0.05, 1e-6, 30))
    assert found == pytest.approx(steinke, abs=1e-4)
    assert guesses.epsilon(delta=DELTA) >= steinke - 1e-4
    assert guesses.epsilon(delta=DELTA, gaussian=True) == pytest.approx(gaussian, abs=2e-3)


# --- bounds of whole attacks ---


def randomised_response(epsilon: float, count: int, generator: np.random.Generator) -> tuple[Any, Any]:
    """Coins, and each told the truth about with the probability that epsilon allows."""
    coins = generator.random(count) < 0.5
    truth = generator.random(count) < 1 / (1 + math.exp(-epsilon))
    return np.where(truth, coins, ~coins).astype(float), coins


def gaussian_mean(mu: float, count: int, generator: np.random.Generator, *, dealt: bool = False) -> tuple[Any, Any]:
    """A noisy sum of unit vectors, each along an axis of its own, and each in it or not; scores are the coordinates."""
    coins = generator.permutation(np.arange(count) < count // 2) if dealt else generator.random(count) < 0.5
    return coins + generator.normal(0, 1 / mu, count), coins


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0, 4.0])
def test_randomised_response_is_bounded_from_below_and_half_of_it_found(epsilon: float) -> None:
    found = [
        epsilon_bounds({"a": randomised_response(epsilon, 1000, np.random.default_rng(seed))}, drawn="coins").one_run
        for seed in range(8)
    ]
    assert sum(one.epsilon > epsilon for one in found) <= 2  # binomial: three of 8 at 5% have a probability of .006
    assert np.median([one.epsilon for one in found]) > epsilon / 2


@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("dealt", [False, True])
def test_gaussian_noise_is_bounded_from_below_and_half_of_it_found(mu: float, dealt: bool) -> None:
    truth, count = gaussian_epsilon(mu, DELTA), 2000 if dealt else 1000
    found = [
        epsilon_bounds(
            {"a": gaussian_mean(mu, count, np.random.default_rng(seed), dealt=dealt)},
            drawn="dealt" if dealt else "coins",
        )
        for seed in range(8)
    ]
    for kind in ("one_run", "one_run_gaussian", "threshold", "gaussian"):
        assert sum(getattr(one, kind).epsilon > truth for one in found) <= 2

    assert np.median([one.gaussian.epsilon for one in found]) > truth / 2
    assert {one.records for one in found} == {1000}


def test_guessing_shows_nothing() -> None:
    generator = np.random.default_rng(0)
    runs = [(generator.normal(size=300), generator.random(300) < 0.5) for _ in range(20)]
    for drawn in ("coins", "dealt"):
        found = [epsilon_bounds({"a": run, "b": (run[0][::-1], run[1])}, drawn=drawn) for run in runs]
        assert sum(one.one_run.epsilon > 0 for one in found) <= 3
        assert sum(one.gaussian.epsilon > 0 for one in found) <= 3
        assert sum(one.one_run_gaussian.epsilon > 0 for one in found) <= 3


def test_records_that_share_their_luck_do_not_break_the_bound() -> None:
    """One coin decides for all records whether the answers are true: right counts are far from binomial ones."""
    epsilon, wrong = 1.0, 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        coins = generator.random(100) < 0.5
        truth = generator.random() < 0.5  # all true or all false: no record can be told from the answers
        answers = np.where(truth, coins, ~coins)
        scores = np.where(generator.random(100) < 1 / (1 + math.exp(-epsilon)), answers, ~answers).astype(float)
        # Turning one coin turns one answer: randomised response of the coins or of their complements.
        wrong += epsilon_bounds({"a": (scores, coins)}, drawn="coins").one_run.epsilon > epsilon
    assert wrong <= 6


def test_the_best_of_several_attacks_counts_and_pays_for_their_number() -> None:
    good = randomised_response(2.0, 1000, np.random.default_rng(0))
    idle = (np.random.default_rng(1).normal(size=1000), good[1])
    alone = epsilon_bounds({"good": good}, drawn="coins")
    both = epsilon_bounds({"idle": idle, "good": good}, drawn="coins")
    assert both.one_run.attack == "good" and 0.8 * alone.one_run.epsilon < both.one_run.epsilon < alone.one_run.epsilon
    assert "at least" in str(both) and "1000 canaries" in str(both) and "delta 1e-05" in str(both)


def test_pairs_are_fair_coins_and_hide_nothing() -> None:
    scores, member = np.arange(30.0), np.arange(30) < 12
    gaps, first = paired(scores, member, np.random.default_rng(0))
    assert len(gaps) == 12 and 0 < first.sum() < 12
    assert ((gaps < 0) == first).all()  # every member scores below every non-member


def test_equal_scores_are_guessed_at_random() -> None:
    coins = np.arange(1000) < 500  # members come first, which the order of equal scores must not give away
    guesses = Guesses.of(np.zeros(1000), coins, (0.5, 0.5), np.random.default_rng(0))
    assert guesses.made == 1000 and 440 < guesses.right < 560


@pytest.mark.parametrize("counts", [(3, 2, 5), (-1, 2, 5), (1, 6, 5)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(AuditError, match="expected 0 <= right <= guesses <= coins"):
        Guesses(*counts)


@pytest.mark.parametrize("options", [{"delta": 0.0}, {"delta": 1.0}, {"confidence": 1.0}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(AuditError, match="allowed are numbers between 0 and 1"):
        epsilon_bounds({"a": ([0.0, 1.0], [True, False])}, **options)  # type: ignore[arg-type]
    with pytest.raises(AuditError, match=r"attacks is \{\}"):
        epsilon_bounds({})


# --- Clopper-Pearson at a threshold ---


def test_a_threshold_that_splits_all_has_clopper_pearsons_bound_on_the_second_half() -> None:
    member = np.arange(400) < 200
    found = threshold_epsilon(member.astype(float), member, delta=DELTA)
    low, high = clopper_pearson(100, 100)[0], clopper_pearson(0, 100)[1]
    assert found == pytest.approx(math.log((low - DELTA) / high))


def test_it_looks_at_either_side_of_the_threshold() -> None:
    """Nobody below it is a member, while above it both are: only the rates of those below tell."""
    generator = np.random.default_rng(0)
    member = np.arange(2000) < 1000
    scores = np.where(member, 1.0, (generator.random(2000) < 0.5).astype(float))
    assert threshold_epsilon(scores, member, delta=DELTA) > 3
    assert threshold_epsilon(-scores, ~member, delta=DELTA) > 3


def test_the_thresholds_bound_holds_for_independent_records() -> None:
    exceeded = 0
    for seed in range(100):
        scores, coins = randomised_response(1.0, 300, np.random.default_rng(seed))
        exceeded += threshold_epsilon(scores, coins, delta=DELTA) > 1.0
    assert exceeded <= 10
    assert threshold_epsilon([0.0, 1.0], [False, True], delta=DELTA) == 0.0
