"""DeLong's test against placement values by brute force, permutations, the bootstrap, and data without a difference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from nni_privacy.analysis.paired_auc import compare_aucs, placement_values
from nni_privacy.attacks.verdict import holm
from nni_privacy.errors import DataError

Floats = npt.NDArray[np.float64]


def made(
    seed: int, *, leaks: tuple[float, ...], records: int = 150, shared: float = 0.7, others: int | None = None
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Scores of models that have a part of what they see of a record in common."""
    generator = np.random.default_rng(seed)
    member = np.arange(records + (others or records)) < records
    common = generator.normal(size=len(member))
    own = generator.normal(size=(len(leaks), len(member)))
    return np.sqrt(shared) * common + np.sqrt(1 - shared) * own + np.array(leaks)[:, None] * member, member


def test_placement_values_are_those_of_their_definition_with_ties() -> None:
    scores, member = made(0, leaks=(0.2, 0.5), records=40, others=25)
    scores = np.round(scores, 1)
    of_members, of_others = placement_values(scores, member)
    for row in range(2):
        inside, outside = scores[row, member], scores[row, ~member]
        wins = (inside[:, None] > outside) + (inside[:, None] == outside) / 2
        np.testing.assert_allclose(of_members[row], wins.mean(axis=1), atol=1e-12)
        np.testing.assert_allclose(of_others[row], wins.mean(axis=0), atol=1e-12)
        assert of_members[row].mean() == pytest.approx(roc_auc_score(member, scores[row]), abs=1e-12)


def test_pairs_have_delongs_variance_and_holms_p() -> None:
    scores, member = made(1, leaks=(0.2, 0.5, 0.6))
    found = compare_aucs(scores, member)
    assert [(pair.first, pair.second) for pair in found] == [(0, 1), (0, 2), (1, 2)]
    aucs = [roc_auc_score(member, row) for row in scores]
    for pair in found:
        differences = []  # of the two models' placement values, record by record
        for row in (pair.first, pair.second):
            wins = (scores[row, member][:, None] > scores[row, ~member]).astype(float)
            differences.append((wins.mean(axis=1), wins.mean(axis=0)))
        variance = sum(np.var(a - b, ddof=1) / len(a) for a, b in zip(*differences, strict=True))
        assert pair.value == pytest.approx(aucs[pair.first] - aucs[pair.second], abs=1e-12)
        assert pair.p == pytest.approx(2 * norm.sf(abs(pair.value) / np.sqrt(variance)), rel=1e-9)
        assert pair.high - pair.low == pytest.approx(2 * 1.959964 * np.sqrt(variance), rel=0.03)
        assert (pair.p < 0.05) == (not pair.low <= 0 <= pair.high)
    assert [pair.p_holm for pair in found] == holm([pair.p for pair in found])


def test_intervals_of_differences_cover_them_near_one() -> None:
    """Two attacks whose scores correlate by .7, on 50 members and 50 others: DeLong's interval covers .90."""
    member, runs, covered = np.arange(100) < 50, 400, 0
    shifts = np.sqrt(2) * norm.ppf([0.95, 0.99])
    generator = np.random.default_rng(3)
    for _ in range(runs):
        common, own = generator.normal(size=100), generator.normal(size=(2, 100))
        (pair,) = compare_aucs(0.7**0.5 * common + 0.3**0.5 * own + shifts[:, None] * member, member)
        covered += pair.low <= -0.04 <= pair.high
    assert 0.94 <= covered / runs <= 0.995, covered / runs


def test_p_agrees_with_a_permutation_test_and_the_interval_with_the_bootstrap() -> None:
    scores, member = made(5, leaks=(0.4, 0.55))
    (pair,) = compare_aucs(scores, member)
    generator = np.random.default_rng(0)
    # Within a record, the two models' ranks can be exchanged where they are equally good (Venkatraman and Begg, 1996).
    ranks = scores.argsort(axis=1).argsort(axis=1)
    permuted, resampled = [], []
    places = [np.flatnonzero(side) for side in (member, ~member)]
    for _ in range(2000):
        mixed = np.where(generator.random(len(member)) < 0.5, ranks, ranks[::-1])
        permuted.append(np.subtract(*(placement_values(mixed, member)[0].mean(axis=1))))
        drawn = np.concatenate([generator.choice(place, len(place)) for place in places])
        resampled.append(np.subtract(*(placement_values(scores[:, drawn], member[drawn])[0].mean(axis=1))))
    by_permutation = np.mean(np.abs(permuted) >= abs(pair.value) - 1e-12)
    assert 0.005 < by_permutation < 0.2 and by_permutation == pytest.approx(pair.p, abs=0.02)
    assert np.quantile(resampled, [0.025, 0.975]) == pytest.approx([pair.low, pair.high], abs=0.01)


def test_models_that_leak_alike_are_told_apart_in_one_of_twenty_and_better_than_by_two_intervals() -> None:
    runs, told, covered = 600, 0, 0
    for seed in range(runs):
        scores, member = made(seed, leaks=(0.5, 0.5, 0.5), records=100)
        found = compare_aucs(scores, member)
        told += any(pair.p_holm <= 0.05 for pair in found)
        covered += found[0].low <= 0 <= found[0].high
    assert 0.93 <= covered / runs <= 0.97
    assert told / runs <= 0.065  # of three pairs that do not differ, any, in 5% at most: .05 + 1.7 standard errors
    scores, member = made(5, leaks=(0.3, 0.8), records=100, shared=0.9)
    assert compare_aucs(scores, member)[0].p < 0.001


def test_without_variance_only_different_aucs_are_told_apart() -> None:
    member = np.arange(20) < 10
    perfect, equal = np.where(member, 1.0, 0.0), np.zeros(20)
    same, apart, _ = compare_aucs([perfect, 2 * perfect, equal], member)
    assert (same.value, same.p, same.p_holm) == (0, 1, 1) and (apart.value, apart.p) == (0.5, 0)
    scores, member = made(0, leaks=(0.5,))
    (twice,) = compare_aucs(np.concatenate([scores, 3 * scores + 1]), member)
    assert (twice.value, twice.low, twice.high, twice.p) == (0, 0, 0, 1)
    assert compare_aucs(scores, member) == ()


@pytest.mark.parametrize(
    ("scores", "member", "message"),
    [
        (np.zeros(4), np.arange(4) < 2, "expected"),
        (np.zeros((2, 4)), np.arange(5) < 2, "expected"),
        (np.array([[0, 1, np.nan, 2]]), np.arange(4) < 2, "1 scores are NaN"),
        (np.zeros((2, 4)), np.arange(4) < 1, "1 members and 3 non-members"),
    ],
)
def test_what_cannot_be_compared_is_refused(scores: Floats, member: npt.NDArray[np.bool_], message: str) -> None:
    with pytest.raises(DataError, match=message):
        compare_aucs(scores, member)
