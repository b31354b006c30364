import numpy as np
import pytest
import torch
from shadows.factories import Tiny
from shadows.support_shadows import QUICK, TINY, pool, references

from nni_privacy.auditing.forward import extract_signals
from nni_privacy.auditing.shadows import (
    CallableModel,
    Population,
    keep_matrix,
    small_cnn_signals,
    twin_signals,
)
from nni_privacy.data import Normalizer, load_dataset, split_four_ways
from nni_privacy.errors import ConfigError, DataError
from nni_privacy.rng import isolated, stream_seed
from nni_privacy.search_spaces import DARTS
from nni_privacy.training.fit import fit, seed_everything


def by_hand(model, images, labels, *, rows, seed, normalize=None, **options):
    """What the target's own code would do for a shadow."""
    normalize = normalize or Normalizer.fit(images[rows])
    with isolated():
        seed_everything(seed)
        network = model()
        fit(network, images[rows], labels[rows], recipe=QUICK, seed=seed, device="cpu", normalize=normalize)
        member = np.zeros(len(labels), dtype=bool)
        return extract_signals(network, images, labels, member, device="cpu", normalize=normalize, **options)


def test_each_shadow_is_what_the_targets_code_trains_on_its_half(tmp_path):
    shadows = references(count=3, cache=tmp_path, views=2)
    images, labels = pool()
    np.testing.assert_array_equal(shadows.keep, keep_matrix(len(labels), 3, seed=3))
    assert shadows.logits.shape == (120, 3, 2, 10) and shadows.logits.dtype == np.float32
    for number in range(3):
        rows = np.flatnonzero(shadows.keep[:, number])
        expected = by_hand(TINY.build, images, labels, rows=rows, seed=stream_seed(3, number), views=2)
        np.testing.assert_array_equal(shadows.logits[:, number], expected.view_logits)


def test_a_given_normaliser_is_used_as_it_is(tmp_path):
    normalize = Normalizer((0.3,), (0.4,))
    shadows = references(count=1, cache=tmp_path, normalize=normalize)
    rows = np.flatnonzero(shadows.keep[:, 0])
    expected = by_hand(TINY.build, *pool(), rows=rows, seed=stream_seed(3, 0), normalize=normalize)
    np.testing.assert_array_equal(shadows.logits[:, 0, 0], expected.logits)


def test_growing_from_4_to_8_trains_4_and_changes_none(tmp_path):
    progress = []
    four = references(count=4, cache=tmp_path)
    eight = references(count=8, cache=tmp_path, progress=lambda done, total: progress.append((done, total)))
    assert progress == [(done, 8) for done in range(4, 9)]
    np.testing.assert_array_equal(eight.logits[:, :4], four.logits)
    assert len(list(tmp_path.glob("*.npz"))) == 8
    references(count=4, cache=tmp_path, seed=4)
    assert len(list(tmp_path.glob("*.npz"))) == 12


def test_a_population_is_asked_and_never_trained_on(tmp_path):
    images, labels = pool()
    target = np.zeros((20, 10), dtype=np.float32)
    population = Population(images[:20], labels[:20], target)
    shadows = references(count=2, cache=tmp_path, population=population)
    assert shadows.logits.shape == (120, 2, 1, 10) and shadows.population_logits.shape == (20, 2, 1, 10)
    np.testing.assert_array_equal(shadows.population_logits, shadows.logits[:20])  # the same images
    assert not shadows.population_keep.any() and shadows.target_population_logits.shape == (20, 1, 10)
    np.testing.assert_array_equal(shadows.population_labels, labels[:20])
    np.testing.assert_array_equal(shadows.logits, references(count=2, cache=tmp_path).logits)
    with pytest.raises(DataError, match="differ in shape or type"):
        references(count=2, cache=tmp_path, population=Population(images[:20].float(), labels[:20], target))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"views": 0}, "views: 0"), ({"count": 0}, "shadows: 0"), ({"workers": -1}, "workers: -1")],
)
def test_options_out_of_range_are_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        references(cache=tmp_path, **options)


def test_a_closure_is_trained_here_and_kept_only_with_a_fingerprint(tmp_path):
    plain = references(model=lambda: Tiny(hidden=8), cache=tmp_path, workers=None)
    assert list(tmp_path.iterdir()) == []
    named = references(model=CallableModel(lambda: Tiny(hidden=8), fingerprint="v1"), cache=tmp_path, workers=None)
    assert len(list(tmp_path.glob("*.npz"))) == 4
    np.testing.assert_array_equal(plain.logits, named.logits)
    np.testing.assert_array_equal(plain.logits, references(cache=tmp_path).logits)
    with pytest.raises(ConfigError, match="cannot be imported by another process"):
        references(model=lambda: Tiny(), cache=tmp_path, workers=2)


def test_nothing_of_the_caller_is_changed(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        references(count=1, cache=tmp_path)
        found = torch.rand(3), np.random.rand(3)  # noqa: NPY002
        assert torch.equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def shadow_parts():
    digits = load_dataset("digits", limit=240)
    split = split_four_ways(len(digits), seed=0)
    return [(digits.images[part], digits.labels[part]) for part in (split.shadow_train, split.shadow_test)]


def test_the_small_cnn_is_trained_once_for_all_trials(shadow_parts, tmp_path):
    options = {"num_classes": 10, "recipe": QUICK, "device": "cpu", "cache": tmp_path}
    first = small_cnn_signals(*shadow_parts, seed=0, **options)
    assert len(first) == 120 and first.is_member.sum() == 60 and first.is_member[:60].all()
    assert first.features is None and first.num_classes == 10
    (path,) = tmp_path.glob("*.npz")
    changed = path.stat().st_mtime_ns
    again = small_cnn_signals(*shadow_parts, seed=0, workers=1, **options)
    np.testing.assert_array_equal(first.logits, again.logits)
    assert path.stat().st_mtime_ns == changed
    small_cnn_signals(*shadow_parts, seed=1, **options)
    assert len(list(tmp_path.glob("*.npz"))) == 2


def test_the_twin_has_the_targets_architecture_and_features(shadow_parts, tmp_path):
    target = DARTS(nodes=2, channels=2, cells=3, in_channels=1)
    signals = twin_signals(target, *shadow_parts, recipe=QUICK, seed=0, device="cpu", cache=tmp_path)
    assert signals.features.shape == (120, target.classifier.in_features)
    images, labels = (torch.cat(parts) for parts in zip(*shadow_parts, strict=True))
    expected = by_hand(
        lambda: DARTS(nodes=2, channels=2, cells=3, in_channels=1).network,
        images,
        labels,
        rows=np.arange(60),
        seed=stream_seed(0, 0),
        gradients=True,
    )
    np.testing.assert_array_equal(signals.logits, expected.logits)
    np.testing.assert_array_equal(signals.features, expected.features)
    np.testing.assert_array_equal(signals.labels, labels.numpy())
    kept = twin_signals(target, *shadow_parts, recipe=QUICK, seed=0, device="cpu", cache=tmp_path)
    np.testing.assert_array_equal(kept.features, signals.features)
