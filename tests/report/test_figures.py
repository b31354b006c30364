from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
from report.samples import make_run, random_cell, write_rows

from nni_privacy.report.cell import FIXED_WIDTH, KIND_COLOURS, draw_cell, draw_cell_legend
from nni_privacy.report.layout import draw_info
from nni_privacy.report.roc import draw_roc, roc_info
from nni_privacy.report.run_page import draw_progress, draw_tradeoff, progress_info, tradeoff_info
from nni_privacy.report.style import drawing_style, to_svg
from nni_privacy.runs.records import read_run


@pytest.fixture
def run(run_directory):
    return read_run(run_directory)


def test_drawn_text_fits_its_boxes():
    """Measured with matplotlib's own font: no label is wider than its box, so none can overlap."""
    cell = random_cell(np.random.default_rng(2))
    with drawing_style():
        figure = draw_cell(draw_info(cell, "normal", cell.edges))
        figure.draw_without_rendering()
        axes = figure.axes[0]
        extents = [text.get_window_extent() for text in axes.texts]
    for index, first in enumerate(extents):
        assert not any(first.overlaps(other) for other in extents[index + 1 :])


def test_fixed_edges_are_thicker_and_marked():
    cell = random_cell(np.random.default_rng(2))
    fixed = cell.edges[:3]
    with drawing_style():
        axes = draw_cell(draw_info(cell, "normal", fixed)).axes[0]
    thick = [patch for patch in axes.patches if patch.get_linewidth() == FIXED_WIDTH]
    assert len(thick) == 3
    assert [line.get_marker() for line in axes.lines] == ["D"] * 3


def test_the_legend_names_every_kind_and_the_fixed_edges():
    with drawing_style():
        legend = draw_cell_legend().legends[0]
    names = [text.get_text() for text in legend.get_texts()]
    assert set(KIND_COLOURS) <= set(names) and "edge fixed by the pattern" in names


def test_roc_axes_are_logarithmic_down_to_one_over_the_non_members(run):
    with drawing_style():
        axes = draw_roc(roc_info(run)).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlim()[0] == pytest.approx(1 / 150)


def test_tradeoff_draws_every_measured_trial(run):
    with drawing_style():
        axes = draw_tradeoff(tradeoff_info(run)).axes[0]
    drawn = {label: line.get_xdata() for line in axes.lines if (label := line.get_label())}
    assert len(drawn["other trials"]) + len(drawn["Pareto front"]) == 11


def test_svg_is_deterministic_and_its_ids_are_prefixed(run):
    with drawing_style():
        first, second = (to_svg(draw_progress(progress_info(run)), prefix="p", label='a "b"') for _ in range(2))
    assert first == second
    ids = re.findall(r'\bid="([^"]+)"', first)
    assert ids and len(ids) == len(set(ids)) and all(name.startswith("p-") for name in ids)
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', first)
    assert references and all((one or two) in ids for one, two in references)
    assert 'aria-label="a &#34;b&#34;"' in first and "<metadata" not in first


def test_drawing_leaves_pyplot_and_settings_alone(run):
    import matplotlib

    before = dict(matplotlib.rcParams)
    loaded = "matplotlib.pyplot" in sys.modules
    with drawing_style():
        to_svg(draw_tradeoff(tradeoff_info(run)), prefix="t", label="t")
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_numbers_of_a_crowded_front_do_not_overlap(tmp_path):
    directory = make_run(tmp_path / "run", trials=40)
    rows = [json.loads(line) for line in (directory / "trials.jsonl").read_text().splitlines()]
    for row in rows:
        step = row["sequence"] / 4000 + (0.1 if row["sequence"] > 30 else 0)
        row["metrics"].update(accuracy=0.9 - step, mia_auc=0.7 - step)
    write_rows(directory, rows)
    info = tradeoff_info(read_run(directory))
    assert len(info.front) == 40
    with drawing_style():
        figure = draw_tradeoff(info)
        figure.draw_without_rendering()
        texts = figure.axes[0].texts
        extents = [text.get_window_extent() for text in texts]
    assert {"#0", "#39"} <= {text.get_text() for text in texts}
    for index, first in enumerate(extents):
        assert not any(first.overlaps(other) for other in extents[index + 1 :])
