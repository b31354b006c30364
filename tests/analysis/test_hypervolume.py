from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.analysis.pareto import hypervolume, hypervolume_growth

GRID = st.integers(0, 4).map(lambda value: value / 4)


@given(st.lists(st.tuples(GRID, GRID), max_size=20))
def test_it_is_the_dominated_area_after_every_point(points):
    accuracy, auc = [point[0] for point in points], [point[1] for point in points]
    centres = [(x, y) for x in (np.arange(4) + 0.5) / 4 for y in (np.arange(4) + 0.5) / 4]
    wanted = [
        sum(any(x <= a and y >= u for a, u in points[: count + 1]) for x, y in centres) / 16
        for count in range(len(points))
    ]
    assert hypervolume_growth(accuracy, auc).tolist() == pytest.approx(wanted)
    assert hypervolume(accuracy, auc) == pytest.approx(wanted[-1] if wanted else 0)
