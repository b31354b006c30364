import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.auditing.shadows import keep_matrix
from nni_privacy.errors import ConfigError
from nni_privacy.rng import stream_seed

records = st.integers(4, 300)
shadows = st.integers(1, 33)
seeds = st.integers(0, 2**32 - 1)

KNOWN = [[0, 1, 1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 1, 0, 0]]
KNOWN_SEEDS = (2968811710, 2406264477)


@given(records, shadows, seeds)
def test_every_shadow_gets_half_of_the_pool_and_every_record_half_of_the_shadows(n, count, seed):
    keep = keep_matrix(n, count, seed=seed)
    assert keep.shape == (n, count) and keep.dtype == np.bool_
    assert set(keep.sum(axis=0)) <= {n // 2, n - n // 2}
    assert set(keep.sum(axis=1)) <= {count // 2, count - count // 2}
    if count % 4 == 0:  # the odd record of an odd pool goes to both sides equally often
        assert keep.sum() * 2 == n * count
        assert (keep.sum(axis=0) == n // 2).sum() >= count // 2


@given(records, st.integers(1, 16), st.integers(0, 16), seeds)
def test_more_shadows_leave_the_first_columns_as_they_are(n, count, more, seed):
    grown = keep_matrix(n, count + more, seed=seed)
    np.testing.assert_array_equal(grown[:, :count], keep_matrix(n, count, seed=seed))


def test_other_seeds_and_other_pairs_give_other_halves():
    keep = keep_matrix(100, 8, seed=0)
    assert len({column.tobytes() for column in keep.T}) == 8
    assert not np.array_equal(keep, keep_matrix(100, 8, seed=1))
    overlap = [(keep[:, 0] == keep[:, 2 * pair]).mean() for pair in range(1, 4)]
    assert 0.2 < np.mean(overlap) < 0.8


def test_it_is_the_same_on_every_machine_and_in_every_version():
    assert keep_matrix(8, 3, seed=5).T.astype(int).tolist() == KNOWN
    assert (stream_seed(0, 0), stream_seed(7, 15)) == KNOWN_SEEDS


@given(st.lists(st.tuples(seeds, st.integers(0, 255)), min_size=2, max_size=50, unique=True))
def test_shadows_have_seeds_of_their_own(pairs):
    assert len({stream_seed(*pair) for pair in pairs}) == len(pairs)
    assert all(0 <= stream_seed(*pair) < 2**32 for pair in pairs)


@pytest.mark.parametrize(
    ("options", "message"),
    [((3, 4, 0), "records: 3"), ((10, 0, 0), "shadows: 0"), ((10, 4, -1), "seed: -1"), ((10, 4.0, 0), "4.0")],
)
def test_impossible_requests_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        keep_matrix(options[0], options[1], seed=options[2])
