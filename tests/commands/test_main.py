"""The command line as a user sees it: exit codes, one clear line on standard error, and nothing half-written."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support_config import BASE, changed

from nni_privacy.cells.darts import Genotype
from nni_privacy.commands.main import main
from nni_privacy.patterns import load_pattern, write_pattern


def run(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def assert_one_clear_line(code: int, out: str, err: str, *words: str) -> None:
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1 and "Traceback" not in err
    for word in words:
        assert word in err


@pytest.fixture
def genotype_file(tmp_path: Path, measured_genotypes: list[str]) -> Path:
    path = tmp_path / "genotypes.txt"
    path.write_text("\n".join(measured_genotypes) + "\n")
    return path


def test_apply_to_all_measured_genotypes(
    genotype_file: Path, measured_genotypes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(["patterns", "apply", "demotion-reduction", "--budget", 4, genotype_file], capsys)
    assert (code, err) == (0, "")
    pattern = load_pattern("demotion-reduction").first(4)
    lines = out.splitlines()
    assert len(lines) == len(measured_genotypes) >= 300
    for before, after in zip(map(Genotype.parse, measured_genotypes), map(Genotype.parse, lines), strict=True):
        assert set(pattern.edges) <= set(after.reduction.edges)
        assert after.normal == before.normal
        assert [after.reduction.into(node) for node in (4, 5)] == [before.reduction.into(node) for node in (4, 5)]


def test_apply_reads_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import io

    from nni_privacy.search_spaces import DARTS

    text = str(Genotype.from_sample({label: choice.default() for label, choice in DARTS.choices(4).items()}))
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{text}\n\n{text}\n"))
    code, out, _ = run(["patterns", "apply", "demotion", "--cells", "dual", "--budget", 3, "-"], capsys)
    assert code == 0
    expected = load_pattern("demotion", cells="dual").first(3).apply(Genotype.parse(text))
    assert out == f"{expected}\n" * 2


def test_apply_reads_genotypes_of_both_spaces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nni_privacy.search_spaces import DARTS

    darts = Genotype.from_sample({label: choice.default() for label, choice in DARTS.choices(4).items()})
    path = tmp_path / "mixed.txt"
    path.write_text(f"|none~0|+|skip_connect~0|nor_conv_1x1~1|+|conv_3x3~0|none~1|none~2|\n{darts}\n")
    code, out, err = run(["patterns", "apply", "demotion-reduction", "--budget", "3", path], capsys)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "|none~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|none~2|",
        str(load_pattern("demotion-reduction").first(3).apply(darts)),
    ]


def test_apply_writes_nothing_when_a_line_is_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.txt"
    path.write_text("\nGenotype(normal=[])\n")
    assert_one_clear_line(*run(["patterns", "apply", "demotion-reduction", path], capsys), "line 2", "normal")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["patterns", "apply", "demotion-reduction", "--budget", "8", "-"], ["budget: 8", "7 edges"]),
        (["patterns", "apply", "demotoin", "-"], ["demotoin", "did you mean 'demotion'"]),
        (["patterns", "apply", "demotion", "-"], ["cells", "normal, reduction, dual"]),
        (["patterns", "apply", "demotion-reduction", "missing.txt"], ["missing.txt", "No such file"]),
        (["patterns", "apply", "demotion-reduction", "--budget", "x", "-"], ["--budget", "'x'"]),
        (["patterns", "show", "none.yaml"], ["none.yaml", "No such file"]),
        (["report", "no-such-folder"], ["no-such-folder"]),
        (["search", "none.yaml"], ["none.yaml", "No such file"]),
        (["serch"], ["serch"]),
        ([], ["COMMAND"]),
    ],
)
def test_bad_input_gets_one_line(arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert_one_clear_line(*run(arguments, capsys), *words)


def test_lists_and_shows_patterns(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(["patterns", "list"], capsys)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "demotion-normal",
        "demotion-reduction",
        "nb301-demotion-normal",
        "nb301-demotion-reduction",
        "nb301-promotion-normal",
        "nb301-promotion-reduction",
        "promotion-normal",
        "promotion-reduction",
    ]
    code, out, _ = run(["patterns", "show", "demotion-reduction"], capsys)
    assert code == 0
    assert "1. 1 -> 2  avg_pool_3x3" in out and out.count("avg_pool_3x3") == 7


def write_config(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def bad_npz(folder: Path) -> str:
    path = folder / "bad.npz"
    np.savez(path, x=np.zeros((30, 8, 8), np.uint8), y=np.zeros(29, np.int64))
    return str(path)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("trial", 3, ["unknown key", "did you mean 'trials'"]),
        ("trials", "ten", ["trials", "'ten'"]),
        ("pattern.budget", 9, ["pattern.budget: 9", "7 edges"]),
        ("pattern.name", "demote", ["unknown pattern 'demote'"]),
        ("dataset", {"name": "npz", "path": "missing.npz"}, ["missing.npz"]),
        ("dataset", bad_npz, ["bad.npz", "30", "29"]),
        ("pattern.name", "illegal.yaml", ["illegal.yaml", "two in-edges"]),
    ],
)
def test_a_search_with_bad_input_writes_nothing(
    path: str,
    value: Any,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    edges = [[source, 5, "skip_connect"] for source in range(3)]
    illegal = {"name": "illegal", "cell": "reduction", "objective": "demotion", "edges": edges}
    (tmp_path / "illegal.yaml").write_text(yaml.safe_dump(illegal))
    if callable(value):
        value = {"name": "npz", "path": value(tmp_path)}
    config = write_config(tmp_path, changed(path, value))
    before = sorted(tmp_path.rglob("*"))
    assert_one_clear_line(*run(["search", config, "--output", tmp_path / "out"], capsys), *words)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_port_in_use_or_a_used_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, BASE)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run(["search", config, "--port", port, "--output", tmp_path / "out"], capsys)
    assert_one_clear_line(*result, f"port: {port}", "in use")
    assert not (tmp_path / "out").exists()
    assert_one_clear_line(*run(["search", config, "--output", tmp_path], capsys), "output", "not empty")
    assert_one_clear_line(*run(["search", config, "--port", 99999], capsys), "port: 99999")


def test_a_terminal_that_knows_no_emoji_gets_its_number(tmp_path: Path) -> None:
    pattern = tmp_path / "mine.yaml"
    write_pattern(replace(load_pattern("demotion-reduction"), name="p \U0001f600"), pattern)
    words = [sys.executable, "-m", "nni_privacy", "patterns", "show", str(pattern)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    answer = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    assert answer.stdout.splitlines()[0] == r"p \U0001f600"


@pytest.mark.parametrize("module", ["nni_privacy", "nni_privacy.commands.main"])
def test_importing_is_light(module: str) -> None:
    code = f"import {module}, sys; print(sorted({{'torch', 'nni', 'matplotlib', 'pydantic'}} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


# --- faults of the machine ---


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", [["list", "attacks"], ["patterns", "show", "demotion-reduction"]])
def test_a_full_standard_output_is_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "nni_privacy", *words]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (3, "nni-privacy: standard output: No space left on device\n")


def test_a_full_disk_under_a_report_is_a_fault_of_the_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trials.jsonl").write_text('{"trial": "a", "sequence": 0, "status": "succeeded", "metrics": {}}\n')

    def full(path: Path, content: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("nni_privacy.report.html.atomic_write", full)
    code, out, err = run(["report", tmp_path], capsys)
    assert code == 3 and out == "" and err.count("\n") == 1 and "cannot be written (No space left on device)" in err
