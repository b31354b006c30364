"""Reports of searches in NAS-Bench-201: the cell is drawn, fixed edges are marked, ``none`` is left out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from strategies_for_cells import nasbench201_genotypes

from nni_privacy.cells.darts import Edge
from nni_privacy.cells.nasbench201 import NasBench201Genotype
from nni_privacy.report import write_report
from nni_privacy.report.facts import summary_info
from nni_privacy.report.layout import draw_info
from nni_privacy.report.trials_table import columns_of, operation_counts
from nni_privacy.runs.records import read_run

FIXED = [[0, 1, "avg_pool_3x3"], [0, 2, "avg_pool_3x3"]]
GOOD = "|avg_pool_3x3~0|+|avg_pool_3x3~0|none~1|+|none~0|nor_conv_3x3~1|skip_connect~2|"
STRAY = "|avg_pool_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "environment.json").write_text(json.dumps({"fixed_edges": {"cell": FIXED}}))
    (tmp_path / "config.yaml").write_text("name: nb\nsearch_space: {name: nasbench201, channels: 8, cells: 1}\n")
    lines = [
        {"trial": name, "sequence": number, "status": "succeeded", "architecture": text, "metrics": metrics}
        for number, (name, text, metrics) in enumerate(
            [("aaa", GOOD, {"accuracy": 0.9, "mia_auc": 0.6}), ("bbb", STRAY, {"accuracy": 0.1, "mia_auc": 0.5})]
        )
    ]
    (tmp_path / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


@settings(max_examples=40, deadline=None)
@given(nasbench201_genotypes())
def test_every_cell_can_be_drawn(genotype):
    fixed = [Edge(*edge) for edge in FIXED]
    drawing = draw_info(genotype, "cell", fixed)
    assert tuple(edge.edge for edge in drawing.edges) == tuple(edge for edge in genotype if edge.op != "none")
    assert {edge.edge for edge in drawing.edges if edge.fixed} == set(fixed) & set(genotype)
    assert [(node.label, node.role) for node in drawing.nodes] == [
        ("0", "input"),
        ("1", "intermediate"),
        ("2", "intermediate"),
        ("3", "output"),
    ]
    assert drawing.outputs == ()
    assert all(0 <= edge.label_x <= drawing.width and 0 <= edge.label_y <= drawing.height for edge in drawing.edges)


def test_numbers_are_those_of_the_one_cell(run):
    info = read_run(run)
    good, stray = info.trials
    assert good.genotype == NasBench201Genotype.parse(GOOD)
    assert operation_counts(good, "cell") == (1, 2, 1) and operation_counts(stray, "cell") == (0, 1, 0)
    assert operation_counts(good, "normal") is None
    assert good.missing(info.fixed_edges) == [] and stray.missing(info.fixed_edges) == [("cell", Edge(*FIXED[1]))]
    titles = [column.title for column in columns_of(info)]
    assert "Cell C·P·S" in titles and "Normal C·P·S" not in titles
    assert (summary_info(info).fixed, summary_info(info).constrained) == (2, 1)


def test_the_page_shows_the_cell_with_its_fixed_edges(run):
    page = write_report(run).read_text(encoding="utf-8")
    assert "cell, 2 of 4 edges fixed" in page
    assert "cell: <code>0 → 1 avg_pool_3x3</code>" in page
    assert "adds up its inputs, and 3 is the cell's output" in page and "concatenat" not in page
    assert "normal cell" not in page and "reduction cell" not in page


def test_fixed_edges_of_a_cell_that_only_a_plugin_knows_are_left_out(run):
    (run / "environment.json").write_text(json.dumps({"fixed_edges": {"chain": FIXED}}))
    info = read_run(run)
    assert not any(info.fixed_edges.values()) and not summary_info(info).strays
    assert "its fixed edges are of a space of a plugin" in write_report(run).read_text(encoding="utf-8")
