"""Random search with shared weights: uniform paths, and different candidates ranked by their accuracy."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
import torch
from one_shot_spaces import SPACES, images_and_labels, opened, prepared
from torch import Tensor

from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.supernet import Gates
from nni_privacy.strategies.one_shot import Batch
from nni_privacy.strategies.random_search import RandomSearch, distinct_random_samples
from nni_privacy.strategies.weight_sharing import judging

BUDGETS = [("darts", 0), ("darts", 4), ("nasbench201", 0), ("nasbench201", 4), ("layers", 0)]


def strategy_for(name: str, *, budget: int = 0, **options: Any) -> RandomSearch:
    settings = {"data": images_and_labels(), "batch_size": 8, "epochs": 1, "seed": 1, "candidates": 8, **options}
    return prepared(RandomSearch(**settings), SPACES[name](), budget=budget)


# --- the path of a step ---


@pytest.mark.parametrize(("name", "budget"), BUDGETS)
def test_every_step_trains_one_path_of_the_space(name: str, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = strategy_for(name, budget=budget)
    seen: list[Gates] = []

    def record(batch: Batch, gates: Gates) -> float:
        seen.append(gates)
        return 0.0

    monkeypatch.setattr(strategy, "weight_step", record)
    strategy.run_epoch(0)
    paths = [{key: gate.active for key, gate in gates.items()} for gates in seen]
    assert len(seen) == 3
    assert all(gate.weights is None and len(gate.active or ()) == 1 for gates in seen for gate in gates.values())
    assert any(path != paths[0] for path in paths[1:])
    strategy.run_epoch(1)
    assert [{key: gate.active for key, gate in gates.items()} for gates in seen[3:]] != paths


def test_a_step_changes_the_weights_of_its_path_only(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = strategy_for("nasbench201")
    sample = dict.fromkeys(strategy.layout().choices, "nor_conv_3x3")
    monkeypatch.setattr(strategy.layout(), "random_sample", lambda generator: sample)
    before = {name: value.clone() for name, value in strategy.supernet.state_dict().items()}
    strategy.run_epoch(0)
    changed = {name for name, value in strategy.supernet.state_dict().items() if not torch.equal(value, before[name])}
    assert any("nor_conv_3x3" in name for name in changed)
    assert not any("nor_conv_1x1" in name for name in changed)


# --- candidates ---


def test_samples_of_a_space_are_numbered() -> None:
    layout = opened("nasbench201", budget=4).supernet(seed=0, channels=1, cells=1).layout
    expected = [
        dict(zip(layout.choices, values, strict=True)) for values in itertools.product(*layout.choices.values())
    ]
    assert layout.size() == len(expected) == 125
    assert [layout.sample_at(index) for index in range(len(expected))] == expected


def test_draws_without_replacement_give_the_whole_of_a_small_space() -> None:
    layout = opened("layers").supernet(seed=0).layout
    drawn = distinct_random_samples(layout, 100, generator=torch.Generator().manual_seed(0))
    assert len(drawn) == len({tuple(sample.values()) for sample in drawn}) == layout.size() == 9


@pytest.mark.parametrize(("name", "budget"), BUDGETS)
def test_draws_are_different_and_uniform(name: str, budget: int) -> None:
    layout = opened(name, budget=budget).supernet(seed=0, **({} if name == "layers" else {"channels": 1})).layout
    generator = torch.Generator().manual_seed(0)
    drawn = [sample for _ in range(200) for sample in distinct_random_samples(layout, 5, generator=generator)]
    for label, values in layout.choices.items():
        counts = Counter(sample[label] for sample in drawn)
        assert set(counts) == set(values)
        expected = len(drawn) / len(values)
        assert all(abs(count - expected) <= 5 * expected**0.5 for count in counts.values())


@pytest.mark.parametrize(("name", "budget"), BUDGETS)
def test_the_best_candidates_come_first(name: str, budget: int) -> None:
    strategy = strategy_for(name, budget=budget)
    strategy.search()
    images, labels = strategy.data.batch(strategy.data.validation)
    strategy.supernet.train()

    def accuracy(sample: dict[str, Any]) -> float:
        with torch.no_grad(), judging(strategy.supernet):
            logits = strategy.supernet(images, strategy.supernet.path_gates(sample))
        return float((logits.argmax(1) == labels).double().mean())

    found = strategy.best_samples(8)
    accuracies = [accuracy(sample) for sample in found]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] == max(accuracy(sample) for sample in strategy.drawn_candidates(8))
    assert len({strategy.layout().describe(sample) for sample in found}) == 8
    assert strategy.best_samples(1) == found[:1]
    assert all(sample[label] in values for sample in found for label, values in strategy.layout().choices.items())


def test_equally_accurate_samples_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = strategy_for("layers")
    samples = strategy.drawn_candidates(8)
    monkeypatch.setattr(strategy, "accuracy", lambda sample, batch: float(sample["conv"] == "conv_1x1"))
    ranked = strategy.ranked_by_accuracy(samples, (torch.zeros(0), torch.zeros(0)))
    assert ranked == [s for s in samples if s["conv"] == "conv_1x1"] + [s for s in samples if s["conv"] != "conv_1x1"]


def test_judging_uses_the_batch_and_leaves_the_network_as_it_was() -> None:
    network = opened("layers").supernet(seed=0)
    network.train()
    gates = network.path_gates({"conv": "conv_3x3", "head.activation": "0"})
    images = torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 3 + 5
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with judging(network), torch.no_grad():
        first, again = network(images, gates), network(images, gates)
        shifted: Tensor = network(images * 2, gates)
    assert torch.equal(first, again)  # no dropout
    assert not torch.allclose(first, network.eval()(images, gates), atol=1e-3)  # not the running statistics
    assert torch.allclose(first, shifted, atol=0.1)  # which do not follow the batch
    network.train()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(part.training for part in network.modules())


# --- the search as a whole ---


@pytest.mark.parametrize("option", [{"candidates": 0}, {"score_batch_size": 1}, {"draws": 5}])
def test_wrong_options_are_named(option: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        RandomSearch(**option)
