"""Rank correlations of resamples, compared with scipy's of the points written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from nni_privacy.bench.rank_bootstrap import cluster_counts, rank_correlations


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_correlations_are_scipys_of_points_written_as_often_as_they_count(data: st.DataObject) -> None:
    number = data.draw(st.integers(2, 12))
    numbers = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 1e9, np.nan]), min_size=number, max_size=number)
    x, y = (np.array(data.draw(numbers)) for _ in range(2))
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=number, max_size=number)))
    known = np.isfinite(x) & np.isfinite(y)
    first, second = (np.repeat(values[known], counts[known]) for values in (x, y))
    (found,) = rank_correlations(x, y, counts[None].astype(float))
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)


def test_resamples_are_of_whole_clusters() -> None:
    clusters = ["b", "a", "b", "c", "a", "c", "c"]
    counts = cluster_counts(clusters, rounds=500, seed=3)
    assert counts.shape == (501, 7)
    assert (counts[0] == 1).all()
    of_cluster = counts[:, [1, 0, 3]]
    assert (counts == of_cluster[:, [1, 0, 1, 2, 0, 2, 2]]).all()
    assert (of_cluster.sum(axis=1) == 3).all()
    assert of_cluster[1:].mean(axis=0) == pytest.approx(1, abs=0.15)
    assert (counts == cluster_counts(clusters, rounds=500, seed=3)).all()
    assert (counts != cluster_counts(clusters, rounds=500, seed=4)).any()
