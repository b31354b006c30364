from __future__ import annotations

import numpy as np
import pytest
import torch
from surrogate.samples import isomorphic, planted_auc, random_codes

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import Cell, Genotype
from nni_privacy.surrogate.encodings import EDGE_LABELS, NODE_LABELS, encode_graphs
from nni_privacy.surrogate.torch_models import GIN, GraphNetwork, encode_mislabelled, ranking_loss

NORMAL = Cell.from_pairs([("sep_conv_3x3", 0), ("skip_connect", 1), ("sep_conv_5x5", 2), ("max_pool_3x3", 0)])
REDUCTION = Cell.from_pairs([("dil_conv_3x3", 0), ("avg_pool_3x3", 1), ("dil_conv_5x5", 1), ("skip_connect", 2)])


def labelled_edges(graphs: object, row: int) -> set[tuple[int, int, str]]:
    triples = zip(graphs.sources[row].tolist(), graphs.targets.tolist(), graphs.labels[row].tolist(), strict=True)
    return {(source, target, EDGE_LABELS[label]) for source, target, label in triples}


def test_operations_sit_on_their_own_edges() -> None:
    graphs = encode_graphs(GenotypeCodes.from_genotypes([Genotype(NORMAL, REDUCTION)]))
    assert labelled_edges(graphs, 0) == {
        (0, 2, "sep_conv_3x3"), (1, 2, "skip_connect"), (2, 3, "sep_conv_5x5"), (0, 3, "max_pool_3x3"),
        (2, 4, "concatenate"), (3, 4, "concatenate"),
        (5, 7, "dil_conv_3x3"), (6, 7, "avg_pool_3x3"), (6, 8, "dil_conv_5x5"), (7, 8, "skip_connect"),
        (7, 9, "concatenate"), (8, 9, "concatenate"),
    }  # fmt: skip
    roles = [NODE_LABELS[role].partition(" ") for role in graphs.roles]
    assert [cell for cell, _, _ in roles] == ["normal"] * 5 + ["reduction"] * 5
    assert [role for _, _, role in roles[:5]] == ["previous_but_one", "previous", *["intermediate"] * 2, "output"]


def test_the_papers_encoder_has_its_fault() -> None:
    graphs = encode_mislabelled(GenotypeCodes.from_genotypes([Genotype(NORMAL, REDUCTION)]))
    # by source: (0, 2), (0, 3), (1, 2), (2, 3); operations by target: sep3, skip, max_pool, sep5
    assert {edge for edge in labelled_edges(graphs, 0) if edge[1] < 4} == {
        (0, 2, "sep_conv_3x3"), (0, 3, "skip_connect"), (1, 2, "max_pool_3x3"), (2, 3, "sep_conv_5x5"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def fitted() -> GIN:
    codes = random_codes(200)
    target = planted_auc(codes)
    target = (target - target.mean()) / target.std()
    features = encode_graphs(codes)
    model = GIN(epochs=4)
    model.fit(features, target, features, target, seed=0)
    return model


@pytest.mark.parametrize("seed", range(5))
def test_prediction_is_the_same_for_isomorphic_cells(fitted: GIN, seed: int) -> None:
    same = isomorphic(random_codes(1, seed=100 + seed).to_genotypes()[0])
    predicted = fitted.predict(encode_graphs(GenotypeCodes.from_genotypes(same)))
    np.testing.assert_allclose(predicted, predicted[0], atol=1e-5)


def test_moving_an_operation_to_another_edge_changes_the_graph_networks_prediction(fitted: GIN) -> None:
    pairs = [("sep_conv_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("skip_connect", 0)]
    swapped = [("max_pool_3x3", 0), ("sep_conv_3x3", 1), *pairs[2:]]
    tail = [("skip_connect", 0), ("skip_connect", 1)] * 2
    one, other = (Genotype(Cell.from_pairs(first + tail), Cell.from_pairs(first + tail)) for first in (pairs, swapped))
    first, second = fitted.predict(encode_graphs(GenotypeCodes.from_genotypes([one, other])))
    assert abs(first - second) > 1e-4


def test_predictions_do_not_depend_on_the_batch(fitted: GIN) -> None:
    features = encode_graphs(random_codes(9, seed=5))
    alone = np.concatenate([fitted.predict(features[row : row + 1]) for row in range(9)])
    np.testing.assert_allclose(fitted.predict(features), alone, atol=1e-5)


def test_training_leaves_the_callers_random_numbers_alone() -> None:
    codes = random_codes(40)
    features, target = encode_graphs(codes), planted_auc(codes)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    GIN(epochs=1).fit(features, target, features, target, seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_ranking_loss_is_the_mean_over_all_pairs() -> None:
    predicted, target = torch.tensor([0.3, -1.0, 2.0, 0.0]), torch.tensor([1.0, 2.0, 2.0, 0.0])
    pairs = [(i, j) for i in range(4) for j in range(4) if target[i] > target[j]]
    expected = np.mean([np.log1p(np.exp(float(predicted[j] - predicted[i]))) for i, j in pairs])
    assert float(ranking_loss(predicted, target)) == pytest.approx(expected, rel=1e-6)
    assert float(ranking_loss(predicted, torch.zeros(4))) == 0


def test_graph_network_takes_cells_of_any_size() -> None:
    network = GraphNetwork(width=4, layers=1, dropout=0.0).eval()
    for nodes in (1, 6):
        graphs = encode_graphs(random_codes(3, nodes=nodes))
        arrays = (graphs.sources, graphs.labels, graphs.topology.astype(np.float32), graphs.targets, graphs.roles)
        assert network(*map(torch.from_numpy, arrays)).shape == (3,)
