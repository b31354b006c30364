"""Pairs of architectures start from the same weights in all that they share, and see the same batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nni_privacy import load_pattern
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, Cell, Edge, Genotype, source_pairs
from nni_privacy.cells.nasbench201 import NasBench201Genotype
from nni_privacy.data import load_dataset
from nni_privacy.errors import ConfigError
from nni_privacy.networks import build_network
from nni_privacy.search_spaces import CellNetwork, NasBench201Network
from nni_privacy.training.fit import fit, seed_everything
from nni_privacy.training.initialization import initialize_paired
from nni_privacy.training.recipe import Recipe

NODES = 4


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    cells = {}
    for cell_type in CELL_TYPES:
        edges = []
        for target in range(2, 2 + NODES):
            for source in draw(st.sampled_from(list(source_pairs(target)))):
                edges.append(Edge(source, target, draw(st.sampled_from(DARTS_OPERATIONS))))
        cells[cell_type] = Cell(edges)
    return Genotype(**cells)


def network(genotype: Genotype, *, seed: int = 0, channels: int = 4) -> nn.Module:
    model = CellNetwork(genotype, channels=channels, cells=5, in_channels=1, num_classes=10)
    initialize_paired(model, seed=seed)
    return model


def shared(first: nn.Module, second: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Weights of the same role and shape."""
    one, other = dict(first.named_parameters()), dict(second.named_parameters())
    return {name: (one[name], other[name]) for name in one if name in other and one[name].shape == other[name].shape}


PATTERNS = [
    load_pattern(f"{kind}-{cells}").first(budget)
    for kind in ("demotion", "promotion")
    for cells in ("normal", "reduction")
    for budget in (1, 4)
]


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(genotypes(), st.sampled_from(PATTERNS), st.integers(0, 2**31))
def test_a_modified_cell_starts_from_the_same_weights_in_every_layer_that_is_left(
    genotype: Genotype, pattern: Any, seed: int
) -> None:
    modified = pattern.apply(genotype)
    first, second = network(genotype, seed=seed), network(modified, seed=seed)
    pairs = shared(first, second)
    assert {"stem.0.weight", "classifier.weight", "cells.0.preprocess0.1.weight"} <= set(pairs)
    for cell_type in CELL_TYPES:
        position = 0 if cell_type == "normal" else 1
        for edge in set(getattr(genotype, cell_type)) & set(getattr(modified, cell_type)):
            path = f"cells.{position}.edges.{edge.source}-{edge.target}-{edge.op}"
            assert {name for name, _ in first.named_parameters() if name.startswith(path)} <= set(pairs)
    for one, other in pairs.values():
        assert torch.equal(one, other)


def plain(op: str, source: int = 1) -> Genotype:
    """All edges max-pooling but one."""
    edges = [Edge(0, 2, op), Edge(source, 2, "max_pool_3x3")]
    rest = [Edge(source, target, "sep_conv_3x3") for target in (3, 4, 5) for source in (0, 1)]
    return Genotype(normal=Cell(edges + rest), reduction=Cell(edges + rest))


def test_what_is_built_before_a_layer_does_not_matter() -> None:
    first, second = network(plain("sep_conv_5x5")), network(plain("skip_connect"))
    pairs = shared(first, second)
    assert len(pairs) == len(dict(second.named_parameters())) - sum(
        name.startswith(("cells.1.edges.0-2-skip", "cells.3.edges.0-2-skip")) for name, _ in second.named_parameters()
    )
    assert all(torch.equal(*pair) for pair in pairs.values())
    seed_everything(0)
    usual = CellNetwork(plain("sep_conv_5x5"), channels=4, cells=5, in_channels=1, num_classes=10)
    seed_everything(0)
    other = CellNetwork(plain("skip_connect"), channels=4, cells=5, in_channels=1, num_classes=10)
    assert not torch.equal(usual.classifier.weight, other.classifier.weight)  # else there would be nothing to do


def test_equal_layers_at_different_places_differ_and_so_do_seeds() -> None:
    first, second = network(plain("skip_connect")), network(plain("skip_connect"), seed=1)
    weights = [value for name, value in first.named_parameters() if value.ndim == 4 and "2-5" not in name]
    for n, one in enumerate(weights):
        for other in weights[:n]:
            assert one.shape != other.shape or not torch.equal(one, other)
    for name, (one, other) in shared(first, second).items():
        assert (one.ndim == 1 and "classifier" not in name) or not torch.equal(one, other)


def test_nasbench201_cells_are_paired_too() -> None:
    texts = (
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|avg_pool_3x3~2|",
        "|avg_pool_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|avg_pool_3x3~2|",
    )
    models = []
    for text in texts:
        models.append(
            NasBench201Network(NasBench201Genotype.parse(text), channels=4, cells=2, in_channels=1, num_classes=10)
        )
        initialize_paired(models[-1], seed=5)
    pairs = shared(*models)
    assert len(pairs) == len(dict(models[1].named_parameters()))
    assert all(torch.equal(*pair) for pair in pairs.values())


def test_the_distribution_is_torchs_own() -> None:
    layers = nn.ModuleList(nn.Conv2d(16, 32, 3) for _ in range(40))
    reference = torch.cat([layer.weight.detach().flatten() for layer in layers])  # type: ignore[operator]
    initialize_paired(layers, seed=0)
    drawn = torch.cat([layer.weight.detach().flatten() for layer in layers])  # type: ignore[operator]
    bound = 1 / math.sqrt(16 * 9)  # Kaiming's uniform distribution with a = sqrt(5)
    for weights in (reference, drawn):
        assert abs(float(weights.mean())) < 0.01 * bound
        assert float(weights.var()) == pytest.approx(bound**2 / 3, rel=0.02)
        assert float(weights.abs().max()) == pytest.approx(bound, rel=0.001)


def test_norms_start_as_they_do() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout())
    model(torch.rand(4, 3, 2, 2))
    initialize_paired(model, seed=0)
    assert torch.equal(model[0].weight, torch.ones(3)) and torch.equal(model[0].running_mean, torch.zeros(3))


def test_global_generators_are_left_alone() -> None:
    layer = nn.Linear(3, 3)
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    initialize_paired(layer, seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_other_sizes_draw_other_weights() -> None:
    narrow, wide = nn.Linear(4, 4), nn.Linear(4, 8)
    initialize_paired(narrow, seed=0)
    initialize_paired(wide, seed=0)
    assert not torch.equal(narrow.weight, wide.weight[:4])


class OwnWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: nn.Sequential(nn.Linear(3, 3), OwnWeights()),
            r"layer '1' \(OwnWeights\) has weights but no reset_par",
        ),
        (
            lambda: build_network("resnet", in_channels=1, num_classes=10, image_size=8),
            r"layer '\(the model itself\)' \(ResNet\) has an initialisation of its own, init_weights\(\)",
        ),
    ],
)
def test_an_initialisation_that_would_be_lost_is_named_and_kept(build: Callable[[], nn.Module], message: str) -> None:
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ConfigError, match=message):
        initialize_paired(model, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("options", [{}, {"augmentation": True}, {"dp": {"noise_multiplier": 1.0}}])
def test_original_and_modified_cells_see_the_same_batches(options: dict[str, Any]) -> None:
    data = load_dataset("digits", limit=70)
    seen = []
    for genotype in (plain("skip_connect"), plain("sep_conv_3x3")):
        batches: list[Tensor] = []
        model = network(genotype)
        # What a model draws itself must not matter either.
        model.stem.append(nn.Dropout(0.1) if genotype == plain("skip_connect") else nn.Identity())  # type: ignore[union-attr,operator]
        model.register_forward_pre_hook(lambda _, inputs, batches=batches: batches.append(inputs[0].clone()))
        recipe = Recipe.from_mapping({"epochs": 2, "batch_size": 32, **options})
        fit(model, data.images, data.labels, recipe=recipe, seed=4, device="cpu")
        seen.append(batches)
    assert len(seen[0]) == len(seen[1]) > 3
    assert all(torch.equal(*pair) for pair in zip(*seen, strict=True))
