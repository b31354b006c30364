"""Training on records of any kind is training on images: the same batches, steps and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nni_privacy import Recipe
from nni_privacy.errors import AuditError, DataError
from nni_privacy.training.classifier import to_logits
from nni_privacy.training.fit import fit, predict_logits
from nni_privacy.training.recipe import DPOptions

N, WIDTH, CLASSES = 60, 6, 3
DRAWN = torch.Generator().manual_seed(0)
TABLE = torch.randn(N, WIDTH, generator=DRAWN)
IDS = torch.randint(0, WIDTH, (N, 4), generator=DRAWN)
COUNTS = nn.functional.one_hot(IDS, WIDTH).sum(1).float()
LABELS = torch.randint(0, CLASSES, (N,), generator=DRAWN)
RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.1)


def weights_after(model: nn.Module, inputs: Any, labels: Tensor = LABELS, **options: Any) -> list[Tensor]:
    torch.manual_seed(1)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    fit(model, inputs, labels, **({"recipe": RECIPE, "seed": 0, "device": "cpu"} | options))
    return [parameter.detach() for parameter in model.parameters()]


def head() -> list[nn.Module]:
    return [nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, CLASSES)]


class Parted(nn.Module):
    """The same for a table in two parts."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*head())

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.body(torch.cat([left, right], dim=1))


class Counting(nn.Module):
    """Ids by a matrix of rows, and what is the same: their counts by a linear layer."""

    def __init__(self, *, ids: bool) -> None:
        super().__init__()
        self.weight, self.ids = nn.Parameter(torch.zeros(WIDTH, CLASSES)), ids

    def forward(self, records: Tensor) -> Tensor:
        return self.weight[records].sum(1) if self.ids else records @ self.weight


def test_a_table_is_trained_on_as_the_same_numbers_in_images_are() -> None:
    images = weights_after(nn.Sequential(nn.Flatten(), *head()), TABLE[:, :, None, None])
    left, right = TABLE[:, :2], TABLE[:, 2:]
    ways = {
        "table": (nn.Sequential(*head()), TABLE),
        "array": (nn.Sequential(*head()), TABLE.numpy()),
        "tuple": (Parted(), (left, right)),
        "mapping": (Parted(), {"right": right, "left": left}),
    }
    for name, (model, inputs) in ways.items():
        for found, expected in zip(weights_after(model, inputs), images, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=name)


def test_ids_are_trained_on_as_their_counts_are() -> None:
    (found,), (expected,) = weights_after(Counting(ids=True), IDS), weights_after(Counting(ids=False), COUNTS)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


class Summed(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        return rows.sum(1)


def test_ids_are_trained_on_in_private_too() -> None:
    """With so little noise that what is drawn for weights in another order does not matter."""
    recipe = Recipe(epochs=3, batch_size=16, learning_rate=0.1, dp=DPOptions(noise_multiplier=0.01, max_grad_norm=5.0))
    layers = nn.Embedding(WIDTH, CLASSES), nn.Linear(WIDTH, CLASSES, bias=False)
    nn.init.zeros_(layers[0].weight), nn.init.zeros_(layers[1].weight)
    for model, inputs in zip((nn.Sequential(layers[0], Summed()), layers[1]), (IDS, COUNTS), strict=True):
        assert fit(model, inputs, LABELS, recipe=recipe, seed=0, device="cpu").epsilon
    found, expected = layers[0].weight.detach(), layers[1].weight.detach().T
    assert expected.abs().max() > 0.05
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)


def test_one_logit_learns_as_binary_cross_entropy_does() -> None:
    labels = (TABLE[:, 0] > 0).long()
    (found, bias) = weights_after(nn.Linear(WIDTH, 1), TABLE, labels, recipe=Recipe(epochs=1, batch_size=N))
    model = nn.Linear(WIDTH, 1)
    torch.manual_seed(1)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    recipe = Recipe(epochs=1, batch_size=N)
    decay = {"lr": recipe.learning_rate_at(1), "momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
    optimizer = torch.optim.SGD(model.parameters(), **decay)
    nn.functional.binary_cross_entropy_with_logits(model(TABLE)[:, 0], labels.float()).backward()
    optimizer.step()
    torch.testing.assert_close(found, model.weight.detach(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(bias, model.bias.detach(), rtol=1e-5, atol=1e-7)


def test_probabilities_learn_as_the_logits_that_they_come_from_do() -> None:
    logits = weights_after(nn.Sequential(*head()), TABLE)
    shares = weights_after(nn.Sequential(*head(), nn.Softmax(dim=1)), TABLE, outputs="probabilities")
    for found, expected in zip(shares, logits, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_what_models_return_becomes_logits_that_say_the_same() -> None:
    answers = torch.tensor([[-120.0], [-3], [0], [5], [120]])
    both = to_logits(answers, "logits").double().softmax(1)
    torch.testing.assert_close(both[:, 1], answers[:, 0].double().sigmoid())
    shares = torch.tensor([[0.0], [1e-30], [0.25], [1]])
    logs = to_logits(shares, "probabilities")
    assert torch.isfinite(logs).all()
    torch.testing.assert_close(logs.double().softmax(1)[:, 1], shares[:, 0].double(), atol=1e-7, rtol=1e-6)
    rows = torch.tensor([[0.0, 1, 0], [1e-30, 0.5, 0.5]])
    logs = to_logits(rows, "probabilities")
    assert torch.isfinite(logs).all() and logs[1, 0].item() == pytest.approx(np.log(1e-30), rel=1e-5)
    assert to_logits(rows.half(), "probabilities").dtype == torch.float32


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (TABLE[:5], LABELS, r"records have shape \(5, 6\), labels \(60,\): expected \(n, ...\), \(n,\)"),
        ((TABLE, IDS[:3]), LABELS, "same first dimension"),
        (TABLE[:1], LABELS[:1], "1 records to train on"),
    ],
)
def test_records_that_do_not_fit_are_refused(inputs: Any, labels: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        weights_after(nn.Sequential(*head()), inputs, labels)


def test_a_model_that_fails_is_told_with_what_it_was_given() -> None:
    with pytest.raises(AuditError, match=r"the model fails on torch.int64 records \(16, 4\): .* integers are ids"):
        weights_after(nn.Sequential(*head()), IDS)
    with pytest.raises(AuditError, match=r"returned a tuple, expected one tensor"):
        predict_logits(nn.LSTM(WIDTH, 3, batch_first=True), TABLE[:, None], device="cpu")
    with pytest.raises(DataError, match="there are no records to predict"):
        predict_logits(nn.Linear(WIDTH, 3), TABLE[:0], device="cpu")
