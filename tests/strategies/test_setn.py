"""SETN: uniform paths train the weights, the joint mixture trains alpha, the likeliest architectures are scored."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from one_shot_spaces import SPACES, images_and_labels, prepared

from nni_privacy.strategies.setn import SETN
from nni_privacy.strategies.weight_sharing import judging

BUDGETS = [("darts", 0), ("darts", 4), ("nasbench201", 4), ("layers", 0)]


def strategy_for(name: str, *, budget: int = 0, **options: Any) -> SETN:
    settings = {"data": images_and_labels(), "batch_size": 8, "epochs": 1, "seed": 1, "candidates": 8, **options}
    strategy = prepared(SETN(**settings), SPACES[name](), budget=budget)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in strategy.architecture_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return strategy


def log_probability(strategy: SETN, sample: dict[str, Any]) -> float:
    logs = {key: torch.log_softmax(alpha.detach().double(), 0) for key, alpha in strategy.architecture.items()}
    return float(strategy.layout().log_probability(sample, logs))


@pytest.mark.parametrize(("name", "budget"), BUDGETS)
def test_weights_run_one_path_and_the_architecture_runs_the_whole_mixture(name: str, budget: int) -> None:
    strategy = strategy_for(name, budget=budget)
    strategy.generator = torch.Generator().manual_seed(0)
    passes = [strategy.weight_gates() for _ in range(8)]
    assert all(gate.weights is None and len(gate.active or ()) == 1 for gates in passes for gate in gates.values())
    paths = [{key: gate.active for key, gate in gates.items()} for gates in passes]
    assert any(path != paths[0] for path in paths)
    joint = strategy.gates()
    assert set(joint) == {decision.key for decision in strategy.layout().decisions}
    assert all(
        gate.active is None and float(gate.weights.detach().sum()) == pytest.approx(1) for gate in joint.values()
    )


def test_paths_are_uniform_whatever_alpha_prefers() -> None:
    strategy = strategy_for("layers")
    with torch.no_grad():
        strategy.architecture["conv"].copy_(torch.tensor([50.0, 0.0, 0.0]))
    strategy.generator = torch.Generator().manual_seed(0)
    drawn = torch.tensor([(strategy.weight_gates()["conv"].active or (0,))[0] for _ in range(900)])
    assert all(abs(int(count) - 300) < 5 * 300**0.5 for count in drawn.bincount(minlength=3))


def test_each_step_leaves_the_other_half_alone() -> None:
    strategy = strategy_for("nasbench201")
    strategy.generator = torch.Generator().manual_seed(0)
    batch = strategy.data.batch(strategy.data.train[:8])
    weights = [parameter.detach().clone() for parameter in strategy.supernet.parameters()]
    alphas = [parameter.detach().clone() for parameter in strategy.architecture_parameters()]
    strategy.architecture_step(batch, batch)
    assert all(torch.equal(a, b) for a, b in zip(strategy.supernet.parameters(), weights, strict=True))
    moved = [parameter.detach().clone() for parameter in strategy.architecture_parameters()]
    assert all(not torch.equal(a, b) for a, b in zip(moved, alphas, strict=True))
    strategy.weight_step(batch, strategy.weight_gates())
    assert all(torch.equal(a, b) for a, b in zip(strategy.architecture_parameters(), moved, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(strategy.supernet.parameters(), weights, strict=True))


@pytest.mark.parametrize(("name", "budget"), [("nasbench201", 4), ("layers", 0)])
def test_the_likeliest_of_a_small_space_are_those_of_its_enumeration(name: str, budget: int) -> None:
    strategy = strategy_for(name, budget=budget)
    choices = strategy.layout().choices
    every = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    expected = sorted(every, key=lambda sample: log_probability(strategy, sample), reverse=True)
    assert strategy.likeliest(8) == expected[:8]


@pytest.mark.parametrize("budget", [0, 4])
def test_the_likeliest_of_a_large_space_are_different_and_far_likelier_than_random_ones(budget: int) -> None:
    strategy = strategy_for("darts", budget=budget, draws=300)
    found = strategy.likeliest(20)
    sums = [log_probability(strategy, sample) for sample in found]
    layout = strategy.layout()
    assert sums == sorted(sums, reverse=True) and len({layout.describe(sample) for sample in found}) == 20
    generator = torch.Generator().manual_seed(0)
    random = [log_probability(strategy, layout.random_sample(generator)) for _ in range(500)]
    assert sums[0] >= max(random) and sums[-1] > sum(random) / len(random)
    assert all(sample[label] in values for sample in found for label, values in layout.choices.items())


@pytest.mark.parametrize(("name", "budget"), BUDGETS)
def test_the_candidate_with_the_highest_accuracy_wins_and_ties_go_to_the_likelier(name: str, budget: int) -> None:
    strategy = strategy_for(name, budget=budget, batch_size=24, draws=50)
    strategy.search()
    found = strategy.best_samples(8)
    batch = strategy.data.validation_batch(batch_size=24, seed=strategy.stream(8))
    with judging(strategy.supernet):
        ranks = [(-strategy.accuracy(sample, batch), -log_probability(strategy, sample)) for sample in found]
    assert ranks == sorted(ranks)
    assert sorted(map(str, found)) == sorted(map(str, strategy.likeliest(8)))
    assert strategy.best_samples(2) == found[:2]
