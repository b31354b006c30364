"""A function of the user's own that trains instead: ``train: module:function``."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bare_loop import network, same
from shadows.support_shadows import TINY, pool, references
from torch.nn import functional
from torch.utils.data import DataLoader

from nni_privacy.auditing.shadows import spec_for
from nni_privacy.auditing.shadows.plan import ShadowTask
from nni_privacy.config import parse_config
from nni_privacy.data import Normalizer, load_dataset
from nni_privacy.errors import ConfigError, PrivacyError
from nni_privacy.training.fit import TrainingDiverged, epoch_batches, fit
from nni_privacy.training.recipe import Recipe

SEED = 7
FUNCTIONS = "training_functions"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def digits() -> Any:
    return load_dataset("digits", limit=150)


def recipe(function: str, **options: Any) -> Recipe:
    settings = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-3, "train": f"training_functions:{function}"}
    return Recipe(**{**settings, **options})


def test_it_trains_as_it_would_by_itself(digits: Any) -> None:
    normalize = Normalizer.fit(digits.images)
    model, seen = network(), []
    state = torch.random.get_rng_state()
    result = fit(model, digits.images, digits.labels, recipe=recipe("train"), seed=SEED, device="cpu",
                 normalize=normalize, on_epoch=lambda epoch, model: seen.append((epoch, torch.rand(3))))  # fmt: skip
    assert [epoch for epoch, _ in seen] == [1, 2] and result.losses == [] and result.epsilon is None
    assert torch.equal(state, torch.random.get_rng_state())
    expected = network().to(memory_format=torch.channels_last)
    optimizer, order = torch.optim.RMSprop(expected.parameters(), lr=1e-3), torch.Generator().manual_seed(SEED)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        for _ in range(2):
            expected.train()
            for index in DataLoader(range(len(digits.images)), batch_size=32, shuffle=True, generator=order):
                batch = torch.stack([normalize(digits.images[[row]])[0] for row in index.tolist()])
                optimizer.zero_grad()
                functional.cross_entropy(expected(batch), digits.labels[index]).backward()
                optimizer.step()
    for one, other in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    again = network()
    fit(again, digits.images, digits.labels, recipe=recipe("train"), seed=SEED, device="cpu", normalize=normalize)
    assert same(model, again)


def test_its_data_are_records_and_batches(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import training_functions

    found: dict[str, Any] = {}
    monkeypatch.setattr(training_functions, "draws", lambda **arguments: found.update(arguments))
    fit(network(), digits.images, digits.labels, recipe=recipe("draws"), seed=SEED, device="cpu")
    data = found["data"]
    assert set(found) == {"model", "data", "recipe", "seed", "device", "on_epoch"}
    assert found["device"] == torch.device("cpu") and found["seed"] == SEED and found["recipe"].batch_size == 32
    images, labels = digits.images.float() / 255, digits.labels
    for rows in ([3, 1], torch.tensor([3, 1]), slice(2, 9), np.array([5])):
        assert torch.equal(data[rows][0], images[rows]) and torch.equal(data[rows][1], labels[rows])
    assert torch.equal(data[4][0], images[4]) and data[-1][1] == labels[-1] and len(list(data)) == 150
    batches = epoch_batches(len(data), batch_size=32, generator=torch.Generator().manual_seed(0))
    assert sum(len(data[index][1]) for index in batches) == 150


def test_all_libraries_are_seeded_and_put_back(digits: Any) -> None:
    models = [network() for _ in range(3)]  # they seed the libraries, too

    def drawn(seed: int) -> list[float]:
        model = models.pop()
        fit(model, digits.images, digits.labels, recipe=recipe("draws"), seed=seed, device="cpu")
        return model[0].weight.flatten()[:3].tolist()

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global one is meant
    expected = random.random(), np.random.rand()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = drawn(3)
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002
    assert first == drawn(3) and not set(first) & set(drawn(4))


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nowhere:train", ConfigError, "recipe.train: 'nowhere:train' cannot be imported: .*No module named 'nowhere'"),
        (f"{FUNCTIONS}:trian", ConfigError, f"{FUNCTIONS} has no such function; did you mean 'train'"),
        (f"{FUNCTIONS}:takes_less", ConfigError, rf"{FUNCTIONS}.py:\d+: takes_less: .*called with model, data, recipe"),
        (f"{FUNCTIONS}:fails", ConfigError, rf"recipe.train '{FUNCTIONS}:fails': .*{FUNCTIONS}.py:\d+: KeyError"),
        (f"{FUNCTIONS}:spoils", TrainingDiverged, f"after '{FUNCTIONS}:spoils' weights are NaN or infinite"),
    ],
)
def test_what_is_wrong_with_it_is_told_in_one_line(digits: Any, name: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message) as found:
        fit(network(), digits.images, digits.labels, recipe=Recipe(epochs=1, train=name), seed=0, device="cpu")
    assert "\n" not in str(found.value) and isinstance(found.value, PrivacyError)


def test_a_configuration_is_checked_before_anything_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content: dict[str, Any] = {
        "name": "own", "dataset": "digits", "search_space": {"name": "darts", "channels": 4, "cells": 3},
        "strategy": "random", "trials": 1, "evaluator": {"attacks": ["loss_threshold"]},
    }  # fmt: skip
    content["evaluator"]["recipe"] = {"train": "training_functions:trian"}
    with pytest.raises(ConfigError, match=r"recipe.train: .*did you mean 'train'"):
        parse_config(content)
    (tmp_path / "here_only.py").write_text("def train(**everything):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    content["evaluator"]["recipe"] = {"train": "here_only:train"}
    assert parse_config(content).evaluator.recipe.train == "here_only:train"
    content["evaluator"]["attacks"] = ["lt_iqr"]
    with pytest.raises(ConfigError, match=r"recipe\.train: attack 'lt_iqr' compares epochs"):
        parse_config(content)


def test_shadows_are_trained_by_it_and_remembered_by_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def key(name: str) -> str:
        return ShadowTask(
            number=0, model=spec_for(TINY), model_digest="x", recipe=Recipe(train=name), data="d",
            training=np.arange(4), queries=np.arange(8), seed=1, device="cpu",
        ).key  # fmt: skip

    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "changing_training.py"
    module.write_text("def train(**everything):\n    pass\n")
    first = key("changing_training:train")
    module.write_text("def train(**everything):\n    return 1\n")
    assert key("changing_training:train") != first != key("training_functions:train")
    found = references(count=2, cache=tmp_path, recipe=recipe("train"))
    again = references(count=2, cache=tmp_path / "other", recipe=recipe("train"))
    np.testing.assert_array_equal(found.logits, again.logits)
    plain = references(count=2, cache=tmp_path, recipe=Recipe(epochs=2, batch_size=32, learning_rate=1e-3))
    assert not np.array_equal(found.logits, plain.logits) and len(found.logits) == len(pool()[1])


def test_every_option_is_part_of_the_key() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"optimizer": "adam"}, {"schedule": "cosine"}, {"nesterov": True}, {"warm_up": 2}, {"gradient_clip": 1.0},
        {"precision": "bfloat16"}, {"class_weights": "balanced"}, {"cutout": 2}, {"mixup": 0.1}, {"cutmix": 0.1},
        {"drop_path": 0.1}, {"auxiliary": 0.4}, {"ema": 0.9}, {"stop_early": {"patience": 2}},
        {"stop_early": {"patience": 2, "share": 0.2}},
    ]  # fmt: skip
    keys = {
        ShadowTask(
            number=0, model=spec_for(TINY), model_digest="x", recipe=Recipe.from_mapping(change), data="d",
            training=np.arange(4), queries=np.arange(8), seed=1, device="cpu",
        ).key
        for change in changes
    }  # fmt: skip
    assert len(keys) == len(changes)


def test_an_exported_model_imports_nothing_because_its_file_says_so() -> None:
    from nni_privacy.commands.audit_target import Asked, _trusted

    def asked(**options: Any) -> Asked:
        return Asked(**{**dict.fromkeys(("weights", "members", "nonmembers", "normalize", "attacks", "shadows")),
                        "model": "folder", "recipe": {}, "effort": {}, "reference": None, "seed": None,
                        **options})  # fmt: skip

    theirs = {"epochs": 3, "train": "their_module:train"}
    with pytest.raises(ConfigError, match="folder: its recipe trains by 'their_module:train', and nothing is imported"):
        _trusted(theirs, asked())
    assert _trusted(theirs, asked(plugins=["their_module"])) == theirs and _trusted({"epochs": 3}, asked())
