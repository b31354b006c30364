from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.strategies.nsga2 import environmental_selection, non_dominated_ranks

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
