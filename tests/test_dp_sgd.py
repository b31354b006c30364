"""DP-SGD against autograd on single records, Opacus' accountant called by hand, and what it must refuse."""

from __future__ import annotations

import copy
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nni
import numpy as np
import pytest
import torch
from nni.nas.space import SimplifiedModelSpace
from opacus.accountants import RDPAccountant
from opacus.accountants.utils import get_noise_multiplier
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy import PrivacyEvaluator, load_pattern
from nni_privacy.cells import Genotype
from nni_privacy.data import load_dataset
from nni_privacy.dp_sgd import DPTraining, budget_of, steps_per_epoch
from nni_privacy.errors import ConfigError
from nni_privacy.nasbench201_cells import NasBench201Genotype
from nni_privacy.networks import build_network
from nni_privacy.per_record import RecordGradients
from nni_privacy.private_layers import make_private_layers
from nni_privacy.search_spaces import DARTS, CellNetwork, NasBench201Network
from nni_privacy.shadows.models import spec_for
from nni_privacy.training import Recipe, fit, predict_logits, seed_everything

EVERY_OPERATION = Genotype.parse(
    "Genotype(normal=[('sep_conv_3x3', 0), ('max_pool_3x3', 1), ('dil_conv_5x5', 0), ('skip_connect', 2), "
    "('avg_pool_3x3', 0), ('sep_conv_5x5', 1), ('skip_connect', 0), ('dil_conv_3x3', 1)], normal_concat=range(2, 6), "
    "reduce=[('skip_connect', 0), ('max_pool_3x3', 1), ('dil_conv_5x5', 0), ('skip_connect', 2), "
    "('avg_pool_3x3', 0), ('sep_conv_5x5', 1), ('skip_connect', 0), ('dil_conv_3x3', 1)], reduce_concat=range(2, 6))"
)
NASBENCH201 = NasBench201Genotype.parse(
    "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
)
DP = {"noise_multiplier": 1.0}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def digits() -> Any:
    return load_dataset("digits", limit=120)


def darts_network(seed: int = 0) -> nn.Module:
    seed_everything(seed)
    return CellNetwork(EVERY_OPERATION, channels=4, cells=3, in_channels=1, num_classes=10)


def small_network(seed: int = 0) -> nn.Module:
    seed_everything(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Dropout(0.2), nn.Linear(144, 10)
    )


def private_fit(
    model: nn.Module, data: Any, *, seed: int = 0, dp: dict[str, float] | None = None, **options: Any
) -> Any:
    recipe = Recipe.from_mapping({"epochs": 2, "batch_size": 32, "dp": dp or DP, **options})
    return fit(model, data.images, data.labels, recipe=recipe, seed=seed, device="cpu")


def random_records(
    count: int, channels: int, side: int, *, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, channels, side, side, generator=generator, dtype=dtype)
    return images.contiguous(memory_format=torch.channels_last), torch.arange(count)


def gradients_one_by_one(model: nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    """Autograd's gradient of each record alone: one tensor (n, ...) a parameter."""
    rows = []
    # Not image[None]: of such a view torch's grouped convolutions take wrong gradients in double precision.
    for image, label in zip(images.split(1), labels.split(1), strict=True):
        model.zero_grad(set_to_none=True)
        functional.cross_entropy(model(image), label).backward()
        rows.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    model.zero_grad(set_to_none=True)
    return [torch.stack(parts) for parts in zip(*rows, strict=True)]


def without_dropout(model: nn.Module) -> nn.Module:
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return model


class Residual(nn.Module):
    """Changes its layers' outputs in place, as residual networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.classifier = nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        shortcut = self.first(images)
        x = self.second(functional.relu_(self.norm(shortcut)))
        x += shortcut
        return self.classifier(x.mul_(2).mean((2, 3)))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "darts": darts_network,
    "nasbench201": lambda: NasBench201Network(NASBENCH201, channels=4, cells=1, in_channels=1, num_classes=10),
    "in place": Residual,
    "plain": lambda: without_dropout(small_network()),
    **{
        name: lambda name=name: build_network(name, in_channels=1, num_classes=10, image_size=8)
        for name in ("densenet", "efficientnet", "regnet", "resnet", "vgg")
    },
}


LARGE = ("densenet", "resnet", "vgg")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in NETWORKS]
)
def test_gradients_of_single_records_are_autograds(name: str) -> None:
    model = without_dropout(NETWORKS[name]()).double().to(memory_format=torch.channels_last)
    make_private_layers(model)
    model.double().train()
    images, labels = random_records(3, 1, 8)
    expected = gradients_one_by_one(model, images, labels)
    recorded = RecordGradients(model)
    functional.cross_entropy(model(images), labels).backward()
    found: list[Any] = [parameter.grad_sample for parameter in model.parameters()]  # type: ignore[attr-defined]
    recorded.cleanup()
    assert len(found) == len(expected)
    for mine, truth in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, truth, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 2, "dilation": 2},
        {"stride": 2, "padding": 1, "bias": False},
        {"groups": 4, "stride": 2},
        {"groups": 2, "padding": "same"},
        {"padding": "same", "dilation": 2},
        {"padding": 1, "padding_mode": "reflect"},
    ],
)
def test_convolutions_of_all_kinds_have_autograds_gradients(options: dict[str, Any]) -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3, **options), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10))
    model.double().to(memory_format=torch.channels_last)
    images, labels = random_records(3, 4, 7)
    expected = gradients_one_by_one(model, images, labels)
    recorded = RecordGradients(model)
    functional.cross_entropy(model(images), labels).backward()
    for parameter, truth in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad_sample, truth)  # type: ignore[attr-defined]
    recorded.cleanup()


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


def test_norms_are_replaced_inside_the_model_and_keep_scale_and_shift() -> None:
    model = darts_network()
    stem = model.get_submodule("stem.1")
    with torch.no_grad():
        stem.weight.fill_(0.5)  # type: ignore[union-attr,operator]
    norms = [path for path, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    free = [path for path in norms if not dict(model.get_submodule(path).named_parameters())]
    assert free  # those after a pooling: Opacus' own walk passes them by
    weights = {name: value.shape for name, value in model.named_parameters()}
    make_private_layers(model)
    assert all(type(model.get_submodule(path)) is nn.GroupNorm for path in norms)
    assert {name: value.shape for name, value in model.named_parameters()} == weights
    assert torch.equal(model.get_submodule("stem.1").weight, torch.full((12,), 0.5))  # type: ignore[arg-type]
    assert not dict(model.named_buffers())
    text = str(model)
    make_private_layers(model)
    assert str(model) == text


def test_a_record_is_treated_alike_in_any_company() -> None:
    model = darts_network()
    make_private_layers(model)
    model.double().train()
    images, _ = random_records(6, 1, 8)
    torch.testing.assert_close(model(images)[:1], model(images[:1]))


def test_what_the_classifier_sees_still_depends_on_the_image() -> None:
    """With a group a channel, every pooled feature after a norm would be the same constant for all images."""
    seed_everything(0)
    model = CellNetwork(EVERY_OPERATION, channels=8, cells=3, in_channels=1, num_classes=10)
    make_private_layers(model)
    features = model.eval().features(random_records(20, 1, 8, dtype=torch.float32)[0])
    varying = features.std(0) > 1e-3
    assert float(varying.float().mean()) > 0.9


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


class OwnBatchNorm(nn.BatchNorm2d):
    pass


class RunningMean(nn.Module):
    """Remembers the mean of what it saw, without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean.lerp_(x.detach().mean(), 0.1)
        return x - self.mean


class ScaledByBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale - self.mean


class NoVmap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return gradients[0] * weight, (gradients[0] * x).sum()


class OwnFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return NoVmap.apply(x, self.weight)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (OwnBatchNorm(4), r"layer '1.1' \(OwnBatchNorm\) normalises over the batch"),
        (RunningMean(), r"layer '1.1' \(RunningMean\) keeps statistics of the records it has seen"),
        (ScaledByBuffer(), r"layer '1.1' \(ScaledByBuffer\) has weights and buffers"),
        (OwnFunction(), r"layer '1.1' \(OwnFunction\) has no gradients of single records in Opacus"),
    ],
)
def test_a_layer_that_cannot_be_private_is_named_before_training(layer: nn.Module, message: str, digits: Any) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Sequential(nn.ReLU(), layer), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10)
    )
    before = {name: value.clone() for name, value in model.state_dict().items() if not name.startswith("2.")}
    with pytest.raises(ConfigError, match=message) as caught:
        private_fit(model, digits)
    assert "\n" not in str(caught.value)
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value)
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(vars(parameter) for parameter in model.parameters())


def trial(attacks: tuple[str, ...], cache: str) -> dict[str, Any]:
    """A trial of a cell with the demotion pattern, trained with DP-SGD."""
    genotype = load_pattern("demotion-reduction").first(4).apply(EVERY_OPERATION)
    evaluator = PrivacyEvaluator(
        {"name": "digits", "limit": 240},
        recipe={"epochs": 2, "batch_size": 16, "dp": DP},
        attacks=attacks,
        effort={"boundary_records": 20, "boundary_queries": 60},
        shadow={"count": 4, "cache": cache},
    )
    space = SimplifiedModelSpace.from_model(DARTS(channels=4, cells=3, in_channels=1), evaluator)
    model = space.freeze(genotype.to_sample())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nni, "report_intermediate_result", lambda _: None)
        with evaluator.mock_runtime(model):
            metrics = dict(model.execute())
    assert Genotype.parse(metrics["architecture"]) == genotype
    json.dumps(metrics, allow_nan=False)
    return metrics


def check_numbers(metrics: dict[str, Any], attacks: tuple[str, ...]) -> None:
    accountant = RDPAccountant()
    accountant.history = [(1.0, 16 / 60, 2 * 4)]
    assert metrics["epsilon"] == pytest.approx(accountant.get_epsilon(delta=1e-5), rel=1e-9)
    numbers = [value for name, value in metrics.items() if "mia_auc" in name or "accuracy" in name]
    assert len(numbers) > 3 * len(attacks) and all(0 <= value <= 1 for value in numbers)


def test_a_private_trial_with_a_pattern_ends_in_valid_numbers(tmp_path: Path) -> None:
    attacks = ("white_box_partial",)  # it takes gradients of the trained model
    check_numbers(trial(attacks, str(tmp_path)), attacks)


@pytest.mark.slow
def test_every_kind_of_attack_works_on_a_private_model_with_private_shadows(tmp_path: Path) -> None:
    attacks = (
        "white_box_shadow",
        "black_box_shadow",
        "lira",
        "rmia",
        "label_only",
        "white_box_partial",
        "loss_threshold",
    )
    check_numbers(trial(attacks, str(tmp_path)), attacks)


def test_a_private_network_can_be_built_again_for_shadows() -> None:
    model = darts_network()
    expected = spec_for(model)
    make_private_layers(model)
    assert spec_for(model) == expected
