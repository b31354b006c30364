"""GDAS: what is drawn, its gradient, and what runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_searches import SPACES, all_equal, check_reproducible, copied, darts, prepared, ready_to_step
from torch import nn

from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.mixed_modules import MixedLayer
from nni_privacy.search_spaces.supernet import NONE, MixedOperation
from nni_privacy.strategies.gdas import GDAS

DRAWS = 1500


@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.1])
def test_a_sample_is_one_hot_forward_and_has_the_softmax_gradient_backward(temperature: float) -> None:
    search = ready_to_step(prepared(GDAS, darts(), temperature=temperature, temperature_min=temperature))
    key, alpha = search.architecture.items()[0]
    with torch.no_grad():
        alpha.copy_(torch.linspace(-1, 1, len(alpha)))
    noise = -torch.empty(len(alpha)).exponential_(generator=torch.Generator().manual_seed(0)).log().double().numpy()
    logits = (torch.log_softmax(alpha, 0).detach().double().numpy() + noise) / temperature
    p = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()

    gate = search.gates()[key]
    assert gate.active == (int(p.argmax()),)
    assert torch.equal(gate.weights, torch.eye(len(alpha))[int(p.argmax())])

    # Only the h of the operation that ran sees a gradient c: d/da = c * (e_i - p) * p_i / tau.
    (gradient,) = torch.autograd.grad(3.0 * gate.weights[gate.active[0]], alpha)
    i = int(p.argmax())
    expected = 3.0 * p[i] * (np.eye(len(p))[i] - p) / temperature
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("temperature", [10.0, 0.1])
def test_operations_are_drawn_with_probability_softmax_alpha_at_any_temperature(temperature: float) -> None:
    search = ready_to_step(
        prepared(GDAS, SPACES["layer_choice"](), temperature=temperature, temperature_min=temperature)
    )
    alpha = search.architecture["first"]
    with torch.no_grad():
        alpha.copy_(torch.tensor([1.0, 0.0, -1.0]))
        counts = Counter(search.gates()["first"].active[0] for _ in range(DRAWS))
    for index, p in enumerate(torch.softmax(alpha, 0).tolist()):
        assert abs(counts[index] / DRAWS - p) < 4 * np.sqrt(p * (1 - p) / DRAWS)


def count_operations(network: nn.Module) -> Counter[tuple[str, str]]:
    """(place in the network, candidate) to the number of times that its module ran, from now on."""
    calls: Counter[tuple[str, str]] = Counter()

    def note(place: str, candidate: str) -> Any:
        return lambda *_: calls.update([(place, candidate)])

    for place, module in network.named_modules():
        if isinstance(module, MixedOperation | MixedLayer):
            candidates = module.operations if isinstance(module, MixedOperation) else module.layers
            for name, candidate in candidates.items():
                candidate.register_forward_hook(note(place, name))
    return calls


@pytest.mark.parametrize("space", list(SPACES))
@pytest.mark.parametrize("step", ["weights", "architecture"])
def test_exactly_one_operation_an_edge_runs_in_a_forward_pass(space: str, step: str) -> None:
    search = ready_to_step(prepared(GDAS, SPACES[space]()))
    calls = count_operations(search.supernet)
    drawn: list[dict[str, str]] = []
    original = search.gates

    def gates() -> Any:
        found = original()
        names = {decision.key: decision.candidates for decision in search.supernet.decisions}
        drawn.append({key: names[key][gate.active[0]] for key, gate in found.items()})
        return found

    search.gates = gates
    (train, validation) = next(search.data.epoch(batch_size=8, seed=0, epoch=0))
    for _ in range(5):
        calls.clear()
        if step == "weights":
            search.weight_step(train, search.weight_gates())
        else:
            search.architecture_step(validation, train)
        expected = {
            (place, drawn[-1][module.decision.key]): 1
            for place, module in search.supernet.named_modules()
            if isinstance(module, MixedOperation | MixedLayer) and drawn[-1][module.decision.key] != NONE
        }
        assert dict(calls) == expected
    assert len(drawn) == 5


def test_weight_and_architecture_step_draw_separately() -> None:
    search = ready_to_step(prepared(GDAS, darts()))
    drawn = [tuple(gate.active for gate in search.gates().values()) for _ in range(4)]
    assert len(set(drawn)) == 4


def test_temperature_falls_linearly_from_10_to_a_tenth() -> None:
    def temperatures(epochs: int) -> list[float]:
        search = prepared(GDAS, darts(), epochs=epochs)
        return [search.before_epoch(epoch) or search.temperature for epoch in range(epochs)]

    assert temperatures(5) == pytest.approx([10, 7.525, 5.05, 2.575, 0.1])
    assert temperatures(1) == [10]


def test_a_step_trains_the_weights_or_the_architecture_and_of_the_weights_only_what_ran() -> None:
    search = ready_to_step(prepared(GDAS, darts()))
    train, validation = next(search.data.epoch(batch_size=8, seed=0, epoch=0))
    weights, alpha = list(search.supernet.parameters()), search.architecture_parameters()

    before = copied(weights)
    search.architecture_step(validation, train)
    assert all_equal(weights, before)

    old = {name: value.detach().clone() for name, value in search.supernet.named_parameters()}
    before = copied(alpha)
    gates = search.weight_gates()
    search.weight_step(train, gates)
    assert all_equal(alpha, before)
    ran = {
        (place, module.decision.candidates[gates[module.decision.key].active[0]])
        for place, module in search.supernet.named_modules()
        if isinstance(module, MixedOperation)
    }
    changed = {name for name, value in search.supernet.named_parameters() if not torch.equal(value, old[name])}
    places = {tuple(name.split(".operations.")) for name in changed if ".operations." in name}
    assert {(place, rest.split(".")[0]) for place, rest in places} <= ran
    assert places


@pytest.mark.parametrize(("space", "budget"), [("darts", 4), ("nasbench201", 0), ("layer_choice", 0)])
def test_same_seed_same_search_and_resumed_equals_uninterrupted(space: str, budget: int, tmp_path: Path) -> None:
    check_reproducible(GDAS, space, budget=budget, folder=tmp_path)


def test_a_temperature_that_rises_is_refused() -> None:
    with pytest.raises(ConfigError, match="temperature_min"):
        GDAS(temperature=0.1, temperature_min=1.0)
