"""Narrowed choices: exactly the architectures that contain the fixed edges, each once."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from strategies_for_cells import patterns

from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, Edge, Genotype, node_labels, source_pairs
from nni_privacy.patterns import CellPattern, load_pattern
from nni_privacy.search_spaces import DARTS, FixedEdges
from nni_privacy.search_spaces.constraints import choices_of_constrained_node


@pytest.mark.parametrize("target", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 2])
def test_a_constrained_node_can_be_whatever_has_the_fixed_edges(target: int, count: int) -> None:
    fixed = [Edge(target - 1, target, "avg_pool_3x3"), Edge(0, target, "skip_connect")][:count]
    labels = node_labels("normal", target)
    choices = choices_of_constrained_node("normal", target, fixed)
    found = []
    for sources, first, second in product(
        *(choices[label] for label in (labels.sources, labels.first_op, labels.second_op))
    ):
        a, b = map(int, sources.split("+"))
        found.append(frozenset({(a, first), (b, second)}))
    wanted = {
        frozenset({(a, first), (b, second)})
        for a, b in source_pairs(target)
        for first, second in product(DARTS_OPERATIONS, repeat=2)
        if {(edge.source, edge.op) for edge in fixed} <= {(a, first), (b, second)}
    }
    assert len(found) == len(set(found))
    assert set(found) == wanted


@given(patterns())
def test_labels_stay_and_other_nodes_are_untouched(pattern: CellPattern) -> None:
    choices = DARTS.choices(4)
    constrained = DARTS.constrain(choices, FixedEdges.of(pattern))
    assert list(constrained) == list(choices)
    touched = {f"{pattern.cell}_{edge.target}_" for edge in pattern.edges}
    for label, choice in choices.items():
        if not any(label.startswith(prefix) for prefix in touched):
            assert constrained[label] is choice
        else:
            assert constrained[label].label == label


def test_fixed_edges_know_what_is_missing() -> None:
    fixed = FixedEdges.of(load_pattern("demotion-reduction").first(4))
    plain = Genotype.from_sample({label: choice.default() for label, choice in DARTS.choices(4).items()})
    assert len(fixed) == len(fixed.missing_from(plain)) == 4
    assert fixed.missing_from(load_pattern("demotion-reduction").first(4).apply(plain)) == []
    assert fixed.as_lists() == {
        "normal": [],
        "reduction": [[source, target, "avg_pool_3x3"] for source, target in ((1, 2), (0, 2), (1, 3), (0, 3))],
    }
    assert set(fixed.as_lists()) == set(CELL_TYPES)
