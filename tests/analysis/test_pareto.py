from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.analysis.pareto import non_dominated, pareto_front

GRID = st.integers(0, 4).map(lambda value: value / 4)  # coarse, so that ties are frequent


def dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    pairs = list(zip(first, second, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


@given(st.integers(1, 4).flatmap(lambda k: st.lists(st.tuples(*[GRID] * k), max_size=30)))
def test_non_dominated_agrees_with_brute_force(points):
    wanted = [not any(dominates(other, point) for other in points) for point in points]
    costs = np.array(points, dtype=float).reshape(len(points), len(points[0]) if points else 1)
    assert non_dominated(costs).tolist() == wanted


@given(st.lists(st.tuples(GRID, GRID), max_size=30))
def test_front_is_sorted_and_holds_exactly_the_unbeaten(points):
    accuracy, auc = [point[0] for point in points], [point[1] for point in points]
    front = pareto_front(accuracy, auc)
    costs = [(-a, b) for a, b in points]
    assert set(front) == {i for i, p in enumerate(costs) if not any(dominates(q, p) for q in costs)}
    assert len(front) == len(set(front))
    assert [accuracy[i] for i in front] == sorted((accuracy[i] for i in front), reverse=True)
    assert [auc[i] for i in front] == sorted((auc[i] for i in front), reverse=True)


def test_equal_points_are_all_on_the_front():
    assert pareto_front([0.9, 0.9, 0.8], [0.6, 0.6, 0.6]) == [0, 1]


def test_points_with_nan_are_left_out_and_dominate_nothing():
    assert pareto_front([0.9, float("nan"), 1.0], [0.6, 0.1, float("nan")]) == [0]


def test_no_points_have_an_empty_front():
    assert pareto_front([], []) == []
    assert non_dominated(np.empty((0, 2))).tolist() == []


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="shape"):
        non_dominated([1.0, 2.0])
    with pytest.raises(ValueError, match="equally long"):
        pareto_front([1.0], [1.0, 2.0])
