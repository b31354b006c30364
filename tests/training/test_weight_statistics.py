"""Statistics of weights, compared with numpy's singular values and with closed forms."""

from __future__ import annotations

import copy
import math
from pkgutil import resolve_name

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nni_privacy.cells.spaces import SPACES
from nni_privacy.errors import AuditError
from nni_privacy.training.weight_statistics import singular_norms, weight_statistics


def dense(weight: Tensor, groups: int) -> np.ndarray:
    """The matrix of a convolution with its zeros written out."""
    rows = weight.detach().double().flatten(1).numpy()
    out, width = len(rows) // groups, rows.shape[1]
    matrix = np.zeros((len(rows), groups * width))
    for group in range(groups):
        matrix[group * out : (group + 1) * out, group * width : (group + 1) * width] = rows[
            group * out : (group + 1) * out
        ]
    return matrix


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.integers(-30, 15), st.integers(0, 99)
)
def test_norms_are_those_of_numpys_singular_values(
    groups: int, out: int, width: int, kernel: int, power: int, seed: int
) -> None:
    torch.manual_seed(seed)
    weight = torch.randn(groups * out, width, kernel, kernel) * 10.0**power
    values = np.linalg.svd(dense(weight, groups), compute_uv=False)
    assert singular_norms(weight, groups=groups) == pytest.approx(
        (np.sqrt((values**2).sum()), values.max()), rel=1e-10, abs=0
    )


def test_statistics_of_a_network_are_those_of_its_singular_values() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 5, groups=2), nn.GroupNorm(2, 6), nn.Flatten(), nn.Linear(6, 4)
    )
    layers = [module for module in network if isinstance(module, nn.Conv2d | nn.Linear)]
    values = [np.linalg.svd(dense(one.weight, getattr(one, "groups", 1)), compute_uv=False) for one in layers]
    found = weight_statistics(network)
    assert found == pytest.approx(
        {
            "stable_rank": np.mean([(one**2).sum() / one.max() ** 2 for one in values]),
            "log_spectral_norm": sum(np.log10(one.max()) for one in values),
            "weight_norm": sum((one**2).sum() for one in values),
        },
        rel=1e-10,
    )
    assert weight_statistics(network) == found


def test_closed_forms() -> None:
    identity, rank_one, depthwise = nn.Linear(7, 7), nn.Linear(5, 3), nn.Conv2d(6, 6, 3, groups=6)
    with torch.no_grad():
        identity.weight.copy_(100 * torch.eye(7))
        rank_one.weight.copy_(torch.ones(3, 5))
        depthwise.weight.copy_(torch.ones(6, 1, 3, 3))
    assert weight_statistics(identity) == pytest.approx({"stable_rank": 7, "log_spectral_norm": 2, "weight_norm": 7e4})
    assert weight_statistics(rank_one)["stable_rank"] == pytest.approx(1)
    assert weight_statistics(depthwise) == pytest.approx(
        {"stable_rank": 6, "log_spectral_norm": math.log10(3), "weight_norm": 54}
    )
    transposed = nn.ConvTranspose2d(4, 6, 2, groups=2)
    values = np.linalg.svd(dense(transposed.weight, 2), compute_uv=False)
    assert weight_statistics(transposed)["stable_rank"] == pytest.approx((values**2).sum() / values.max() ** 2)


def test_the_scale_before_a_batch_normalisation_changes_neither_product_nor_rank() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, eps=0.0), nn.Flatten(), nn.Linear(8, 2))
    nn.init.uniform_(network[1].weight, -2, 2)
    network[1].running_var.uniform_(0.5, 2)
    scaled = copy.deepcopy(network)
    with torch.no_grad():
        scaled[0].weight.mul_(10)
        scaled[1].running_var.mul_(100)
    images = torch.randn(4, 3, 3, 3)
    assert torch.allclose(network.eval()(images), scaled.eval()(images), atol=1e-6)
    one, two = weight_statistics(network), weight_statistics(scaled)
    for name in ("stable_rank", "log_spectral_norm"):
        assert two[name] == pytest.approx(one[name])
    assert two["weight_norm"] > 10 * one["weight_norm"]


def test_a_batch_normalisation_is_the_diagonal_layer_that_it_computes() -> None:
    norm = nn.BatchNorm1d(5).double()
    nn.init.uniform_(norm.weight, -3, 3)
    norm.running_var.uniform_(0.1, 4)
    network = nn.Sequential(nn.Linear(5, 5).double(), norm).eval()
    matrix = torch.autograd.functional.jacobian(norm, torch.zeros(1, 5, dtype=torch.float64)).squeeze()
    alone = weight_statistics(network[0])["log_spectral_norm"]
    expected = alone + math.log10(np.linalg.norm(matrix.numpy(), 2))
    assert weight_statistics(network)["log_spectral_norm"] == pytest.approx(expected)
    plain = nn.Sequential(network[0], nn.BatchNorm1d(5, affine=False, track_running_stats=False))
    assert weight_statistics(plain)["log_spectral_norm"] == pytest.approx(alone)


def test_a_layer_of_zeros_is_left_out() -> None:
    alive, dead = nn.Linear(3, 3), nn.Linear(3, 3)
    nn.init.zeros_(dead.weight)
    assert weight_statistics(nn.Sequential(alive, dead)) == weight_statistics(alive)
    with pytest.raises(AuditError, match="weights that are not zero"):
        weight_statistics(dead)
    with pytest.raises(AuditError, match="a ReLU has no convolution or linear layer"):
        weight_statistics(nn.ReLU())
    nn.init.constant_(dead.weight, math.nan)
    with pytest.raises(AuditError, match="layer '1': a weight or a variance is NaN or infinite"):
        weight_statistics(nn.Sequential(alive, dead))


@pytest.mark.parametrize("name", ["darts", "nasbench201"])
def test_networks_of_the_spaces_stay_as_they_are(name: str) -> None:
    record = SPACES[name]
    for genotype in record.sample(3, 0, {"nodes": 4}):
        torch.manual_seed(0)
        network = resolve_name(record.network)(genotype, channels=8, cells=3)
        before = copy.deepcopy(network.state_dict())
        found = weight_statistics(network)
        assert set(found) == {"stable_rank", "log_spectral_norm", "weight_norm"}
        assert all(type(value) is float and math.isfinite(value) for value in found.values())
        layers = [one for one in network.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
        assert 1 <= found["stable_rank"] <= max(one.weight.shape[0] for one in layers)
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
        assert network.training
