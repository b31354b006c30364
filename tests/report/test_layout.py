from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report.samples import random_cell

from nni_privacy.cells.darts import Edge
from nni_privacy.cells.operations import OPERATION_KINDS
from nni_privacy.report.layout import (
    LABEL_HEIGHT,
    LABEL_WIDTH,
    NODE_HEIGHT,
    NODE_WIDTH,
    draw_info,
    operation_label,
)

CELLS = st.builds(
    lambda seed, nodes: random_cell(np.random.default_rng(seed), nodes), st.integers(0, 10**6), st.integers(1, 6)
)
EPSILON = 1e-9


def boxes(drawing):
    """(owner, left, bottom, right, top) of all labels and nodes."""
    for edge in drawing.edges:
        half_width, half_height = LABEL_WIDTH / 2, LABEL_HEIGHT / 2
        x, y = edge.label_x, edge.label_y
        yield edge, x - half_width, y - half_height, x + half_width, y + half_height
    for node in drawing.nodes:
        yield (
            node,
            node.x - NODE_WIDTH / 2,
            node.y - NODE_HEIGHT / 2,
            node.x + NODE_WIDTH / 2,
            node.y + NODE_HEIGHT / 2,
        )


@settings(max_examples=60, deadline=None)
@given(CELLS)
def test_labels_and_nodes_never_overlap_and_stay_on_the_paper(cell):
    drawing = draw_info(cell, "normal")
    for _, left, bottom, right, top in boxes(drawing):
        assert left >= -EPSILON and bottom >= -EPSILON
        assert right <= drawing.width + EPSILON and top <= drawing.height + EPSILON
    for (_, l1, b1, r1, t1), (_, l2, b2, r2, t2) in combinations(boxes(drawing), 2):
        assert r1 < l2 + EPSILON or r2 < l1 + EPSILON or t1 < b2 + EPSILON or t2 < b1 + EPSILON


@settings(max_examples=60, deadline=None)
@given(CELLS)
def test_no_edge_runs_over_a_foreign_label_or_node(cell):
    """Between points 2i and 2i + 1 a path bends in a gap where no box is; elsewhere it is level."""
    drawing = draw_info(cell, "reduction")
    paths = [(edge, edge.path) for edge in drawing.edges] + [(None, path) for path in drawing.outputs]
    for owner, path in paths:
        for index, ((x0, y0), (x1, y1)) in enumerate(pairwise(path)):
            for box, left, bottom, right, top in boxes(drawing):
                if box is owner or x1 <= left + EPSILON or x0 >= right - EPSILON:
                    continue
                assert index % 2 == 1, "a bend crosses a column with a box"
                assert y0 == y1
                assert y0 <= bottom + EPSILON or y0 >= top - EPSILON


@settings(max_examples=40, deadline=None)
@given(CELLS, st.data())
def test_the_drawing_holds_what_the_cell_holds(cell, data):
    fixed = data.draw(st.lists(st.sampled_from(cell.edges), unique=True))
    drawing = draw_info(cell, "normal", [*fixed, Edge(0, 99, "skip_connect")])
    assert tuple(edge.edge for edge in drawing.edges) == cell.edges
    assert {edge.edge for edge in drawing.edges if edge.fixed} == set(fixed)
    names = [node.label for node in drawing.nodes]
    assert names == ["c_{k-2}", "c_{k-1}", *(str(n) for n in range(2, 2 + cell.nodes)), "c_{k}"]
    for edge in drawing.edges:
        source, target = drawing.nodes[edge.edge.source], drawing.nodes[edge.edge.target]
        assert edge.path[0] == pytest.approx((source.x + NODE_WIDTH / 2, source.y))
        assert edge.path[-1] == pytest.approx((target.x - NODE_WIDTH / 2, target.y))
        assert source.x < edge.label_x < target.x
    assert len(drawing.outputs) == cell.nodes


def test_the_same_cell_gives_the_same_drawing():
    cell = random_cell(np.random.default_rng(1))
    assert draw_info(cell, "normal") == draw_info(cell, "normal")


@pytest.mark.parametrize(
    ("op", "kind", "label"),
    [
        ("max_pool_3x3", "pooling", "max pool 3×3"),
        ("sep_conv_5x5", "convolution", "sep conv 5×5"),
        ("skip_connect", "skip", "skip"),
    ],
)
def test_operations_have_kinds_and_labels(op, kind, label):
    assert (OPERATION_KINDS[op], operation_label(op)) == (kind, label)
