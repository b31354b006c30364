"""Records in files: archives of arrays and tables, read and audited by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import any_models
import numpy as np
import pandas
import pytest
import torch
from any_models import CLASSES, VOCABULARY, WIDTH
from safetensors.numpy import save_file
from sklearn.datasets import load_breast_cancer

from nni_privacy.auditing.record_files import read_record_file
from nni_privacy.commands.main import main
from nni_privacy.data import Inputs
from nni_privacy.errors import DataError
from nni_privacy.training.fit import seed_everything

N = 40
DRAWN = np.random.default_rng(0)
TABLE = DRAWN.normal(size=(3 * N, WIDTH))
IDS = DRAWN.integers(0, VOCABULARY, size=3 * N)
LABELS = np.arange(3 * N) % CLASSES


def write(path: Path, arrays: dict[str, Any]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    else:
        columns = {f"c{place}": column for place, column in enumerate(arrays["x"].T)}
        pandas.DataFrame({"target": arrays["y"], **columns}).to_csv(path, index=False, sep=path.stem[-1])
    return path


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors", "comma,.csv", "semicolon;.csv", "tab\t.csv"])
def test_a_table_is_read_from_every_kind_of_file(tmp_path: Path, name: str) -> None:
    inputs, labels = read_record_file(write(tmp_path / name, {"x": TABLE, "y": LABELS}))
    np.testing.assert_allclose(np.asarray(inputs), TABLE, rtol=1e-6)
    np.testing.assert_array_equal(labels, LABELS)


def test_parquet_is_read_with_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pandas.DataFrame({"a": [1.0, 2], "label": [0, 1], "b": [3, 4]})
    monkeypatch.setattr(pandas, "read_parquet", lambda path: frame)
    inputs, labels = read_record_file(tmp_path / "a.parquet")
    assert inputs.tolist() == [[1, 3], [2, 4]] and labels.tolist() == [0, 1]

    def missing(path: Path) -> None:
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr(pandas, "read_parquet", missing)
    with pytest.raises(DataError, match=r"a.parquet: Parquet needs pandas and pyarrow, write .csv or .npz"):
        read_record_file(tmp_path / "a.parquet")


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_named_arrays_are_several_inputs(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", {"table": TABLE, "ids": IDS, "labels": LABELS})
    inputs, labels = read_record_file(path)
    assert {name: array.dtype.kind for name, array in inputs.items()} == {"table": "f", "ids": "i"}
    np.testing.assert_array_equal(labels, LABELS)


def test_images_are_laid_out_as_in_a_data_set(tmp_path: Path) -> None:
    levels = DRAWN.integers(0, 256, size=(N, 8, 8, 3), dtype=np.uint8)
    for shape, expected in (((N, 8, 8, 3), (N, 3, 8, 8)), ((3 * N, 8, 8), (3 * N, 1, 8, 8))):
        path = write(tmp_path / "a.npz", {"x": levels.reshape(shape), "y": np.zeros(shape[0], dtype=int)})
        assert read_record_file(path)[0].shape == expected
    path = write(tmp_path / "a.npz", {"series": levels.reshape(-1, 8, 8) / 255.0, "y": np.zeros(3 * N)})
    assert read_record_file(path)[0].shape == (3 * N, 8, 8)  # another name: as it is


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"a,b\n1,2\n", "no column of labels: found a, b; expected labels or label or y"),
        ("a.csv", b"a,label\n1,2\n3,x\n", "names of columns, and rows of numbers below .*'x'"),
        ("a.csv", b"a,label\n1,2\n3\n", "names of columns, and rows of numbers below"),
        ("a.csv", b"", "0 names of columns"),
        ("a.csv", b"a,label\n", "2 names of columns"),
        ("a.csv", b"a,label\n1,0.5\n", "labels are not whole numbers"),
        ("a.csv", None, "a.csv: no such file"),
        ("a.npz", b"PK", "cannot be read as a .npz file"),
        ("a.npz", None, "a.npz: no such file"),
        ("a.safetensors", b"abc", "cannot be read as safetensors"),
        ("a.safetensors", None, "a.safetensors: no such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_record_file(tmp_path / name)
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_arrays_without_labels_are_refused(tmp_path: Path) -> None:
    for arrays in ({"table": TABLE}, {"y": LABELS}):
        with pytest.raises(
            DataError, match=f"found {next(iter(arrays))}; expected inputs and labels, which are called"
        ):
            read_record_file(write(tmp_path / "a.npz", arrays))


def command(folder: Path, build: str, records: dict[str, Any], *, suffix: str, words: tuple[str, ...]) -> int:
    seed_everything(0)
    torch.save(getattr(any_models, build)().state_dict(), folder / "w.pt")
    line = ["audit", "--model", f"any_models:{build}", "--weights", str(folder / "w.pt"), *words]
    for number, option in enumerate(("members", "nonmembers", "population")):
        rows = slice(number * N, (number + 1) * N)
        path = write(folder / f"{option}{suffix}", {name: array[rows] for name, array in records.items()})
        line += [f"--{option}", str(path)]
    return main([*line, "--output", str(folder / "out"), "--device", "cpu", "--recipe", "epochs=1", "batch_size=20"])


ROWS: dict[str, tuple[str, dict[str, Any], str, tuple[str, ...]]] = {
    "table": ("mlp", {"x": TABLE, "y": LABELS}, ".npz", ("--normalize", "members")),
    "table in CSV": ("mlp", {"x": TABLE, "y": LABELS}, ",.csv", ()),
    "tokens": ("TokenLSTM", {"tokens": IDS.reshape(-1, 1).repeat(4, 1), "y": LABELS}, ".npz", ("--allow-shared",)),
    "two inputs": ("TwoInputs", {"ids": IDS, "table": TABLE, "label": LABELS}, ".safetensors", ()),
    "probabilities": ("probabilities", {"x": TABLE, "y": LABELS}, ".npz", ("--outputs", "probabilities")),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_command_line_audits_every_kind(
    row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNI_PRIVACY_CACHE", str(tmp_path / "cache"))
    build, records, suffix, words = ROWS[row]
    attacks = ("--attacks", "lira,rmia,loss_threshold")
    assert command(tmp_path, build, records, suffix=suffix, words=(*words, *attacks)) == 0
    said = capsys.readouterr()
    assert said.err == "" and all(f"{name} " in said.out for name in ("lira", "rmia", "loss_threshold"))
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_normalising_several_inputs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build, records, suffix, _ = ROWS["two inputs"]
    assert command(tmp_path, build, records, suffix=suffix, words=("--normalize", "members")) == 2
    said = capsys.readouterr().err
    assert "--normalize: members; needs images or a table of floats, these are records (ids: torch.int64" in said


def test_a_real_table_keeps_its_columns(tmp_path: Path) -> None:
    data = load_breast_cancer(as_frame=True)
    data.frame.to_csv(tmp_path / "cancer.csv", index=False)
    inputs, labels = read_record_file(tmp_path / "cancer.csv")
    np.testing.assert_allclose(inputs, data.data.to_numpy(), rtol=1e-6)
    np.testing.assert_array_equal(labels, data.target)
    assert Inputs.of(inputs).numbers is not None
