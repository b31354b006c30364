"""PC-DARTS: partial channels, edge normalisation, the export, the warm-up."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_searches import CLASSES, SPACES, all_equal, check_reproducible, copied, darts, prepared, ready_to_step
from torch import Tensor

from nni_privacy.cells.darts import Genotype
from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.operations import build_operation
from nni_privacy.search_spaces.supernet import Decision, Gate, MixedOperation, Switchboard
from nni_privacy.strategies.pc_darts import PCDARTS

CANDIDATES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
K = 4


def mixed_operation(channels: int, stride: int) -> tuple[MixedOperation, Switchboard]:
    torch.manual_seed(0)
    switchboard = Switchboard()
    operation = MixedOperation(
        Decision("edge", CANDIDATES),
        channels=channels,
        stride=stride,
        build=lambda name, width, step: build_operation(name, width, stride=step, affine=False),
        switchboard=switchboard,
        partial=K,
    )
    return operation, switchboard


def shuffled(channels: int, seen: int) -> list[int]:
    """Channels written down in rows of ``seen`` and read in columns."""
    rows = [range(channels)[start : start + seen] for start in range(0, channels, seen)]
    return [channel for column in zip_longest(*rows) for channel in column if channel is not None]


def pooled(x: Tensor) -> Tensor:
    """The maximum of every window of 2x2; those at an odd border are smaller."""
    n, channels, height, width = x.shape
    result = torch.empty(n, channels, (height + 1) // 2, (width + 1) // 2)
    for i in range(result.shape[2]):
        for j in range(result.shape[3]):
            result[:, :, i, j] = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].amax(dim=(2, 3))
    return result


@pytest.mark.parametrize("channels", [3, 8, 9, 10, 15, 16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [4, 5])
@pytest.mark.parametrize("active", [None, (3,), (0,)], ids=["all", "one", "none"])
def test_untouched_channels_bypass_bit_for_bit(
    channels: int, stride: int, side: int, active: tuple[int, ...] | None
) -> None:
    operation, switchboard = mixed_operation(channels, stride)
    x = torch.randn(2, channels, side, side)
    switchboard.gates = {"edge": Gate(weights=torch.full((len(CANDIDATES),), 0.3), active=active)}
    output = operation(x)
    seen = max(channels // K, 1)
    assert output.shape == (2, channels, -(-side // stride), -(-side // stride))
    untouched = pooled(x) if stride == 2 else x
    for position, channel in enumerate(shuffled(channels, seen)):
        if channel >= seen:
            assert torch.equal(output[:, position], untouched[:, channel])


def test_candidates_see_the_first_channels_and_their_mixture_is_shuffled_in_groups() -> None:
    operation, switchboard = mixed_operation(16, 1)
    inputs: list[Tensor] = []
    operation.operations["sep_conv_3x3"].register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    x, weights = torch.randn(2, 16, 4, 4), torch.tensor([0.1, 0.2, 0.3, 0.4])
    switchboard.gates = {"edge": Gate(weights=weights)}
    output = operation(x)
    assert torch.equal(inputs[0], x[:, :4])
    mixture = sum(weights[i] * operation.operations[name](x[:, :4]) for i, name in enumerate(CANDIDATES) if i)
    joined = torch.cat([mixture, x[:, 4:]], dim=1)
    expected = joined.view(2, K, 16 // K, 4, 4).transpose(1, 2).reshape(2, 16, 4, 4)
    torch.testing.assert_close(output, expected)


def test_the_supernet_has_partial_channels() -> None:
    assert prepared(PCDARTS, darts()).supernet.network.cells[0].edges["normal_0_2"].seen == 1
    assert prepared(PCDARTS, darts(), partial=2).supernet.network.cells[0].edges["normal_0_2"].seen == 2


def test_edges_of_a_node_are_weighted_by_a_softmax() -> None:
    search = prepared(PCDARTS, darts())
    groups = search.competing_edges()
    assert groups == [
        ("normal_0_2", "normal_1_2"),
        ("normal_0_3", "normal_1_3", "normal_2_3"),
        ("reduction_0_2", "reduction_1_2"),
        ("reduction_0_3", "reduction_1_3", "reduction_2_3"),
    ]
    with torch.no_grad():
        search.edges[1].copy_(torch.tensor([2.0, 0.0, -1.0]))
    gates = search.gates()
    expected = np.exp([2.0, 0.0, -1.0]) / np.exp([2.0, 0.0, -1.0]).sum()
    np.testing.assert_allclose([float(gates[key].scale.detach()) for key in groups[1]], expected, rtol=1e-6)


def test_an_edge_of_weight_one_is_as_if_its_rivals_were_not_there() -> None:
    search = ready_to_step(prepared(PCDARTS, darts()))
    images, _ = next(search.data.epoch(batch_size=8, seed=0, epoch=0))[0]
    with torch.no_grad():
        for beta in search.edges:
            beta[1] = 200.0
    gates = search.gates()
    alone = {group[1]: Gate(weights=gates[group[1]].weights) for group in search.competing_edges()}
    with torch.no_grad():
        torch.testing.assert_close(search.supernet(images, gates), search.supernet(images, alone))


def test_gradient_of_alpha_and_beta_is_that_of_finite_differences() -> None:
    search = ready_to_step(prepared(PCDARTS, darts()))
    # Every parameter at a value of its own, in double precision, so that differences resolve.
    search.supernet.double()
    for number, parameter in enumerate(search.architecture_parameters()):
        parameter.data = torch.sin(torch.arange(len(parameter), dtype=torch.double) + number)
    train, (images, labels) = next(search.data.epoch(batch_size=8, seed=0, epoch=0))
    validation = (images.double(), labels)
    _, gradients = search.architecture_gradients(validation, train)
    step = 1e-6
    for which in (0, -4, -3, -2, -1):
        parameter = search.architecture_parameters()[which]
        losses = []
        for change in (step, -step):
            with torch.no_grad():
                parameter[1] += change
                losses.append(float(search.supernet.loss(*validation, search.gates())))
                parameter[1] -= change
        assert float(gradients[which][1]) == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-5, abs=1e-8)


def test_export_ranks_by_alpha_times_beta() -> None:
    search = prepared(PCDARTS, darts())
    with torch.no_grad():
        for key, alpha in search.architecture.items():
            alpha.zero_()
            # By alpha alone the edges from nodes 0 and 1 win at node 3.
            alpha[4] = {"normal_0_3": 3.0, "normal_1_3": 2.0, "normal_2_3": 1.0}.get(key, 1.0)
        for beta in search.edges:
            beta.zero_()
    before = Genotype.from_sample(search.current_sample(), nodes=2)
    assert [edge.source for edge in before.cell("normal").into(3)] == [0, 1]
    with torch.no_grad():
        search.edges[1].copy_(torch.tensor([0.0, 0.0, 5.0]))
    after = Genotype.from_sample(search.current_sample(), nodes=2)
    assert [edge.source for edge in after.cell("normal").into(3)] == [0, 2]
    p = np.exp([3.0, 2.0, 1.0]) / (np.exp([3.0, 2.0, 1.0]) + 7)
    b = np.exp([0.0, 0.0, 5.0]) / np.exp([0.0, 0.0, 5.0]).sum()
    scores = search.scores()
    found = [float(scores[f"normal_{source}_3"][4]) for source in range(3)]
    np.testing.assert_allclose(found, p * b, rtol=1e-5)


def test_the_first_three_epochs_in_ten_train_weights_only() -> None:
    search = prepared(PCDARTS, darts(), epochs=50)
    assert [search.trains_architecture(epoch) for epoch in (0, 14, 15, 49)] == [False, False, True, True]
    assert prepared(PCDARTS, darts(), epochs=1, warmup=0.9).trains_architecture(0)
    states: list[list[Tensor]] = []
    search = prepared(
        PCDARTS,
        darts(),
        epochs=2,
        batch_size=16,
        warmup=0.5,
        on_epoch=lambda _: states.append(copied(search.architecture_parameters())),
    )
    initial = copied(search.architecture_parameters())
    search.search()
    assert all_equal(states[0], initial)
    assert not any(torch.equal(a, b) for a, b in zip(states[1], initial, strict=True))


@pytest.mark.parametrize("space", ["nasbench201", "layer_choice"])
def test_without_rivals_there_is_no_beta(space: str) -> None:
    search = prepared(PCDARTS, SPACES[space]())
    assert list(search.edges) == []
    assert len(search.architecture_parameters()) == len(search.supernet.decisions)
    assert all(gate.scale is None for gate in search.gates().values())
    scores, probabilities = search.scores(), search.probabilities()
    assert all(torch.equal(scores[key], probabilities[key]) for key in probabilities)


def test_fixed_edges_have_no_beta_and_an_only_free_edge_neither() -> None:
    free = prepared(PCDARTS, darts(nodes=4))
    fixed = prepared(PCDARTS, darts(nodes=4), budget=4)
    keys = {decision.key for decision in fixed.supernet.decisions}
    assert {key for group in fixed.competing_edges() for key in group} <= keys
    assert all(len(group) > 1 for group in fixed.competing_edges())
    assert sum(map(len, fixed.edges)) < sum(map(len, free.edges))
    logits = fixed.supernet(torch.rand(2, 1, 8, 8), fixed.gates())
    assert logits.shape == (2, CLASSES)


def test_alpha_and_beta_are_trained_on_validation_and_weights_on_training_data_only() -> None:
    search = ready_to_step(prepared(PCDARTS, darts()))
    trained = {id(p) for group in search.weight_optimizer.param_groups for p in group["params"]}
    assert not trained & {id(parameter) for parameter in search.architecture_parameters()}
    train, validation = next(search.data.epoch(batch_size=8, seed=0, epoch=0))
    weights, architecture = list(search.supernet.parameters()), search.architecture_parameters()
    before = copied(weights)
    search.architecture_step(validation, train)
    assert all_equal(weights, before)
    before = copied(architecture)
    with torch.no_grad():
        gates = search.weight_gates()
    search.weight_step(train, gates)
    assert all_equal(architecture, before)


@pytest.mark.parametrize(("space", "budget"), [("darts", 0), ("nasbench201", 4), ("layer_choice", 0)])
def test_same_seed_same_search_and_resumed_equals_uninterrupted(space: str, budget: int, tmp_path: Path) -> None:
    check_reproducible(PCDARTS, space, budget=budget, folder=tmp_path, warmup=0.0)


@pytest.mark.parametrize("options", [{"warmup": 1.0}, {"warmup": -0.1}, {"partial": 0}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        PCDARTS(**options)
