"""Mistakes of a study that each fake or hide a leak, planted in audits of real records, and sound audits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audited_model
import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn

from nni_privacy import AuditReport, Recipe, audit
from nni_privacy.attacks import TargetSignals
from nni_privacy.auditing.audit import audit_signals
from nni_privacy.auditing.notices import accuracies
from nni_privacy.commands.main import main
from nni_privacy.data import load_dataset
from nni_privacy.training.fit import fit

DIGITS = load_dataset("digits")
CANCER = load_breast_cancer()
Side = tuple[Tensor, Tensor]


def kinds(report: AuditReport) -> list[str]:
    return [notice.partition(":")[0] for notice in report.notices]


def perceptron(inputs: int, classes: int, *, width: int = 32, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, classes))


def drawn(*, size: int, seed: int, rows: npt.NDArray[np.int64] | None = None) -> tuple[Side, Side]:
    """Random members and non-members of digits, or of some rows of them."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(DIGITS) if rows is None else rows)[: 2 * size]
    images, labels = DIGITS.images[order].float() / 255, DIGITS.labels[order]
    return (images[:size], labels[:size]), (images[size:], labels[size:])


def trained(members: Side, *, classes: int = 10, epochs: int = 30, width: int = 32, seed: int = 0) -> nn.Module:
    model = perceptron(members[0][0].numel(), classes, width=width, seed=seed)
    fit(model, *members, recipe=Recipe(epochs=epochs, learning_rate=0.1), seed=seed, device="cpu")
    return model


def attack(model: nn.Module, members: Side, others: Side, **options: Any) -> AuditReport:
    return audit(model, members, others, attacks="loss_threshold", device="cpu", **options)


@pytest.fixture(scope="module")
def sound() -> tuple[nn.Module, Side, Side]:
    members, others = drawn(size=400, seed=0)
    return trained(members), members, others


def test_the_sound_audit_has_no_notice(sound: tuple[nn.Module, Side, Side]) -> None:
    report = attack(*sound)
    assert report.notices == () and min(report.accuracies) > 0.9


def only(side: Side, keep: Tensor) -> Side:
    return side[0][keep], side[1][keep]


def unbalanced(members: Side, others: Side) -> tuple[Side, Side]:
    few = torch.cumsum(others[1] < 5, 0) % 3 == 0
    return members, only(others, few | (others[1] >= 5))


def without_a_class(members: Side, others: Side) -> tuple[Side, Side]:
    return members, only(others, others[1] != 3)


def exchanged(members: Side, others: Side) -> tuple[Side, Side]:
    return others, members


def shifted_labels(members: Side, others: Side) -> tuple[Side, Side]:
    return members, (others[0], (others[1] + 1) % 10)


def two_labels_exchanged(members: Side, others: Side) -> tuple[Side, Side]:
    labels = members[1].clone()
    labels[members[1] == 2], labels[members[1] == 7] = 7, 2
    return (members[0], labels), others


def shuffled_labels(members: Side, others: Side) -> tuple[Side, Side]:
    return (members[0], members[1][torch.randperm(400, generator=torch.Generator().manual_seed(0))]), others


def repeated(members: Side, others: Side) -> tuple[Side, Side]:
    return (members[0][:300].repeat(2, 1, 1, 1), members[1][:300].repeat(2)), others


def normalised_once(members: Side, others: Side) -> tuple[Side, Side]:
    return members, (others[0] * 1.3 - 0.1, others[1])


def smoothed(members: Side, others: Side) -> tuple[Side, Side]:
    return members, (nn.functional.avg_pool2d(others[0], 3, stride=1, padding=1), others[1])


def turned(members: Side, others: Side) -> tuple[Side, Side]:
    return members, (others[0].rot90(1, (2, 3)), others[1])


def of_one_class(members: Side, others: Side) -> tuple[Side, Side]:
    return only(members, members[1] == 1), only(others, others[1] == 1)


MISTAKES: dict[str, tuple[str, Callable[[Side, Side], tuple[Side, Side]]]] = {
    "unbalanced": ("class balance", unbalanced),
    "a class is missing": ("class of one side", without_a_class),
    "sides exchanged": ("members fit worse", exchanged),
    "labels shifted": ("labels permuted", shifted_labels),
    "two labels exchanged": ("labels permuted", two_labels_exchanged),
    "labels shuffled": ("members fit worse", shuffled_labels),
    "repeated": ("repeated records", repeated),
    "normalised": ("different scales", normalised_once),
    "smoothed": ("rounded values", smoothed),
    "turned": ("other distribution", turned),
    "one class": ("one class", of_one_class),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.filterwarnings("ignore::nni_privacy.auditing.records.RecordsWarning")
def test_a_planted_mistake_is_told_with_what_to_do(sound: tuple[nn.Module, Side, Side], mistake: str) -> None:
    model, members, others = sound
    kind, plant = MISTAKES[mistake]
    if plant is exchanged:
        model = trained(members, epochs=60)  # so that it fits them better
    report = attack(model, *plant(members, others))
    assert kind in kinds(report)
    assert all(notice.count(": ") >= 2 and ";" not in notice for notice in report.notices)


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (lambda logits: np.round(logits / np.abs(logits).max()) * 1e3, "saturated answers"),
        (lambda logits: np.zeros_like(logits), "accuracy at chance"),
        (lambda logits: np.random.default_rng(0).normal(size=logits.shape), "accuracy at chance"),
    ],
)
def test_answers_that_say_nothing_are_told(
    sound: tuple[nn.Module, Side, Side], answers: Callable[[Any], Any], kind: str
) -> None:
    found = attack(*sound).signals
    logits = np.where(np.arange(10) == found.labels[:, None], 1.0, 0.1) if kind[0] == "s" else found.logits
    report = audit_signals(
        TargetSignals.from_logits(answers(logits), found.labels, found.is_member), attacks="loss_threshold"
    )
    assert kinds(report) == [kind]
    assert ("same answer" in report.notices[0]) == (np.ptp(report.signals.logits, axis=0).max() == 0)


def test_every_notice_is_in_the_terminal_in_json_and_in_the_report(
    sound: tuple[nn.Module, Side, Side], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model = audited_model.build()
    _, members, others = sound
    torch.save(model.state_dict(), tmp_path / "w.pt")
    words: list[str | Path] = ["audit", "--model", "audited_model:build", "--weights", tmp_path / "w.pt"]
    sides = dict(zip(("members", "nonmembers"), turned(*without_a_class(members, others)), strict=True))
    for name, (images, labels) in sides.items():
        np.savez(tmp_path / f"{name}.npz", x=images.numpy(), y=labels.numpy())
        words += [f"--{name}", tmp_path / f"{name}.npz"]
    words += ["--attacks", "loss_threshold,gap", "--output", tmp_path / "out", "--fail-if", "combined_mia_auc > 0.99"]
    assert main([str(word) for word in words]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    told = [notice.partition(":")[0] for notice in found["notices"]]
    assert {"class of one side", "other distribution"} <= set(told)
    assert [line for line in lines if line.startswith("notice: ")] == [f"notice: {one}" for one in found["notices"]]
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(one.partition("(")[0] in page for one in found["notices"])
    accuracy = found["accuracy"]
    first, second = accuracy["members"], accuracy["nonmembers"]
    assert f"{'accuracy':<24} {first:.4f} on members, {second:.4f} on non-members" in lines
    auc = found["combined"]["mia_auc"]
    assert any(line.startswith(f"{'combined':<24} AUC {auc:.4f} [") for line in lines)
    assert found["agreement"]["attacks"] == ["loss_threshold", "gap"] and found["agreement"]["records"] == 400 + len(
        [label for label in others[1] if label != 3]
    )


def test_accuracies_are_those_of_the_answers(sound: tuple[nn.Module, Side, Side]) -> None:
    model, members, others = sound
    report = attack(*sound)
    with torch.no_grad():
        wanted = [float((model(images).argmax(1) == labels).double().mean()) for images, labels in (members, others)]
    assert accuracies(report.signals) == report.accuracies == pytest.approx(wanted)
    assert f"accuracy {wanted[0]:.3f} and {wanted[1]:.3f}" in repr(report)
    assert f"{wanted[0]:.4f} on members, {wanted[1]:.4f} on non-members" in report._repr_html_()


# Sound audits: real records, split at random, of every size and balance.


def digits_audit(seed: int, *, size: int, epochs: int = 30, rows: Any = None) -> AuditReport:
    members, others = drawn(size=size, seed=seed, rows=rows)
    return attack(trained(members, epochs=epochs, seed=seed), members, others)


def rare_digits(seed: int) -> AuditReport:
    """Eight of ten records are of two classes."""
    labels = DIGITS.labels.numpy()
    common, rare = np.flatnonzero(labels < 2), np.flatnonzero(labels >= 2)
    rows = np.concatenate([common, np.random.default_rng(seed).permutation(rare)[:100]])
    return digits_audit(seed, size=220, rows=rows, epochs=60)


def cancer_audit(seed: int, *, share: float = 1.0, size: int = 280) -> AuditReport:
    """A table of 30 columns of very different scale, as it is, with a part of the malignant ones."""
    generator = np.random.default_rng(seed)
    labels = CANCER.target
    order = generator.permutation(np.flatnonzero((labels == 1) | (generator.random(len(labels)) < share)))
    half = min(size, len(order) // 2)
    table = torch.from_numpy(CANCER.data).float()
    members, others = ((table[rows], torch.from_numpy(labels[rows])) for rows in (order[:half], order[half : 2 * half]))
    scaled = (members[0] - table.mean(0)) / table.std(0), members[1]
    model = trained(scaled, classes=2, seed=seed)
    with torch.no_grad():  # the first layer of the network standardises
        model[1].bias -= model[1].weight @ (table.mean(0) / table.std(0))
        model[1].weight /= table.std(0)
    return audit(model, members, others, attacks="loss_threshold", device="cpu")


def many_records(seed: int) -> AuditReport:
    """Digits with noise, 10,000 a side: more than there are, and nothing is ever equal."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(DIGITS), (20_000,), generator=generator)
    noisy = DIGITS.images[rows].float() / 255 + 0.1 * torch.randn(20_000, 1, 8, 8, generator=generator)
    members, others = ((noisy[part], DIGITS.labels[rows[part]]) for part in (slice(10_000), slice(10_000, None)))
    return attack(trained(members, epochs=1, seed=seed), members, others)


SOUND: dict[str, Callable[[int], AuditReport]] = {
    "digits": lambda seed: digits_audit(seed, size=400),
    "digits, overfitted": lambda seed: digits_audit(seed, size=400, epochs=80),
    "digits, hardly trained": lambda seed: digits_audit(seed, size=400, epochs=2),
    "digits, 50 a side": lambda seed: digits_audit(seed, size=50),
    "digits, rare classes": rare_digits,
    "breast cancer": cancer_audit,
    "breast cancer, rare class": lambda seed: cancer_audit(seed, share=0.25),
    "breast cancer, 50 a side": lambda seed: cancer_audit(seed, size=50),
    "many records": many_records,
}


@pytest.mark.filterwarnings("ignore::nni_privacy.auditing.records.RecordsWarning")  # of floats beyond 0..1
@pytest.mark.parametrize("of", SOUND)
def test_sound_audits_have_no_notice(of: str) -> None:
    assert SOUND[of](0).notices == ()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::nni_privacy.auditing.records.RecordsWarning")
@pytest.mark.parametrize("of", [name for name in SOUND if name != "many records"])
def test_none_of_more_sound_audits_has_a_notice(of: str) -> None:
    assert [SOUND[of](seed).notices for seed in range(1, 4)] == [()] * 3
