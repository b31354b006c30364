from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.analysis.pareto import (
    binary_tournament,
    crowding_distance,
    environmental_selection,
    non_dominated_ranks,
)

POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20)


@given(POINTS)
def test_ranks_agree_with_peeling_fronts_off(points):
    costs, ranks, rank = np.array(points, dtype=float).reshape(-1, 2), {}, 0
    while len(ranks) < len(points):
        left = [index for index in range(len(points)) if index not in ranks]
        beaten = [i for i in left if any((costs[j] <= costs[i]).all() and (costs[j] != costs[i]).any() for j in left)]
        ranks.update({index: rank for index in left if index not in beaten})
        rank += 1
    assert non_dominated_ranks(costs).tolist() == [ranks[index] for index in range(len(points))]


@given(POINTS, st.integers(0, 20))
def test_survivors_are_never_of_a_worse_front_than_what_leaves(points, size):
    costs = np.array(points, dtype=float).reshape(-1, 2)
    kept, ranks = environmental_selection(costs, size), non_dominated_ranks(costs)
    assert len(kept) == min(size, len(points))
    left = np.setdiff1d(np.arange(len(points)), kept)
    assert not len(left) or not len(kept) or ranks[kept].max() <= ranks[left].min()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=15, unique=True))
def test_crowding_distance_is_the_literal_definition(points):
    costs = np.array(points, dtype=float)
    costs = costs[non_dominated_ranks(costs) == 0]
    wanted = np.zeros(len(costs))
    for index, point in enumerate(costs):
        for k in range(2):
            lower, higher = costs[costs[:, k] < point[k], k], costs[costs[:, k] > point[k], k]
            if not len(lower) or not len(higher):
                wanted[index] = np.inf
            else:
                wanted[index] += (higher.min() - lower.max()) / np.ptp(costs[:, k])
    np.testing.assert_allclose(crowding_distance(costs), wanted)


def test_the_tournament_prefers_the_better_front_then_more_room():
    costs = [[0, 10], [4, 5], [5, 4], [10, 0], [11, 11]]  # a crowded middle, and one that all dominate
    winners = np.bincount([binary_tournament(costs, np.random.default_rng(seed)) for seed in range(2000)], minlength=5)
    assert winners[4] == 0
    assert min(winners[0], winners[3]) > 1.5 * max(winners[1], winners[2]) > 0
    assert binary_tournament([[1, 1]], np.random.default_rng(0)) == 0
