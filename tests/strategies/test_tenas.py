"""TE-NAS: its two indicators against brute force, and that pruning by them takes away what is bad."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import SimplifiedModelSpace
from one_shot_spaces import SPACES, images_and_labels, prepared
from torch import Tensor, nn

from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces import DARTS
from nni_privacy.search_spaces.supernet import NONE
from nni_privacy.strategies.tenas import TENAS, linear_regions, ntk_condition_number, rank_sums

IMAGES = 5


class TinyNetwork(nn.Sequential):
    """Convolution, batch normalisation, ReLU, classifier; and a parameter that nothing depends on."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 3)
        )
        self.unused = nn.Parameter(torch.ones(3))


def tiny_network() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return TinyNetwork().double().train(), torch.randn(IMAGES, 1, 6, 6, dtype=torch.float64)


# --- the condition number of the neural tangent kernel ---


def test_the_condition_number_is_that_of_the_brute_force_jacobian() -> None:
    """The whole Jacobian by central differences, parameter by parameter."""
    network, images = tiny_network()
    columns, step = [], 1e-6
    with torch.no_grad():
        for parameter in network.parameters():
            flat = parameter.view(-1)
            for index in range(flat.numel()):
                value = float(flat[index])
                flat[index] = value + step
                above = network(images).sum(1)
                flat[index] = value - step
                below = network(images).sum(1)
                flat[index] = value
                columns.append((above - below) / (2 * step))
    jacobian = torch.stack(columns, dim=1).numpy()
    expected = np.linalg.cond(jacobian) ** 2
    assert ntk_condition_number(network, images) == pytest.approx(expected, rel=1e-4)
    assert expected > 1


def test_of_a_linear_classifier_it_is_that_of_the_inputs_gram_matrix() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 4, bias=False))
    images = torch.randn(IMAGES, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    gram = images.flatten(1).double() @ images.flatten(1).double().T
    assert ntk_condition_number(network, images) == pytest.approx(float(torch.linalg.cond(gram)), rel=1e-4)
    orthonormal = torch.eye(9)[:IMAGES].view(IMAGES, 1, 3, 3)
    assert ntk_condition_number(network, orthonormal) == pytest.approx(1)


@pytest.mark.parametrize("broken", ["same image twice", "cut", "not finite"])
def test_a_kernel_that_is_singular_or_not_finite_has_an_infinite_condition_number(broken: str) -> None:
    network, images = tiny_network()
    if broken == "same image twice":
        images[1] = images[0]
    elif broken == "cut":
        network = nn.Sequential(nn.Flatten(), nn.Threshold(math.inf, 0.0), nn.Linear(36, 3).double())
    else:
        images[0, 0, 0, 0] = math.nan
    assert ntk_condition_number(network, images) == math.inf


# --- linear regions ---


def test_regions_of_a_two_layer_network_are_those_of_brute_force() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    images = torch.randn(400, 1, 2, 2)
    first, second = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in (network[1], network[3])]
    patterns = set()
    for x in images.flatten(1).numpy():
        hidden = first[0] @ x + first[1]
        output = second[0] @ np.maximum(hidden, 0) + second[1]
        patterns.add(tuple(hidden > 0) + tuple(output > 0))
    found = linear_regions(network, images)
    assert found == len(patterns) and 10 < found < 200


def test_lines_in_general_position_cut_the_plane_into_the_known_number_of_regions() -> None:
    """m lines: 1 + m + m (m - 1) / 2."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 4), nn.ReLU())
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -2.0]]))
        network[1].bias.copy_(torch.tensor([0.0, 0.0, -1.0, -0.5]))
    axis = torch.linspace(-6, 6, 241) + 0.0123
    grid = torch.cartesian_prod(axis, axis).view(-1, 1, 1, 2)
    assert linear_regions(network, grid) == 1 + 4 + 6
    assert linear_regions(network, grid[:1]) == 1
    assert linear_regions(nn.Flatten(), grid) == 1
    assert not network[2]._forward_hooks


def test_what_hardly_changes_either_indicator_is_the_least_important() -> None:
    """Masked: (log condition number, regions)."""
    measured = [(1.0, 50.0), (3.0, 20.0), (2.0, 40.0), (math.inf, 1.0)]
    sums = rank_sums(measured)
    assert sums == [2 / 10, 6 / 10, 4 / 10, 8 / 10]
    assert rank_sums([(1.0, 5.0), (1.0, 5.0)]) == [0.5, 0.5]


# --- the search ---


def strategy_for(name: str, *, budget: int = 0, **options: Any) -> TENAS:
    settings = {"data": images_and_labels(), "batch_size": 4, "seed": 1, "repeats": 1, "region_inputs": 20, **options}
    if name == "darts":
        settings = {"removed_per_round": 7, **settings, "batch_size": 2, "region_inputs": 6}
    space = DARTS(channels=2, cells=3, nodes=2, in_channels=1) if name == "darts" else SPACES[name]()
    return prepared(TENAS(**settings), space, budget=budget)


class WithDeadLayer(ModelSpace):
    """A choice between a layer with a ReLU, and one that lets nothing through."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        layers = {
            "dead": nn.Sequential(nn.Conv2d(width, width, 3), nn.Threshold(math.inf, 0.0)),
            "alive": nn.Sequential(nn.Conv2d(width, width, 3), nn.ReLU()),
        }
        self.stem = nn.Conv2d(1, width, 3)
        self.choice = LayerChoice(layers, label="layer")
        self.classifier = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.choice(self.stem(images)).mean(dim=(2, 3)))


def test_an_operation_that_cuts_the_network_is_pruned() -> None:
    strategy = TENAS(data=images_and_labels(), batch_size=4, seed=1, repeats=2, region_inputs=20)
    strategy.prepare(SimplifiedModelSpace.from_model(WithDeadLayer(), None))
    assert strategy.search() == [{"layer": "alive"}]


@pytest.mark.parametrize("name", ["darts", "nasbench201"])
def test_none_takes_no_part(name: str) -> None:
    strategy = strategy_for(name)
    for decision in strategy.layout().decisions:
        left = {decision.candidates[index] for index in strategy.remaining[decision.key]}
        assert NONE in decision.candidates and left == set(decision.candidates) - {NONE}
    assert NONE not in strategy.current_sample().values()


def test_every_decision_loses_its_least_important_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = strategy_for("nasbench201", removed_per_round=2)
    masks = [(key, index) for key, left in strategy.remaining.items() for index in left]
    importance = dict(zip(masks, np.random.default_rng(0).permutation(len(masks)) / len(masks), strict=True))
    monkeypatch.setattr(strategy, "_measure", lambda probes, gates: (1.0, 1.0))
    monkeypatch.setattr("nni_privacy.strategies.tenas.rank_sums", lambda measured: list(importance.values()))
    strategy.run_epoch(0)
    for key, left in strategy.remaining.items():
        ranked = sorted((index for other, index in masks if other == key), key=lambda index: -importance[key, index])
        assert set(left) == set(ranked[:2])


@pytest.mark.parametrize(("name", "budget"), [("darts", 0), ("darts", 4), ("nasbench201", 4), ("layers", 0)])
def test_rounds_leave_one_candidate_each_and_the_architecture_is_in_the_space(name: str, budget: int) -> None:
    strategy = strategy_for(name, budget=budget)
    layout = strategy.layout()
    before = {key: len(left) for key, left in strategy.remaining.items()}
    records: list[Any] = []
    strategy.on_epoch = records.append
    found = strategy.search() + strategy.best_samples(3)[1:]
    assert len(records) == strategy.total_epochs() == {"darts": 2, "nasbench201": 3, "layers": 2}[name]
    assert max(before.values()) > 1 and all(len(left) == 1 for left in strategy.remaining.values())
    assert strategy.entropy() == 0
    assert len({layout.describe(sample) for sample in found}) == len(found) == 3
    assert all(sample[label] in values for sample in found for label, values in layout.choices.items())
    chosen = layout.path(found[0])
    assert all(strategy.remaining[key] == (index,) for key, index in chosen.items())
    if name == "darts":
        for group in layout.rivals:  # the edges that are kept are the most important ones
            kept = sum(key in chosen for key in group)
            ranked = sorted(group, key=lambda key: max(strategy.importance[key]), reverse=True)
            assert kept in (1, 2) and {key for key in group if key in chosen} == set(ranked[:kept])


def test_a_search_that_goes_on_from_its_state_ends_as_if_uninterrupted() -> None:
    whole = strategy_for("nasbench201")
    first = whole.run_epoch(0)
    whole.epoch = 1
    state = deepcopy(whole.state_dict())
    resumed = strategy_for("nasbench201")
    resumed.load_state_dict(state)
    assert whole.search() == resumed.search()
    assert whole.importance == resumed.importance and whole.remaining == resumed.remaining
    assert set(first) == {"log_condition_number", "linear_regions"}


@pytest.mark.parametrize("option", [{"repeats": 0}, {"batch_size": 1}, {"region_inputs": 1}, {"removed_per_round": 0}])
def test_wrong_options_are_named(option: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        TENAS(**option)
