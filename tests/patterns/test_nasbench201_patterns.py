"""Patterns on NAS-Bench-201 genotypes, against a search through all architectures that differ in one edge a node."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies_for_cells import genotypes, nasbench201_genotypes

from nni_privacy.cells.darts import Genotype
from nni_privacy.cells.nasbench201 import NASBENCH201_OPERATIONS, NasBench201Genotype
from nni_privacy.errors import PatternError
from nni_privacy.patterns import CellPattern, DualPattern, input_edges, load_pattern

TARGETS = {"demotion": "avg_pool_3x3", "promotion": "nor_conv_3x3"}
SHIPPED = [f"{objective}-{cell}" for objective in TARGETS for cell in ("normal", "reduction")]

shipped = st.builds(lambda name, m: load_pattern(name).first(m), st.sampled_from(SHIPPED), st.integers(0, 5))


def oracle(operations: tuple[str, ...], target: str) -> tuple[str, ...]:
    """The best of all ways to write a node's in-edges anew, tried one by one; appendix F as a cost."""
    preference = [op for op in ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3") if op != target]
    candidates = []
    for new in product(NASBENCH201_OPERATIONS, repeat=len(operations)):
        changed = [index for index, (old, op) in enumerate(zip(operations, new, strict=True)) if old != op]
        if any(operations[index] == "none" or new[index] != target for index in changed):
            continue
        reached = target in new or set(operations) == {"none"}
        costs = [(preference.index(operations[index]), index) for index in changed]
        candidates.append((not reached, len(changed), costs, new))
    return min(candidates)[-1]


def in_operations(genotype: NasBench201Genotype, node: int) -> tuple[str, ...]:
    return tuple(edge.op for edge in genotype.into(node))


@given(nasbench201_genotypes(), shipped)
def test_it_does_what_the_oracle_does(genotype: NasBench201Genotype, pattern: CellPattern) -> None:
    modified = pattern.apply(genotype)
    for node in (1, 2, 3):
        before = in_operations(genotype, node)
        constrained = node <= len(pattern)
        assert in_operations(modified, node) == (oracle(before, TARGETS[pattern.objective]) if constrained else before)


@given(nasbench201_genotypes(), shipped)
def test_it_is_idempotent_and_keeps_the_topology(genotype: NasBench201Genotype, pattern: CellPattern) -> None:
    modified = pattern.apply(genotype)
    assert pattern.apply(modified) == modified
    assert all((a.op == "none") == (b.op == "none") for a, b in zip(genotype, modified, strict=True))


@given(nasbench201_genotypes(), st.sampled_from(["demotion", "promotion"]), st.integers(0, 5))
def test_the_type_of_cell_does_not_matter(genotype: NasBench201Genotype, family: str, budget: int) -> None:
    patterns = [load_pattern(family, cells=cells).first(budget) for cells in ("normal", "reduction", "dual")]
    assert len({pattern.apply(genotype) for pattern in patterns}) == 1


@pytest.mark.parametrize(
    ("text", "pattern", "wanted"),
    [
        (
            "|skip_connect~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_3x3~0|nor_conv_1x1~1|none~2|",
            "demotion-reduction",
            "|avg_pool_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|",
        ),
        (
            "|avg_pool_3x3~0|+|none~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|",
            "promotion-normal",
            "|nor_conv_3x3~0|+|none~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|",
        ),
    ],
)
def test_worked_examples(text: str, pattern: str, wanted: str) -> None:
    assert str(load_pattern(pattern).first(4).apply(NasBench201Genotype.parse(text))) == wanted


@given(nasbench201_genotypes(), genotypes())
def test_a_dual_pattern_with_two_objectives_has_no_meaning_here(genotype: NasBench201Genotype, darts: Genotype) -> None:
    mixed = DualPattern(load_pattern("demotion-normal"), load_pattern("promotion-reduction")).first(2)
    with pytest.raises(PatternError, match="one part is for demotion, the other for promotion"):
        mixed.apply(genotype)
    assert mixed.apply(mixed.apply(darts)) == mixed.apply(darts)


@pytest.mark.parametrize("objective", TARGETS)
def test_a_search_fixes_the_input_edges_of_the_first_nodes(objective: str) -> None:
    for budget in range(6):
        edges = input_edges(objective, budget)
        assert [(edge.source, edge.target) for edge in edges] == [(0, 1), (0, 2), (0, 3)][:budget]
        assert {edge.op for edge in edges} <= {TARGETS[objective]}
