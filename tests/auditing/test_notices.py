"""Results that are no results, and the counts that they are told from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import nn

from nni_privacy.attacks import TargetSignals
from nni_privacy.auditing.audit import audit, audit_signals
from nni_privacy.auditing.notices import balanced_accuracy, class_counts
from nni_privacy.auditing.provenance import weights_digest
from nni_privacy.auditing.records import count_shared


def signals(*, records: int = 400, accuracy: float = 0.8, shares: tuple[float, ...] = (0.25,) * 4) -> TargetSignals:
    """Records of classes in these shares, of which the model gets that share right."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(shares)), np.round(np.array(shares) * records).astype(int))
    labels = generator.permutation(labels)
    said = np.where(generator.random(records) < accuracy, labels, (labels + 1) % len(shares))
    return TargetSignals.from_logits(np.eye(len(shares))[said] * 5, labels, np.arange(records) < records // 2)


def kinds(found: TargetSignals, *, shared: int = 0, attacks: tuple[str, ...] = ("loss_threshold",)) -> list[str]:
    return [notice.partition(":")[0] for notice in audit_signals(found, attacks=attacks, shared=shared).notices]


def test_a_sound_audit_has_no_notice() -> None:
    assert kinds(signals()) == []


@pytest.mark.parametrize("accuracy", [0.0, 0.25])
def test_accuracy_at_chance_is_told(accuracy: float) -> None:
    """What is not right is the label of the next class, on both sides."""
    found = kinds(signals(accuracy=accuracy))
    assert found[:3] == ["accuracy at chance", "labels permuted", "labels permuted"]
    assert found[3:] == (["saturated answers"] if accuracy == 0 else [])  # as all are equally wrong


def test_always_the_same_answer_is_at_chance_however_common_its_class() -> None:
    labels = np.repeat([0, 1], [360, 40])
    logits = np.tile([5.0, 0.0], (400, 1))
    constant = TargetSignals.from_logits(logits, labels, np.arange(400) % 2 == 0)
    assert constant.correct.mean() == 0.9 and balanced_accuracy(constant) == 0.5
    assert kinds(constant) == ["accuracy at chance"]


def test_balanced_accuracy_is_scikit_learns_on_the_non_members() -> None:
    found = signals(shares=(0.5, 0.3, 0.1, 0.1))
    outside = ~found.is_member
    said = found.logits.argmax(1)[outside]
    assert balanced_accuracy(found) == pytest.approx(balanced_accuracy_score(found.labels[outside], said))


def test_few_attacked_records_are_told_with_the_attack() -> None:
    assert kinds(signals(records=100)) == []
    assert kinds(signals(records=96)) == ["few records"]
    attacks = ["loss_threshold", "black_box_partial"]
    assert audit_signals(signals(records=120), attacks=attacks).notices == ()
    report = audit_signals(signals(records=120), attacks=attacks, protocol="paper")
    (notice,) = report.notices  # that attack learns from a part of the records and attacks the others
    assert f"black_box_partial {len(report.attacks['black_box_partial'].records)}" in notice
    assert "loss_threshold" not in notice


def test_one_class_is_told_from_95_hundredths_on() -> None:
    assert "one class" not in kinds(signals(shares=(0.92, 0.08)))
    assert "one class" in kinds(signals(shares=(0.94, 0.06)))  # as a sample of records of .95 may have
    assert "one class" in kinds(signals(shares=(0.95, 0.05)))
    assert "one class" in kinds(signals(shares=(1.0, 0.0)))


def test_members_that_are_non_members_too_are_told() -> None:
    assert kinds(signals(), shared=200) == ["members among non-members"]
    assert kinds(signals(), shared=9) == []  # of 200
    images = torch.arange(20.0).reshape(5, 1, 2, 2)
    assert count_shared(images, images[:2]) == 2 and count_shared(images[:2], images) == 2
    assert count_shared(images[:2].repeat(2, 1, 1, 1), images[:1]) == 2 and count_shared(images, images + 50) == 0


def test_an_audit_counts_what_is_on_both_sides_and_says_what_it_was_made_of() -> None:
    images, labels = torch.rand(60, 1, 8, 8), torch.arange(60) % 10
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10))
    inside = (images, labels)
    same = audit(
        model,
        inside,
        inside,
        attacks="loss_threshold",
        device="cpu",
        allow_shared=True,
        max_auc=0.6,
    )
    assert same.shared == 60 and any(notice.startswith("members among") for notice in same.notices)
    assert same.verdict.threshold is not None and same.verdict.threshold.passed
    assert class_counts(same.signals) == dict.fromkeys(range(10), (6, 6))
    assert list(same.provenance) == ["Date", "Device", "Versions", "Weights audited"]
    assert same.provenance["Weights audited"].endswith(weights_digest(model))
    before = weights_digest(model)
    with torch.no_grad():
        model[1].bias[3] += 1e-3
    assert weights_digest(model) != before and len(before) == 64
    assert weights_digest(model.to(torch.bfloat16)) != before
