import numpy as np
import pytest
import torch
from torch import nn

from nni_privacy.data import Normalizer, load_dataset
from nni_privacy.errors import AuditError, ConfigError, DataError
from nni_privacy.training.fit import (
    TrainingDiverged,
    epoch_batches,
    fit,
    predict_logits,
    resolve_device,
    seed_everything,
)
from nni_privacy.training.recipe import Recipe

QUICK = Recipe(epochs=3)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits", limit=321)  # 5 batches of 64 and one record over


def network(seed=0, classes=10):
    seed_everything(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(144, classes)
    )


def weights(model):
    return [value.clone() for value in model.state_dict().values()]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def train(digits, *, seed=0, recipe=QUICK, on_epoch=None):
    model = network()
    result = fit(model, digits.images, digits.labels, recipe=recipe, seed=seed, device="cpu", on_epoch=on_epoch)
    return weights(model), result


def test_the_defaults_are_the_papers():
    recipe = Recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.momentum, recipe.weight_decay) == (100, 64, 0.9, 5e-4)
    rates = [recipe.learning_rate_at(epoch) for epoch in range(1, 101)]
    np.testing.assert_allclose(rates, [1e-2] * 50 + [1e-3] * 25 + [1e-4] * 25, rtol=1e-12)


@pytest.mark.parametrize(
    ("epochs", "lengths"), [(30, (15, 8, 7)), (4, (2, 1, 1)), (1, (1, 0, 0)), (2, (1, 1, 0)), (40, (20, 10, 10))]
)
def test_the_schedule_scales_with_the_epochs(epochs, lengths):
    rates = [Recipe(epochs=epochs).learning_rate_at(epoch) for epoch in range(1, epochs + 1)]
    expected = [rate for rate, length in zip((1e-2, 1e-3, 1e-4), lengths, strict=True) for _ in range(length)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_a_milestone_is_not_moved_by_rounding():
    recipe = Recipe(epochs=30, milestones=(0.1,))  # 0.1 * 30 > 3 in floating point
    assert recipe.learning_rate_at(3) == 1e-2 and recipe.learning_rate_at(4) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"epochs": 0}, "recipe.epochs: 0; input should be greater than or equal to 1"),
        ({"epochs": 2.5}, "epochs: 2.5"),
        ({"epochs": True}, "epochs: True; input should be a valid integer"),
        ({"batch_size": 1}, "batch_size: 1; input should be greater than or equal to 2"),
        ({"learning_rate": 0}, "learning_rate: 0; input should be greater than 0"),
        ({"learning_rate": "1e-2"}, "YAML reads 1e-2 as text"),
        ({"learning_rate": float("nan")}, "learning_rate: nan; input should be a finite number"),
        ({"momentum": 1.0}, "momentum: 1.0; input should be less than 1"),
        ({"weight_decay": -1}, "weight_decay: -1"),
        ({"milestones": [0.75, 0.5]}, "increasing"),
        ({"milestones": [50, 75]}, "milestones.0: 50; input should be less than 1"),
        ({"milestones": 0.5}, "valid list"),
        ({"decay": 0}, "decay: 0"),
    ],
)
def test_bad_recipes_name_field_value_and_range(options, message):
    with pytest.raises(ConfigError, match=message):
        Recipe.from_mapping(options)


def test_a_recipe_survives_plain_values():
    recipe = Recipe(epochs=7, milestones=(0.3, 0.6))
    assert Recipe.from_mapping(recipe.to_dict()) == recipe and hash(recipe) == hash(
        Recipe.from_mapping(recipe.to_dict())
    )


@pytest.mark.parametrize("n", [2, 63, 64, 65, 128, 129, 321])
def test_every_record_is_in_one_batch_and_none_has_a_single_record(n):
    batches = epoch_batches(n, batch_size=64, generator=torch.Generator().manual_seed(0))
    assert sorted(torch.cat(batches).tolist()) == list(range(n))
    assert min(map(len, batches)) > 1 and max(map(len, batches)) <= 65


def test_batches_depend_on_the_seed_alone():
    def epochs(seed):
        generator = torch.Generator().manual_seed(seed)
        return [torch.cat(epoch_batches(100, batch_size=8, generator=generator)) for _ in range(2)]

    first = epochs(5)
    torch.rand(7)  # the global generator must not matter
    assert same(first, epochs(5))
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[0], epochs(6)[0])


def test_the_same_seed_gives_the_same_weights_bit_for_bit(digits):
    first, result = train(digits)
    torch.rand(3)
    again, repeated = train(digits)
    assert same(first, again) and result.losses == repeated.losses
    assert not same(first, train(digits, seed=1)[0])


def test_a_callback_sees_every_epoch_and_changes_nothing(digits):
    seen = []

    def on_epoch(epoch, model):
        torch.rand(11)
        predict_logits(model.eval(), digits.images, device="cpu")
        seen.append(epoch)

    watched, _ = train(digits, on_epoch=on_epoch)
    assert seen == [1, 2, 3]
    assert same(watched, train(digits)[0])


def test_training_learns_and_reports_what_it_saw(digits):
    model = network()
    normalize = Normalizer.fit(digits.images)
    torch.manual_seed(9)
    expected = torch.rand(2)
    torch.manual_seed(9)
    recipe = Recipe(epochs=30)
    result = fit(model, digits.images, digits.labels, recipe=recipe, seed=0, device="cpu", normalize=normalize)
    assert torch.equal(torch.rand(2), expected), "torch's global generator was not put back"
    logits = predict_logits(model, digits.images, device="cpu", normalize=normalize)
    assert (logits.argmax(1) == digits.labels.numpy()).mean() > 0.95
    assert result.losses[-1] < result.losses[0] / 2 and result.accuracies[-1] > 0.8
    assert result.learning_rates == [recipe.learning_rate_at(epoch) for epoch in range(1, 31)]
    assert digits.images.dtype == torch.uint8


def test_the_steps_are_those_of_sgd_written_out(digits):
    images, labels = digits.images, digits.labels
    recipe = Recipe(epochs=4, learning_rate=0.05)
    seed_everything(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    weight, bias = (value.detach().clone().requires_grad_() for value in model[1].parameters())
    fit(model, images, labels, recipe=recipe, seed=2, device="cpu")
    velocity, order = [torch.zeros_like(weight), torch.zeros_like(bias)], torch.Generator().manual_seed(2)
    for rate in (0.05, 0.05, 0.005, 0.0005):
        for index in epoch_batches(len(labels), batch_size=64, generator=order):
            logits = (images[index].flatten(1) / 255) @ weight.T + bias
            loss = -logits.log_softmax(1)[torch.arange(len(index)), labels[index]].mean()
            gradients = torch.autograd.grad(loss, [weight, bias])
            with torch.no_grad():
                for moved, value, gradient in zip(velocity, (weight, bias), gradients, strict=True):
                    moved.mul_(0.9).add_(gradient + 5e-4 * value)
                    value -= rate * moved
    torch.testing.assert_close(model[1].weight, weight, rtol=0, atol=1e-5)
    torch.testing.assert_close(model[1].bias, bias, rtol=0, atol=1e-5)


def test_weights_that_the_last_step_has_spoiled_are_found() -> None:
    recipe = Recipe(epochs=1, batch_size=8, learning_rate=1e38, momentum=0.0, weight_decay=0.0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    images = torch.full((8, 1, 2, 2), 1e3)  # one step: its loss is that of the weights before it
    with pytest.raises(TrainingDiverged, match="after the last step weights are NaN or infinite"):
        fit(model, images, torch.arange(8) % 2, recipe=recipe, seed=0, device="cpu")


def test_a_diverging_training_is_named(digits):
    with pytest.raises(TrainingDiverged, match="in epoch 1; try a lower learning_rate"):
        train(digits, recipe=Recipe(epochs=2, learning_rate=1e30))


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, images):
        return self.inner(images), self.inner(images)


@pytest.mark.parametrize(
    ("model", "images", "labels", "error", "message"),
    [
        (network(classes=5), torch.zeros(40, 1, 8, 8), torch.arange(40) % 10, DataError, "model has 5 classes"),
        (network(), torch.zeros(40, 1, 8, 8), torch.arange(39), DataError, "expected"),
        (network(), torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64), DataError, "1 records"),
        (network(), torch.zeros(40, 1, 8, 8), torch.zeros(40), DataError, "float32"),
        (TwoHeads(), torch.zeros(40, 1, 8, 8), torch.zeros(40, dtype=torch.int64), AuditError, "returned a tuple"),
    ],
)
def test_bad_training_inputs_are_refused(model, images, labels, error, message):
    with pytest.raises(error, match=message):
        fit(model, images, labels, recipe=QUICK, seed=0, device="cpu")


def test_prediction_is_in_evaluation_mode_and_puts_each_layers_mode_back(digits):
    model = network()
    model.train()
    model[1].eval()  # a frozen BatchNorm
    logits = predict_logits(model, digits.images, batch_size=50, device="cpu")
    assert [module.training for module in model] == [True, False, True, True, True, True] and model.training
    with torch.no_grad():
        expected = model.eval()(digits.images.float() / 255).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert logits.dtype == np.float32 and logits.shape == (321, 10)


def test_devices(monkeypatch):
    assert resolve_device("cpu") == torch.device("cpu") == resolve_device(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match="sees 0 CUDA devices"):
        resolve_device("cuda")
    with pytest.raises(ConfigError, match="did you mean 'cuda'"):
        resolve_device("cudda")
    with pytest.raises(ConfigError, match="device: "):
        resolve_device("cpu:x")


def test_seed_everything_makes_models_reproducible():
    assert same(weights(network(3)), weights(network(3))) and not same(weights(network(3)), weights(network(4)))
    for bad in (-1, 2**32, 1.5):
        with pytest.raises(ConfigError, match="seed: "):
            seed_everything(bad)
