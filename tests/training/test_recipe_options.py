"""Each option of a recipe against a bare PyTorch loop of the same: weights equal bit for bit, on one thread."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from bare_loop import BATCH, RATE, SEED, bare_loop, network, same, sgd
from private_training import darts_network
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nni_privacy.data import load_dataset
from nni_privacy.errors import ConfigError, DataError
from nni_privacy.rng import derived_seed
from nni_privacy.search_spaces import DARTS, NasBench201
from nni_privacy.training.auxiliary import build_head
from nni_privacy.training.batch_augmentation import cutout
from nni_privacy.training.drop_path import drop_path, set_drop_path
from nni_privacy.training.fit import FitResult, fit, seed_everything
from nni_privacy.training.recipe import Recipe

STEPS = 5  # of an epoch: 150 records


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def digits() -> Any:
    return load_dataset("digits", limit=150)


def trained(digits: Any, model: nn.Module | None = None, **options: Any) -> tuple[nn.Module, FitResult]:
    model = network() if model is None else model
    recipe = Recipe.from_mapping({"epochs": 3, "batch_size": BATCH, "learning_rate": RATE, **options})
    return model, fit(model, digits.images, digits.labels, recipe=recipe, seed=SEED, device="cpu")


def test_without_options_it_is_the_plain_loop(digits: Any) -> None:
    """And what a recipe is written as is what it was before there were others."""
    for model in (network, darts_network):
        expected = model()
        scheduler = lr_scheduler.MultiStepLR(optimizer := sgd(expected), [2, 3])
        rates = bare_loop(expected, digits, optimizer=optimizer, scheduler=scheduler)
        found, result = trained(digits, model())
        assert same(found, expected) and result.learning_rates == pytest.approx(rates, rel=1e-12)
    assert Recipe().to_dict() == {
        "epochs": 100, "batch_size": 64, "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0005,
        "milestones": [0.5, 0.75], "decay": 0.1, "augmentation": False, "label_smoothing": 0.0, "dp": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "optimizer"),
    [
        ({"nesterov": True}, lambda model: sgd(model, nesterov=True)),
        (
            {"optimizer": "adam", "learning_rate": 1e-3},
            lambda model: torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=5e-4),
        ),
        (
            {"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.01, "momentum": 0.8},
            lambda model: torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, betas=(0.8, 0.999)),
        ),
    ],
    ids=["nesterov", "adam", "adamw"],
)
def test_optimisers_are_torchs(digits: Any, options: dict[str, Any], optimizer: Any) -> None:
    expected = network()
    bare_loop(expected, digits, optimizer=optimizer(expected))
    found, _ = trained(digits, schedule="constant", **options)
    assert same(found, expected)


def warmed_up(optimizer: Any, main: Any, epochs: int) -> Any:
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (epochs + 1), total_iters=epochs)
    return lr_scheduler.SequentialLR(optimizer, [rise, main], milestones=[epochs])


SCHEDULES = {
    "cosine": ({}, lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 6), False),
    "cosine, warmed up": (
        {"warm_up": 2},
        lambda optimizer: warmed_up(optimizer, lr_scheduler.CosineAnnealingLR(optimizer, 4), 2),
        False,
    ),
    "constant, warmed up": (
        {"warm_up": 1},
        lambda optimizer: warmed_up(optimizer, lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0), 1),
        False,
    ),
    "one_cycle": (
        {},
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, RATE, 6 * STEPS, cycle_momentum=False),
        True,
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_torchs(digits: Any, name: str) -> None:
    options, scheduler_of, each_step = SCHEDULES[name]
    expected = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about its own SequentialLR
        scheduler = scheduler_of(optimizer := sgd(expected))
        rates = bare_loop(expected, digits, epochs=6, optimizer=optimizer, scheduler=scheduler, each_step=each_step)
    found, result = trained(digits, epochs=6, schedule=name.partition(",")[0], **options)
    assert result.learning_rates == pytest.approx(rates, rel=1e-9, abs=1e-15) and same(found, expected)


@pytest.mark.parametrize("total", [1, 2, 3, 5, 40])
def test_one_cycle_is_torchs_at_every_step(total: int) -> None:
    recipe = Recipe(epochs=1, schedule="one_cycle")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total, cycle_momentum=False)
        for step in range(total):
            rate = recipe.learning_rate_at(1, step=step, steps=total)
            assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
            if step + 1 < total:
                optimizer.step()
                scheduler.step()


def test_steps_go_on_where_they_would_be_after_a_warm_up() -> None:
    recipe = Recipe(epochs=8, warm_up=3, learning_rate=1.0)
    rates = [recipe.learning_rate_at(epoch) for epoch in range(1, 9)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 0.1, 0.1, 0.01, 0.01])


def test_gradients_are_clipped_together(digits: Any) -> None:
    def step(optimizer: Any) -> None:
        nn.utils.clip_grad_norm_(expected.parameters(), 0.5)
        optimizer.step()

    expected = network()
    bare_loop(expected, digits, step=step)
    found, _ = trained(digits, schedule="constant", gradient_clip=0.5)
    assert same(found, expected) and not same(found, trained(digits, schedule="constant")[0])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_16_bits_are_torchs_autocast(digits: Any, precision: str) -> None:
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "float16")

    def loss(model: nn.Module, batch: Tensor, truth: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=getattr(torch, precision)):
            return functional.cross_entropy(model(batch), truth)

    def step(optimizer: Any) -> None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(expected.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    expected = network()
    bare_loop(expected, digits, loss=loss, backward=lambda value: scaler.scale(value).backward(), step=step)
    found, result = trained(digits, schedule="constant", gradient_clip=1.0, precision=precision)
    assert same(found, expected)
    _, plain = trained(digits, schedule="constant", gradient_clip=1.0)
    np.testing.assert_allclose(result.losses, plain.losses, rtol=0.02)
    assert result.losses != plain.losses and {value.dtype for value in found.parameters()} == {torch.float32}


def test_classes_are_weighed_as_scikit_learn_does(digits: Any) -> None:
    poor = torch.where((digits.labels < 3) | (torch.arange(150) % 4 == 0), digits.labels, 0)
    data = type(digits)("poor", digits.images, poor, 10)
    weights = compute_class_weight("balanced", classes=np.arange(10), y=poor.numpy())
    criterion = nn.CrossEntropyLoss(torch.tensor(weights, dtype=torch.float32), label_smoothing=0.1)
    expected = network()
    bare_loop(expected, data, loss=lambda model, batch, truth: criterion(model(batch), truth))
    found, _ = trained(data, schedule="constant", class_weights="balanced", label_smoothing=0.1)
    assert same(found, expected) and weights.max() > 3 * weights.min()


def test_a_class_without_records_weighs_nothing() -> None:
    from nni_privacy.training.loop import balanced_weights

    weights = balanced_weights(torch.tensor([0, 0, 0, 2]), 4)
    assert weights.tolist() == [4 / 6, 0, 2, 0]


def mixing(model: nn.Module, batch: Tensor, truth: Tensor, *, random: Any, mixup: float, cutmix: float) -> Tensor:
    """Mixup and CutMix written out, record by record and pixel by pixel."""
    cut = cutmix > 0 and (mixup == 0 or random.random() < 0.5)
    share = float(random.beta(*[cutmix if cut else mixup] * 2))
    partner = random.permutation(len(batch))
    mixed = torch.empty_like(batch)
    if cut:
        height, width = batch.shape[2:]
        sides = [int(height * math.sqrt(1 - share)), int(width * math.sqrt(1 - share))]
        top = int(random.integers(height)) - sides[0] // 2
        left = int(random.integers(width)) - sides[1] // 2
        pasted = 0
        mixed.copy_(batch)
        for row in range(max(0, top), min(height, top + sides[0])):
            for column in range(max(0, left), min(width, left + sides[1])):
                pasted += 1
                mixed[:, :, row, column] = batch[partner, :, row, column]
        share = 1 - pasted / (height * width)
    else:
        for number, other in enumerate(partner):
            mixed[number] = share * batch[number] + (1 - share) * batch[other]
    logits = model(mixed)
    own, others = functional.cross_entropy(logits, truth), functional.cross_entropy(logits, truth[partner])
    return share * own + (1 - share) * others


@pytest.mark.parametrize("options", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}], ids=str)
def test_batches_are_mixed_with_themselves(digits: Any, options: dict[str, float]) -> None:
    random = np.random.default_rng(derived_seed(SEED, "mixed batches"))
    alphas = {"mixup": 0.0, "cutmix": 0.0, **options}
    expected = network()
    bare_loop(expected, digits, loss=lambda *batch: mixing(*batch, random=random, **alphas))
    found, _ = trained(digits, schedule="constant", **options)
    assert same(found, expected)
    again, _ = trained(digits, schedule="constant", **options)
    assert same(found, again)


def test_mixup_takes_tables(digits: Any) -> None:
    table = digits.images.flatten(1).float()
    recipe = Recipe(epochs=1, mixup=0.3)
    result = fit(nn.Linear(64, 10), table, digits.labels, recipe=recipe, seed=0, device="cpu")
    assert math.isfinite(result.losses[0])
    for option in ("cutmix", "cutout"):
        wanted = Recipe.from_mapping({"epochs": 1, option: 1})
        with pytest.raises(DataError, match=rf"recipe: {option} needs images \(n, C, H, W\)"):
            fit(nn.Linear(64, 10), table, digits.labels, recipe=wanted, seed=0, device="cpu")
    with pytest.raises(DataError, match="recipe: mixup needs images or one tensor of floats"):
        fit(nn.Embedding(9, 10), torch.zeros(4, 1).long(), torch.arange(4), recipe=recipe, seed=0, device="cpu")


def test_cutout_blanks_a_square_around_each_pixel_equally_often() -> None:
    images = torch.rand(4000, 2, 5, 6) + 1
    cut = cutout(images, 3, torch.Generator().manual_seed(0))
    blank = cut == 0
    assert torch.equal(torch.where(blank, 0.0, images), cut) and torch.equal(blank[:, 0], blank[:, 1])
    squares = torch.zeros(30, 5, 6, dtype=torch.bool)
    for row in range(5):
        for column in range(6):
            squares[6 * row + column, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
    drawn = (blank[:, None, 0] == squares).flatten(2).all(2)
    assert drawn.any(1).all()
    counts = drawn.sum(0) / drawn.sum(1, keepdim=True).float().mean()
    assert counts.min() > 4000 / 30 / 2 and counts.max() < 4000 / 30 * 2


def test_cutout_comes_after_normalising(digits: Any) -> None:
    squares = torch.Generator().manual_seed(derived_seed(SEED, "cutout"))
    expected = network()
    bare_loop(
        expected,
        digits,
        loss=lambda model, batch, truth: functional.cross_entropy(model(cutout(batch, 4, squares)), truth),
    )
    assert same(trained(digits, schedule="constant", cutout=4)[0], expected)


def test_dropped_paths_are_records_of_their_own_and_keep_the_mean() -> None:
    torch.manual_seed(0)
    output = drop_path(torch.ones(20000, 2, 3, 3), 0.3)
    values = output.flatten(1)
    assert (values == values[:, :1]).all()  # whole records
    assert {round(value, 4) for value in values[:, 0].tolist()} == {0.0, round(1 / 0.7, 4)}
    assert values[:, 0].mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("space", ["darts", "nasbench201"])
def test_paths_are_dropped_more_often_from_epoch_to_epoch(digits: Any, space: str) -> None:
    def model() -> nn.Module:
        if space == "darts":
            return darts_network()
        seed_everything(0)
        return NasBench201(channels=4, cells=1, in_channels=1)

    expected = model()
    bare_loop(expected, digits, before_epoch=lambda epoch, model: set_drop_path(model, 0.6 * epoch / 3))
    set_drop_path(expected, 0.0)
    found, _ = trained(digits, model(), schedule="constant", drop_path=0.6)
    assert same(found, expected) and not same(found, trained(digits, model(), schedule="constant")[0])
    assert all(getattr(module, "drop_prob", 0) == 0 for module in found.modules())


def test_nnis_and_timms_layers_drop_paths_too() -> None:
    from nni.nas.hub.pytorch.utils.nn import DropPath
    from timm.layers import DropPath as TimmsDropPath

    model = nn.Sequential(DropPath(0.1), TimmsDropPath(0.1))
    set_drop_path(model, 0.5)
    assert [layer.drop_prob for layer in model] == [0.5, 0.5]
    torch.manual_seed(0)
    assert 0 < torch.count_nonzero(model(torch.ones(400, 1))) < 200


def test_identities_are_no_paths_and_nothing_is_dropped_in_evaluation() -> None:
    model = darts_network()
    set_drop_path(model, 0.9999)
    torch.manual_seed(0)
    images = torch.rand(8, 1, 8, 8)
    with torch.no_grad():
        before = model.eval()(images)
        assert torch.equal(model(images), before)
        state = torch.rand(8, 4, 8, 8)
        edges = model.train().cells[0].edges
        names = {name: torch.equal(edges.along(name, state), state) for name in edges if "skip_connect" in name}
        assert names and all(names.values())
        dropped = edges.along(next(name for name in edges if "sep_conv" in name), state)
        assert torch.count_nonzero(dropped) == 0


@pytest.mark.parametrize(("side", "weight"), [(8, 0.4), (32, 0.4)])
def test_the_auxiliary_head_is_trained_along(side: int, weight: float) -> None:
    """At 32 pixels the layer shows 8 x 8, as in DARTS; at 8, 2 x 2."""
    data = load_dataset("digits", limit=66).resized(side)
    expected = darts_network()
    with torch.no_grad():
        shape = expected.eval().cells[:3]
        first = last = expected.stem(torch.zeros(2, 1, side, side))
        for cell in shape:
            first, last = last, cell(first, last)
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(SEED, "auxiliary head"))
        head = build_head(last, 10)
    assert isinstance(head[1], nn.AvgPool2d) == (side == 32)

    def loss(model: Any, batch: Tensor, truth: Tensor) -> Tensor:
        before = state = model.stem(batch)
        shown = None
        for number, cell in enumerate(model.cells):
            before, state = state, cell(before, state)
            shown = state if number == 2 else shown  # the second reduction of 3 cells
        logits = model.classifier(state.mean(dim=(2, 3)))
        return functional.cross_entropy(logits, truth) + weight * functional.cross_entropy(head(shown), truth)

    everything = [*expected.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(everything, lr=RATE, momentum=0.9, weight_decay=5e-4)
    bare_loop(expected, data, epochs=2, optimizer=optimizer, loss=loss)
    found, _ = trained(data, darts_network(), epochs=2, schedule="constant", auxiliary=weight)
    assert same(found, expected) and found.state_dict().keys() == darts_network().state_dict().keys()


@pytest.mark.parametrize("space", [DARTS, NasBench201])
def test_spaces_name_the_layer_of_the_auxiliary_head_and_their_paths(digits: Any, space: Any) -> None:
    seed_everything(0)
    model = space(channels=4, cells=3, in_channels=1)
    _, result = trained(digits, model, epochs=1, auxiliary=0.4, drop_path=0.2)
    assert math.isfinite(result.losses[0])


def test_the_moving_average_is_torchs(digits: Any) -> None:
    expected = network()
    average = AveragedModel(expected, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    bare_loop(expected, digits, after_step=average.update_parameters)
    seen = []
    model = network()
    recipe = Recipe(epochs=3, batch_size=BATCH, learning_rate=RATE, schedule="constant", ema=0.9)
    fit(model, digits.images, digits.labels, recipe=recipe, seed=SEED, device="cpu",
        on_epoch=lambda epoch, model: seen.append(model[0].weight.detach().clone()))  # fmt: skip
    for name, value in average.module.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(model.state_dict()[name], value), name
    assert torch.equal(seen[-1], model[0].weight) and not torch.equal(seen[-1], expected[0].weight)


def test_all_of_them_go_together(digits: Any) -> None:
    """DARTS' own evaluation protocol, and more."""
    model = darts_network()
    options = {
        "schedule": "cosine", "warm_up": 1, "nesterov": True, "gradient_clip": 5.0, "precision": "bfloat16",
        "class_weights": "balanced", "augmentation": True, "cutout": 3, "mixup": 0.2, "cutmix": 0.2, "drop_path": 0.2,
        "auxiliary": 0.4, "ema": 0.9, "stop_early": {"patience": 2}, "label_smoothing": 0.1,
    }  # fmt: skip
    found, result = trained(digits, model, **options)
    again, repeated = trained(digits, darts_network(), **options)
    assert same(found, again) and result.losses == repeated.losses
    assert result.best_epoch in (1, 2, 3)
    recipe = Recipe.from_mapping(options)
    assert Recipe.from_mapping(recipe.to_dict()) == recipe and set(options) < set(recipe.to_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adamax"}, "recipe.optimizer: 'adamax'; input should be 'sgd', 'adam' or 'adamw'"),
        ({"schedule": "cos"}, "recipe.schedule: 'cos'; input should be 'steps', 'cosine', 'one_cycle' or 'constant'"),
        ({"schedule": "cosine", "decay": 0.5}, "recipe.decay: 0.5; only schedule: steps has any"),
        ({"schedule": "cosine", "milestones": [0.2]}, r"recipe.milestones: \[0.2\]; only schedule: steps"),
        ({"schedule": "one_cycle", "warm_up": 2}, "recipe.warm_up: 2; schedule: one_cycle begins with one of its own"),
        ({"epochs": 3, "warm_up": 3}, "recipe.warm_up: 3; allowed are fewer than epochs"),
        ({"warm_up": -1}, "recipe.warm_up: -1"),
        ({"optimizer": "adam", "nesterov": True}, "recipe.nesterov: True; only optimizer: sgd has it"),
        ({"momentum": 0.0, "nesterov": True}, "recipe.nesterov: True; it needs a momentum above 0"),
        ({"gradient_clip": 0}, "recipe.gradient_clip: 0; input should be greater than 0"),
        ({"precision": "half"}, "recipe.precision: 'half'"),
        ({"class_weights": "equal"}, "recipe.class_weights: 'equal'; input should be 'balanced'"),
        ({"mixup": -0.1}, "recipe.mixup: -0.1"),
        ({"drop_path": 1.0}, "recipe.drop_path: 1.0; input should be less than 1"),
        ({"ema": 1}, "recipe.ema: 1; input should be less than 1"),
        ({"stop_early": 3}, "recipe.stop_early: 3; allowed is a mapping of patience, share"),
        ({"stop_early": {"patients": 3}}, r"recipe.stop_early.patients: unknown key; did you mean 'patience'\?"),
        ({"stop_early": {"patience": 0}}, "recipe.stop_early.patience: 0"),
        ({"stop_early": {"patience": 2, "share": 1}}, "recipe.stop_early.share: 1"),
        ({"train": "mine"}, "recipe.train: 'mine'; allowed is module:function"),
        ({"train": "mine:train", "stop_early": {"patience": 1}}, "recipe.stop_early: .*stops as it likes"),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe.from_mapping(options)


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_clip": 1.0},
        {"precision": "bfloat16"},
        {"class_weights": "balanced"},
        {"mixup": 0.2},
        {"cutmix": 0.2},
        {"auxiliary": 0.4},
        {"stop_early": {"patience": 2}},
        {"train": "mine:train"},
    ],
    ids=str,
)
def test_what_would_not_be_private_is_refused_with_dp(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=rf"recipe\.{name}: ") as found:
        Recipe.from_mapping({"dp": {"noise_multiplier": 1.0}, **options})
    assert "\n" not in str(found.value)


def test_private_trainings_take_the_others(digits: Any) -> None:
    dp = {"noise_multiplier": 1.0}
    model = darts_network()
    options = {"optimizer": "adamw", "schedule": "cosine", "warm_up": 1, "drop_path": 0.2, "ema": 0.5, "cutout": 2}
    found, result = trained(digits, model, dp=dp, **options)
    assert result.epsilon and math.isfinite(result.losses[-1])
    assert result.learning_rates == pytest.approx([RATE / 2, RATE, RATE / 2])
    assert same(found, trained(digits, darts_network(), dp=dp, **options)[0])


def test_private_adam_without_noise_is_adam(digits: Any) -> None:
    dp = {"noise_multiplier": 1e-6, "max_grad_norm": 20.0}  # no gradient is as long

    def model() -> nn.Module:
        seed_everything(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    options = {"optimizer": "adam", "learning_rate": 1e-3, "schedule": "constant", "batch_size": 150, "epochs": 4}
    found, _ = trained(digits, model(), dp=dp, **options)  # a batch of all records, each time
    expected, _ = trained(digits, model(), **options)
    # Of pixels that are hardly ever lit Adam makes steps of full length out of the little noise that there is.
    lit = digits.images.flatten(1).float().mean(0) > 1
    torch.testing.assert_close(found[1].weight[:, lit], expected[1].weight[:, lit], rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_path": 0.2}, "recipe.drop_path: a Sequential has no layer with a drop_prob"),
        ({"auxiliary": 0.4}, "recipe.auxiliary: a Sequential has no auxiliary_layer"),
    ],
)
def test_other_networks_are_told_what_they_lack(digits: Any, options: dict[str, float], message: str) -> None:
    model = network()
    before = [value.clone() for value in model.state_dict().values()]
    with pytest.raises(ConfigError, match=message):
        trained(digits, model, **options)
    assert all(torch.equal(one, other) for one, other in zip(before, model.state_dict().values(), strict=True))


@pytest.mark.parametrize("channels", [2, 4, 13])
def test_images_have_any_number_of_channels(channels: int) -> None:
    images = torch.randint(256, (40, channels, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = load_dataset("digits", limit=40)
    mixed = type(data)("many channels", images, data.labels, 10)
    options = {"augmentation": True, "cutout": 2, "mixup": 0.2, "cutmix": 0.2, "stop_early": {"patience": 3}}
    _, result = trained(mixed, network(channels=channels), **options)
    assert len(result.losses) == 3 and all(map(math.isfinite, result.losses))
