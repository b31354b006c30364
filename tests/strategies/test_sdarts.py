"""SDARTS: what is added to the probabilities, and what it does to the loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_searches import (
    SPACES,
    LayerChoiceSpace,
    all_equal,
    check_reproducible,
    copied,
    darts,
    nasbench201,
    prepared,
    ready_to_step,
)
from torch import Tensor

from nni_privacy.cells.darts import Genotype
from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.supernet import Gate, Gates
from nni_privacy.strategies.sdarts import SDARTS, Perturbation

LABELS = torch.arange(8) % 3
BATCH = (torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), LABELS)


def coefficients(search: Any) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {key: torch.randn(len(alpha), generator=generator) for key, alpha in search.architecture.items()}


def with_loss(search: Any, loss: Any) -> Any:
    """The search with a loss that is a known function of the gates."""
    search.supernet.loss = lambda images, labels, gates: loss(gates)
    return search


@pytest.mark.parametrize("steps", [1, 7])
def test_the_ascent_of_a_linear_loss_ends_in_the_corner_of_the_gradients_sign(steps: int) -> None:
    search = ready_to_step(prepared(SDARTS, nasbench201(), epsilon=0.1, ascent_steps=steps))
    slope = coefficients(search)
    with_loss(search, lambda gates: sum((slope[key] * gate.weights).sum() for key, gate in gates.items()))
    found = search.perturbation(BATCH)
    for key, delta in found.delta.items():
        torch.testing.assert_close(delta, 0.1 * slope[key].sign())
    # Hoelder: the loss rises by epsilon times the sum of the slopes' absolute values, and nothing can do better.
    rise = 0.1 * sum(float(value.abs().sum()) for value in slope.values())
    assert found.losses["perturbed_loss"] - found.losses["clean_loss"] == pytest.approx(rise, rel=1e-4)


def test_a_perturbation_that_does_not_raise_the_loss_is_dropped() -> None:
    search = ready_to_step(prepared(SDARTS, nasbench201()))
    clean = search.probabilities()

    def highest_without_delta(gates: Gates) -> Tensor:
        return -sum((gate.weights - clean[key]).square().sum() for key, gate in gates.items())  # type: ignore[return-value]

    found = with_loss(search, highest_without_delta).perturbation(BATCH)
    assert all(torch.count_nonzero(delta) == 0 for delta in found.delta.values())
    assert found.losses == {"clean_loss": 0.0, "perturbed_loss": 0.0}


@pytest.mark.parametrize("space", list(SPACES))
def test_adversarial_loss_is_at_least_the_clean_loss_on_every_batch_of_a_run(space: str) -> None:
    search = prepared(SDARTS, SPACES[space](), ascent_steps=3)
    rises: list[float] = []
    original = search.perturbation

    def observed(batch: Any) -> Perturbation:
        found = original(batch)
        losses = []
        search.supernet.eval()
        for factor in (0.0, 1.0):
            gates = {
                key: Gate(weights=torch.softmax(alpha, 0) + factor * found.delta[key])
                for key, alpha in search.architecture.items()
            }
            with torch.no_grad():
                losses.append(float(search.supernet.loss(*batch, gates)))
        search.supernet.train()
        assert losses == pytest.approx([found.losses["clean_loss"], found.losses["perturbed_loss"]], rel=1e-6)
        assert all(float(delta.abs().max()) <= search.epsilon + 1e-7 for delta in found.delta.values())
        rises.append(losses[1] - losses[0])
        return found

    search.perturbation = observed
    search.search()
    assert len(rises) == 4
    assert min(rises) >= 0
    assert max(rises) > 0


def test_the_ascent_beats_the_best_of_many_random_perturbations() -> None:
    generator = torch.Generator().manual_seed(0)
    search = ready_to_step(prepared(SDARTS, nasbench201(), epsilon=0.1))
    adversarial, best_drawn = [], []
    for _ in range(6):
        batch = (torch.rand(8, 1, 8, 8, generator=generator), LABELS)
        adversarial.append(search.perturbation(batch).losses["perturbed_loss"])
        search.supernet.eval()
        with torch.no_grad():
            drawn = [search.supernet.loss(*batch, search.perturbed_gates(search.random_delta())) for _ in range(30)]
        search.supernet.train()
        best_drawn.append(float(max(drawn)))
    # The loss is not concave: on single batches the best of thirty corners' neighbours can win.
    assert sum(adversarial) > sum(best_drawn)


def test_the_ascent_leaves_running_statistics_weights_and_alpha_alone() -> None:
    search = ready_to_step(prepared(SDARTS, LayerChoiceSpace()))
    state = {key: value.clone() for key, value in search.supernet.state_dict().items()}
    assert any("running_mean" in key for key in state)
    alpha = copied(search.architecture_parameters())
    search.perturbation(BATCH)
    assert all(torch.equal(value, state[key]) for key, value in search.supernet.state_dict().items())
    assert all_equal(alpha, search.architecture_parameters())
    assert all(parameter.grad is None for parameter in search.supernet.parameters())
    assert search.supernet.training


@pytest.mark.parametrize("variant", ["adversarial", "random"])
def test_the_weight_step_sees_the_perturbed_and_the_architecture_step_the_clean_architecture(variant: str) -> None:
    search = ready_to_step(prepared(SDARTS, nasbench201(), variant=variant, epsilon=0.2))
    train, validation = next(search.data.epoch(batch_size=8, seed=0, epoch=0))
    clean = {key: torch.softmax(alpha, 0).detach() for key, alpha in search.architecture.items()}
    seen: list[tuple[Tensor, Gates]] = []
    original = search.supernet.loss

    def loss(images: Tensor, labels: Tensor, gates: Gates) -> Tensor:
        seen.append((images, gates))
        return original(images, labels, gates)

    search.supernet.loss = loss
    found: list[Perturbation] = []
    perturbation = search.perturbation
    search.perturbation = lambda batch: found.append(perturbation(batch)) or found[-1]
    search.search_step(train, validation, 0)

    assert torch.equal(seen[0][0], validation[0])
    assert all(torch.equal(seen[0][1][key].weights, clean[key]) for key in clean)
    assert torch.equal(seen[-1][0], train[0])
    for key, alpha in search.architecture.items():
        gate = seen[-1][1][key]
        assert torch.equal(gate.weights, torch.softmax(alpha, 0) + found[0].delta[key])
        assert not gate.weights.requires_grad


def test_a_step_trains_the_weights_or_the_architecture() -> None:
    search = ready_to_step(prepared(SDARTS, nasbench201(), ascent_steps=1))
    train, validation = next(search.data.epoch(batch_size=8, seed=0, epoch=0))
    weights, alpha = list(search.supernet.parameters()), search.architecture_parameters()
    before = copied(weights)
    search.architecture_step(validation, train)
    assert all_equal(weights, before)
    before = copied(alpha)
    search.weight_step(train, search.perturbed_gates(search.perturbation(train).delta))
    assert all_equal(alpha, before)
    trained = {id(p) for group in search.weight_optimizer.param_groups for p in group["params"]}
    assert not trained & {id(parameter) for parameter in alpha}


def test_random_perturbations_are_uniform_in_the_ball_and_differ_from_step_to_step() -> None:
    search = ready_to_step(prepared(SDARTS, nasbench201(), variant="random", epsilon=0.2))
    draws = torch.stack([torch.cat(list(search.perturbation(BATCH).delta.values())) for _ in range(500)])
    assert float(draws.abs().max()) <= 0.2
    # A uniform variable on [-e, e] has mean 0 and variance e^2 / 3.
    assert float(draws.mean()) == pytest.approx(0, abs=0.005)
    assert float(draws.var()) == pytest.approx(0.2**2 / 3, rel=0.05)
    assert not torch.equal(draws[0], draws[1])


def test_epsilon_grows_linearly_from_3_to_30_percent() -> None:
    def epsilons(epochs: int) -> list[float]:
        search = prepared(SDARTS, nasbench201(), epochs=epochs)
        return [search.before_epoch(epoch) or search.epsilon for epoch in range(epochs)]

    assert epsilons(4) == pytest.approx([0.03, 0.12, 0.21, 0.3])
    assert epsilons(1) == [0.03]


def test_an_epoch_tells_both_losses() -> None:
    records: list[Any] = []
    prepared(SDARTS, nasbench201(), epochs=1, ascent_steps=1, on_epoch=records.append).search()
    metrics = records[0].metrics
    assert set(metrics) == {"validation_loss", "train_loss", "clean_loss", "perturbed_loss", "epsilon"}
    # The ascent's evaluation mode and the weight step's training mode agree: both normalise with the batch.
    assert metrics["train_loss"] == pytest.approx(metrics["perturbed_loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("variant", "space", "budget"),
    [
        ("random", "darts", 0),
        ("random", "layer_choice", 0),
        ("adversarial", "nasbench201", 4),
        ("adversarial", "layer_choice", 0),
    ],
)
def test_same_seed_same_search_and_resumed_equals_uninterrupted(
    variant: str, space: str, budget: int, tmp_path: Path
) -> None:
    check_reproducible(SDARTS, space, budget=budget, folder=tmp_path, variant=variant, ascent_steps=2)


def test_fixed_edges_of_the_darts_space() -> None:
    search = prepared(SDARTS, darts(nodes=4), budget=4, variant="random", epochs=1, batch_size=16)
    (sample,) = search.search()
    genotype = Genotype.from_sample(sample, nodes=4)
    fixed = search.layout().fixed.by_target("reduction")
    assert sum(map(len, fixed.values())) == 4
    assert all(edge in genotype.cell("reduction").into(target) for target, edges in fixed.items() for edge in edges)


@pytest.mark.parametrize(
    ("options", "fault"),
    [({"variant": "both"}, "variant"), ({"epsilon": 0.5}, "epsilon_max"), ({"ascent_steps": 0}, "ascent_steps")],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        SDARTS(**options)
