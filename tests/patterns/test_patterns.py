"""Patterns: the shipped ones, modification against its definition, and files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from strategies_for_cells import genotypes, patterns

from nni_privacy import Genotype, PrivacyError, load_pattern
from nni_privacy.cells.darts import CELL_TYPES, Edge
from nni_privacy.errors import PatternError
from nni_privacy.patterns import CellPattern, DualPattern, EdgeEvidence, list_patterns, read_pattern, write_pattern

FIGURE_7 = {  # the paper's circled-number order
    "demotion-normal": "13d5 34s5 35s5 24s5 45s5",
    "demotion-reduction": "12a3 02a3 13a3 03a3 14a3 45a3 04a3",
    "promotion-normal": "24d3 04s3 05s3 02s3 03s5 23s3 25s3 12s3",
    "promotion-reduction": "05s3 04s3 14d5 03s5 02s5 13s5 12s5 15s5",
}
KINDS = {"d": "dil_conv", "s": "sep_conv", "a": "avg_pool"}


def test_the_shipped_patterns_are_those_of_figure_7() -> None:
    assert {pattern.name for pattern in list_patterns()} >= set(FIGURE_7)
    for name, code in FIGURE_7.items():
        pattern = load_pattern(name)
        objective, cell = name.split("-")
        expected = [(int(e[0]), int(e[1]), f"{KINDS[e[2]]}_{e[3]}x{e[3]}") for e in code.split()]
        assert [(edge.source, edge.target, edge.op) for edge in pattern.edges] == expected
        assert (pattern.cell, pattern.objective) == (cell, objective)


@given(genotypes(), st.one_of(patterns(), st.sampled_from(list_patterns())), st.data())
def test_modification_keeps_its_promises(genotype: Genotype, pattern: CellPattern, data: st.DataObject) -> None:
    budget = data.draw(st.integers(0, len(pattern)))
    first = pattern.first(budget)
    modified = first.apply(genotype)  # Cell's constructor checks that the result is legal

    assert set(pattern.edges[:budget]) <= set(modified.cell(pattern.cell).edges)
    assert first.apply(modified) == modified
    other = next(cell for cell in CELL_TYPES if cell != pattern.cell)
    assert modified.cell(other) == genotype.cell(other)
    touched = {edge.target for edge in first.edges}
    for target in range(2, 6):
        before, after = genotype.cell(pattern.cell).into(target), modified.cell(pattern.cell).into(target)
        if target not in touched:
            assert after == before
        # What the pattern does not claim is kept from before, never invented.
        assert {edge for edge in after if edge not in first.edges} <= set(before)


@given(genotypes(), patterns())
def test_an_edge_from_the_same_source_only_changes_its_operation(genotype: Genotype, pattern: CellPattern) -> None:
    single = pattern.first(1)
    (edge,) = single.edges
    before = genotype.cell(pattern.cell).into(edge.target)
    after = single.apply(genotype).cell(pattern.cell).into(edge.target)
    if edge.source in {old.source for old in before}:
        assert {old.source for old in before} == {new.source for new in after}
        assert {old for old in before if old.source != edge.source} < set(after)
    else:
        assert len(set(before) & set(after)) == 1


@given(genotypes())
def test_dual_is_both_parts(genotype: Genotype) -> None:
    dual = load_pattern("demotion", cells="dual").first(4)
    assert isinstance(dual, DualPattern)
    expected = (
        load_pattern("demotion-normal").first(4).apply(load_pattern("demotion-reduction").first(4).apply(genotype))
    )
    assert dual.apply(genotype) == expected
    with pytest.raises(PatternError, match="demotion-normal"):
        load_pattern("demotion", cells="dual").first(6)


@given(genotypes(nodes=st.sampled_from([2, 6])))
def test_edges_apply_where_their_nodes_exist(genotype: Genotype) -> None:
    pattern = load_pattern("demotion-reduction")
    modified = pattern.apply(genotype)
    assert {edge for edge in pattern.edges if edge.target < 2 + genotype.nodes} <= set(modified.reduction.edges)


@given(patterns())
def test_a_written_pattern_reads_the_same(pattern: CellPattern) -> None:
    import tempfile

    evidence = tuple(EdgeEvidence(support=i, importance=0.01 * i) for i in range(len(pattern)))
    full = CellPattern(pattern.name, pattern.cell, pattern.objective, pattern.edges, "me", evidence, {1: -0.01})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        write_pattern(full, path)
        assert read_pattern(path) == full
        assert load_pattern(path) == full
        assert load_pattern(path.with_suffix("")) == full


LEGAL = {"name": "mine", "cell": "normal", "objective": "demotion", "edges": [[0, 2, "skip_connect"]]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edgs": []}, "did you mean 'edges'"),
        ({"cell": "both"}, "cell: 'both'; input should be 'normal' or 'reduction'"),
        ({"objective": "neutral"}, "input should be 'demotion' or 'promotion'"),
        ({"edges": []}, "edges"),
        ({"edges": [[0, 2]]}, "edges.0: "),
        ({"edges": [[0, 2, "conv"]]}, "unknown"),
        ({"edges": [[2, 2, "skip_connect"]]}, "before its target"),
        ({"edges": [[0, 1, "skip_connect"]]}, "input node"),
        ({"edges": [["0", 2, "skip_connect"]]}, "whole number"),
        ({"edges": [[s, 5, "skip_connect"] for s in range(3)]}, "two in-edges"),
        ({"edges": [[0, 2, "skip_connect"], [0, 2, "sep_conv_3x3"]]}, "allowed is one"),
        ({"name": None}, "name: None; input should be a valid string"),
        ({"evidence": [{"suport": 1}]}, "did you mean 'support'"),
        ({"evidence": [{}, {}]}, "2 evidence entries for 1 edges"),
        ({"effect": {"four": 1}}, "effect"),
    ],
)
def test_an_illegal_file_gets_one_line_that_names_it(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**LEGAL, **change}))
    with pytest.raises(PatternError, match=message) as caught:
        load_pattern(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200))
def test_no_file_content_causes_anything_but_a_pattern_error(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        path.write_bytes(content)
        with pytest.raises(PatternError):
            read_pattern(path)


def test_yaml_tags_run_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("!!python/object/apply:os.system ['touch pwned']")
    with pytest.raises(PatternError, match="not valid YAML"):
        load_pattern(path)


def test_names_families_and_their_errors(tmp_path: Path) -> None:
    assert load_pattern("demotion", cells="reduction") == load_pattern("demotion-reduction")
    for arguments, message in [
        (("demotoin", None), "did you mean 'demotion'"),
        (("demotion", None), "needs one of"),
        (("demotion-normal", "reduction"), "is for the normal cell"),
        (("demotion", "both"), "allowed are"),
        ((str(tmp_path / "none.yaml"), None), "No such file"),
    ]:
        with pytest.raises(PrivacyError, match=message):
            load_pattern(arguments[0], cells=arguments[1])  # type: ignore[arg-type]


def test_a_family_of_the_users_own_files(tmp_path: Path) -> None:
    for cell in CELL_TYPES:
        (tmp_path / f"own-{cell}.yaml").write_text(yaml.safe_dump({**LEGAL, "cell": cell}))
    dual = load_pattern(tmp_path / "own", cells="dual")
    assert dual.edges_of("normal") == dual.edges_of("reduction") == (Edge(0, 2, "skip_connect"),)


def test_budget_is_checked() -> None:
    pattern = load_pattern("demotion-reduction")
    assert len(pattern.first(0)) == 0
    for budget in (8, -1, True, 2.0):
        with pytest.raises(PatternError, match="budget"):
            pattern.first(budget)  # type: ignore[arg-type]
