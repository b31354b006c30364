import numpy as np
import pytest
import torch

from nni_privacy.attacks import AttackScores, TargetSignals, attack_names, get_attack, register_attack, report_attack
from nni_privacy.attacks.attack_models import BlackBoxAttackModel, train_attack_model
from nni_privacy.attacks.black_box import black_box_features
from nni_privacy.attacks.cross_fitting import split_known_third
from nni_privacy.attacks.registry import _ATTACKS
from nni_privacy.errors import AuditError, ConfigError

CLASSES = 10


def signals_of(*, n=150, gap=0.0, seed=0):
    """Logits of n members and n non-members; members' true class is ``gap`` higher."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, size=2 * n)
    is_member = np.arange(2 * n) < n
    logits = generator.normal(size=(2 * n, CLASSES))
    logits[np.arange(2 * n), labels] += 3 + gap * is_member
    return TargetSignals.from_logits(logits.astype(np.float32), labels, is_member)


def test_signals_agree_with_torch_and_stay_finite_for_huge_logits():
    signals = signals_of()
    logits, labels = torch.from_numpy(signals.logits).double(), torch.from_numpy(signals.labels)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    np.testing.assert_allclose(signals.losses, losses.numpy(), atol=1e-12)
    np.testing.assert_allclose(signals.posteriors, logits.softmax(1).numpy(), atol=1e-12)
    assert np.array_equal(signals.correct, (logits.argmax(1) == labels).numpy())
    huge = TargetSignals.from_logits([[1e4, -1e4], [1e4, -1e4]], [0, 1], [True, False])
    assert huge.losses.tolist() == [0.0, 2e4] and huge.num_classes == 2 and len(huge) == 2


@pytest.mark.parametrize(
    ("logits", "labels", "member", "message"),
    [
        ([[np.nan, 1.0], [0.0, 1.0]], [0, 1], [True, False], "1 of 2 records are NaN"),
        ([[0.0, 1.0], [0.0, 1.0]], [0, 2], [True, False], "labels run from 0 to 2"),
        ([[0.0, 1.0], [0.0, 1.0]], [0, -1], [True, False], "from -1"),
        ([[0.0, 1.0], [0.0, 1.0]], [0], [True, False], "one entry for each"),
        ([[0.0, 1.0], [0.0, 1.0]], [0, 1], [True], "one entry for each"),
        ([[0.0, 1.0], [0.0, 1.0]], [0.0, 1.0], [True, False], "expected integers"),
        ([[0.0, 1.0], [0.0, 1.0]], [0, 1], [1, 0], "expected booleans"),
        ([[0, 1], [0, 1]], [0, 1], [True, False], "expected floats"),
        ([[0.0], [1.0]], [0, 0], [True, False], "2 classes or more"),
        ([0.0, 1.0], [0, 0], [True, False], "2 classes or more"),
    ],
)
def test_bad_signals_are_refused(logits, labels, member, message):
    with pytest.raises(AuditError, match=message):
        TargetSignals.from_logits(logits, labels, member)


def test_loss_threshold_scores_every_record_by_its_loss():
    signals = signals_of()
    result = get_attack("loss_threshold")(signals)
    assert np.array_equal(result.scores, -signals.losses) and np.array_equal(result.records, np.arange(300))


def test_known_and_attacked_thirds_are_disjoint_equal_and_seeded():
    is_member = np.random.default_rng(0).permutation(np.arange(250) < 100)
    known, attacked = split_known_third(is_member, seed=1)
    assert not set(known) & set(attacked)
    for part in (known, attacked):
        assert len(set(part)) == len(part) == 33 + 50
        assert is_member[part].sum() == 33
    again, other = split_known_third(is_member, seed=1), split_known_third(is_member, seed=2)
    assert np.array_equal(known, again[0]) and np.array_equal(attacked, again[1])
    assert not np.array_equal(known, other[0])
    with pytest.raises(AuditError, match="2 members"):
        split_known_third(np.arange(10) < 2, seed=0)


def test_features_are_descending_posteriors_and_correctness():
    signals = signals_of()
    posteriors, correct = black_box_features(signals)
    assert (np.diff(posteriors, axis=1) <= 0).all()
    np.testing.assert_allclose(posteriors.sum(1), 1, atol=1e-5)
    assert np.array_equal(correct[:, 0], signals.correct) and correct.dtype == posteriors.dtype == np.float32


def test_the_attack_model_has_ml_doctors_layers():
    model = BlackBoxAttackModel(CLASSES)
    shapes = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert shapes == [(10, 128), (128, 64), (1, 128), (128, 64), (128, 256), (256, 128), (128, 64), (64, 2)]


def test_black_box_partial_learns_from_the_known_third_alone():
    signals = signals_of(gap=4.0)
    known, attacked = split_known_third(signals.is_member, seed=3)
    unused = np.setdiff1d(np.arange(len(signals)), np.r_[known, attacked])
    before = get_attack("black_box_partial")(signals, seed=3, protocol="paper").scores

    def scores_after_changing(records):
        logits = signals.logits.copy()
        logits[records] = logits[records][:, ::-1] * 3
        changed = TargetSignals.from_logits(logits, signals.labels, signals.is_member)
        return get_attack("black_box_partial")(changed, seed=3, protocol="paper").scores

    np.testing.assert_allclose(scores_after_changing(unused), before, atol=1e-5)
    np.testing.assert_allclose(scores_after_changing(attacked[:20])[20:], before[20:], atol=1e-5)
    assert not np.allclose(scores_after_changing(known[:20]), before, atol=0.1)


def test_attack_models_learn_from_fresh_gradients():
    """Gradients of one batch must not run on into the next (trap 3): the same steps, gradients from autograd.grad."""
    generator = np.random.default_rng(0)
    features = [generator.normal(size=(200, 4)).astype(np.float32)]
    is_member = generator.random(200) < 0.5
    trained = train_attack_model(lambda: torch.nn.Linear(4, 2), features, is_member, seed=5, epochs=3)

    torch.manual_seed(5)
    model, order = torch.nn.Linear(4, 2), torch.Generator().manual_seed(5)
    inputs, labels = torch.from_numpy(features[0]), torch.from_numpy(is_member.astype(np.int64))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for index in [batch for _ in range(3) for batch in torch.randperm(200, generator=order).split(64)]:
        loss = torch.nn.functional.cross_entropy(model(inputs[index]), labels[index])
        for parameter, gradient in zip(
            model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            parameter.grad = gradient
        optimizer.step()
    for found, expected in zip(trained.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_black_box_partial_is_deterministic_and_leaves_torchs_state_alone():
    signals = signals_of(gap=2.0)
    torch.manual_seed(4)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(4)
    first = get_attack("black_box_partial")(signals, seed=1)
    assert torch.equal(torch.rand(3), expected) and torch.get_num_threads() == threads
    again, other = (get_attack("black_box_partial")(signals, seed=seed) for seed in (1, 2))
    assert np.array_equal(first.scores, again.scores) and not np.array_equal(first.scores, other.scores)


def test_black_box_partial_finds_a_planted_leak_and_no_other():
    leak = report_attack("leak", get_attack("black_box_partial")(signals_of(n=450, gap=4.0), seed=0))
    assert leak.metrics["mia_auc_low"] > 0.8
    inside = 0
    for seed in range(8):
        null = report_attack("null", get_attack("black_box_partial")(signals_of(n=300, seed=seed), seed=seed))
        inside += null.metrics["mia_auc_low"] <= 0.5 <= null.metrics["mia_auc_high"]
    assert inside >= 7, f"the interval of a null held 0.5 for {inside} of 8 seeds"


def test_saturated_posteriors_do_not_saturate_the_scores():
    signals = signals_of(gap=30.0)
    result = get_attack("black_box_partial")(signals, seed=0, protocol="paper")
    assert np.isfinite(result.scores).all() and report_attack("x", result).roc.auc > 0.9


def test_a_user_adds_an_attack_with_one_decorated_function():
    assert set(attack_names()) >= {"black_box_partial", "loss_threshold"}
    try:

        @register_attack("by_confidence")
        def by_confidence(signals, *, seed):
            """Score = largest posterior.

            More text.
            """
            return AttackScores(signals.posteriors.max(1), signals.is_member, np.arange(len(signals)))

        @register_attack("by_gradient", requires={"logits", "gradients"})
        def by_gradient(signals, *, seed):
            raise NotImplementedError

        assert get_attack("by_confidence").description == "Score = largest posterior."
        assert len(get_attack("by_confidence")(signals_of()).scores) == 300
        with pytest.raises(AuditError, match="needs gradients"):
            get_attack("by_gradient")(signals_of())
        with pytest.raises(ConfigError, match="registered already"):
            register_attack("by_confidence")(by_confidence)
    finally:
        _ATTACKS.pop("by_confidence", None)
        _ATTACKS.pop("by_gradient", None)
    with pytest.raises(ConfigError, match="did you mean 'loss_threshold'"):
        get_attack("loss_treshold")
    with pytest.raises(ConfigError, match="attack name"):
        register_attack("By Name")


def test_attack_scores_are_checked():
    with pytest.raises(AuditError, match="one shape"):
        AttackScores(np.zeros(3), np.zeros(2, dtype=bool), np.arange(3))
    with pytest.raises(AuditError, match="twice"):
        AttackScores(np.zeros(2), np.zeros(2, dtype=bool), np.array([1, 1]))
