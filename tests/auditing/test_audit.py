import importlib

import numpy as np
import pytest
import torch
from torch import nn

import nni_privacy
from nni_privacy.attacks import TargetSignals, attack_metrics
from nni_privacy.auditing import Effort
from nni_privacy.auditing.audit import audit, audit_signals
from nni_privacy.auditing.shadows import ShadowOptions
from nni_privacy.data import Normalizer, load_dataset, split_four_ways
from nni_privacy.errors import AuditError, ConfigError
from nni_privacy.training.fit import fit, predict_logits, seed_everything
from nni_privacy.training.recipe import Recipe

BOTH = ("black_box_partial", "loss_threshold")
ZEROS = torch.zeros(30, 1, 8, 8)
LABELS = torch.arange(30) % 10


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


@pytest.fixture(scope="module")
def overfitted():
    """A perceptron trained far too long on digits whose labels are partly wrong, so that it must memorise."""
    digits = load_dataset("digits")
    split = split_four_ways(len(digits), seed=0)
    labels = digits.labels.clone()
    noisy = np.random.default_rng(0).random(len(labels)) < 0.3
    labels[noisy] = torch.from_numpy(np.random.default_rng(1).integers(0, 10, noisy.sum()))
    chosen = (split.target_train, split.target_test, split.shadow_test)
    train, test, unseen = (torch.from_numpy(part) for part in chosen)
    normalize = Normalizer.fit(digits.images[train])
    seed_everything(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    recipe = Recipe(epochs=80, learning_rate=0.05)
    fit(model, digits.images[train], labels[train], recipe=recipe, seed=0, device="cpu", normalize=normalize)
    parts = [(digits.images[part], labels[part]) for part in (train, test, unseen)]
    return model, normalize, parts


@pytest.fixture(scope="module")
def report(overfitted):
    model, normalize, (members, nonmembers, _) = overfitted
    return audit(model, members, nonmembers, attacks=BOTH, seed=0, device="cpu", normalize=normalize)


def test_a_planted_leak_is_found_by_both_attacks(report):
    metrics = report.metrics()
    assert metrics["mia_auc"] > 0.6 and metrics["mia_auc_low"] > 0.5
    assert metrics["loss_threshold_mia_auc"] > 0.6


def test_held_out_records_on_both_sides_give_nothing_away(overfitted):
    model, normalize, (_, first, second) = overfitted
    inside = 0
    for seed in range(5):
        null = audit(model, first, second, attacks=BOTH, seed=seed, device="cpu", normalize=normalize)
        inside += null.metrics()["mia_auc_low"] <= 0.5 <= null.metrics()["mia_auc_high"]
    assert inside >= 4, f"the interval of a null held 0.5 for {inside} of 5 seeds"


def test_metrics_are_flat_with_the_primary_attack_bare(report):
    assert report.primary.name == "black_box_partial"
    metrics = report.metrics()
    names = attack_metrics([1, 0], [1, 0])
    assert list(metrics) == [*names, *(f"loss_threshold_{name}" for name in names)]
    assert metrics["mia_auc"] == report.attacks["black_box_partial"].roc.auc
    assert metrics["loss_threshold_mia_auc"] == report.attacks["loss_threshold"].roc.auc


def test_the_reported_numbers_follow_from_the_saved_scores(report, tmp_path):
    path = report.save_scores(tmp_path / "scores" / "trial")
    assert path.name == "trial.npz" and [entry.name for entry in path.parent.iterdir()] == ["trial.npz"]
    with np.load(path, allow_pickle=False) as saved:
        assert len(saved.files) == 8
        assert (saved["record_label"] == report.signals.labels).all()
        assert (saved["record_index"] == np.tile(np.arange(449), 2)).all()  # members first
        for name in BOTH:
            scores, member, records = (saved[f"{name}/{part}"] for part in ("scores", "is_member", "records"))
            assert attack_metrics(scores, member) == report.attacks[name].metrics
            assert np.array_equal(report.signals.is_member[records], member)


def test_one_forward_pass_serves_all_attacks_and_leaves_the_model_as_it_was():
    calls = []
    model = linear().train()
    model.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    audit(model, (ZEROS, LABELS), (ZEROS + 1, LABELS), attacks=BOTH, device="cpu")
    assert sum(calls) == 60 and model.training


def test_results_do_not_depend_on_the_other_attacks_nor_on_the_batch_size(overfitted, report):
    model, normalize, (members, nonmembers, _) = overfitted
    alone = audit(model, members, nonmembers, seed=0, device="cpu", normalize=normalize)
    assert alone.metrics() == report.primary.metrics
    logits = np.concatenate(
        [predict_logits(model, x, device="cpu", normalize=normalize) for x, _ in (members, nonmembers)]
    )
    signals = TargetSignals.from_logits(logits, report.signals.labels, report.signals.is_member)
    again = audit_signals(signals, attacks=BOTH[::-1], seed=0)
    assert again.primary.name == "loss_threshold"
    assert again.attacks["black_box_partial"].metrics == report.primary.metrics


def test_every_record_is_attacked_or_by_the_papers_protocol_a_third(overfitted, report):
    model, normalize, (members, nonmembers, _) = overfitted
    options = {"seed": 0, "device": "cpu", "normalize": normalize, "attacks": BOTH}
    paper = audit(model, members, nonmembers, effort=Effort(protocol="paper"), **options)
    counts = [[len(attack.records) for attack in one.attacks.values()] for one in (report, paper)]
    assert counts == [[898, 898], [298, 898]]
    widths = [one.metrics()["mia_auc_high"] - one.metrics()["mia_auc_low"] for one in (report, paper)]
    assert widths[1] / widths[0] > 1.5


def test_arrays_are_as_good_as_tensors():
    generator = np.random.default_rng(0)
    images, labels = generator.normal(size=(60, 1, 8, 8)).astype(np.float32), np.arange(60) % 10
    model = linear()
    arrays = audit(
        model, (images[:30], labels[:30]), (images[30:], labels[30:]), device="cpu", attacks="loss_threshold"
    )
    tensors = [(torch.from_numpy(images[part]), torch.from_numpy(labels[part])) for part in (slice(30), slice(30, 60))]
    assert arrays.metrics() == audit(model, *tensors, device="cpu", attacks=["loss_threshold"]).metrics()


class TwoHeads(nn.Module):
    def forward(self, images):
        return images.flatten(1), images.flatten(1)


class Diverged(nn.Module):
    def forward(self, images):
        return images.flatten(1) * float("nan")


GOOD = (ZEROS, LABELS)
OTHERS = (ZEROS + 1, LABELS)


@pytest.mark.parametrize(
    ("model", "members", "nonmembers", "message"),
    [
        (Diverged(), GOOD, OTHERS, "60 of 60 records are NaN"),
        (TwoHeads(), GOOD, OTHERS, "returned a tuple"),
        (nn.Identity(), GOOD, OTHERS, "expected float logits"),
        (linear(), (ZEROS, LABELS + 1), OTHERS, "labels run from 0 to 10, but the model has classes 0..9"),
        (linear(), (ZEROS, LABELS - 1), OTHERS, "labels run from -1"),
        (linear(), (ZEROS[:19], LABELS[:19]), OTHERS, "19 members and 30 non-members"),
        (linear(), GOOD, (ZEROS[:0], LABELS[:0]), "30 members and 0 non-members"),
        (linear(), (ZEROS, LABELS[:29]), OTHERS, "members: images"),
        (linear(), GOOD, (torch.zeros(30, 3, 8, 8), LABELS), "differ in shape"),
        (linear(), GOOD, (ZEROS.to(torch.uint8), LABELS), "differ in shape or type"),
        (linear(), (ZEROS, LABELS.float()), OTHERS, "expected integers"),
        (linear(), (ZEROS / 0, LABELS), OTHERS, "members: images contain NaN"),
        (linear(), ZEROS, OTHERS, "members is a Tensor"),
        (linear(), (["a"], [1]), OTHERS, "arrays of numbers"),
    ],
)
def test_bad_inputs_are_audit_errors(model, members, nonmembers, message):
    with pytest.raises(AuditError, match=message):
        audit(model, members, nonmembers, device="cpu")


def test_bad_attack_lists_are_refused_before_any_work():
    model = nn.Identity()  # would fail if it were run
    with pytest.raises(ConfigError, match="did you mean 'black_box_partial'"):
        audit(model, GOOD, OTHERS, attacks=["black_box_parcial"])
    with pytest.raises(AuditError, match="seed is -1"):
        audit(model, GOOD, OTHERS, seed=-1)
    for attacks in ([], ["loss_threshold", "loss_threshold"]):
        with pytest.raises(AuditError, match="different names"):
            audit(model, GOOD, OTHERS, attacks=attacks)


def test_options_may_be_mappings_and_are_checked_before_any_work():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    told = {"seed": 0, "device": "cpu", "attacks": "rmia"}
    shadow = {"count": 4, "model": linear, "recipe": {"epochs": 1, "batch_size": 8}}
    options = ShadowOptions(count=4, model=linear, recipe=Recipe(epochs=1, batch_size=8))
    found = audit(model, GOOD, OTHERS, shadow=shadow, effort={"views": 2}, **told)
    same = audit(model, GOOD, OTHERS, shadow=options, effort=Effort(views=2), **told)
    assert found.metrics() == same.metrics()
    with pytest.raises(ConfigError, match=r"shadow\.count: 0; input should be greater"):
        audit(nn.Identity(), GOOD, OTHERS, shadow={"count": 0}, **told)
    with pytest.raises(ConfigError, match=r"effort\.view: unknown key; did you mean 'views'"):
        audit(nn.Identity(), GOOD, OTHERS, effort={"view": 2}, **told)


def test_the_function_is_offered_by_the_package_whatever_was_imported_first():
    importlib.import_module("nni_privacy.auditing.audit")
    assert nni_privacy.audit is audit


def test_records_that_are_on_both_sides_are_counted_and_refused():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(60, 1, 8, 8, generator=generator)
    labels = torch.arange(60) % 10
    with pytest.raises(AuditError, match="share 5 images"):
        audit(linear(), (images[:35], labels[:35]), (images[30:], labels[30:]), attacks="loss_threshold")
    report = audit(
        linear(), (images[:35], labels[:35]), (images[30:], labels[30:]), attacks="loss_threshold", allow_shared=True
    )
    assert report.primary.name == "loss_threshold"
