"""DP-SGD against autograd on single records and Opacus' accountant called by hand."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from opacus.accountants import RDPAccountant
from opacus.accountants.utils import get_noise_multiplier
from private_training import DP, gradients_one_by_one, private_fit, random_records, small_network, without_dropout
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.data import load_dataset
from nni_privacy.errors import ConfigError
from nni_privacy.training.dp_layers import make_private_layers
from nni_privacy.training.dp_sgd import DPTraining, budget_of, steps_per_epoch
from nni_privacy.training.fit import fit, predict_logits, seed_everything
from nni_privacy.training.recipe import Recipe


@pytest.fixture(scope="module")
def digits() -> Any:
    return load_dataset("digits", limit=120)


def training_of(model: nn.Module, images: Tensor, labels: Tensor, *, rate: float = 0.1, **dp: float) -> DPTraining:
    """DP-SGD of a model with plain SGD, in batches of 4 records on average."""
    recipe = Recipe.from_mapping({"epochs": 1, "batch_size": 4, "dp": dp or DP})
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)

    def backward(index: Tensor) -> tuple[float, int]:
        loss = functional.cross_entropy(model(images[index]), labels[index])
        loss.backward()
        return loss.item() * len(index), 0

    return DPTraining(model, optimizer, backward, recipe=recipe, n=len(labels), seed=3, device=torch.device("cpu"))


@pytest.mark.parametrize("physical", [1, 2, 100])
def test_a_step_without_noise_is_the_mean_of_clipped_gradients(physical: int) -> None:
    model = without_dropout(small_network())
    make_private_layers(model)
    model.double().train()
    images, labels = random_records(10, 1, 8)
    index = torch.tensor([1, 3, 4, 7, 9])
    before = [parameter.detach().clone() for parameter in model.parameters()]
    gradients = gradients_one_by_one(model, images[index], labels[index])
    norms = torch.stack([part.flatten(1).square().sum(1) for part in gradients]).sum(0).sqrt()
    bound = float(norms.median())  # so that some are clipped and some are not
    factors = (bound / norms).clamp(max=1.0)
    assert 0 < int((factors < 1).sum()) < len(index)
    training = training_of(model, images, labels, max_grad_norm=bound, noise_multiplier=1.0)
    training.optimizer.noise_multiplier = 0.0
    training.physical_batch = physical
    with training.recording():
        training.step(index)
    for parameter, old, gradient in zip(model.parameters(), before, gradients, strict=True):
        clipped = torch.einsum("n,n...->...", factors, gradient)
        torch.testing.assert_close(parameter.detach(), old - 0.1 * clipped / 4, rtol=1e-5, atol=1e-7)


def test_the_noise_has_the_scale_that_was_asked_for_and_is_seeded() -> None:
    images, labels = random_records(10, 1, 8, dtype=torch.float32)
    drawn = []
    for _ in range(2):
        seed_everything(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 700))
        before = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        training = training_of(model, images, labels, rate=1.0, noise_multiplier=2.5, max_grad_norm=0.8)
        with training.recording():
            training.step(torch.tensor([], dtype=torch.int64))  # an empty batch: nothing but noise
        drawn.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]) - before)
    assert float(drawn[0].std()) == pytest.approx(2.5 * 0.8 / 4, rel=0.02)  # 45,500 numbers
    assert abs(float(drawn[0].mean())) < 0.01
    assert torch.equal(drawn[0], drawn[1])


def test_poisson_batches_take_every_record_with_the_same_probability() -> None:
    images, labels = random_records(40, 1, 8, dtype=torch.float32)
    training = training_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 50)), images, labels)
    generator = torch.Generator().manual_seed(0)
    batches = [batch for _ in range(200) for batch in training.batches(generator)]
    assert len(batches) == 200 * 10
    sizes = np.array([len(batch) for batch in batches])
    assert sizes.mean() == pytest.approx(4, rel=0.05) and sizes.var() == pytest.approx(40 * 0.1 * 0.9, rel=0.1)
    counts = np.bincount(torch.cat(batches), minlength=40)
    assert abs(counts - 200).max() < 5 * math.sqrt(2000 * 0.1 * 0.9)
    assert sizes.min() == 0


def test_epsilon_is_that_of_opacus_accountant_called_by_hand(digits: Any) -> None:
    result = private_fit(small_network(), digits, dp={"noise_multiplier": 1.3, "delta": 1e-4})
    accountant = RDPAccountant()
    for _ in range(2 * 4):  # two epochs of 120 / 32, rounded
        accountant.step(noise_multiplier=1.3, sample_rate=32 / 120)
    assert result.epsilon == pytest.approx(accountant.get_epsilon(delta=1e-4), rel=1e-9)


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_a_wanted_epsilon_is_reached_and_not_exceeded(epsilon: float) -> None:
    recipe = Recipe.from_mapping({"epochs": 30, "dp": {"epsilon": epsilon}})
    budget = budget_of(recipe, 449)
    assert epsilon - 0.02 < budget.epsilon <= epsilon
    noise = get_noise_multiplier(
        target_epsilon=epsilon, target_delta=1e-5, sample_rate=64 / 449, steps=30 * 7, accountant="rdp"
    )
    assert budget.noise_multiplier == noise and budget.steps == 30 * steps_per_epoch(449, 64) == 210


def test_the_papers_noise_guarantees_nothing() -> None:
    recipe = Recipe.from_mapping({"dp": {"noise_multiplier": 0.3}})
    assert budget_of(recipe, 15_000).epsilon == pytest.approx(264, abs=2)


def test_more_records_a_batch_than_there_are_means_all_of_them() -> None:
    budget = budget_of(Recipe.from_mapping({"epochs": 3, "batch_size": 64, "dp": DP}), 20)
    assert (budget.sample_rate, budget.steps) == (1.0, 3)


def test_an_epsilon_out_of_reach_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dp: epsilon is 0\.001: at delta 1e-05 no noise is enough for 700 steps"):
        budget_of(Recipe.from_mapping({"dp": {"epsilon": 0.001}}), 449)


def test_the_model_is_trained_in_place_and_plain_afterwards(digits: Any) -> None:
    model = small_network().eval()
    before = copy.deepcopy(model[5].weight)
    seen = []

    def on_epoch(_epoch: int, trained: nn.Module) -> None:
        seen.append(copy.deepcopy(trained))
        trained(digits.images[:4].float()).sum().backward()  # a plain model between epochs, too
        trained.zero_grad()

    recipe = Recipe.from_mapping({"epochs": 2, "batch_size": 32, "dp": DP})
    fit(model, digits.images, digits.labels, recipe=recipe, seed=0, device="cpu", on_epoch=on_epoch)
    assert len(seen) == 2 and not model.training
    assert not torch.equal(model[5].weight, before)
    assert set(model.state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias", "5.weight", "5.bias"}
    for layer in model.modules():
        assert not layer._forward_hooks and not layer._backward_hooks and not hasattr(layer, "activations")
    for parameter in model.parameters():
        assert not vars(parameter) and parameter.grad is None
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    copied = copy.deepcopy(model)
    copied.load_state_dict(torch.load(buffer, weights_only=True))
    np.testing.assert_array_equal(
        predict_logits(copied, digits.images, device="cpu"), predict_logits(model, digits.images, device="cpu")
    )
    fit(model, digits.images, digits.labels, recipe=Recipe(epochs=1), seed=0, device="cpu")


def test_the_same_seed_gives_the_same_weights_bit_for_bit(digits: Any) -> None:
    def weights(seed: int) -> Tensor:
        model = small_network()
        private_fit(model, digits, seed=seed)
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    first = weights(0)
    torch.rand(3)
    assert torch.equal(first, weights(0)) and not torch.equal(first, weights(1))


def test_losses_and_accuracies_are_those_of_the_records_that_were_met(digits: Any) -> None:
    met: list[int] = []

    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 10)

        def forward(self, images: Tensor) -> Tensor:
            met.append(len(images))
            return self.linear(images.flatten(1)) * 0.0  # all classes alike: ln 10, and always class 0

    result = private_fit(Counter(), digits)
    assert sum(met) != 2 * 120  # Poisson batches, and the two records that are tried first
    assert result.losses == pytest.approx([math.log(10)] * 2, rel=1e-5)
    zeros = float((digits.labels == 0).float().mean())
    assert all(0 < accuracy < 1 and abs(accuracy - zeros) < 0.1 for accuracy in result.accuracies)


def test_tiny_data_with_empty_batches_can_be_trained(digits: Any) -> None:
    model = small_network()
    recipe = Recipe.from_mapping({"epochs": 20, "batch_size": 2, "dp": DP})
    result = fit(model, digits.images[:6], digits.labels[:6], recipe=recipe, seed=0, device="cpu")
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
    assert len(result.losses) == 20


def test_frozen_weights_stay_and_unused_layers_do_no_harm(digits: Any) -> None:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head, self.other = nn.Linear(64, 16), nn.Linear(16, 10), nn.Linear(16, 3)
            self.body.requires_grad_(False)

        def forward(self, images: Tensor) -> Tensor:
            features = self.body(images.flatten(1))
            self.other(features)
            return self.head(features)

    model = TwoHeads()
    body, head = model.body.weight.clone(), model.head.weight.clone()
    private_fit(model, digits)
    assert torch.equal(model.body.weight, body) and not torch.equal(model.head.weight, head)
