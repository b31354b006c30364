"""How the cell of a one-shot search evolved: the numbers, and the report's section on it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report.pages import Page
from report.samples import FIXED, make_run, random_genotype

from nni_privacy.cells.darts import Edge, Genotype
from nni_privacy.cells.nasbench201 import NasBench201Genotype
from nni_privacy.errors import DataError
from nni_privacy.report import write_report
from nni_privacy.report.evolution_page import changed_edges, draw_panel, evolution_info

NB201 = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|"


def write_epochs(directory: Path, architectures: list[str], total: int | None = None, **changes: Any) -> Path:
    lines = []
    for epoch, architecture in enumerate(architectures, start=1):
        metrics = {"train_loss": 3.0 / epoch, "validation_loss": 4.0 / epoch, "temperature": 10.0 - epoch}
        row = {"epoch": epoch, "epochs": total or len(architectures), "architecture": architecture}
        row |= {"skip_connections": architecture.count("skip_connect"), "entropy": 2.0 - epoch / 100}
        lines.append(json.dumps(row | {"metrics": metrics, "seconds": 1.5} | changes))
    (directory / "search").mkdir(parents=True, exist_ok=True)
    (directory / "search" / "epochs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return directory


def with_changed_operations(genotype: Genotype, count: int) -> Genotype:
    """The genotype with other operations on the first ``count`` edges of its normal cell."""
    cell = genotype.normal
    for edge in cell.edges[:count]:
        op = "skip_connect" if edge.op != "skip_connect" else "max_pool_3x3"
        into = [Edge(edge.source, edge.target, op) if other == edge else other for other in cell.into(edge.target)]
        cell = cell.replace_node(edge.target, into)
    return genotype.with_cell("normal", cell)


@pytest.fixture
def genotypes() -> list[Genotype]:
    """Of nine epochs: 0, 3, 0, 1, 0, 0, 2, 0, 0 edges change."""
    first = random_genotype(np.random.default_rng(0))
    current, found = first, []
    for count in (0, 3, 0, 1, 0, 0, 2, 0, 0):
        current = with_changed_operations(current, count)
        found.append(current)
    return found


def test_changed_edges_are_counted_over_both_cells(genotypes: list[Genotype]) -> None:
    first = genotypes[0]
    assert changed_edges(first, first) == 0
    assert [changed_edges(first, with_changed_operations(first, count)) for count in (1, 5, 8)] == [1, 5, 8]
    swapped = Genotype(first.reduction, first.normal)
    both = set(first.normal.edges) & set(first.reduction.edges)
    assert changed_edges(first, swapped) == 2 * (8 - len(both))


def test_changed_edges_of_nasbench201() -> None:
    before = NasBench201Genotype.parse(NB201)
    after = before.with_operation(1, 2, "none").with_operation(0, 3, "skip_connect")
    assert changed_edges(before, after) == 2


def test_the_numbers_are_those_of_the_log(tmp_path: Path, genotypes: list[Genotype]) -> None:
    info = evolution_info(write_epochs(tmp_path, [str(genotype) for genotype in genotypes], total=20))
    assert info is not None
    assert (len(info.records), info.total, info.edges) == (9, 20, 16)
    assert math.isnan(info.changed[0]) and info.changed[1:] == (3, 0, 1, 0, 0, 2, 0, 0)
    assert info.settled == 7
    panels = {panel.title: panel for panel in info.panels}
    assert list(panels) == ["loss", "temperature", "entropy", "skip connections", "edges changed"]
    assert panels["loss"].lines == {
        "train loss": tuple(3.0 / epoch for epoch in range(1, 10)),
        "validation loss": tuple(4.0 / epoch for epoch in range(1, 10)),
    }
    assert panels["entropy"].lines["entropy"] == tuple(2.0 - epoch / 100 for epoch in range(1, 10))
    skips = [sum(edge.op == "skip_connect" for edge in (*g.normal, *g.reduction)) for g in genotypes]
    assert panels["skip connections"].lines["skip connections"] == tuple(skips)


def test_snapshots_are_first_quarter_points_and_last(tmp_path: Path, genotypes: list[Genotype]) -> None:
    info = evolution_info(write_epochs(tmp_path, [str(genotype) for genotype in genotypes]))
    assert info is not None
    assert [snapshot.epoch for snapshot in info.snapshots] == [1, 3, 5, 7, 9]
    assert [snapshot.genotype for snapshot in info.snapshots] == genotypes[::2]
    wanted = [changed_edges(genotypes[index - 2], genotypes[index]) for index in (2, 4, 6, 8)]
    assert [snapshot.changed for snapshot in info.snapshots] == [None, *wanted]
    assert wanted[-1] == 0


@pytest.mark.parametrize(("epochs", "wanted"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (40, [1, 11, 21, 30, 40])])
def test_a_short_search_has_each_epoch_once(tmp_path: Path, epochs: int, wanted: list[int]) -> None:
    info = evolution_info(write_epochs(tmp_path, [NB201] * epochs))
    assert info is not None
    assert [snapshot.epoch for snapshot in info.snapshots] == wanted
    assert info.edges == 6 and info.settled == 1


def test_without_a_one_shot_search_there_is_nothing(tmp_path: Path) -> None:
    assert evolution_info(make_run(tmp_path / "run", trials=2)) is None
    assert "How the cell evolved" not in write_report(tmp_path / "run").read_text(encoding="utf-8")


def test_architectures_of_a_space_of_ones_own_have_charts_but_no_drawings(tmp_path: Path) -> None:
    run = write_epochs(make_run(tmp_path / "run", trials=1), ["{'layer': '<b>conv</b>'}"] * 3, entropy=None)
    info = evolution_info(run)
    assert info is not None
    assert (info.snapshots, info.edges, info.settled) == ((), 0, None)
    assert [panel.title for panel in info.panels] == ["loss", "temperature", "skip connections"]
    page = write_report(run).read_text(encoding="utf-8")
    assert "no cells that could be drawn" in page and "<b>conv</b>" not in page


def test_what_is_no_finite_number_is_a_gap(tmp_path: Path) -> None:
    run = write_epochs(make_run(tmp_path / "run", trials=1), [NB201] * 2, metrics={"loss": math.nan, "reward": "x"})
    info = evolution_info(run)
    assert info is not None and [dict(record.metrics) for record in info.records] == [{}, {}]
    write_report(run)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        '{"epoch": 1}',
        json.dumps({"epoch": "1", "epochs": 1, "architecture": "", "skip_connections": 0}),
    ],
)
def test_a_damaged_log_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "epochs.jsonl").write_text(text + "\n")
    with pytest.raises(DataError, match=r"epochs\.jsonl: not the log of a search"):
        evolution_info(tmp_path)


def test_the_page_draws_the_cells_with_their_fixed_edges(tmp_path: Path, genotypes: list[Genotype]) -> None:
    run = write_epochs(make_run(tmp_path / "run", trials=2), [str(genotype) for genotype in genotypes])
    text = write_report(run).read_text(encoding="utf-8")
    page = Page(text)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    section = text[text.index('<section id="evolution">') : text.index('<section id="reading">')]
    assert section.count(f"reduction cell, {len(FIXED)} of 8 edges fixed") == 1  # drawn once: it never changes
    assert section.count("reduction cell: as before") == 3
    assert "Epoch 9 – no edge changed since epoch 7" in section
    assert "It is the same since epoch 7." in section
    assert section.count('by epoch of the search"') == 10  # five figures with their charts
    assert section.count('<td class="wide">') == 9
    assert write_report(run).read_text(encoding="utf-8") == text


def test_the_page_draws_nasbench201(tmp_path: Path) -> None:
    run = write_epochs(make_run(tmp_path / "run", trials=1), [NB201], total=4)
    environment = {"fixed_edges": {"cell": [[0, 1, "nor_conv_3x3"]]}}
    (run / "environment.json").write_text(json.dumps(environment))
    text = write_report(run).read_text(encoding="utf-8")
    section = text[text.index('<section id="evolution">') : text.index('<section id="reading">')]
    assert "1 of 4 epochs so far" in section
    assert "cell, 1 of 4 edges fixed" in section


def test_panels_are_drawn_from_their_info(tmp_path: Path, genotypes: list[Genotype]) -> None:
    info = evolution_info(write_epochs(tmp_path, [str(genotype) for genotype in genotypes]))
    assert info is not None
    epochs = [record.epoch for record in info.records]
    for panel in info.panels:
        (axes,) = draw_panel(panel, epochs).axes
        for line, values in zip(axes.get_lines(), panel.lines.values(), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), epochs)
            np.testing.assert_array_equal(line.get_ydata(), values)
