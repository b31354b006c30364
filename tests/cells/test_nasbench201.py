"""NAS-Bench-201 genotypes: text and samples there and back, and one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from strategies_for_cells import genotypes, nasbench201_genotypes

import nni_privacy
from nni_privacy.cells.darts import Edge, Genotype
from nni_privacy.cells.genotypes import parse_genotype, read_genotypes
from nni_privacy.cells.nasbench201 import NASBENCH201_EDGES, NasBench201Genotype
from nni_privacy.errors import GenotypeError

TEXT = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"


@given(nasbench201_genotypes())
def test_text_and_sample_give_the_genotype_back(genotype: NasBench201Genotype) -> None:
    assert NasBench201Genotype.parse(str(genotype)) == parse_genotype(str(genotype)) == genotype
    assert NasBench201Genotype.from_sample({**genotype.to_sample(), "other": 3}) == genotype
    assert hash(NasBench201Genotype(genotype.edges[::-1])) == hash(genotype)


@given(genotypes())
def test_genotypes_of_darts_are_told_apart(genotype: Genotype) -> None:
    assert parse_genotype(str(genotype)) == genotype


def test_the_benchmarks_text_is_written_as_it_is_read() -> None:
    genotype = NasBench201Genotype.parse(TEXT)
    assert str(genotype) == TEXT
    assert genotype.into(3) == (Edge(0, 3, "avg_pool_3x3"), Edge(1, 3, "nor_conv_1x1"), Edge(2, 3, "none"))
    assert list(genotype.to_sample()) == ["edge_0_1", "edge_0_2", "edge_1_2", "edge_0_3", "edge_1_3", "edge_2_3"]
    assert genotype.with_operation(1, 2, "none").into(2)[1].op == "none"
    assert [(edge.source, edge.target) for edge in genotype] == list(NASBENCH201_EDGES)


def test_the_names_of_nni_and_spaces_are_understood() -> None:
    assert str(parse_genotype("  " + TEXT.replace("nor_", "").replace("+", " + ") + "\n")) == TEXT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not of the form"),
        ("|", "not of the form"),
        ("||+||+||", "is not operation~source"),
        ("|none|+|none~0|none~1|+|none~0|none~1|none~2|", "'none' is not operation~source"),
        ("|none~x|+|none~0|none~1|+|none~0|none~1|none~2|", "'none~x' is not operation~source"),
        ("|none~²|+|none~0|none~1|+|none~0|none~1|none~2|", "is not operation~source"),
        (TEXT.replace("skip_connect", "skip_conect"), "unknown in NAS-Bench-201; did you mean 'skip_connect'"),
        (TEXT.replace("none~2", "none~3"), "its source must be a node before its target"),
        (TEXT.replace("none~2", "none~1"), "2 edges from node 1 to node 3"),
        (TEXT.replace("|none~2|", "|"), "0 edges from node 2 to node 3"),
        (TEXT + "+|none~0|", "the nodes of a NAS-Bench-201 cell are 0 to 3"),
        (TEXT.partition("+")[0], "0 edges from node 0 to node 2"),
        ("|" * 5000, "is not operation~source"),
    ],
)
def test_texts_that_are_no_genotype_get_one_line(text: str, message: str) -> None:
    with pytest.raises(GenotypeError) as caught:
        NasBench201Genotype.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({}, "sample without 'edge_0_1'; it has no keys"),
        ({**NasBench201Genotype.parse(TEXT).to_sample(), "edge_1_3": "max_pool_3x3"}, "'max_pool_3x3' is unknown"),
        ({**NasBench201Genotype.parse(TEXT).to_sample(), "edge_1_3": 3}, "3 is not the name of an operation"),
    ],
)
def test_samples_that_are_no_genotype_get_one_line(sample: dict[str, object], message: str) -> None:
    with pytest.raises(GenotypeError, match=message):
        NasBench201Genotype.from_sample(sample)


def test_a_file_may_hold_both_kinds(tmp_path: Path) -> None:
    cell = "[('skip_connect', 0), ('skip_connect', 1)]"
    darts = f"Genotype(normal={cell}, reduce={cell})"
    path = tmp_path / "mixed.txt"
    path.write_text(f"{TEXT}\n\n{darts}\n")
    assert [type(genotype) for genotype in read_genotypes(path)] == [NasBench201Genotype, Genotype]
    path.write_text(f"{darts}\n{TEXT[:-4]}\n")
    with pytest.raises(GenotypeError, match="line 2"):
        read_genotypes(path)


def test_the_package_exports_both_names() -> None:
    assert nni_privacy.parse_genotype(TEXT) == nni_privacy.NasBench201Genotype.parse(TEXT)
