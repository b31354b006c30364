import dataclasses

import numpy as np
import pytest
import torch
from planted_signals import planted_signals

from nni_privacy.attacks import TargetSignals, get_attack
from nni_privacy.attacks.attack_models import FlatConvolution, WhiteBoxAttackModel
from nni_privacy.attacks.cross_fitting import split_known_third
from nni_privacy.attacks.white_box import WhiteBoxScaling, white_box_features
from nni_privacy.errors import AuditError


def test_the_attack_model_has_ml_doctors_layers():
    model = WhiteBoxAttackModel(10, (10, 64))
    shapes = {
        name: [(m.in_features, m.out_features) for m in part.modules() if isinstance(m, torch.nn.Linear)]
        for name, part in model.named_children()
    }
    assert shapes["posteriors"] == shapes["label"] == [(10, 128), (128, 64)]
    assert shapes["loss"] == [(1, 128), (128, 64)]
    assert shapes["gradient"] == [(5 * 32, 256), (256, 128), (128, 64)]
    assert shapes["encoder"] == [(256, 256), (256, 128), (128, 64), (64, 2)]
    kinds = [type(m).__name__ for m in model.gradient if not isinstance(m, torch.nn.Dropout)]
    assert kinds[:4] == ["FlatConvolution", "BatchNorm2d", "ReLU", "MaxPool2d"]
    assert model.gradient[1].kernel_size == (5, 5)
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.2}


@pytest.mark.parametrize("shape", [(10, 64), (3, 7), (1, 5), (20, 9)])
def test_the_flat_convolution_equals_torchs_and_so_do_its_gradients(shape):
    torch.manual_seed(0)
    flat, plain = FlatConvolution(), torch.nn.Conv2d(1, 1, 5, padding=2)
    plain.load_state_dict(flat.state_dict())
    images = torch.randn(4, 1, *shape)
    weights = torch.randn(4, 1, *shape)
    for convolution in (flat, plain):
        (convolution(images) * weights).sum().backward()
    torch.testing.assert_close(flat(images), plain(images), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(flat.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(flat.bias.grad, plain.bias.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", [(10, 64), (3, 7), (1, 5), (2, 1)])
def test_gradients_of_any_shape_are_taken(shape):
    inputs = torch.rand(4, 10), torch.rand(4, 1), torch.rand(4, 10), torch.rand(4, 1, *shape)
    assert WhiteBoxAttackModel(10, shape)(*inputs).shape == (4, 2)


def test_features_are_posteriors_loss_label_and_gradient():
    signals = planted_signals(gap=1.0)
    records = np.array([5, 0, 9])
    scaling = WhiteBoxScaling.fit(signals, np.arange(50))
    posteriors, losses, labels, gradients = white_box_features(signals, records, scaling)
    np.testing.assert_allclose(posteriors, -np.sort(-signals.posteriors[records], axis=1), rtol=1e-6)
    np.testing.assert_allclose(
        losses[:, 0], (signals.losses[records] - signals.losses[:50].mean()) / signals.losses[:50].std(), rtol=1e-5
    )
    assert np.array_equal(labels.argmax(1), signals.labels[records]) and labels.sum() == 3
    everything = signals.weight_gradients(slice(0, 50)).astype(np.float64)
    assert abs(everything.mean()) < 1e-7
    expected = signals.weight_gradients(records) / np.sqrt((everything**2).mean())
    assert len(gradients) == 3
    np.testing.assert_allclose(gradients[torch.tensor([0, 1, 2])].numpy()[:, 0], expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(gradients[torch.tensor([2])].numpy()[0, 0], expected[2], rtol=1e-4, atol=1e-7)


def test_explicit_gradients_give_the_same_scores_as_features():
    signals = planted_signals(gap=1.0, n=60)
    explicit = signals.weight_gradients(slice(None)).reshape(len(signals), -1)
    other = dataclasses.replace(signals, features=None, gradients=explicit)
    first, second = (
        get_attack("white_box_partial")(part, seed=1, protocol="paper").scores for part in (signals, other)
    )
    np.testing.assert_allclose(first, second, atol=1e-2)


def test_scaling_and_learning_use_the_known_third_alone():
    signals = planted_signals(gap=1.0, n=60)
    known, attacked = split_known_third(signals.is_member, seed=3)
    before = get_attack("white_box_partial")(signals, seed=3, protocol="paper")
    assert np.array_equal(before.records, attacked)
    features = signals.features.copy()
    features[np.setdiff1d(np.arange(len(signals)), known)[:30]] *= 100
    changed = dataclasses.replace(signals, features=features)
    assert WhiteBoxScaling.fit(changed, known) == WhiteBoxScaling.fit(signals, known)
    same = np.all(features[attacked] == signals.features[attacked], axis=1)
    after = get_attack("white_box_partial")(changed, seed=3, protocol="paper")
    np.testing.assert_allclose(after.scores[same], before.scores[same], atol=1e-5)
    assert 0 < same.sum() < len(same)


def test_the_gradient_alone_can_give_a_member_away():
    """Features of members point elsewhere; posteriors, losses and labels tell nothing."""
    generator = np.random.default_rng(0)
    n, classes, width = 400, 4, 16
    labels, member = generator.integers(0, classes, 2 * n), np.arange(2 * n) < n
    features = np.abs(generator.normal(size=(2 * n, width))).astype(np.float32)
    features[:, :4] += 3.0 * member[:, None]
    signals = TargetSignals.from_logits(generator.normal(size=(2 * n, classes)), labels, member, features=features)
    from nni_privacy.attacks import report_attack

    white, black = (
        report_attack(name, get_attack(name)(signals)) for name in ("white_box_partial", "black_box_partial")
    )
    assert white.roc.auc > 0.8 and 0.4 < black.roc.auc < 0.6


def test_shadow_attacks_learn_from_the_shadow_and_attack_every_record():
    signals = planted_signals(gap=2.0, n=60)
    for name in ("black_box_shadow", "white_box_shadow"):
        first = get_attack(name)(signals, seed=0)
        assert np.array_equal(first.records, np.arange(len(signals)))
        flipped = dataclasses.replace(signals, is_member=~signals.is_member)
        assert np.array_equal(get_attack(name)(flipped, seed=0).scores, first.scores)


def test_shadows_that_do_not_fit_are_refused():
    signals = planted_signals(gap=0.0, n=30)
    shadow = signals.white_box_shadow
    cases = [
        ("white_box_shadow", dataclasses.replace(shadow, features=None), "neither features nor gradients"),
        ("white_box_shadow", dataclasses.replace(shadow, features=shadow.features[:, 1:]), "architecture"),
        ("white_box_shadow", dataclasses.replace(shadow, is_member=~shadow.is_member & False), "0 of 60 records"),
        ("black_box_shadow", dataclasses.replace(shadow, is_member=shadow.is_member | True), "60 of 60 records"),
    ]
    for name, bad, message in cases:
        with pytest.raises(AuditError, match=message):
            get_attack(name)(dataclasses.replace(signals, **{name: bad}))
