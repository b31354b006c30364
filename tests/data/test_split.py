import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_privacy.data import split_four_ways
from nni_privacy.errors import DataError


def parts_of(split):
    return [split.target_train, split.target_test, split.shadow_train, split.shadow_test]


@settings(deadline=None)
@given(n=st.integers(4, 3000), seed=st.integers(0, 2**32 - 1))
def test_parts_are_equal_disjoint_and_within_the_pool(n, seed):
    parts = parts_of(split_four_ways(n, seed=seed))
    pooled = np.concatenate(parts)
    assert {len(part) for part in parts} == {n // 4}
    assert len(np.unique(pooled)) == len(pooled)
    assert pooled.min() >= 0 and pooled.max() < n
    assert all(part.dtype == np.int64 for part in parts)


def test_the_seed_alone_decides_the_split():
    first = split_four_ways(1797, seed=3)
    np.random.random(5)  # noqa: NPY002 - the global generator must not matter
    again, other = split_four_ways(1797, seed=3), split_four_ways(1797, seed=4)
    assert all(np.array_equal(a, b) for a, b in zip(parts_of(first), parts_of(again), strict=True))
    assert not np.array_equal(first.target_train, other.target_train)


@pytest.mark.parametrize(("n", "seed"), [(3, 0), (0, 0), (100, -1)])
def test_impossible_splits_are_refused(n, seed):
    with pytest.raises(DataError, match=r"n is|seed is"):
        split_four_ways(n, seed=seed)
