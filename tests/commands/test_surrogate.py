from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from surrogate.samples import planted_rows, random_codes

from nni_privacy.commands.main import main
from nni_privacy.surrogate import load_surrogate

CsvWriter = Callable[..., Path]


def test_fit_then_predict(write_csv: CsvWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, model, lines = write_csv(), tmp_path / "model.npz", tmp_path / "genotypes.txt"
    genotypes = random_codes(3, seed=8).to_genotypes()
    lines.write_text("\n".join(map(str, genotypes)))
    assert main(["surrogate", "fit", str(data), "--output", str(model), "--model", "ridge", "--seed", "4"]) == 0
    assert "60 architectures" in capsys.readouterr().out
    assert main(["surrogate", "predict", str(lines), "--surrogate", str(model)]) == 0
    printed = [float(line) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose(printed, load_surrogate(model).predict(genotypes), atol=1e-6)


def test_predict_reads_standard_input_and_the_shipped_surrogate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    genotypes = random_codes(2, seed=9).to_genotypes()
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{genotype}\n" for genotype in genotypes)))
    assert main(["surrogate", "predict", "-"]) == 0
    printed = [float(line) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose(printed, load_surrogate().predict(genotypes), atol=1e-6)


def test_benchmark_writes_table_scores_and_figure(
    write_csv: CsvWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    command = ["surrogate", "benchmark", str(write_csv()), "--splits", "2", "--models", "ridge,default"]
    assert main([*command, "--output", str(output)]) == 0
    assert sorted(os.listdir(output)) == ["surrogates.csv", "surrogates.md", "surrogates.svg"]  # noqa: PTH208
    assert (output / "surrogates.md").read_text() in capsys.readouterr().out
    assert main([*command, "--output", str(output)]) == 2


def errors_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("nni-privacy: ") and message.count("\n") == 1
    return message


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["Genotype(normal=[('sep', 0)])", 0.8], "line 62: "),
        ([planted_rows()[0][0], 1.5], "line 62: AUC '1.5' is not a fraction"),
    ],
)
def test_bad_rows_are_one_line_and_leave_no_file(
    write_csv: CsvWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: list[object], message: str
) -> None:
    data = str(write_csv([*planted_rows(), row]))
    assert message in errors_of(["surrogate", "fit", data, "--output", str(tmp_path / "m.npz")], capsys)
    assert message in errors_of(["surrogate", "benchmark", data, "--output", str(tmp_path / "out")], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_bad_arguments_are_one_line(write_csv: CsvWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, output = str(write_csv()), str(tmp_path / "m.npz")
    fit = ["surrogate", "fit", data, "--output"]
    assert "49 different" in errors_of(
        ["surrogate", "fit", str(write_csv(planted_rows(49))), "--output", output], capsys
    )
    write_csv()
    assert "unknown surrogate 'x'" in errors_of([*fit, output, "--model", "x"], capsys)
    assert "exists" in errors_of([*fit, data], capsys)
    assert "not a folder" in errors_of([*fit, str(tmp_path / "no" / "m.npz")], capsys)
    assert "--seed: -1" in errors_of([*fit, output, "--seed", "-1"], capsys)
    assert "not a surrogate's file" in errors_of(["surrogate", "predict", data, "--surrogate", data], capsys)
    assert "at least 2 splits" in errors_of(["surrogate", "benchmark", data, "--splits", "1"], capsys)
    (tmp_path / "g.txt").write_text("Genotype(\n")
    assert "line 1" in errors_of(["surrogate", "predict", str(tmp_path / "g.txt")], capsys)


def test_rows_that_differ_are_a_named_warning(
    write_csv: CsvWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = planted_rows()
    data = write_csv([*rows, [rows[0][0], 0.5]])
    command = ["surrogate", "fit", str(data), "--output", str(tmp_path / "m.npz"), "--model", "ridge"]
    assert main(command) == 0
    assert "warning: DuplicateArchitectureWarning: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|none~2|", "genotype 2 is of NAS-Bench-201"),
        (str(random_codes(1, nodes=3).to_genotypes()[0]), "genotype 2 has 3 intermediate nodes, the first 4"),
    ],
)
def test_what_no_surrogate_knows_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], second: str, message: str
) -> None:
    lines = tmp_path / "genotypes.txt"
    lines.write_text(f"{random_codes(1).to_genotypes()[0]}\n\n{second}\n")
    assert f"{lines}: {message}" in errors_of(["surrogate", "predict", str(lines)], capsys)
    lines.write_text(f"{second}\n")
    last = message.partition(",")[0].replace("genotype 2 is", "genotype 1 is").replace("genotype 2 has", "have")
    assert last in errors_of(["surrogate", "predict", str(lines)], capsys)
