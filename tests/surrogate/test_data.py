from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from measured_sample import SAMPLE, sample_text
from surrogate.samples import planted_rows, random_codes

from nni_privacy.errors import DataError, GenotypeError, PrivacyError
from nni_privacy.surrogate import read_mia_data, write_mia_data
from nni_privacy.surrogate.data import CorruptLineWarning, DuplicateArchitectureWarning

CsvWriter = Callable[..., Path]


def test_reads_a_csv_file_with_further_columns(write_csv: CsvWriter) -> None:
    rows = [["x", *row, 0.9] for row in planted_rows()]
    data = read_mia_data(write_csv(rows, ("id", "genotype", "mia_auc", "test_accuracy")))
    assert [str(genotype) for genotype in data.genotypes] == [row[1] for row in rows]
    assert data.mia_auc.tolist() == [row[2] for row in rows]
    assert data.accuracy is not None and data.accuracy.tolist() == [0.9] * 60
    assert data.summary().startswith("60 architectures; attack AUC mean ")


def test_the_sample_of_measured_architectures_is_what_its_script_makes() -> None:
    assert SAMPLE.read_text(encoding="utf-8") == sample_text()
    data = read_mia_data(SAMPLE)
    assert len(data) == 300 and data.repeated == 0
    assert data.accuracy is not None and ((data.mia_auc > 0.5) & (data.mia_auc < data.accuracy)).all()


def test_what_is_written_can_be_read(write_csv: CsvWriter, tmp_path: Path) -> None:
    data = read_mia_data(write_csv())
    write_mia_data(data, tmp_path / "again.csv")
    again = read_mia_data(tmp_path / "again.csv")
    assert again.genotypes == data.genotypes and again.accuracy is None
    np.testing.assert_array_equal(again.mia_auc, data.mia_auc)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.csv", "data.csv"]


@pytest.mark.parametrize("separator", [",", ";"])
def test_tables_as_people_have_them_are_read(tmp_path: Path, separator: str) -> None:
    rows = planted_rows()
    lines = [f"Genotype{separator}MIA_AUC{separator}Test_Accuracy"]
    for number, (genotype, auc) in enumerate(rows):
        text = str(genotype).replace("[2, 3, 4, 5]", "range(2, 6)").replace(", 1)", ", np.int64(1))")
        auc_text = str(auc).replace(".", separator if separator == "," else ",")
        lines.append(f'"best_{number} = {text};"{separator}"{auc_text}"{separator}0.9')
    (tmp_path / "data.csv").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    data = read_mia_data(tmp_path / "data.csv")
    assert [str(genotype) for genotype in data.genotypes] == [row[0] for row in rows]
    assert data.mia_auc.tolist() == [row[1] for row in rows] and data.accuracy is not None


def test_an_architecture_of_another_space_is_refused_with_its_line(write_csv: CsvWriter) -> None:
    rows = planted_rows()
    rows[4] = ["|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|none~2|", 0.7]
    with pytest.raises(GenotypeError, match="line 6: of NAS-Bench-201; surrogates know"):
        read_mia_data(write_csv(rows))


def test_equal_rows_are_merged_silently(write_csv: CsvWriter) -> None:
    rows = planted_rows()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = read_mia_data(write_csv([*rows, rows[3], rows[3]]))
    assert len(data) == 60 and data.repeated == 2
    assert data.mia_auc[3] == rows[3][1]


def test_different_auc_of_one_architecture_is_a_named_warning_and_the_mean_is_used(write_csv: CsvWriter) -> None:
    rows = planted_rows()
    with pytest.warns(DuplicateArchitectureWarning, match=r"1 architectures .*line 2, .*line 62: .*, 0\.5"):
        data = read_mia_data(write_csv([*rows, [rows[0][0], 0.5]]))
    assert data.mia_auc[0] == pytest.approx((rows[0][1] + 0.5) / 2)


@pytest.mark.parametrize(
    ("position", "row", "message"),
    [
        (7, ["Genotype(normal=[])", 0.8], "line 9: "),
        (0, ["", 0.8], "line 2: "),
        (2, [planted_rows()[2][0], 1.01], "line 4: AUC '1.01' is not a fraction between 0 and 1"),
        (2, [planted_rows()[2][0], -0.1], "line 4: AUC"),
        (2, [planted_rows()[2][0], "nan"], "line 4: AUC 'nan'"),
        (2, [planted_rows()[2][0], ""], "line 4: AUC ''"),
        (2, [planted_rows()[2][0]], "line 4: AUC None"),
    ],
)
def test_a_wrong_row_is_named(write_csv: CsvWriter, position: int, row: list[object], message: str) -> None:
    rows = planted_rows()
    rows[position] = row
    with pytest.raises((DataError, GenotypeError)) as caught:
        read_mia_data(write_csv(rows))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_fewer_than_fifty_architectures_are_refused(write_csv: CsvWriter) -> None:
    rows = planted_rows(49)
    with pytest.raises(DataError, match="49 different measured architectures; at least 50"):
        read_mia_data(write_csv([*rows, rows[0]]))


def test_architectures_of_different_sizes_are_refused(write_csv: CsvWriter) -> None:
    other = [[str(genotype), 0.8] for genotype in random_codes(3, nodes=3).to_genotypes()]
    with pytest.raises(DataError, match="different numbers of intermediate nodes"):
        read_mia_data(write_csv(planted_rows() + other))


def test_missing_column_file_and_folder_are_named(write_csv: CsvWriter, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'mia_auc'; it has genotype, auc"):
        read_mia_data(write_csv(header=("genotype", "auc")))
    bare = tmp_path / "genotypes.txt"
    bare.write_text(f"{random_codes(1).to_genotypes()[0]}\n")
    with pytest.raises(DataError, match="no column 'genotype'; its first line must name columns: genotype, mia_auc"):
        read_mia_data(bare)
    with pytest.raises(DataError, match="no such file"):
        read_mia_data(tmp_path / "nothing")
    with pytest.raises(DataError, match="neither a run directory"):
        read_mia_data(tmp_path)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        read_mia_data(tmp_path / "binary.csv")


def write_run(folder: Path, rows: list[list[object]]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: a\n")
    lines = [
        {"trial": str(i), "sequence": i, "status": "succeeded", "architecture": text,
         "metrics": {"mia_auc": auc, "accuracy": 0.9}}
        for i, (text, auc) in enumerate(rows)
    ]  # fmt: skip
    lines.append({"trial": "f", "sequence": 99, "status": "failed", "architecture": "Genotype(", "error": "boom"})
    (folder / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_reads_run_directories_without_failed_trials(tmp_path: Path) -> None:
    rows = planted_rows(70)
    write_run(tmp_path / "runs" / "a", rows[:35])
    write_run(tmp_path / "runs" / "b", rows[35:])
    together = read_mia_data([tmp_path / "runs" / "a", tmp_path / "runs" / "b"])
    assert together.mia_auc.tolist() == [row[1] for row in rows]
    assert read_mia_data(tmp_path / "runs").genotypes == together.genotypes
    assert together.accuracy is not None


def test_a_corrupt_line_of_a_run_is_skipped_and_named(tmp_path: Path) -> None:
    write_run(tmp_path / "run", planted_rows())
    with (tmp_path / "run" / "trials.jsonl").open("a") as file:
        file.write("[1, 2]\n")
    with pytest.warns(CorruptLineWarning, match=r"trials\.jsonl: skipped, as no whole JSON object: line 62"):
        assert len(read_mia_data(tmp_path / "run")) == 60


def write_published(folder: Path, rows: list[list[object]]) -> Path:
    """As the authors keep it: accuracies in one order, AUCs in another."""
    origin = folder / "nas_eval" / "data" / "genos" / "origin"
    (origin / "meminf").mkdir(parents=True)
    indices = random.Random(0).sample(range(len(rows)), len(rows))
    files = {
        origin / "genotype.txt": [row[0] for row in rows],
        origin / "test_acc.txt": [0.9 + i / 1000 for i in range(len(rows))],
        origin / "meminf" / "genotype.txt": [rows[i][0] for i in indices],
        origin / "meminf" / "test_auc.txt": [rows[i][1] for i in indices],
        origin / "meminf" / "cell_indices.txt": indices,
    }
    for path, lines in files.items():
        path.write_text("".join(f"{line}\n" for line in lines))
    return origin


def test_the_authors_folder_is_joined_by_their_indices(tmp_path: Path) -> None:
    rows = planted_rows()
    origin = write_published(tmp_path, rows)
    for folder in (tmp_path, tmp_path / "nas_eval", origin, origin / "meminf"):
        data = read_mia_data(folder)
        found = dict(zip(map(str, data.genotypes), zip(data.mia_auc, data.accuracy, strict=True), strict=True))
        assert found == {row[0]: (row[1], 0.9 + i / 1000) for i, row in enumerate(rows)}


def test_files_of_the_authors_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    origin = write_published(tmp_path, planted_rows())
    indices = (origin / "meminf" / "cell_indices.txt").read_text().splitlines()
    swapped = [indices[1], indices[0], *indices[2:]]
    (origin / "meminf" / "cell_indices.txt").write_text("\n".join(swapped))
    with pytest.raises(PrivacyError, match="line 1: not the genotype that cell_indices names"):
        read_mia_data(tmp_path)
    (origin / "meminf" / "cell_indices.txt").write_text("\n".join(indices[1:]))
    with pytest.raises(DataError, match="different numbers of lines"):
        read_mia_data(tmp_path)
