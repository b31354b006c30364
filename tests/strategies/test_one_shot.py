"""What one-shot strategies have in common: data, logs, errors, and the way into NNI."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nni.mutable import Categorical
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import ExecutableModelSpace, ModelStatus
from one_shot_spaces import SPACES, LayerSpace, images_and_labels, prepared, simplified
from torch import nn

from nni_privacy.cells.darts import DARTS_OPERATIONS, Cell, Edge, source_pairs
from nni_privacy.errors import ConfigError
from nni_privacy.evaluator import PrivacyEvaluator
from nni_privacy.patterns import CellPattern
from nni_privacy.runs.epochs import EpochRecord, read_epochs
from nni_privacy.search_spaces import DARTS
from nni_privacy.strategies import FixedPattern
from nni_privacy.strategies.darts import DARTSFirstOrder
from nni_privacy.strategies.one_shot import SearchData

EPOCHS = 4
OPTIONS: dict[str, Any] = {"batch_size": 8, "epochs": EPOCHS, "seed": 3}


def strategy_for(folder: Path | None = None, **options: Any) -> DARTSFirstOrder:
    return DARTSFirstOrder(**{"data": images_and_labels(), "folder": folder, **OPTIONS, **options})


# --- data ---


def test_the_halves_are_disjoint_and_equal_and_of_target_train_only() -> None:
    evaluator = PrivacyEvaluator("digits", recipe={"epochs": 1})
    data, split = evaluator.load_data()
    search = SearchData.of_evaluator(evaluator, seed=0, device="cpu")
    members = data.images[torch.from_numpy(split.target_train)]
    assert len(search.train) == len(search.validation) == len(members) // 2
    together = torch.cat([search.train, search.validation])
    assert len(together.unique()) == len(together)
    assert torch.equal(search.images, members)
    assert not torch.equal(SearchData.of_evaluator(evaluator, seed=1, device="cpu").train, search.train)


def test_a_search_sees_no_record_but_those_of_target_train(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = PrivacyEvaluator("digits", recipe={"epochs": 1})
    data, split = evaluator.load_data()
    poisoned = data.images.clone().float()
    others = np.setdiff1d(np.arange(len(poisoned)), split.target_train)
    poisoned[torch.from_numpy(others)] = float("nan")
    monkeypatch.setattr(type(evaluator), "load_data", lambda _: (_Data(poisoned, data.labels), split))
    strategy = DARTSFirstOrder(epochs=1, batch_size=200, seed=0)
    strategy.prepare(simplified(LayerSpace(), evaluator))
    strategy.search()  # raises if a loss is NaN
    assert all(torch.isfinite(value).all() for value in strategy.supernet.state_dict().values())


class _Data:
    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.images, self.labels = images, labels


def test_batches_of_an_epoch_follow_seed_and_number_and_cover_the_halves() -> None:
    data = SearchData.halved(*images_and_labels(49), seed=0, device="cpu")
    assert len(data.train) == len(data.validation) == 24

    def labels_and_sums(seed: int, epoch: int) -> list[tuple[float, float]]:
        batches = data.epoch(batch_size=8, seed=seed, epoch=epoch)
        return [(train[0].sum().item(), validation[0].sum().item()) for train, validation in batches]

    assert labels_and_sums(0, 2) == labels_and_sums(0, 2)
    assert len({tuple(labels_and_sums(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    seen = [labels for train, _ in data.epoch(batch_size=8, seed=0, epoch=0) for labels in train[1].tolist()]
    assert sorted(seen) == sorted(data.labels[data.train].tolist())


def test_a_search_leaves_the_global_generators_as_they_were() -> None:
    space = LayerSpace()
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    prepared(strategy_for(epochs=1), space).search()
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


# --- determinism and parameters ---


@pytest.mark.parametrize("name", SPACES)
def test_the_same_seed_finds_the_same_and_others_start_elsewhere(name: str) -> None:
    runs = []
    for seed in (5, 5, 6):
        strategy = prepared(strategy_for(seed=seed, epochs=1), SPACES[name]())
        runs.append((strategy.search(), [alpha.tolist() for alpha in strategy.architecture_parameters()]))
    assert runs[0] == runs[1]
    assert runs[0][1] != runs[2][1]


@pytest.mark.parametrize("name", SPACES)
def test_either_step_leaves_the_parameters_of_the_other_alone(name: str) -> None:
    strategy = prepared(strategy_for(), SPACES[name]())
    in_optimizer = {id(p) for group in strategy.weight_optimizer.param_groups for p in group["params"]}
    assert in_optimizer == {id(parameter) for parameter in strategy.supernet.parameters()}
    assert not in_optimizer & {id(parameter) for parameter in strategy.architecture_parameters()}
    train, validation = next(strategy.data.epoch(batch_size=8, seed=0, epoch=0))

    def snapshot(parameters: Any) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in parameters]

    weights, alpha = snapshot(strategy.supernet.parameters()), snapshot(strategy.architecture_parameters())
    strategy.architecture_step(validation, train)
    assert all(map(torch.equal, weights, strategy.supernet.parameters()))
    assert not any(map(torch.equal, alpha, strategy.architecture_parameters()))
    alpha = snapshot(strategy.architecture_parameters())
    with torch.no_grad():
        gates = strategy.weight_gates()
    strategy.weight_step(train, gates)
    assert all(map(torch.equal, alpha, strategy.architecture_parameters()))
    assert not all(map(torch.equal, weights, strategy.supernet.parameters()))


@pytest.mark.parametrize("label", ["with.dot", "keys", "training"])
def test_labels_may_be_called_anything(label: str, tmp_path: Path) -> None:
    class Labelled(ModelSpace):
        def __init__(self) -> None:
            super().__init__()
            self.layer = LayerChoice([nn.Flatten(), nn.Sequential(nn.ReLU(), nn.Flatten())], label=label)
            self.classifier = nn.Linear(36, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.classifier(self.layer(images))

    (found,) = prepared(strategy_for(tmp_path, epochs=1), Labelled()).search()
    assert list(found) == [label]
    assert prepared(strategy_for(tmp_path, epochs=1), Labelled()).epoch == 1


# --- logs ---


def test_tensorboard_can_read_the_log(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told: list[EpochRecord] = []
    prepared(strategy_for(tmp_path, on_epoch=told.append), LayerSpace()).search()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = {"train_loss", "validation_loss", "entropy", "skip_connections", "seconds"}
    assert {f"search/{tag}" for tag in tags} <= set(events.Tags()["scalars"])
    for tag in ("train_loss", "validation_loss"):
        scalars = events.Scalars(f"search/{tag}")
        assert [scalar.step for scalar in scalars] == [record.epoch for record in told] == list(range(1, EPOCHS + 1))
        assert [scalar.value for scalar in scalars] == pytest.approx([record.metrics[tag] for record in told])
    assert read_epochs(tmp_path) == told
    assert "train loss" in str(told[0]) and f"epoch 1/{EPOCHS}" in str(told[0])


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepared(strategy_for(epochs=1), LayerSpace()).search()
    assert list(tmp_path.iterdir()) == []


# --- errors before anything starts ---


def test_a_batch_larger_than_the_half_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size: 25; each half of the training records has 24"):
        prepared(strategy_for(tmp_path / "search", batch_size=25), LayerSpace())
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch": 3}, "epoch: unknown key.*epochs"),
        ({"epochs": 0}, "epochs: 0"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"batch_size": "64"}, "batch_size"),
    ],
)
def test_an_unknown_or_impossible_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DARTSFirstOrder(**options)


def test_a_space_with_no_choice_left_is_refused() -> None:
    edges = [Edge(source, target, DARTS_OPERATIONS[0]) for target in range(2, 5) for source in source_pairs(target)[0]]
    assert Cell(tuple(edges)).nodes == 3
    everything = CellPattern("all", "reduction", "demotion", tuple(edges))
    other = FixedPattern(
        FixedPattern(strategy_for(), everything, budget=6),
        CellPattern("all", "normal", "demotion", tuple(edges)),
        budget=6,
    )
    with pytest.raises(ConfigError, match="no choice left"):
        other.initialize(simplified(SPACES["darts"]()), None)


def test_data_that_does_not_fit_is_refused() -> None:
    images, labels = images_and_labels()
    with pytest.raises(ConfigError, match="48 images and 47 labels"):
        prepared(strategy_for(data=(images, labels[:-1])), LayerSpace())
    with pytest.raises(ConfigError, match="does not say what to search on"):
        prepared(strategy_for(data=None), LayerSpace())


def test_a_space_narrowed_in_another_way_than_by_edges_is_refused() -> None:
    model_space = simplified(SPACES["darts"]())
    choices = dict(model_space.mutables)
    label = next(label for label, choice in choices.items() if len(choice.values) == 7)
    choices[label] = Categorical(list(choices[label].values)[:3], label=label)
    with pytest.raises(ConfigError, match="fixed edges only"):
        strategy_for().prepare(type(model_space)(model_space.model, choices, None))


# --- the way into NNI ---


class CountingEngine(SequentialExecutionEngine):
    """Takes models and trains none."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__(max_model_count=limit)
        self.submitted: list[ExecutableModelSpace] = []

    def submit_models(self, *models: ExecutableModelSpace) -> None:
        self.submitted += models

    def idle_worker_available(self) -> bool:
        return True

    def budget_available(self) -> bool:
        return self.max_model_count is None or len(self.submitted) < self.max_model_count


@pytest.mark.parametrize("budget", [0, 4])
@pytest.mark.parametrize("top_k", [1, 4])
def test_the_engine_gets_exactly_top_k_frozen_models(top_k: int, budget: int) -> None:
    space, engine = DARTS(channels=2, cells=3, nodes=3, in_channels=1), CountingEngine()
    strategy = FixedPattern(strategy_for(epochs=1, top_k=top_k), "demotion-reduction", budget=budget)
    strategy.initialize(simplified(space), engine)
    strategy.run()
    assert len(engine.submitted) == top_k
    assert len({str(sorted(model.sample.items())) for model in engine.submitted}) == top_k
    for model in engine.submitted:
        assert model.status == ModelStatus.Frozen
        assert space.contains(model.sample)
        assert not strategy.fixed.missing_from(model.executable_model().genotype)


def test_an_engine_without_budget_left_gets_no_more() -> None:
    engine = CountingEngine(limit=2)
    strategy = strategy_for(epochs=1, top_k=5)
    strategy.initialize(simplified(LayerSpace()), engine)
    strategy.run()
    assert len(engine.submitted) == 2


def test_the_submitted_models_have_no_weights_of_the_supernet() -> None:
    engine = CountingEngine()
    strategy, space = strategy_for(epochs=1), SPACES["nasbench201"]()
    strategy.initialize(simplified(space), engine)
    strategy.run()
    torch.manual_seed(0)
    network = engine.submitted[0].executable_model()
    torch.manual_seed(0)
    fresh = space.freeze(engine.submitted[0].sample)
    assert all(map(torch.equal, network.parameters(), fresh.parameters()))
