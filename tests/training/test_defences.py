"""Augmentation and label smoothing, and defences as changes of a recipe; DP-SGD has tests of its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.auditing.shadows.models import fingerprint, spec_for
from nni_privacy.auditing.shadows.plan import ShadowTask
from nni_privacy.config import parse_config
from nni_privacy.data import load_dataset
from nni_privacy.errors import ConfigError, DataError
from nni_privacy.training.defences import PADDING, apply_defence, augment, defence_label
from nni_privacy.training.fit import FitResult, epoch_batches, fit, predict_logits, seed_everything
from nni_privacy.training.recipe import Recipe


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def digits() -> Any:
    return load_dataset("digits", limit=150)


def network(seed: int = 0) -> nn.Module:
    seed_everything(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(144, 10)
    )


def trained(digits: Any, **options: Any) -> tuple[nn.Module, FitResult]:
    model = network()
    recipe = Recipe(**{"epochs": 2, "batch_size": 32, **options})
    return model, fit(model, digits.images, digits.labels, recipe=recipe, seed=7, device="cpu")


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_defences_training_is_the_plain_loop_bit_for_bit(digits: Any) -> None:
    model, result = trained(digits, epochs=3, learning_rate=0.05)
    expected = network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    order = generator(7)
    losses = []
    with torch.random.fork_rng():
        torch.manual_seed(7)
        for rate in (0.05, 0.05, 0.005):
            optimizer.param_groups[0]["lr"] = rate
            total = 0.0
            for index in epoch_batches(150, batch_size=32, generator=order):
                batch = (digits.images[index].float() / 255).contiguous(memory_format=torch.channels_last)
                loss = functional.cross_entropy(expected(batch), digits.labels[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(index)
            losses.append(total / 150)
    assert same(model, expected) and result.losses == losses and result.epsilon is None


def windows(image: Tensor) -> Tensor:
    """All 81 crops of an image (C, H, W) and of its mirror image: (2, 9, 9, C, H, W)."""
    height, width = image.shape[1:]
    found = []
    for version in (image, image.flip(2)):
        padded = torch.zeros(image.shape[0], height + 2 * PADDING, width + 2 * PADDING, dtype=image.dtype)
        padded[:, PADDING : PADDING + height, PADDING : PADDING + width] = version
        found += [padded[:, y : y + height, x : x + width] for y in range(9) for x in range(9)]
    return torch.stack(found).reshape(2, 9, 9, *image.shape)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_augmented_images_are_windows_of_the_padded_image_each_equally_likely(dtype: torch.dtype) -> None:
    image = torch.randint(1, 255, (3, 6, 7), generator=generator()).to(dtype)  # not square, and no two windows alike
    count = 8000
    augmented = augment(image.expand(count, -1, -1, -1), generator(1))
    assert augmented.shape == (count, 3, 6, 7) and augmented.dtype == dtype
    lookup = {window.numpy().tobytes(): n for n, window in enumerate(windows(image).flatten(0, 2))}
    assert len(lookup) == 162
    drawn = np.bincount([lookup[one.numpy().tobytes()] for one in augmented.contiguous()], minlength=162)
    assert chisquare(drawn).pvalue > 0.001  # flips and 9 x 9 offsets, all independent of each other


def test_every_image_is_augmented_by_itself_and_stays_the_same_record() -> None:
    images = torch.randint(1, 255, (40, 1, 8, 8), generator=generator())
    augmented = augment(images, generator(3))
    for image, one in zip(images, augmented, strict=True):
        assert (windows(image).flatten(0, 2) == one).flatten(1).all(1).any()
    assert torch.equal(augmented, augment(images, generator(3)))
    assert not torch.equal(augmented, augment(images, generator(4)))


def test_augmentation_wants_images() -> None:
    with pytest.raises(DataError, match=r"augmentation needs images \(n, C, H, W\), found shape \(5, 8\)"):
        augment(torch.zeros(5, 8), generator())


class Spy(nn.Module):
    """Keeps what it sees, by mode."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.seen: dict[bool, list[Tensor]] = {True: [], False: []}

    def forward(self, images: Tensor) -> Tensor:
        self.seen[self.training].append(images.detach().clone())
        return self.linear(images.flatten(1))


def seen_in_training(digits: Any, **options: Any) -> Spy:
    model = Spy()
    recipe = Recipe(**{"epochs": 2, "batch_size": 32, **options})

    def evaluate(_epoch: int, trained: nn.Module) -> None:
        predict_logits(trained, digits.images, device="cpu")

    fit(model, digits.images, digits.labels, recipe=recipe, seed=7, device="cpu", on_epoch=evaluate)
    return model


def test_training_sees_augmented_images_in_the_same_batches_and_evaluation_the_plain_ones(digits: Any) -> None:
    plain, augmented = seen_in_training(digits), seen_in_training(digits, augmentation=True)
    first = torch.cat(plain.seen[True]), torch.cat(augmented.seen[True])
    assert not torch.equal(*first)
    for image, one in list(zip(*first, strict=True))[:60]:
        assert (windows(image).flatten(0, 2) == one).flatten(1).all(1).any()  # the same record at the same place
    assert not torch.equal(first[1][:150], first[1][150:])  # and another version of it in the next epoch
    for batch in augmented.seen[False]:
        assert torch.equal(batch, digits.images.float() / 255)


def test_augmented_training_repeats_itself(digits: Any) -> None:
    first, _ = trained(digits, augmentation=True)
    torch.rand(3)
    assert same(first, trained(digits, augmentation=True)[0])
    assert not same(first, trained(digits)[0])


def test_label_smoothing_spreads_a_part_of_every_label_over_all_classes(digits: Any) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    logits = model(digits.images.float() / 255).detach().double()
    recipe = Recipe(epochs=1, batch_size=150, label_smoothing=0.1)
    loss = fit(model, digits.images, digits.labels, recipe=recipe, seed=0, device="cpu").losses[0]
    target = torch.full((150, 10), 0.1 / 10, dtype=torch.float64)
    target[torch.arange(150), digits.labels] += 0.9
    assert loss == pytest.approx(float(-(target * logits.log_softmax(1)).sum(1).mean()), rel=1e-5)
    assert loss == pytest.approx(float(functional.cross_entropy(logits, digits.labels, label_smoothing=0.1)), rel=1e-5)


def test_label_smoothing_changes_the_weights(digits: Any) -> None:
    assert not same(trained(digits, label_smoothing=0.1)[0], trained(digits)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmentation": 1}, "augmentation: 1; input should be a valid boolean"),
        ({"augmentaton": True}, "augmentaton: unknown key; did you mean 'augmentation'"),
        ({"label_smoothing": 1.0}, "label_smoothing: 1.0; input should be less than 1"),
        ({"label_smoothing": -0.1}, "label_smoothing: -0.1"),
        ({"dp": True}, "dp: True; allowed is a mapping of max_grad_norm, delta, noise_multiplier, epsilon"),
        ({"dp": {}}, "dp: neither is given; give one of noise_multiplier and epsilon"),
        ({"dp": {"noise_multiplier": 1.0, "epsilon": 8}}, "dp: noise_multiplier is 1 and epsilon is 8; give one"),
        ({"dp": {"epsilom": 8}}, "recipe.dp.epsilom: unknown key; did you mean 'epsilon'"),
        ({"dp": {"epsilon": 0}}, "dp.epsilon: 0; input should be greater than 0"),
        ({"dp": {"noise_multiplier": -1}}, "dp.noise_multiplier: -1"),
        ({"dp": {"epsilon": 8, "delta": 1}}, "dp.delta: 1; input should be less than 1"),
        ({"dp": {"epsilon": 8, "delta": "1e-5"}}, "YAML reads 1e-2 as text"),
        ({"dp": {"epsilon": 8, "max_grad_norm": 0}}, "dp.max_grad_norm: 0"),
    ],
)
def test_bad_defences_name_field_value_and_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe.from_mapping(options)


DEFENDED = {"augmentation": True, "label_smoothing": 0.1, "dp": {"epsilon": 8}}


def test_a_defended_recipe_survives_plain_values() -> None:
    recipe = Recipe.from_mapping(DEFENDED)
    assert recipe.to_dict()["dp"] == {"epsilon": 8, "delta": 1e-5, "max_grad_norm": 1.5}
    again = Recipe.from_mapping(recipe.to_dict())
    assert again == recipe and hash(again) == hash(recipe) and recipe != Recipe()


def test_defences_come_from_a_configuration_file() -> None:
    content: dict[str, Any] = {
        "name": "defended",
        "dataset": {"name": "digits"},
        "search_space": {"name": "darts"},
        "strategy": {"name": "random"},
        "trials": 2,
        "evaluator": {"recipe": DEFENDED},
    }
    assert parse_config(content).evaluator.recipe == Recipe.from_mapping(DEFENDED)
    content["evaluator"] = {"recipe": {"dp": {"epsilon": 8, "noise_multiplie": 1}}}
    with pytest.raises(ConfigError, match=r"evaluator\.recipe\.dp\.noise_multiplie: unknown key; did you mean"):
        parse_config(content)


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({"augmentation": True}, "augmentation"),
        ({"label_smoothing": 0.1}, "label-smoothing"),
        ({"dp": {"epsilon": 8}, "learning_rate": 0.05}, "dp-sgd"),
        ({"dp": {"noise_multiplier": 1.0}, "augmentation": True}, "augmentation+dp-sgd"),
        (DEFENDED, "augmentation+label-smoothing+dp-sgd"),
    ],
)
def test_a_defence_is_called_by_what_it_turns_on(changes: dict[str, Any], label: str) -> None:
    assert defence_label(changes) == label


def test_a_defence_changes_its_fields_and_no_others() -> None:
    base = Recipe(epochs=30, label_smoothing=0.2)
    changed = apply_defence(base, {"dp": {"epsilon": 3}, "learning_rate": 0.1})
    assert {**changed.to_dict(), "dp": None, "learning_rate": 0.01} == base.to_dict()
    assert changed.dp is not None and changed.dp.epsilon == 3 and changed.learning_rate == 0.1


@pytest.mark.parametrize("changes", [{}, {"epochs": 3}, {"label_smoothing": 0}, {"augmentation": False, "dp": None}])
def test_changes_without_a_defence_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="turns no defence on"):
        defence_label(changes)


def test_what_is_no_mapping_is_no_defence() -> None:
    with pytest.raises(ConfigError, match=r"defences: 'dp': allowed are mappings"):
        defence_label("dp")  # type: ignore[arg-type]


def test_shadows_with_another_defence_are_other_shadows() -> None:
    source = spec_for(
        "nni_privacy.auditing.shadows.small_cnn:SmallCNN", in_channels=1, num_classes=10, image_size=[8, 8]
    )
    rows = np.arange(5)
    recipes = [Recipe.from_mapping(part) for part in ({}, *({key: value} for key, value in DEFENDED.items()))]
    tasks = [
        ShadowTask(
            number=0,
            model=source,
            model_digest=fingerprint(source),
            recipe=recipe,
            data="",
            training=rows,
            queries=rows,
            seed=0,
            device="cpu",
        )
        for recipe in recipes
    ]
    assert len({task.key for task in tasks}) == len(recipes)
    for task in tasks:
        assert ShadowTask.from_message(task.to_message()).key == task.key


def test_losses_of_augmented_training_are_finite(digits: Any) -> None:
    _, result = trained(digits, **{**DEFENDED, "dp": None})
    assert len(result.losses) == 2 and all(math.isfinite(value) for value in result.losses + result.accuracies)
