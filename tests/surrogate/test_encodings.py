"""Encodings of genotypes: one-hot edges, paths and topology, against definitions written out one by one."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from surrogate.samples import isomorphic, random_codes

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, Cell, Edge, Genotype
from nni_privacy.surrogate import topology
from nni_privacy.surrogate.encodings import COLUMNS, encode_one_hot, encode_paths
from nni_privacy.surrogate.topology import TOPOLOGY_NAMES, encode_topology, network_cost

SURROGATE_PAGE = Path(__file__).resolve().parents[2] / "docs" / "surrogate.md"


def paths_of(genotype: Genotype) -> list[list[str]]:
    """Every path from the stem to the end of N R N R N, listed one by one."""
    before_last: list[list[str]] = [[]]
    last: list[list[str]] = [[]]
    for cell in (genotype.normal, genotype.reduction, genotype.normal, genotype.reduction, genotype.normal):
        nodes = [before_last, last]
        for target in range(2, 2 + cell.nodes):
            nodes.append([[*path, edge.op] for edge in cell.into(target) for path in nodes[edge.source]])
        before_last, last = last, [path for node in nodes[2:] for path in node]
    return last


@given(seed=st.integers(0, 10**6), nodes=st.integers(1, 6))
def test_one_hot_columns_are_the_edges_of_both_cells_in_order(seed: int, nodes: int) -> None:
    edges = [
        (cell_type, Edge(source, target, op))
        for cell_type in CELL_TYPES
        for target in range(2, 2 + nodes)
        for source in range(target)
        for op in DARTS_OPERATIONS
    ]
    codes = random_codes(5, seed=seed, nodes=nodes)
    encoded = encode_one_hot(codes)
    assert encoded.shape == (5, len(edges))
    for genotype, row in zip(codes.to_genotypes(), encoded, strict=True):
        present = {edges[column] for column in np.flatnonzero(row)}
        assert present == {(cell_type, edge) for cell_type in CELL_TYPES for edge in genotype.cell(cell_type)}
        assert set(row) <= {0, 1}


def test_parameters_are_those_of_the_real_network() -> None:
    from nni_privacy.search_spaces.network import CellNetwork

    for nodes in (2, 4):
        codes = random_codes(4, seed=nodes, nodes=nodes)
        real = [sum(p.numel() for p in CellNetwork(genotype).parameters()) for genotype in codes.to_genotypes()]
        assert network_cost(codes)[:, 0].tolist() == real


def test_multiply_adds_are_those_of_a_forward_pass() -> None:
    import torch
    from torch import nn

    from nni_privacy.search_spaces.network import CellNetwork

    codes = random_codes(3, seed=8)
    for genotype, expected in zip(codes.to_genotypes(), network_cost(codes)[:, 1], strict=True):
        network, counted = CellNetwork(genotype).eval(), []

        def count(layer: nn.Module, inputs: object, output: torch.Tensor, counted: list[int] = counted) -> None:
            counted.append(output.numel() * layer.weight[0].numel())

        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(count)
        network(torch.zeros(1, 3, 32, 32))
        assert sum(counted) == expected


def test_path_statistics_agree_with_listing_every_path() -> None:
    codes = random_codes(5, seed=1, nodes=2)
    encoded = encode_topology(codes)
    first = TOPOLOGY_NAMES.index("network_log_paths")
    for genotype, row in zip(codes.to_genotypes(), encoded, strict=True):
        paths = paths_of(genotype)
        counts = np.array(
            [
                [len(path), *(sum(word in op for op in path) for word in ("conv", "pool", "skip", "5x5"))]
                for path in paths
            ]
        )
        # "skip_connect" holds no "conv", so the words tell the operations apart
        expected = [np.log(len(paths)), *counts.mean(axis=0), counts[:, 1].max(), counts[:, 1].min()]
        assert row[first : first + 8] == pytest.approx(expected)


def test_topology_has_as_many_numbers_as_its_documentation_says() -> None:
    assert encode_topology(random_codes(3)).shape == (3, len(TOPOLOGY_NAMES)) == (3, 96)
    assert len(set(TOPOLOGY_NAMES)) == 96
    assert topology.__doc__ is not None and "as 96 numbers" in topology.__doc__
    assert "*Topology* is 96 numbers" in SURROGATE_PAGE.read_text(encoding="utf-8")


def test_shape_of_a_hand_made_cell() -> None:
    chain = Cell.from_pairs(
        [("sep_conv_3x3", 0), ("skip_connect", 1), ("sep_conv_5x5", 2), ("max_pool_3x3", 0),
         ("dil_conv_3x3", 3), ("dil_conv_5x5", 0), ("avg_pool_3x3", 1), ("skip_connect", 0)]
    )  # fmt: skip
    row = encode_topology(GenotypeCodes.from_genotypes([Genotype(chain, chain)]))[0]
    features = dict(zip(TOPOLOGY_NAMES, row.tolist(), strict=True))
    expected = {
        "edges_from_node_0": 4, "edges_from_node_1": 2, "nodes_on_inputs_only": 2, "depth": 3, "mean_depth": 7 / 4,
        "loose_ends": 2, "convolutions_into_loose_ends": 2, "most_readers": 1, "nodes_of_two_convolutions": 1,
        "nodes_without_convolution": 1, "convolutions_from_inputs": 2, "convolutions_between_nodes": 2,
        "pools_from_inputs": 2, "skips_from_inputs": 2, "5x5_from_inputs": 1, "5x5_between_nodes": 1,
        "sep_conv_5x5": 1, "sep_conv_5x5_from_inputs": 0, "most_convolutions": 3, "fewest_convolutions": 0,
        # node 2: 2 paths, 1 of them from input 1; node 3: 3, 1; node 4: 4, 1; node 5: 2, 1
        "input_1_path_share": 4 / 11, "log_paths": np.log(11),
    }  # fmt: skip
    for cell_type in ("normal", "reduction"):
        assert {name: features[f"{cell_type}_{name}"] for name in expected} == pytest.approx(expected)


@given(seed=st.integers(0, 10**6))
def test_topology_is_the_same_for_isomorphic_cells(seed: int) -> None:
    same = isomorphic(random_codes(1, seed=seed).to_genotypes()[0])
    encoded = encode_topology(GenotypeCodes.from_genotypes(same))
    np.testing.assert_allclose(encoded, np.broadcast_to(encoded[0], encoded.shape), rtol=1e-12)


def test_path_encoding_agrees_with_listing_paths() -> None:
    codes = random_codes(10, seed=4)
    operations = ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3",
                  "dil_conv_5x5")  # fmt: skip
    for genotype, row in zip(codes.to_genotypes(), encode_paths(codes), strict=True):
        expected = set()
        for kind, cell in enumerate((genotype.normal, genotype.reduction)):
            for edge in cell:
                start = (2 * kind + edge.source) * 56
                if edge.source < 2:
                    expected.add(start + operations.index(edge.op))
                    continue
                for before in cell.into(edge.source):
                    if before.source < 2:
                        pair = 7 * operations.index(before.op) + operations.index(edge.op)
                        expected.add((2 * kind + before.source) * 56 + 7 + pair)
        assert set(np.flatnonzero(row).tolist()) == expected
    assert row.shape == (COLUMNS,)


def test_seventy_thousand_topologies_take_seconds() -> None:
    codes = random_codes(70_000)
    started = time.process_time()
    assert encode_topology(codes).shape == (70_000, len(TOPOLOGY_NAMES))
    assert time.process_time() - started < 8  # about 1 s on a quiet core
