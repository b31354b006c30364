"""Loss contours: a closed form, brute force, and weights that are what they were."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nni_privacy.errors import AuditError, ConfigError
from nni_privacy.patterns import load_pattern
from nni_privacy.rng import derived_seed
from nni_privacy.runs.contours import ContourInfo
from nni_privacy.search_spaces import CellNetwork
from nni_privacy.surrogate.search import random_architectures
from nni_privacy.training.contours import filter_normalised_direction, loss_contour
from nni_privacy.training.initialization import initialize_paired


class Quadratic(nn.Module):
    """Returns its weights; with the loss below the grid is a paraboloid."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[3.0, 4.0], [0.5, -1.0]], dtype=torch.float64))
        self.bias = nn.Parameter(torch.ones(2, dtype=torch.float64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.weight.flatten() + 0 * self.bias.sum() + 0 * images.sum()


def squares(output: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return output.square().sum()


def records(n: int = 12, size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(n, 1, size, size, generator=generator), torch.randint(0, 10, (n,), generator=generator)


def network() -> CellNetwork:
    torch.manual_seed(3)
    return CellNetwork(random_architectures(1, seed=1).to_genotypes()[0], channels=2, cells=3, in_channels=1)


def test_on_a_quadratic_model_the_grid_is_the_closed_form() -> None:
    model = Quadratic()
    info = loss_contour(model, *records(), steps=5, span=2.0, seed=4, loss=squares)
    sides = [filter_normalised_direction(model, seed=derived_seed(4, "contour", side)) for side in range(2)]
    (_, first), (_, second) = sides[0][0], sides[1][0]
    for row, beta in enumerate(np.linspace(-2, 2, 5)):
        for column, alpha in enumerate(np.linspace(-2, 2, 5)):
            expected = (model.weight.detach() + alpha * first + beta * second).square().sum()
            assert info.losses[row, column] == pytest.approx(float(expected), rel=1e-12)
    assert info.loss == pytest.approx(26.25)
    # Within half a step there is the weights' own point only; within one step its four neighbours, too.
    assert info.rise(0.5) is None and info.rise(2.5) is None
    neighbours = [info.losses[2, 1], info.losses[2, 3], info.losses[1, 2], info.losses[3, 2], info.losses[2, 2]]
    assert info.rise(1.0) == pytest.approx(np.mean(neighbours) - info.loss)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_directions_four_mirrored_points_have_a_closed_form(seed: int) -> None:
    """Of a squared norm: mixed terms cancel, and either direction is as long as the weights."""
    info = loss_contour(Quadratic(), *records(), steps=5, span=2.0, seed=seed, loss=squares)
    mirrored = (info.losses + info.losses[::-1] + info.losses[:, ::-1] + info.losses[::-1, ::-1]) / 4
    alpha, beta = np.meshgrid(info.axis, info.axis)
    np.testing.assert_allclose(mirrored, 26.25 * (1 + alpha**2 + beta**2), rtol=1e-6)


def test_a_network_and_its_modified_version_move_alike_in_what_they_share() -> None:
    original = random_architectures(1, seed=1).to_genotypes()[0]
    steps = []
    for genotype in (original, load_pattern("demotion-reduction").first(4).apply(original)):
        model = CellNetwork(genotype, channels=2, cells=3, in_channels=1)
        initialize_paired(model, seed=7)
        moved = {id(parameter): step for parameter, step in filter_normalised_direction(model, seed=2)}
        steps.append({path: moved[id(value)] for path, value in model.named_parameters() if id(value) in moved})
    shared = steps[0].keys() & steps[1].keys()
    assert 0 < len(shared) < len(steps[0])
    assert all(torch.equal(steps[0][path], steps[1][path]) for path in shared)


def test_the_middle_of_the_grid_is_the_weights_and_the_global_generator_is_left_alone() -> None:
    model = network()
    before = torch.get_rng_state()
    info = loss_contour(model, *records(), steps=3, span=0.1)
    assert np.isfinite(info.losses).all() and info.losses[1, 1] == info.loss
    assert len(np.unique(info.losses)) == 9
    assert torch.equal(torch.get_rng_state(), before)


def test_every_filter_moves_by_its_own_norm_and_vectors_stay() -> None:
    model = network()
    direction = filter_normalised_direction(model, seed=0)
    assert {id(parameter) for parameter, _ in direction} == {id(p) for p in model.parameters() if p.ndim > 1}
    for parameter, step in direction:
        norms = [tensor.detach().flatten(1).norm(dim=1) for tensor in (parameter, step)]
        torch.testing.assert_close(*norms)


def test_a_networks_grid_is_what_moved_copies_of_it_lose() -> None:
    model = network().eval()
    images, labels = records()
    info = loss_contour(model, images, labels, steps=3, span=0.5, seed=1, batch_size=5)
    sides = [filter_normalised_direction(model, seed=derived_seed(1, "contour", side)) for side in range(2)]
    for row, column in ((0, 2), (1, 1), (2, 0)):
        copy = deepcopy(model)
        moving = [parameter for parameter in copy.parameters() if parameter.ndim > 1]
        with torch.no_grad():
            for parameter, (_, first), (_, second) in zip(moving, *sides, strict=True):
                parameter += (-0.5 + 0.5 * column) * first + (-0.5 + 0.5 * row) * second
            expected = functional.cross_entropy(copy(images), labels)
        assert info.losses[row, column] == pytest.approx(float(expected), rel=1e-4)


class StoppedError(Exception):
    """Comes in the middle."""


@pytest.mark.parametrize("error", [StoppedError, KeyboardInterrupt])
def test_weights_statistics_and_modes_are_what_they_were_whatever_happens(error: type[BaseException]) -> None:
    model = network().train()
    model.stem.eval()
    before, modes = deepcopy(model.state_dict()), [module.training for module in model.modules()]
    calls = iter(range(100))

    def interrupted(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if next(calls) == 4:
            raise error
        return functional.cross_entropy(logits, labels)

    with pytest.raises(error):
        loss_contour(model, *records(), steps=3, loss=interrupted)
    loss_contour(model, *records(), steps=3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes


def test_the_same_seed_gives_the_same_grid_and_arrays_read_back() -> None:
    model = network()
    first, again, other = (loss_contour(model, *records(), steps=3, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.losses, again.losses) and not np.array_equal(first.losses, other.losses)
    read = ContourInfo.from_arrays(first.to_arrays())
    assert np.array_equal(read.losses, first.losses) and read.loss == first.loss
    with pytest.raises(AuditError, match="no array 'contour/axis'"):
        ContourInfo.from_arrays({})
    with pytest.raises(AuditError, match="do not fit"):
        ContourInfo.from_arrays({**first.to_arrays(), "contour/losses": np.zeros((2, 3))})


def test_what_cannot_be_is_said_in_one_line() -> None:
    with pytest.raises(AuditError, match="a Flatten has no weights of two or more dimensions"):
        loss_contour(nn.Flatten(), *records())
    with pytest.raises(ConfigError, match=r"contours\.steps: 4; allowed are odd numbers"):
        loss_contour(network(), *records(), steps=4)
    with pytest.raises(ConfigError, match="span: 0"):
        loss_contour(network(), *records(), span=0)
    with pytest.raises(ConfigError, match="batch_size"):
        loss_contour(network(), *records(), batch_size=0)
    with pytest.raises(AuditError, match="needs images"):
        loss_contour(network(), *records(0))
