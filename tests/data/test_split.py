import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_privacy.data import load_dataset, split_four_ways
from nni_privacy.errors import ConfigError, DataError


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


@settings(deadline=None)
@given(n=st.integers(40, 2000), classes=st.integers(2, 10), seed=st.integers(0, 2**32 - 1))
def test_a_stratified_split_has_every_class_in_equal_numbers(n, classes, seed):
    labels = np.random.default_rng(n).permutation(np.arange(n) % classes)
    split = split_four_ways(n, seed=seed, labels=labels)
    parts = parts_of(split)
    assert {len(part) for part in parts} == {n // 4} and len(np.unique(np.concatenate(parts))) == n // 4 * 4
    counts = np.array([np.bincount(labels[part], minlength=classes) for part in parts])
    assert (counts.max(axis=0) - counts.min(axis=0)).max() <= 1
    again = parts_of(split_four_ways(n, seed=seed, labels=labels))
    assert all(np.array_equal(one, other) for one, other in zip(parts, again, strict=True))


def test_a_stratified_part_is_in_random_order():
    labels = np.arange(4000) // 1000
    first = labels[split_four_ways(4000, seed=0, labels=labels).target_train[:200]]
    assert np.bincount(first, minlength=4).min() > 25


def test_stratifying_needs_four_records_of_each_class_and_a_label_each():
    with pytest.raises(DataError, match="class 1 has 3 records: a stratified split needs 4 or more"):
        split_four_ways(20, seed=0, labels=[0] * 17 + [1] * 3)
    with pytest.raises(DataError, match=r"labels have shape \(19,\)"):
        split_four_ways(20, seed=0, labels=[0] * 19)


def test_a_data_set_knows_how_it_is_split():
    plain, stratified = load_dataset("digits"), load_dataset("digits", stratified=True)
    counts = [torch.bincount(stratified.labels[part]) for part in parts_of(stratified.split(seed=1))]
    assert max(int((one - counts[0]).abs().max()) for one in counts) <= 1
    expected = parts_of(split_four_ways(1797, seed=1))
    assert all(np.array_equal(a, b) for a, b in zip(parts_of(plain.split(seed=1)), expected, strict=True))
    with pytest.raises(ConfigError, match="stratified: 'yes'"):
        load_dataset("digits", stratified="yes")
