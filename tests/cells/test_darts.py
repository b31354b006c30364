"""Edges, cells, genotypes: validity, canonical order, text and sample."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies_for_cells import cells, genotypes

from nni_privacy.cells.darts import DARTS_OPERATIONS, Cell, Edge, Genotype, node_labels
from nni_privacy.errors import GenotypeError

TEXT = (
    "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1)], "
    "normal_concat=range(2, 4), reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1)], reduce_concat=[2, 3])"
)


@given(genotypes(nodes=st.integers(1, 7)))
def test_text_and_sample_give_the_genotype_back(genotype: Genotype) -> None:
    assert Genotype.parse(str(genotype)) == genotype
    assert Genotype.from_sample(genotype.to_sample()) == genotype
    assert hash(Genotype.parse(str(genotype))) == hash(genotype)


@given(genotypes())
def test_text_is_what_darts_prints(genotype: Genotype) -> None:
    fields = {k.arg: ast.literal_eval(k.value) for k in ast.parse(str(genotype), mode="eval").body.keywords}
    assert list(fields) == ["normal", "normal_concat", "reduce", "reduce_concat"]
    for name, cell in (("normal", genotype.normal), ("reduce", genotype.reduction)):
        assert fields[name] == [(edge.op, edge.source) for edge in cell]
        assert fields[f"{name}_concat"] == [2, 3, 4, 5]


@given(cells(), st.randoms())
def test_order_of_edges_does_not_matter(cell: Cell, random: object) -> None:
    edges = list(cell.edges)
    random.shuffle(edges)
    assert Cell(tuple(edges)) == cell
    assert hash(Cell(tuple(edges))) == hash(cell)
    assert [(e.target, e.source) for e in cell] == sorted((e.target, e.source) for e in cell)


def test_range_and_unordered_pairs_are_read() -> None:
    genotype = Genotype.parse(TEXT)
    assert genotype.nodes == 2
    assert genotype.normal.into(2) == (Edge(0, 2, "sep_conv_3x3"), Edge(1, 2, "sep_conv_3x3"))
    assert genotype.reduction.into(3) == (Edge(1, 3, "max_pool_3x3"), Edge(2, 3, "skip_connect"))


def test_every_measured_genotype_round_trips(measured_genotypes: list[str]) -> None:
    assert [str(Genotype.parse(text)) for text in measured_genotypes] == measured_genotypes


def test_a_sample_may_name_the_higher_source_first() -> None:
    sample = Genotype.parse(TEXT).to_sample()
    labels = node_labels("normal", 3)
    assert sample[labels.sources] == "0+1"
    turned = {**sample, labels.sources: "1+0", labels.first_op: "sep_conv_3x3", labels.second_op: "skip_connect"}
    assert Genotype.from_sample({**turned, "learning_rate": 0.1}) == Genotype.parse(TEXT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a genotype"),
        ("Genotype(", "not a genotype"),
        ("__import__('os').system('true')", "not of the form"),
        ("Genotype(1, 2)", "normal: expected a list"),
        ("Genotype(1, 2, 3, 4, 5)", "not of the form"),
        ("Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1)])", "without 'reduce'"),
        (TEXT.replace("reduce=", "reduced="), "did you mean 'reduce'"),
        (TEXT.replace("reduce=", "reduction=[], reduce="), "given twice"),
        (TEXT.replace("sep_conv_3x3", "sep_conv_7x7"), "did you mean 'sep_conv"),
        (
            TEXT.replace("('sep_conv_3x3', 1), ('sep_conv_3x3', 0)", "('sep_conv_3x3', 0), ('sep_conv_3x3', 0)"),
            "must differ",
        ),
        (TEXT.replace("('skip_connect', 2)", "('skip_connect', 3)"), "node before its target"),
        (TEXT.replace("('skip_connect', 2)", "('skip_connect', -1)"), "not negative"),
        (TEXT.replace("('skip_connect', 2)", "('skip_connect', True)"), "not a pair"),
        (TEXT.replace("('skip_connect', 2)", "('skip_connect', 1.0)"), "not a pair"),
        (TEXT.replace("('skip_connect', 2), ", ""), "two (operation, source) pairs"),
        (TEXT.replace("range(2, 4)", "[2]"), "normal_concat"),
        (TEXT.replace("range(2, 4)", "range(10**9)"), "normal_concat"),
        (TEXT.replace("range(2, 4)", "open('x')"), "not a plain list"),
        ("Genotype(normal=" + "[" * 5000, "not a genotype"),
    ],
)
def test_a_bad_text_gets_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(GenotypeError, match=message.replace("(", r"\(").replace(")", r"\)")) as caught:
        Genotype.parse(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=200))
def test_no_text_causes_anything_but_a_genotype_error(text: str) -> None:
    with pytest.raises(GenotypeError):
        Genotype.parse(text)


def test_cells_refuse_what_is_not_a_darts_cell() -> None:
    two = (Edge(0, 2, "skip_connect"), Edge(1, 2, "skip_connect"))
    for edges, message in [
        ((), "no edges"),
        (two[:1], "1 in-edges"),
        ((*two, Edge(0, 4, "skip_connect"), Edge(1, 4, "skip_connect")), "node 3 has 0"),
        ((*two, Edge(0, 1, "skip_connect")), "input node"),
        ((two[0], Edge(1, 2, "none")), "unknown"),
    ]:
        with pytest.raises(GenotypeError, match=message):
            Cell(edges)
    with pytest.raises(GenotypeError, match="must be equal"):
        Genotype(Cell(two), Cell((*two, Edge(0, 3, "skip_connect"), Edge(1, 3, "skip_connect"))))
    with pytest.raises(GenotypeError, match="whole number"):
        Edge(0.0, 2, "skip_connect")  # type: ignore[arg-type]


def test_a_sample_that_lacks_a_choice_is_named() -> None:
    sample = Genotype.parse(TEXT).to_sample()
    del sample["reduction_3_op2"]
    with pytest.raises(GenotypeError, match="reduction_3_op2"):
        Genotype.from_sample(sample)
    with pytest.raises(GenotypeError, match="pair of sources"):
        Genotype.from_sample({**Genotype.parse(TEXT).to_sample(), "normal_2_sources": "both"})


def test_there_are_seven_operations_and_none_is_not_one() -> None:
    assert len(set(DARTS_OPERATIONS)) == 7
    assert "none" not in DARTS_OPERATIONS
