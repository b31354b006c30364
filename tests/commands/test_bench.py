"""``nni-privacy bench``: from tables to one table, its card, its results and its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench.planted_bench import PROTOCOLS, whole_table

from nni_privacy.bench.results import bench_results, plain_results
from nni_privacy.bench.table import gather, read_table, write_table
from nni_privacy.commands.main import main

FILES = ["card.md", "protocols.json", "report.html", "results.json", "table.csv"]
QUICK = ["--rounds", "100"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A whole table, and the same in two halves that share some rows."""
    folder, table = tmp_path_factory.mktemp("tables"), whole_table(darts=10, nasbench201=0)
    parts = {"whole": table, "first": table.iloc[:100], "second": table.iloc[80:]}
    for name, part in parts.items():
        write_table(folder / name, part, PROTOCOLS)
    return {name: folder / name for name in parts}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def made(tables: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("made") / "deep" / "merged"
    assert main(["bench", str(tables["whole"]), "--output", str(output), *QUICK]) == 0
    return output


def test_it_writes_table_card_results_and_page(made: Path) -> None:
    assert names_in(made) == FILES
    assert "Does the architecture matter" in (made / "report.html").read_text(encoding="utf-8")
    assert "# Membership leakage of cells" in (made / "card.md").read_text(encoding="utf-8")
    assert json.loads((made / "protocols.json").read_text()) == PROTOCOLS


def test_the_numbers_of_the_file_are_those_of_the_info_objects(made: Path, tables: dict[str, Path]) -> None:
    table, _ = gather([tables["whole"]])
    written: dict[str, Any] = json.loads((made / "results.json").read_text(encoding="utf-8"))
    results = bench_results(table, rounds=100)
    assert written == json.loads(json.dumps(plain_results(results)))
    for line, verdict in zip(written["verdicts"], results.verdicts, strict=True):
        assert (line["value"], line["low"], line["high"]) == (verdict.value, verdict.low, verdict.high)
        assert (line["cells"], line["verdict"], line["p_holm"]) == (verdict.cells, verdict.verdict, verdict.p_holm)
    (one,) = written["datasets"]
    assert one["splits"]["AUC"]["parts"]["remaining"]["value"] == (
        results.datasets[0].splits["AUC"].parts["remaining"].value
    )
    assert (one["cells"], one["trainings"]) == (10, 10 * (3 + 2) * 2)


def test_two_halves_are_the_whole_byte_by_byte(made: Path, tables: dict[str, Path], tmp_path: Path) -> None:
    sources = [str(tables["second"]), str(tables["first"] / "table.csv")]
    assert main(["bench", *sources, "--output", str(tmp_path / "merged"), *QUICK]) == 0
    for name in FILES:
        assert (tmp_path / "merged" / name).read_bytes() == (made / name).read_bytes(), name


def test_only_the_table_takes_no_analysis_and_merges(tables: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "merged"
    sources = [str(tables["first"]), str(tables["second"])]
    assert main(["bench", *sources, "--output", str(output), "--table-only"]) == 0
    assert names_in(output) == ["card.md", "protocols.json", "table.csv"]
    assert len(read_table(output / "table.csv")) == len(read_table(tables["whole"] / "table.csv"))
    assert capsys.readouterr().out.startswith("300 rows: ")


def test_it_prints_each_verdict_with_its_interval(tables: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    assert main(["bench", str(tables["whole"]), "--output", str(tmp_path / "out"), *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()
    verdicts = json.loads((tmp_path / "out" / "results.json").read_text())["verdicts"]
    for line in verdicts:
        expected = f"{line['value']:+.3f} [{line['low']:+.3f}, {line['high']:+.3f}]"
        assert any(expected in printed and line["claim"] in printed for printed in lines)
    assert lines[-1] == f"report: {tmp_path / 'out' / 'report.html'}"


def broken(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "table.csv").write_text(text, encoding="utf-8")
    return folder


BROKEN = {
    "nothing there": (lambda table: None, ""),
    "a column is missing": (lambda table: table.drop(columns="gap"), "gap"),
    "no number": (
        lambda table: table.astype({"accuracy": object}).replace({"accuracy": {table.accuracy[3]: "x"}}),
        "x",
    ),
    "another number": (lambda table: table.assign(rmia_auc=table["rmia_auc"] + 0.01), "rmia_auc"),
    "another cell": (lambda table: table.assign(seed=table["seed"] + 7, genotype="other"), "genotype"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_source_is_one_clear_line_and_nothing_is_written(
    how: str, tables: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    change, named = BROKEN[how]
    table, source = change(read_table(tables["whole"] / "table.csv")), tmp_path / "broken"
    if table is not None:
        broken(source, table.to_csv(index=False))
    assert main(["bench", str(tables["whole"]), str(source), "--output", str(tmp_path / "out"), *QUICK]) == 2
    message = capsys.readouterr().err
    assert message.startswith("nni-privacy: ") and message.count("\n") == 1
    assert named in message or "stands for two cells" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--attack", "lira"], "attack: 'lira'; the table has loss_threshold, rmia"), (["--rounds", "3"], "rounds: 3")],
)
def test_a_wrong_option_is_one_clear_line_and_nothing_is_written(
    options: list[str], message: str, tables: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    assert main(["bench", str(tables["whole"]), "--output", str(tmp_path / "out"), *options]) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
    assert not (tmp_path / "out").exists()
