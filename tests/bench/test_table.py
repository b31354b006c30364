"""The table: rows of runs, its file, and what merging two of them takes and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.bench.card import card_info, render_card
from nni_privacy.bench.columns import COLUMNS, KEY, attacks_of, column_named
from nni_privacy.bench.rows import protocols_of, rows_of_run
from nni_privacy.bench.table import PROTOCOLS, TABLE, gather, merge_tables, read_table, write_table
from nni_privacy.cells.spaces import SPACES
from nni_privacy.errors import DataError
from nni_privacy.runs.records import TrialRecord, read_run

CONFIG: dict[str, Any] = {
    "name": "bench",
    "datasets": [{"name": "npz", "path": "/somewhere/x.npz", "limit": 400, "label": "cifar10"}],
    "architectures": [{"sampled": 2, "widths": [4, 8]}],
    "snapshots": {"epochs": [2], "attacks": ["rmia"], "statistics": False},
    "evaluator": {"recipe": {"epochs": 4}, "attacks": ["rmia"], "shadow": {"count": 4, "cache": "/mine", "workers": 0}},
}


def look(epoch: int, auc: float) -> dict[str, float | None]:
    losses = {"accuracy": 0.4, "train_accuracy": 0.7, "loss": 1.5, "train_loss": 0.9}
    return {"epoch": epoch, **losses, "rmia_auc": auc, "rmia_auc_se": 0.01, "rmia_tpr": None, "rmia_tpr_se": None}


def trials(widths: tuple[int, ...] = (4, 8)) -> list[TrialRecord]:
    found = []
    for number, genotype in enumerate(SPACES["darts"].sample(2, 0, {"nodes": 4})):
        for width in widths:
            factors = {"architecture": f"sampled-{number + 1}", "variant": "original", "dataset": "cifar10",
                       "defence": "none", "seed": 0, "channels": width, "network_cells": 3,
                       "size": f"{width} channels, 3 cells, 4 nodes"}  # fmt: skip
            metrics = {"parameters": 1000.0 * width, "multiply_adds": 5000.0 * width}
            looks = (look(2, 0.6), look(4, 0.7 + 0.01 * number))
            found.append(
                TrialRecord(f"t{len(found)}", len(found), "succeeded", str(genotype), metrics, factors=factors,
                            data={"split": {"target_train": 100, "target_test": 100}}, snapshots=looks)
            )  # fmt: skip
    return found


def write(folder: Path, records: list[TrialRecord], **config: Any) -> Path:
    folder.mkdir()
    (folder / "trials.jsonl").write_text("".join(f"{one.to_json()}\n" for one in records))
    (folder / "config.yaml").write_text(yaml.safe_dump({**CONFIG, **config}))
    (folder / "environment.json").write_text("{}")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write(tmp_path / "run", trials())


def test_a_run_gives_a_row_for_each_look(run: Path) -> None:
    table = rows_of_run(read_run(run))
    assert len(table) == 8 and list(table.columns)[: len(KEY)] == list(KEY)
    assert [column for column in table if column_named(column) is None] == []
    assert set(zip(table["cell"], table["width"], table["epoch"], strict=True)) == {
        (f"sampled-{cell}", width, epoch) for cell in (1, 2) for width in (4, 8) for epoch in (2, 4)
    }
    assert table["gap"].tolist() == pytest.approx([0.3] * 8) and set(table["epochs"]) == {4}
    assert table["parameters"].tolist() == [1000 * width for width in table["width"]]
    assert attacks_of(table.columns) == ["rmia"]


def test_failed_trials_and_networks_without_a_cell_give_none(tmp_path: Path) -> None:
    records = trials()
    records[0] = replace(records[0], status="failed")
    records[1] = replace(records[1], architecture="resnet")
    assert len(rows_of_run(read_run(write(tmp_path / "run", records)))) == 4
    with pytest.raises(DataError, match="no finished training"):
        rows_of_run(read_run(write(tmp_path / "none", records[:2])))
    with pytest.raises(DataError, match="snapshots"):
        rows_of_run(read_run(write(tmp_path / "plain", records, snapshots=None)))


def test_a_protocol_is_what_was_measured_and_not_where(tmp_path: Path) -> None:
    elsewhere = [{**CONFIG["datasets"][0], "path": "/other/y.npz"}]
    moved = {**CONFIG["evaluator"], "shadow": {"count": 4, "cache": "/theirs", "workers": 2}}
    longer = {**CONFIG["evaluator"], "recipe": {"epochs": 5}}
    runs = [write(tmp_path / "a", trials()), write(tmp_path / "b", trials(), datasets=elsewhere, evaluator=moved)]
    runs += [write(tmp_path / "c", trials(), evaluator=longer)]
    first, same, other = (protocols_of(read_run(one))["cifar10"][0] for one in runs)
    assert first == same != other


def test_the_file_reads_back_and_merges_with_what_it_was_made_of(run: Path, tmp_path: Path) -> None:
    table, protocols = gather([run])
    path = write_table(tmp_path / "table", table, protocols)
    assert path.name == TABLE and json.loads((path.parent / PROTOCOLS).read_text()) == protocols
    pd.testing.assert_frame_equal(read_table(path), table, check_dtype=False)
    again, found = gather([path.parent, run, path])
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert found == protocols and set(table["protocol"]) == set(protocols)


def test_tables_of_several_machines_merge_in_any_order(tmp_path: Path) -> None:
    parts = [write(tmp_path / "a", trials((4,))), write(tmp_path / "b", trials((8,)))]
    whole, _ = gather([write(tmp_path / "whole", trials())])
    for order in (parts, parts[::-1]):
        pd.testing.assert_frame_equal(gather(order)[0], whole)


@given(st.lists(st.booleans(), min_size=8, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_merging_is_a_union(left: list[bool], right: list[bool]) -> None:
    records = [replace(one, snapshots=(row,)) for one in trials() for row in one.snapshots]
    whole = table_of(records)
    one, other = whole[left], whole[right]
    if not (len(one) and len(other)):
        return
    merged = merge_tables([("one", one), ("other", other)])
    wanted = whole[[a or b for a, b in zip(left, right, strict=True)]]
    pd.testing.assert_frame_equal(merged, merge_tables([("wanted", wanted)]))


def table_of(records: list[TrialRecord]) -> pd.DataFrame:
    """A table without a run directory around it."""
    from nni_privacy.runs.records import RunInfo

    return rows_of_run(RunInfo(Path("run"), CONFIG, {}, {}, tuple(records)))


def change_number(table: pd.DataFrame) -> None:
    table.loc[3, "rmia_auc"] = 0.9


def change_genotype(table: pd.DataFrame) -> None:
    table.loc[3, "genotype"] = "other"


@pytest.mark.parametrize(("change", "said"), [(change_number, "rmia_auc is 0.9"), (change_genotype, "genotype is")])
def test_rows_that_contradict_each_other_are_refused(change: Callable[[pd.DataFrame], None], said: str) -> None:
    table = table_of(trials())
    other = table.copy()
    change(other)
    with pytest.raises(DataError, match=r"sampled-1.*width 8") as caught:
        merge_tables([("one", table), ("other.csv", other)])
    assert said in str(caught.value) and str(caught.value).startswith("other.csv: ")


def test_one_name_for_two_cells_is_refused() -> None:
    table = table_of(trials())
    renamed = table.assign(cell="mine", width=[4, 4, 8, 8, 16, 16, 32, 32])
    with pytest.raises(DataError, match="'mine' stands for two cells"):
        merge_tables([("one", renamed)])
    with pytest.raises(DataError, match="there twice"):
        merge_tables([("one", pd.concat([table, table]))])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no column 'dataset'"),
        ("", "no column 'dataset'"),
        (None, "line 4: width: 'x' is not a whole number"),
        ("\0", "odd.csv"),
    ],
)
def test_what_is_no_table_is_told_in_one_line(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    if text is None:
        table = table_of(trials()).astype({"width": object})
        table.loc[2, "width"] = "x"
        text = table.to_csv(index=False)
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert said in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_the_card_tells_columns_protocols_and_sizes(run: Path) -> None:
    table, protocols = gather([run])
    info = card_info(table, protocols)
    (protocol,) = info.protocols
    assert (protocol.cells, protocol.widths, protocol.seeds, protocol.epochs) == (2, (4, 8), (0,), (2, 4))
    assert (protocol.rows, protocol.trainings, protocol.members) == (8, 4, (100, 100))
    assert "epochs: 4" in protocol.settings and "/somewhere" not in protocol.settings
    text = render_card(table, protocols)
    assert all(f"`{column}`" in text for column in table.columns)
    assert {column.name for column in COLUMNS if column.needed} <= set(table.columns)
