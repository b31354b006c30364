"""Placebos change what patterns change, with other operations; size-matched networks are as large as can be."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_privacy import Genotype, load_pattern
from nni_privacy.cells.darts import CELL_TYPES, Edge
from nni_privacy.cells.nasbench201 import NASBENCH201_EDGES, NASBENCH201_OPERATIONS, NasBench201Genotype
from nni_privacy.data import Dataset
from nni_privacy.errors import ConfigError
from nni_privacy.patterns.controls import placebo, size_matched_channels
from nni_privacy.search_spaces import CellNetwork
from nni_privacy.studies.sources import GenotypeSource
from nni_privacy.surrogate.search import random_architectures

genotypes = st.builds(
    lambda seed, nodes: random_architectures(1, seed=seed, nodes=nodes).to_genotypes()[0],
    st.integers(0, 2**31),
    st.sampled_from([2, 4, 6]),
)
patterns = st.builds(
    lambda family, cells, budget: load_pattern(family, cells=cells).first(budget),
    st.sampled_from(["demotion", "promotion"]),
    st.sampled_from(["normal", "reduction", "dual"]),
    st.integers(1, 5),
)
nasbench201 = st.lists(
    st.sampled_from(NASBENCH201_OPERATIONS), min_size=len(NASBENCH201_EDGES), max_size=len(NASBENCH201_EDGES)
).map(lambda ops: NasBench201Genotype(tuple(Edge(*pair, op) for pair, op in zip(NASBENCH201_EDGES, ops, strict=True))))


def places(genotype: Genotype, cell_type: str) -> set[tuple[int, int]]:
    return {(edge.source, edge.target) for edge in genotype.cell(cell_type).edges}  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(genotypes, patterns, st.integers(0, 2**31))
def test_a_placebo_has_the_patterns_places_and_none_of_its_operations(genotype, pattern, seed) -> None:  # type: ignore[no-untyped-def]
    modified, control = pattern.apply(genotype), placebo(genotype, pattern, seed=seed)
    assert control == placebo(genotype, pattern, seed=seed)
    assert Genotype.parse(str(control)) == control  # a legal genotype
    for cell_type in CELL_TYPES:
        assert places(control, cell_type) == places(modified, cell_type)
        own = set(pattern.edges_of(cell_type))
        written = {(edge.source, edge.target) for edge in own}
        assert not own & set(control.cell(cell_type).edges)
        untouched = [edge for edge in modified.cell(cell_type).edges if (edge.source, edge.target) not in written]
        assert set(untouched) <= set(control.cell(cell_type).edges)


@settings(max_examples=60, deadline=None)
@given(nasbench201, st.sampled_from(["demotion", "promotion"]), st.integers(1, 4), st.integers(0, 2**31))
def test_in_nasbench201_it_changes_the_same_edges_and_cuts_none(genotype, family, budget, seed) -> None:  # type: ignore[no-untyped-def]
    pattern = load_pattern(family, cells="reduction").first(budget)
    modified, control = pattern.apply(genotype), placebo(genotype, pattern, seed=seed)
    for before, after, other in zip(genotype.edges, modified.edges, control.edges, strict=True):
        if before == after:
            assert other == before
        else:
            assert other.op not in (after.op, "none")


def test_every_other_operation_is_drawn() -> None:
    genotype = random_architectures(1, seed=0).to_genotypes()[0]
    pattern = load_pattern("demotion-reduction").first(1)
    (edge,) = pattern.edges
    drawn = [
        next(
            found.op
            for found in placebo(genotype, pattern, seed=seed).reduction.edges
            if (found.source, found.target) == (edge.source, edge.target)
        )
        for seed in range(200)
    ]
    assert len(set(drawn)) == 6 and edge.op not in drawn
    assert min(drawn.count(op) for op in set(drawn)) > 15  # of 33 expected


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 9), st.integers(0, 40))
def test_the_nearest_size_is_found(wanted: int, slope: int, offset: int) -> None:
    def parameters(channels: int) -> int:
        return slope * channels**2 + offset * channels + 1

    found = size_matched_channels(wanted, parameters=parameters, channels=16)
    nearest = min(abs(parameters(channels) - wanted) for channels in range(1, 8 * 16 + 1))
    assert abs(parameters(found) - wanted) == nearest


@pytest.mark.parametrize(("family", "cells", "nodes"), [("demotion", 3, 4), ("promotion", 5, 2)])
def test_no_number_of_channels_comes_nearer_in_size(family: str, cells: int, nodes: int) -> None:
    """Of the real networks: all of 1 to 64 channels."""
    genotype = random_architectures(1, seed=2, nodes=nodes).to_genotypes()[0]
    data = Dataset("grey", torch.zeros(6, 1, 8, 8), torch.arange(6) % 3, 3)
    modified = load_pattern(family, cells="reduction").first(4).apply(genotype)
    space = {"name": "darts", "channels": 8, "cells": cells}
    original, other = (GenotypeSource(genotype=str(one), space=space) for one in (genotype, modified))

    def weights(of: Genotype, channels: int) -> int:
        sizes = {"channels": channels, "cells": cells, "in_channels": 1, "num_classes": 3}
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in CellNetwork(of, **sizes).parameters())

    wanted = weights(modified, 8)
    gaps = {channels: abs(weights(genotype, channels) - wanted) for channels in range(1, 65)}
    found = original.resized_like(other, data)
    assert gaps[found.space["channels"]] == min(gaps.values())
    network = found.build(data, evaluator=SimpleNamespace(seed=0), folder=None)  # and built for real it has as many
    assert abs(sum(parameter.numel() for parameter in network.parameters()) - wanted) == min(gaps.values())


def test_nothing_cannot_be_matched() -> None:
    with pytest.raises(ConfigError, match="wanted: 0"):
        size_matched_channels(0, parameters=lambda channels: channels, channels=4)
