"""Loss traces: which epochs, which losses, and that a training is none the wiser."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nni_privacy.training import LossTrace, Recipe, traced_epochs
from nni_privacy.training.fit import evaluation_mode, fit, seed_everything


@pytest.mark.parametrize(
    ("epochs", "count", "expected"),
    [
        (100, None, (10, 20, 30, 40, 50, 60, 70, 80, 90)),
        (30, None, (7, 15, 22)),
        (5, None, (1, 2, 3)),
        (3, None, (1, 2)),
        (1, None, ()),
        (30, 3, (10, 20)),
        (4, 9, (1, 2, 3)),
    ],
)
def test_a_tenth_of_the_epochs_but_at_least_four_with_the_last(
    epochs: int, count: int | None, expected: tuple[int, ...]
) -> None:
    assert traced_epochs(epochs, count) == expected


def network() -> nn.Module:
    seed_everything(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def test_it_records_the_losses_of_evaluation_and_leaves_the_training_as_it_is() -> None:
    torch.manual_seed(1)
    images, labels = torch.rand(60, 1, 4, 4), torch.arange(60) % 3
    attacked = torch.cat([images[:40], torch.rand(40, 1, 4, 4)]), labels[torch.arange(80) % 60]
    recipe = Recipe(epochs=4, batch_size=16, learning_rate=0.1)
    trace = LossTrace(*attacked, epochs=(1, 3), normalize=lambda one: one - 0.5, device="cpu")
    expected = []

    def watch(epoch: int, model: nn.Module) -> None:
        traced = trace(epoch, model)
        assert (traced is None) == (epoch not in (1, 3))
        if traced is not None:
            with evaluation_mode(model), torch.no_grad():
                logits = model(attacked[0] - 0.5)
            np.testing.assert_allclose(traced, logits.numpy(), rtol=1e-5, atol=1e-6)
            expected.append(functional.cross_entropy(logits, attacked[1], reduction="none").numpy())

    options = {"recipe": recipe, "seed": 2, "device": "cpu", "normalize": lambda one: one - 0.5}
    watched, plain = network(), network()
    fit(watched, images, labels, on_epoch=watch, **options)
    fit(plain, images, labels, **options)
    assert trace.losses.shape == (2, 80) and trace.losses.dtype == np.float32
    np.testing.assert_allclose(trace.losses, expected, rtol=1e-5, atol=1e-6)
    assert all(
        torch.equal(*pair) for pair in zip(watched.state_dict().values(), plain.state_dict().values(), strict=True)
    )


def test_a_record_that_is_fitted_beyond_doubt_keeps_its_loss() -> None:
    class Sure(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[60.0, 0.0]]).expand(len(images), 2)

    trace = LossTrace(torch.rand(2, 1, 4, 4), torch.tensor([0, 1]), epochs=(1,), device="cpu")
    trace(1, Sure())
    np.testing.assert_allclose(trace.losses, [[np.exp(-60), 60]], rtol=1e-6)
    assert LossTrace(torch.rand(2, 1, 4, 4), torch.tensor([0, 1]), epochs=(), device="cpu").losses.shape == (0, 2)
