import numpy as np
import pytest
import torch

from nni_privacy.attacks import attack_metrics, roc_auc
from nni_privacy.attacks.label_only import attack_label_only, choose_records, measure_distances
from nni_privacy.attacks.registry import get_attack
from nni_privacy.attacks.signals import TargetSignals
from nni_privacy.attacks.simple import attack_by_gap, attack_by_robustness
from nni_privacy.data.normalize import Normalizer
from nni_privacy.errors import AuditError

SHAPE = (1, 4, 4)
SIZE = 16
SEEDS = range(5)


def half_space_model():
    """Logits of a linear boundary through the middle of the box."""
    weight = torch.randn(SIZE, generator=torch.Generator().manual_seed(0))
    layer = torch.nn.Linear(SIZE, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([-weight, weight]))
        layer.bias.copy_(torch.stack([weight.sum(), -weight.sum()]) / 2)
    return torch.nn.Sequential(torch.nn.Flatten(), layer).eval()


def records(n, *, gap, seed):
    """n members and n non-members in front of the boundary; members lie ``gap`` times farther from it. All right."""
    model = half_space_model()
    generator = np.random.default_rng(seed)
    is_member = np.arange(2 * n) < n
    direction = model[1].weight[1].detach().numpy()
    direction = direction / np.linalg.norm(direction)
    distance = generator.uniform(0.05, 0.25, size=2 * n) * np.where(is_member, gap, 1.0)
    side = generator.choice([-1.0, 1.0], size=2 * n)
    around = generator.normal(scale=0.05, size=(2 * n, SIZE))
    around -= np.outer(around @ direction, direction)
    images = 0.5 + around + (side * distance)[:, None] * direction
    labels = torch.from_numpy((side > 0).astype(np.int64))
    return model, torch.from_numpy(images.astype(np.float32)).reshape(-1, *SHAPE), labels, is_member


def signals_of(model, images, labels, is_member, **extra):
    with torch.no_grad():
        logits = model(images).numpy()
    return TargetSignals(logits, labels.numpy(), is_member, **extra)


def attacked(gap, seed, n=100):
    model, images, labels, is_member = records(n, gap=gap, seed=seed)
    distances, queries = measure_distances(model, images, labels, is_member, queries=100, seed=seed)
    signals = signals_of(model, images, labels, is_member, distances=distances, queries=queries)
    return get_attack("label_only")(signals, seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_members_farther_from_the_boundary_are_found(seed):
    result = attacked(1.5, seed)
    metrics = attack_metrics(result.scores, result.is_member)
    assert metrics["mia_auc"] > 0.65 and metrics["mia_auc_low"] > 0.5


def test_members_as_far_as_non_members_are_not_found():
    results = [attacked(1.0, seed) for seed in SEEDS]
    scores, member = (np.concatenate([getattr(r, name) for r in results]) for name in ("scores", "is_member"))
    metrics = attack_metrics(scores, member)
    assert metrics["mia_auc_low"] < 0.5 < metrics["mia_auc_high"]


def test_at_most_so_many_records_a_side_are_drawn_and_all_of_fewer():
    is_member = np.arange(5000) < 1500
    chosen = choose_records(is_member, seed=0)
    assert is_member[chosen].sum() == 1000 == (~is_member[chosen]).sum() and (np.diff(chosen) > 0).all()
    assert np.array_equal(chosen, choose_records(is_member, seed=0))
    assert not np.array_equal(chosen, choose_records(is_member, seed=1))
    assert np.array_equal(choose_records(is_member[:1600], seed=0, per_side=2000), np.arange(1600))
    with pytest.raises(AuditError, match="per_side"):
        choose_records(is_member, seed=0, per_side=0)


def test_only_a_seeded_choice_is_measured_and_every_measured_record_is_attacked():
    model, images, labels, is_member = records(30, gap=1.5, seed=0)
    distances, queries = measure_distances(model, images, labels, is_member, queries=50, seed=2, per_side=10)
    chosen = choose_records(is_member, seed=2, per_side=10)
    assert np.array_equal(np.flatnonzero(~np.isnan(distances)), chosen) and 20 < queries <= 20 * 50
    result = attack_label_only(signals_of(model, images, labels, is_member, distances=distances, queries=queries))
    assert np.array_equal(result.records, chosen) and np.array_equal(result.scores, distances[chosen])
    assert np.array_equal(result.is_member, is_member[chosen])


def test_of_many_measured_records_a_thousand_a_side_are_attacked():
    n = 1200
    distances = np.random.default_rng(0).uniform(size=2 * n)
    is_member = np.arange(2 * n) < n
    signals = TargetSignals(np.eye(2, dtype=np.float32)[np.zeros(2 * n, int)], np.zeros(2 * n, np.int64), is_member)
    signals = TargetSignals(signals.logits, signals.labels, is_member, distances=distances, queries=1)
    result = attack_label_only(signals, seed=5)
    assert len(result.records) == 2000 and result.is_member.sum() == 1000


def test_distances_of_one_side_alone_are_refused():
    model, images, labels, is_member = records(5, gap=1.5, seed=0)
    one_side = np.where(is_member, 1.0, np.nan)
    with pytest.raises(AuditError, match="members and of non-members"):
        attack_label_only(signals_of(model, images, labels, is_member, distances=one_side, queries=1))
    with pytest.raises(AuditError, match="needs distances"):
        get_attack("label_only")(signals_of(model, images, labels, is_member))


def test_uint8_and_normalised_records_are_measured_between_zero_and_one():
    model, images, labels, is_member = records(20, gap=1.5, seed=0)
    levels = (images * 255).round().to(torch.uint8)
    plain, _ = measure_distances(model, levels.float() / 255, labels, is_member, queries=60)
    of_levels, _ = measure_distances(model, levels, labels, is_member, queries=60)
    assert np.array_equal(plain, of_levels)
    for normalize in (
        lambda batch: batch.float() / 255,
        Normalizer(mean=(0.0,), std=(1.0,)),
    ):  # in and before units of 1
        normalised, _ = measure_distances(model, levels, labels, is_member, queries=60, normalize=normalize)
        np.testing.assert_allclose(normalised, plain, rtol=0.02)
    with pytest.raises(AuditError, match="normalize"):
        measure_distances(
            model, levels, labels, is_member, normalize=lambda batch: batch.float() * (2 + batch.dtype.itemsize)
        )


def test_floats_beyond_zero_and_one_get_the_box_of_their_values():
    model, images, labels, is_member = records(20, gap=1.5, seed=0)
    distances, _ = measure_distances(
        model, images * 4 - 2, labels, is_member, queries=200, normalize=lambda batch: (batch + 2) / 4
    )
    truth = (images.flatten(1) - 0.5) @ (model[1].weight[1] / model[1].weight[1].norm()).detach()
    assert (distances / 4 >= truth.abs().numpy() - 1e-6).all()
    assert np.median(distances / 4 / truth.abs().numpy()) < 1.1


def test_the_gap_attack_is_half_plus_half_of_the_difference_of_accuracies():
    is_member = np.arange(200) < 100
    right = np.concatenate([np.arange(100) < 90, np.arange(100) < 50])
    logits = np.where(right[:, None], [[1.0, 0.0]], [[0.0, 1.0]]).astype(np.float32)
    result = attack_by_gap(TargetSignals(logits, np.zeros(200, np.int64), is_member))
    assert set(result.scores) == {0.0, 1.0} and np.array_equal(result.records, np.arange(200))
    assert roc_auc(result.scores, result.is_member) == pytest.approx(0.70)


def view_signals(member_rate, other_rate, *, n=200, views=8, seed=0):
    """Members' views are classified right with one probability, non-members' with another."""
    generator = np.random.default_rng(seed)
    is_member = np.arange(2 * n) < n
    rate = np.where(is_member, member_rate, other_rate)[:, None]
    right = generator.uniform(size=(2 * n, views)) < rate
    logits = np.where(right[..., None], [1.0, 0.0], [0.0, 1.0]).astype(np.float32)
    return TargetSignals(logits[:, 0], np.zeros(2 * n, np.int64), is_member, view_logits=logits), right


def test_robustness_is_the_share_of_views_that_are_right():
    signals, right = view_signals(0.9, 0.7)
    result = get_attack("label_only_augmentation")(signals)
    np.testing.assert_array_equal(result.scores, right.mean(axis=1))
    assert roc_auc(result.scores, result.is_member) > 0.7
    null, _ = view_signals(0.8, 0.8)
    scores = attack_by_robustness(null)
    metrics = attack_metrics(scores.scores, scores.is_member)
    assert metrics["mia_auc_low"] < 0.5 < metrics["mia_auc_high"]


def test_robustness_needs_more_than_the_plain_view():
    signals, _ = view_signals(0.9, 0.7, views=1)
    with pytest.raises(AuditError, match="besides the plain image"):
        attack_by_robustness(signals)
